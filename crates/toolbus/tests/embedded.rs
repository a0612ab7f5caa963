//! CPython inside the binary, end to end: a real gateway, real modules, real clients.

mod support;

use std::io::{BufRead as _, BufReader, Write as _};
use std::process::Stdio;

use serde_json::{Value, json};
use support::{Gateway, Owned, command, meta, text, wait_for, workspace};

const CODE: &str = r#"
import asyncio, ctypes, os, subprocess, sys, time
from toolbus import Context

def add(a: int, b: int) -> int:
    "Adds two numbers."
    return a + b

async def steps(count: int, ctx: Context) -> str:
    "Reports each of them."
    for step in range(count):
        await asyncio.sleep(0)
        ctx.report_progress(step + 1, count)
    return f"{count} steps"

def noise() -> str:
    "Says things to standard output in every way there is, and reads standard input."
    print("print")
    os.write(1, b"os.write\n")
    subprocess.run(["echo", "echo"], check=True)
    ctypes.CDLL(None).puts(b"puts")
    ctypes.CDLL(None).fflush(None)
    return repr(os.read(0, 1))

def stuck() -> None:
    "Never comes back."
    time.sleep(3600)

def leave() -> None:
    "Tries to end the process."
    os._exit(7)

def crash() -> None:
    "Does end it."
    ctypes.string_at(0)

async def ask(ctx: Context) -> str:
    "Asks the person."
    answer = await ctx.elicit("Sure?", bool)
    return f"{answer.action}: {answer.data}"
"#;

/// A section of the configuration for a module with this code, in a folder of its own.
fn section(folder: &tempfile::TempDir, code: &str) -> String {
    let file = folder.path().join("served.py");
    std::fs::write(&file, code).expect("written");
    let (module, venv) = (text(&file), text(&workspace(".venv")));
    format!("[servers.inside.embedded]\nmodule = {module:?}\nvenv = {venv:?}\nthreads = 2\n")
}

/// A gateway with the module in it, and the folder of the module.
fn gateway(more: &str) -> (Gateway, tempfile::TempDir) {
    let folder = tempfile::tempdir().expect("a folder");
    let section = section(&folder, CODE);
    (Gateway::start(&format!("{section}\n{more}")), folder)
}

fn shown(answer: &Value) -> &str {
    let text = answer["result"]["content"][0]["text"].as_str();
    text.unwrap_or_else(|| panic!("no text: {answer}"))
}

#[test]
fn functions_coroutines_and_progress_reach_a_client() {
    let (mut gateway, _folder) = gateway("");
    let sum = gateway.call("add", json!({"a": 40, "b": 2})).json();
    assert_eq!(sum["result"]["structuredContent"]["result"], 42, "{sum}");
    let params =
        json!({"name": "steps", "arguments": {"count": 3}, "_meta": {"progressToken": "mine"}});
    let streamed = gateway.modern("/mcp", "tools/call", params);
    let messages = streamed.messages();
    assert_eq!(messages.len(), 4, "{messages:?}");
    assert_eq!(messages[0]["params"]["progressToken"], "mine");
    assert_eq!(messages[2]["params"]["progress"], 3);
    assert_eq!(shown(&messages[3]), "3 steps");
    let left = gateway.call("leave", json!({})).json();
    assert_eq!(left["result"]["isError"], true, "{left}");
    assert!(shown(&left).contains("refused"), "{left}");
    assert_eq!(gateway.stop(), Some(0), "signals are the gateway's");
}

#[test]
fn a_question_goes_to_the_client_and_its_answer_comes_back() {
    let (gateway, _folder) = gateway("");
    let mut meta = meta();
    meta["io.modelcontextprotocol/clientCapabilities"] = json!({"elicitation": {}});
    let mut params = json!({"name": "ask", "arguments": {}, "_meta": meta});
    let asked = gateway.modern("/mcp", "tools/call", params.clone()).json();
    assert_eq!(asked["result"]["resultType"], "input_required", "{asked}");
    let questions = asked["result"]["inputRequests"].as_object();
    let (key, _) = questions.expect("questions").iter().next().expect("one");
    params["inputResponses"] = json!({key: {"action": "accept", "content": {"value": true}}});
    params["requestState"] = asked["result"]["requestState"].clone();
    let answered = gateway.modern("/mcp", "tools/call", params).json();
    assert_eq!(shown(&answered), "accept: True");
}

#[test]
fn a_call_that_never_ends_holds_up_neither_its_caller_nor_the_end() {
    let (mut gateway, _folder) = gateway("[servers.inside.tools.stuck]\ntotal_timeout = \"1s\"\n");
    let late = gateway.call("stuck", json!({})).json();
    let message = late["error"]["message"].as_str().unwrap_or_default();
    assert!(message.starts_with("Deadline exceeded"), "{late}");
    assert_eq!(
        gateway.call("add", json!({"a": 1, "b": 1})).json()["result"]["isError"],
        Value::Null
    );
    assert!(
        gateway.log().contains("its thread is given up"),
        "{}",
        gateway.log()
    );
    assert_eq!(gateway.stop(), Some(0));
}

#[test]
fn nothing_but_the_protocol_reaches_a_client_on_stdio() {
    let folder = tempfile::tempdir().expect("a folder");
    let file = folder.path().join("toolbus.toml");
    std::fs::write(&file, section(&folder, CODE)).expect("written");
    let log = std::fs::File::create(folder.path().join("log")).expect("a log");
    let child = command(folder.path())
        .arg("stdio")
        .arg(&file)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(log)
        .spawn();
    let mut child = Owned(child.expect("toolbus starts"));
    let params = json!({"name": "noise", "arguments": {}, "_meta": meta()});
    let request = json!({"jsonrpc": "2.0", "id": 1, "method": "tools/call", "params": params});
    let mut stdin = child.stdin.take().expect("a pipe");
    writeln!(stdin, "{request}").expect("sent");
    let mut lines = BufReader::new(child.stdout.take().expect("a pipe")).lines();
    let first = lines.next().expect("a line").expect("text");
    let answer: Value = serde_json::from_str(&first).unwrap_or_else(|_| panic!("{first}"));
    assert_eq!(shown(&answer), "b''", "standard input is empty");
    drop(stdin);
    assert!(lines.next().is_none(), "and nothing else");
    let said = std::fs::read_to_string(folder.path().join("log")).expect("a log");
    for way in ["print", "os.write", "echo", "puts"] {
        assert!(said.lines().any(|line| line == way), "{way} in {said}");
    }
}

/// What one process cannot contain. It is in the documents, and the log names the function.
#[test]
fn a_crash_ends_the_process_and_the_log_says_where() {
    let (mut gateway, _folder) = gateway("");
    let request = support::modern_request(
        "/mcp",
        "tools/call",
        json!({"name": "crash", "arguments": {}}),
    );
    let mut stream = gateway.connect();
    stream.write_all(&request).expect("sent");
    wait_for("the process ends", || {
        gateway.child.try_wait().expect("a status").is_some()
    });
    let log = gateway.log();
    assert!(log.contains("Segmentation fault"), "{log}");
    assert!(log.contains("in crash"), "{log}");
}

#[test]
fn a_module_that_cannot_be_imported_says_why() {
    let folder = tempfile::tempdir().expect("a folder");
    let section = section(&folder, "import no_such_package_of_anybody\n");
    let gateway = Gateway::start(&section);
    assert_eq!(gateway.state("inside"), "down");
    wait_for("the log says why", || {
        gateway.log().contains("no_such_package_of_anybody")
    });
}
