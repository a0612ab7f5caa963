//! What tools give, whatever they are made of: functions, coroutines, objects, and what they raise.

mod support;

use serde_json::json;
use support::Module;
use toolbus_model::{Error, Health};

#[tokio::test(flavor = "multi_thread")]
async fn functions_and_coroutines_are_called() {
    let module = Module::new(
        r#"
import asyncio, threading

def add(a: int, b: int = 2) -> int:
    "Adds two numbers."
    return a + b

async def later(text: str) -> str:
    "Waits first."
    await asyncio.sleep(0.01)
    return text

def where() -> str:
    "Names its thread."
    return threading.current_thread().name
"#,
    );
    let offer = module.offer().await;
    assert_eq!(offer.health, Health::Up);
    let names: Vec<_> = offer.tools.iter().map(|tool| &*tool.key).collect();
    assert_eq!(names, ["add", "later", "where"]);
    let sum = module.result("add", json!({"a": 40})).await;
    assert_eq!(sum["structuredContent"], json!({"result": 42}));
    assert_eq!(module.text("later", json!({"text": "ü"})).await, "ü");
    let missing = module.result("add", json!({"b": 1})).await;
    assert_eq!(missing["isError"], true, "{missing}");
    let unknown = module.call("nothing", json!({})).await;
    assert!(matches!(unknown, Err(Error::Unknown { .. })), "{unknown:?}");
}
