//! Servers at Unix sockets: Python files that run themselves, and the back end in the place of the worker that they start.

use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::sync::Arc;
use std::time::Duration;

use serde_json::{Value, json};
use tokio::process::{Child, Command};
use tokio::time::{sleep, timeout};
use tokio_util::sync::CancellationToken;
use toolbus_backends::mcp::{McpServer, Settings, Target};
use toolbus_model::{
    Backend as _, Call, CallEnd, CallSeed, Caller, Error, EventKind, Health, LogLevel, Method,
    Object, Offer, Outcome, Raw, Request, Revision, Trace,
};

/// Starts and answers take a second; this long they take only on a machine that does much else.
const PATIENCE: Duration = Duration::from_secs(30);

/// In the place of the worker: says who it is and where the socket is, and waits.
const STAND_IN: &str =
    "#!/bin/sh\necho \"$$ $3\" > \"$0.part\"\nmv \"$0.part\" \"$0.path\"\nexec sleep 600\n";

const TOOLS: &str = r#"
from toolbus import Context, Worker
import asyncio

worker = Worker("unix")

@worker.tool(read_only=True)
async def add(a: int, b: int) -> int:
    return a + b

@worker.tool()
async def say(ctx: Context, what: str) -> str:
    ctx.info(what)
    ctx.report_progress(1)
    await asyncio.sleep(0.2)
    return what

@worker.tool()
async def sure(ctx: Context) -> str:
    return str((await ctx.elicit("Sure?", bool)).data)

@worker.tool()
async def wait() -> str:
    try:
        await asyncio.sleep(600)
    except asyncio.CancelledError:
        cancelled.append(1)
        raise
    return ""

cancelled: list[int] = []

@worker.tool()
async def stopped() -> int:
    return len(cancelled)

worker.run()
"#;

/// Of a package that knows no revision after 2025-11-25.
const OLDER: &str = r#"
from pydantic import BaseModel
from mcp.server.fastmcp import Context, FastMCP
import toolbus

mcp = FastMCP("older")

class Sure(BaseModel):
    value: bool

@mcp.tool()
async def sure(ctx: Context) -> str:
    return str((await ctx.elicit("Sure?", Sure)).data.value)

@mcp.prompt()
def greet(name: str) -> str:
    return f"Greet {name}"

toolbus.serve(mcp)
"#;

/// A file that runs, and the back end at its socket.
struct Place {
    python: Child,
    /// The process in the place of the worker.
    stand_in: String,
    server: Arc<McpServer>,
    _folder: tempfile::TempDir,
}

fn workspace(path: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("../..")
        .join(path)
}

impl Place {
    /// Nothing, where the environment is not there.
    async fn of(source: &str, environment: &str) -> Option<Self> {
        let python = workspace(environment).join("bin/python");
        if !python.exists() {
            #[expect(clippy::print_stderr, reason = "whoever runs the tests has to see it")]
            {
                eprintln!("skipped: no {environment}; run `make setup`");
            }
            return None;
        }
        let folder = tempfile::tempdir().expect("a folder");
        let (file, stand_in) = (
            folder.path().join("tools.py"),
            folder.path().join("toolbus"),
        );
        std::fs::write(&file, source).expect("written");
        std::fs::write(&stand_in, STAND_IN).expect("written");
        let mode = std::os::unix::fs::PermissionsExt::from_mode(0o755);
        std::fs::set_permissions(&stand_in, mode).expect("permitted");
        let mut command = Command::new(python);
        command.arg(&file).env("TOOLBUS_BIN", &stand_in);
        command.env("PYTHONPATH", workspace("python/toolbus/src"));
        let python = command.stdin(Stdio::null()).kill_on_drop(true).spawn();
        let noted = stand_in.with_extension("path");
        let note = eventually(|| std::fs::read_to_string(&noted).ok()).await;
        let (stand_in, path) = note.split_once(' ').expect("a process and a path");
        let server = McpServer::start(
            "unix",
            Target::Unix(path.trim_end().into()),
            Settings::default(),
        );
        Some(Self {
            python: python.expect("it starts"),
            stand_in: stand_in.to_owned(),
            server,
            _folder: folder,
        })
    }

    /// The offer, once it is as wanted.
    async fn offer(&self, wanted: impl Fn(&Offer) -> bool) -> Arc<Offer> {
        let mut offer = self.server.offer();
        let seen = timeout(PATIENCE, offer.wait_for(|offer| wanted(offer))).await;
        Arc::clone(&seen.expect("in time").expect("the server is there"))
    }

    async fn serve(&self, call: &Call, method: &str, params: Value) -> Result<Outcome, Error> {
        let params = Object::of(&params);
        let request = Request {
            method: Method::parse(method),
            target: params.str("name").map(|name| name.as_ref().into()),
            meta: Object::empty(),
            params,
        };
        let served = timeout(PATIENCE, self.server.serve(request, call)).await;
        served.expect("in time")
    }

    async fn call(&self, tool: &str, arguments: Value) -> Result<Outcome, Error> {
        let (call, _end) = call();
        let params = json!({"name": tool, "arguments": arguments});
        self.serve(&call, "tools/call", params).await
    }

    fn signal(&self, signal: &str) {
        let id = self.python.id().expect("it runs").to_string();
        kill(signal, &id);
    }

    /// Ends the file as SIGTERM would: the stand-in is what ends first.
    async fn end(mut self) {
        self.server.stop().await;
        self.signal("-TERM");
        let ended = timeout(PATIENCE, self.python.wait()).await;
        assert!(ended.expect("in time").is_ok());
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        kill("-KILL", &self.stand_in);
    }
}

fn kill(signal: &str, id: &str) {
    let mut command = std::process::Command::new("kill");
    // Whoever has ended already is well.
    let _ = command.args([signal, id]).stderr(Stdio::null()).status();
}

async fn eventually<T>(mut seen: impl FnMut() -> Option<T>) -> T {
    let search = async {
        loop {
            match seen() {
                Some(found) => return found,
                None => sleep(Duration::from_millis(10)).await,
            }
        }
    };
    timeout(PATIENCE, search).await.expect("in time")
}

fn call() -> (Arc<Call>, CallEnd) {
    let seed = CallSeed {
        caller: Caller::local(),
        revision: Revision::V2026_07_28,
        door: "test",
        capabilities: Raw::of(&json!({"elicitation": {"form": {}}})),
        client: None,
        log_level: Some(LogLevel::Info),
        progress_token: Some(Raw::of(&"mine")),
        trace: Trace::default(),
    };
    Call::begin(seed, CancellationToken::new())
}

fn read(outcome: Result<Outcome, Error>) -> Value {
    match outcome {
        Ok(Outcome::Complete(result) | Outcome::InputRequired(result)) => {
            result.to_raw().read().expect("JSON")
        }
        other => panic!("{other:?}"),
    }
}

fn text(outcome: Result<Outcome, Error>) -> String {
    let result = read(outcome);
    let shown = result["content"][0]["text"].as_str();
    shown.unwrap_or_else(|| panic!("{result}")).to_owned()
}

fn is_up(offer: &Offer) -> bool {
    offer.health == Health::Up
}

#[tokio::test]
async fn tools_are_listed_and_called() {
    let Some(place) = Place::of(TOOLS, ".venv").await else {
        return;
    };
    let offer = place.offer(is_up).await;
    let names: Vec<_> = offer.tools.iter().map(|tool| &*tool.key).collect();
    assert_eq!(names, ["add", "say", "sure", "wait", "stopped"]);
    assert_eq!(offer.revision, Some("2026-07-28"));
    let calls = (0..200).map(|n| place.call("add", json!({"a": n, "b": 1})));
    for (n, outcome) in futures_util::future::join_all(calls)
        .await
        .into_iter()
        .enumerate()
    {
        assert_eq!(read(outcome)["structuredContent"], json!({"result": n + 1}));
    }
    place.end().await;
}

#[tokio::test]
async fn log_lines_and_progress_of_calls_at_once_go_to_their_own() {
    let Some(place) = Place::of(TOOLS, ".venv").await else {
        return;
    };
    place.offer(is_up).await;
    let say = async |what: &'static str| {
        let (call, mut end) = call();
        let params = json!({"name": "say", "arguments": {"what": what}});
        assert_eq!(text(place.serve(&call, "tools/call", params).await), what);
        let mut heard = Vec::new();
        while heard.len() < 2 {
            let event = timeout(PATIENCE, end.events.recv()).await;
            heard.push(event.expect("in time").expect("an event"));
        }
        let params: Value = heard[0].params.to_raw().read().expect("JSON");
        assert_eq!(heard[0].kind, EventKind::Log);
        assert_eq!(params, json!({"level": "info", "data": what}));
        assert_eq!(heard[1].kind, EventKind::Progress);
    };
    tokio::join!(say("a"), say("b"), say("c"));
    place.end().await;
}

#[tokio::test]
async fn a_question_comes_back_and_its_answer_goes_on() {
    let Some(place) = Place::of(TOOLS, ".venv").await else {
        return;
    };
    place.offer(is_up).await;
    let asks = read(place.call("sure", json!({})).await);
    let (call, _end) = call();
    let answer = json!({"q1": {"action": "accept", "content": {"value": true}}});
    let params = json!({
        "name": "sure", "arguments": {}, "requestState": asks["requestState"], "inputResponses": answer,
    });
    assert_eq!(text(place.serve(&call, "tools/call", params).await), "True");
    place.end().await;
}

#[tokio::test]
async fn a_cancelled_call_ends_in_the_file() {
    let Some(place) = Place::of(TOOLS, ".venv").await else {
        return;
    };
    place.offer(is_up).await;
    let (call, end) = call();
    let params = json!({"name": "wait", "arguments": {}});
    let (outcome, ()) = tokio::join!(place.serve(&call, "tools/call", params), async {
        assert_eq!(text(place.call("stopped", json!({})).await), "0");
        end.cancel.cancel();
    });
    assert!(outcome.is_err(), "{outcome:?}");
    let told = async {
        while text(place.call("stopped", json!({})).await) != "1" {
            sleep(Duration::from_millis(20)).await;
        }
    };
    timeout(PATIENCE, told).await.expect("in time");
    place.end().await;
}

#[tokio::test]
async fn the_end_of_the_connection_is_the_servers_end() {
    let Some(place) = Place::of(TOOLS, ".venv").await else {
        return;
    };
    place.offer(is_up).await;
    let (outcome, ()) = tokio::join!(place.call("wait", json!({})), async {
        assert_eq!(text(place.call("stopped", json!({})).await), "0");
        place.signal("-KILL");
    });
    let Err(Error::OutcomeUnknown(cause)) = outcome else {
        panic!("{outcome:?}");
    };
    assert!(cause.what.contains("closed its connection"), "{cause}");
    let offer = place
        .offer(|offer| matches!(offer.health, Health::Down(_)))
        .await;
    let Health::Down(Error::Unavailable(cause)) = &offer.health else {
        panic!("{:?}", offer.health);
    };
    assert!(cause.to_string().contains("worker.sock"), "{cause}");
    let again = place.call("add", json!({"a": 1, "b": 1})).await;
    assert!(matches!(again, Err(Error::Unavailable(_))), "{again:?}");
    place.server.stop().await;
}

#[tokio::test]
async fn an_older_server_has_its_sessions_on_connections_of_one_process() {
    let Some(place) = Place::of(OLDER, ".venv-old").await else {
        return;
    };
    let offer = place.offer(is_up).await;
    assert_eq!(offer.revision, Some("2025-11-25"));
    assert_eq!(offer.prompts.len(), 1);
    let asks = read(place.call("sure", json!({})).await);
    let (key, question) = asks["inputRequests"]
        .as_object()
        .and_then(|questions| questions.iter().next())
        .expect("a question");
    assert_eq!(question["params"]["message"], "Sure?");
    let (call, _end) = call();
    let answer = json!({key: {"action": "accept", "content": {"value": true}}});
    let params = json!({
        "name": "sure", "arguments": {}, "requestState": asks["requestState"], "inputResponses": answer,
    });
    assert_eq!(text(place.serve(&call, "tools/call", params).await), "True");
    place.end().await;
}

#[tokio::test]
async fn nobody_at_the_socket_is_said_with_the_path() {
    let path = tempfile::tempdir()
        .expect("a folder")
        .path()
        .join("nobody.sock");
    let server = McpServer::start("unix", Target::Unix(path), Settings::default());
    let mut offer = server.offer();
    let down = offer.wait_for(|offer| matches!(offer.health, Health::Down(_)));
    let down = timeout(PATIENCE, down).await.expect("in time");
    let health = down.expect("the server is there").health.clone();
    let Health::Down(Error::Unavailable(cause)) = health else {
        panic!("{health:?}");
    };
    let said = cause.to_string();
    assert!(
        said.contains("nobody.sock") && said.contains("does not answer"),
        "{said}"
    );
    server.stop().await;
}
