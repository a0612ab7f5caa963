//! What tools give, whatever they are made of: functions, coroutines, objects, and what they raise.

mod support;

use serde_json::{Value, json};
use support::{Module, begin, request};
use toolbus_model::{Backend as _, Error, Health, Outcome};

#[tokio::test(flavor = "multi_thread")]
async fn functions_and_coroutines_are_called() {
    let module = Module::new(
        r#"
import asyncio

def add(a: int, b: int = 2) -> int:
    "Adds two numbers."
    return a + b

async def later(text: str) -> str:
    "Waits first."
    await asyncio.sleep(0.01)
    return text
"#,
    );
    let offer = module.offer().await;
    assert_eq!(offer.health, Health::Up);
    let names: Vec<_> = offer.tools.iter().map(|tool| &*tool.key).collect();
    assert_eq!(names, ["add", "later"]);
    let sum = module.result("add", json!({"a": 40})).await;
    assert_eq!(sum["structuredContent"], json!({"result": 42}));
    assert_eq!(module.text("later", json!({"text": "ü"})).await, "ü");
    let missing = module.result("add", json!({"b": 1})).await;
    assert_eq!(missing["isError"], true, "{missing}");
    let unknown = module.call("nothing", json!({})).await;
    assert!(matches!(unknown, Err(Error::Unknown { .. })), "{unknown:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn an_object_that_executes_tools_is_enough() {
    let module = Module::new(
        r#"
class Kernel:
    def list_tools(self):
        return [{"name": "skill.echo", "description": "Gives it back.", "inputSchema": {"type": "object"}}]

    def execute_tool(self, name, arguments):
        return f"{name}: {arguments['text']}"

kernel = Kernel()
"#,
    );
    let offer = module.offer().await;
    assert_eq!(&*offer.tools[0].key, "skill.echo", "{offer:?}");
    let text = module.text("skill.echo", json!({"text": "a"})).await;
    assert_eq!(text, "skill.echo: a");
}

#[tokio::test(flavor = "multi_thread")]
async fn servers_of_other_packages_work_as_well() {
    let module = Module::new(
        r#"
from fastmcp import FastMCP
server = FastMCP("other")

@server.tool
def double(n: int) -> int:
    return 2 * n
"#,
    );
    let doubled = module.result("double", json!({"n": 21})).await;
    assert_eq!(
        doubled["structuredContent"],
        json!({"result": 42}),
        "{doubled}"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn whatever_a_tool_raises_is_a_result() {
    let module = Module::new(
        r#"
import os, signal, sys

def fail(how: str) -> str:
    "Ends badly."
    match how:
        case "error": raise ValueError("no good")
        case "exit": sys.exit(3)
        case "interrupt": raise KeyboardInterrupt
        case "base": raise BaseException("bare")
        case "_exit": os._exit(3)
        case "abort": os.abort()
        case "kill": os.kill(os.getpid(), signal.SIGKILL)
        case "group": os.killpg(os.getpgrp(), signal.SIGKILL)
        case "raise": signal.raise_signal(signal.SIGTERM)
        case "exec": os.execv("/bin/true", ["true"])
        case "generator": raise GeneratorExit
        case "handler": signal.signal(signal.SIGTERM, print)
    return "went on"

async def fail_later(how: str) -> str:
    "Ends badly, in a coroutine."
    return fail(how)
"#,
    );
    let ways = [
        ("error", "ValueError: no good"),
        ("exit", "SystemExit: 3"),
        ("interrupt", "KeyboardInterrupt"),
        ("base", "BaseException: bare"),
        ("_exit", "refused"),
        ("abort", "refused"),
        ("kill", "refused"),
        ("group", "refused"),
        ("raise", "refused"),
        ("exec", "refused"),
        ("generator", "GeneratorExit"),
        // Python's main thread is none that runs tools, so signals stay with the process.
        ("handler", "main thread"),
    ];
    for tool in ["fail", "fail_later"] {
        for (how, expected) in ways {
            let result = module.result(tool, json!({"how": how})).await;
            assert_eq!(result["isError"], true, "{tool} {how}: {result}");
            let text = result["content"][0]["text"].as_str().unwrap_or_default();
            assert!(text.contains(expected), "{tool} {how}: {text}");
        }
        assert_eq!(module.text(tool, json!({"how": "not"})).await, "went on");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_told_on_the_way_is_heard() {
    let module = Module::new(
        r#"
from toolbus import Context

def work(ctx: Context) -> str:
    ctx.report_progress(1, 2, "half")
    ctx.warning("be careful")
    return "done"

async def work_later(ctx: Context) -> str:
    return work(ctx)
"#,
    );
    for tool in ["work", "work_later"] {
        let mut begun = module.begin(tool, json!({}));
        let progress = begun.notice().await;
        assert_eq!(
            progress,
            json!({"progress": 1, "total": 2, "message": "half"})
        );
        let line = begun.notice().await;
        assert_eq!(
            (&line["level"], &line["data"]),
            (&json!("warning"), &json!("be careful"))
        );
        assert!(matches!(begun.outcome().await, Ok(Outcome::Complete(_))));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn large_results_come_whole() {
    let module = Module::new("def large(size: int) -> str:\n    return 'ä' * size\n");
    let size = 5 * 1024 * 1024;
    let text = module.text("large", json!({"size": size})).await;
    assert_eq!((text.chars().count(), text.starts_with('ä')), (size, true));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_caller_is_asked_and_comes_back() {
    let module = Module::new(
        r#"
from toolbus import Context

async def ask(what: str, ctx: Context) -> str:
    answer = await ctx.elicit(f"{what}?", bool)
    return f"{what}: {answer.action} {answer.data}"

def ask_in_thread(what: str, ctx: Context) -> str:
    answer = ctx.run(ctx.elicit(f"{what}?", bool))
    return f"{what}: {answer.action} {answer.data}"
"#,
    );
    module.offer().await;
    for tool in ["ask", "ask_in_thread"] {
        let meta = json!({"io.modelcontextprotocol/clientCapabilities": {"elicitation": {}}});
        let mut params = json!({"name": tool, "arguments": {"what": "sure"}, "_meta": meta});
        let (call, _end) = begin(&json!({}));
        let asked = module.server.serve(request(&params), &call).await;
        let Ok(Outcome::InputRequired(asked)) = asked else {
            panic!("no question but {asked:?}");
        };
        let asked: Value = asked.to_raw().read().expect("JSON");
        let questions = asked["inputRequests"].as_object().expect("questions");
        let answer = json!({"action": "accept", "content": {"value": true}});
        let answers = questions.keys().map(|key| (key.clone(), answer.clone()));
        params["inputResponses"] = answers.collect();
        params["requestState"] = asked["requestState"].clone();
        let (call, _end) = begin(&json!({}));
        let answered = module.server.serve(request(&params), &call).await;
        let result = answered.expect("a result").object().to_raw();
        let result: Value = result.read().expect("JSON");
        assert_eq!(
            result["content"][0]["text"], "sure: accept True",
            "{result}"
        );
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn threads_stay_and_are_bounded() {
    let code = r#"
import threading, time
kept = threading.local()
arrived = threading.Semaphore(0)
go = threading.Event()

def count() -> int:
    "How often this thread was here."
    kept.count = getattr(kept, "count", 0) + 1
    return kept.count

def wait() -> str:
    arrived.release()
    go.wait(60)
    return "went"

async def arrivals() -> bool:
    return arrived.acquire(blocking=False)

async def release() -> None:
    go.set()
"#;
    let module = Module::with(code, |mut settings| {
        (settings.threads, settings.queue) = (1, 1);
        settings
    });
    for times in 1..=3 {
        let result = module.result("count", json!({})).await;
        assert_eq!(
            result["structuredContent"]["result"], times,
            "the thread's own memory"
        );
    }
    let running = module.begin("wait", json!({}));
    module.eventually("arrivals", "true").await;
    // Of two more one waits, and the other one is too many.
    let (mut one, mut other) = (
        module.begin("wait", json!({})),
        module.begin("wait", json!({})),
    );
    let (full, waiting) = tokio::select! {
        full = &mut one.ended => (full, other),
        full = &mut other.ended => (full, one),
    };
    let full = full.expect("no panic");
    let Err(Error::Busy { what, .. }) = &full else {
        panic!("not busy but {full:?}");
    };
    assert!(what.contains("1 calls run and 1 wait"), "{what}");
    module.result("release", json!({})).await;
    for begun in [running, waiting] {
        assert!(begun.outcome().await.is_ok());
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn standard_streams_belong_to_the_gateway() {
    let module = Module::new(
        r#"
import sys

def streams() -> list[str]:
    print("this goes to standard error")
    return [str(sys.stdout.fileno()), sys.stdin.read(), sys.__stdin__.read()]
"#,
    );
    let result = module.result("streams", json!({})).await;
    assert_eq!(result["structuredContent"]["result"], json!(["2", "", ""]));
}
