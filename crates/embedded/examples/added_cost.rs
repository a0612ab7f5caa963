//! What a call costs beyond the function itself: the function called in Python, through the kernel, and as a tool.
//!
//! `cargo run --release -p toolbus-embedded --example added_cost [VENV]`
#![expect(clippy::print_stdout, reason = "it shows what it measured")]

use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, Instant};

use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use toolbus_backends::tools::ToolServer;
use toolbus_embedded::{Embedded, Settings};
use toolbus_model::{
    Backend, Call, CallSeed, Caller, Health, Method, Object, Raw, Request, Revision, Trace,
};

/// The functions, and how long each takes when Python itself calls it.
const CODE: &str = r#"
import time
from toolbus import Worker

worker = Worker("bench")

@worker.tool()
def add(a: int, b: int) -> int:
    return a + b

@worker.tool(inline=True)
def add_inline(a: int, b: int) -> int:
    return a + b

@worker.tool()
async def add_async(a: int, b: int) -> int:
    return a + b

@worker.tool(inline=True)
def in_python(rounds: int) -> float:
    "Nanoseconds of one call."
    begun = time.perf_counter_ns()
    for _ in range(rounds):
        add(a=1, b=2)
    return (time.perf_counter_ns() - begun) / rounds

@worker.tool(inline=True)
def as_bytes(rounds: int) -> float:
    "Nanoseconds of one call from bytes to bytes, arguments checked and the result written."
    from toolbus._json import loads
    tool = worker.tools["add"]
    text = b'{"a": 1, "b": 2}'
    begun = time.perf_counter_ns()
    for _ in range(rounds):
        positions, named = tool.bind(loads(text), None)
        b"{" + tool.encode(tool.fn(*positions, **named)) + b"}"
    return (time.perf_counter_ns() - begun) / rounds
"#;

/// For each measurement, as long as it takes for the numbers to stand still.
const SECONDS: Duration = Duration::from_secs(2);

fn request(tool: &str, arguments: &str) -> Request {
    let text = format!("{{\"name\":\"{tool}\",\"arguments\":{arguments}}}");
    Request {
        method: Method::ToolsCall,
        target: Some(tool.into()),
        params: Object::parse(text.into()).expect("JSON"),
        meta: Object::empty(),
    }
}

async fn call(server: &ToolServer<Embedded>, request: Request) -> Object {
    let seed = CallSeed {
        caller: Caller::local(),
        revision: Revision::V2026_07_28,
        door: "bench",
        capabilities: Raw::of(&()),
        client: None,
        log_level: None,
        progress_token: None,
        trace: Trace::default(),
    };
    let (call, _end) = Call::begin(seed, CancellationToken::new());
    let outcome = server.serve(request, &call).await.expect("an outcome");
    assert!(!outcome.is_tool_error(), "{outcome:?}");
    outcome.object().clone()
}

/// Calls for a while, so many at once: the time of each.
async fn measure(server: &Arc<ToolServer<Embedded>>, tool: &'static str, callers: usize) {
    let begun = Instant::now();
    let tasks = TaskTracker::new();
    let run = |_| {
        let server = Arc::clone(server);
        tasks.spawn(async move {
            let mut times = Vec::new();
            while begun.elapsed() < SECONDS {
                let one = Instant::now();
                call(&server, request(tool, "{\"a\":1,\"b\":2}")).await;
                times.push(one.elapsed());
            }
            times
        })
    };
    let all: Vec<_> = (0..callers).map(run).collect();
    let mut times = Vec::new();
    for one in all {
        times.extend(one.await.expect("it ends"));
    }
    let (count, lasted) = (times.len(), begun.elapsed().as_secs_f64());
    times.sort_unstable();
    let at = |share: f64| times[(times.len() as f64 * share) as usize].as_secs_f64() * 1e6;
    let rate = count as f64 / lasted;
    println!(
        "{tool:<12} {callers:>3} at once  {rate:>9.0} calls/s   p50 {:>7.1} us   p99 {:>7.1} us",
        at(0.5),
        at(0.99)
    );
}

async fn nanoseconds(server: &ToolServer<Embedded>, tool: &str) -> f64 {
    let result = call(server, request(tool, "{\"rounds\":100000}")).await;
    let value = result.object("structuredContent").and_then(Result::ok);
    let value = value.and_then(|value| value.raw("result"));
    value.and_then(|value| value.read().ok()).expect("a number")
}

#[tokio::main]
async fn main() {
    let folder = tempfile::tempdir().expect("a folder");
    let file = folder.path().join("bench.py");
    std::fs::write(&file, CODE).expect("written");
    let mut settings = Settings::new(file.display().to_string());
    settings.venv = Some(
        std::env::args()
            .nth(1)
            .map_or(".venv".into(), PathBuf::from),
    );
    let server = Arc::new(ToolServer(Embedded::start("bench", settings)));
    let mut offer = server.offer();
    let settled = offer
        .wait_for(|offer| offer.health != Health::Starting)
        .await;
    let health = settled.expect("it is there").health.clone();
    assert_eq!(health, Health::Up, "the module is imported");
    let python = nanoseconds(&server, "in_python").await / 1e3;
    let bytes = nanoseconds(&server, "as_bytes").await / 1e3;
    println!("in Python    {python:>8.2} us a call");
    println!("as bytes     {bytes:>8.2} us a call, arguments checked and the result written");
    for (tool, callers) in [
        ("add", 1),
        ("add", 32),
        ("add_inline", 1),
        ("add_inline", 32),
        ("add_async", 1),
        ("add_async", 32),
    ] {
        measure(&server, tool, callers).await;
    }
}
