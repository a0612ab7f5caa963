//! Coroutines that do not await, so that nothing else on the event loop goes on.

mod support;

use serde_json::json;
use support::{Begun, Module};
use toolbus_model::{Error, Outcome};

const CODE: &str = r#"
import asyncio, time

def when() -> str:
    "Which of the coroutines has begun. A plain function needs no loop."
    return last[0]

last = [""]

async def spin() -> None:
    last[0] = "spin"
    while True:
        pass

async def block() -> None:
    last[0] = "block"
    time.sleep(3600)

async def wait() -> None:
    last[0] = "wait"
    await asyncio.sleep(3600)

async def quick() -> str:
    return "quick"
"#;

async fn begun(module: &Module, tool: &str) -> Begun {
    let begun = module.begin(tool, json!({}));
    module.eventually("when", tool).await;
    begun
}

/// One after the other, because there is one loop.
#[tokio::test(flavor = "multi_thread")]
async fn a_blocked_loop_is_freed_or_replaced() {
    let module = Module::new(CODE);
    let spins = begun(&module, "spin").await;
    spins.end.cancel.cancel();
    let error = spins.outcome().await.expect_err("an error");
    assert!(
        error.to_string().contains("event loop was blocked"),
        "{error}"
    );
    assert_eq!(
        module.text("quick", json!({})).await,
        "quick",
        "the same loop goes on"
    );

    for _ in 0..4 {
        let waits = begun(&module, "wait").await;
        let blocks = begun(&module, "block").await;
        blocks.end.cancel.cancel();
        let error = blocks.outcome().await.expect_err("an error");
        assert!(
            error.to_string().contains("event loop was blocked"),
            "{error}"
        );
        let lost = waits.outcome().await.expect_err("its loop is gone");
        assert!(matches!(lost, Error::OutcomeUnknown(_)), "{lost}");
        if !matches!(
            module.call("quick", json!({})).await,
            Ok(Outcome::Complete(_))
        ) {
            break;
        }
    }
    let refused = module.call("quick", json!({})).await;
    let Err(Error::Unavailable(cause)) = refused else {
        panic!("not refused but {refused:?}");
    };
    assert!(cause.what.contains("4 event loops were blocked"), "{cause}");
    assert_eq!(
        module.text("when", json!({})).await,
        "block",
        "plain functions need none"
    );
}
