//! Tool runners behind a gateway: the reference runner over TCP and Unix sockets, and runners that misbehave.

#[path = "runner/faulty.rs"]
mod faulty;
#[path = "runner/reference.rs"]
mod reference;
mod support;

use std::io::{BufRead, BufReader, Read as _, Write as _};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use serde_json::{Value, json};
use support::{Gateway, Owned, text, wait_for, workspace};
use tempfile::TempDir;

use reference::{Over, Reference, TOOLS, python};

fn ask(gateway: &Gateway, method: &str, params: Value) -> Value {
    gateway.modern("/mcp", method, params).json()
}

fn said(answer: &Value) -> &str {
    let content = &answer["result"]["content"][0]["text"];
    content
        .as_str()
        .unwrap_or_else(|| panic!("no text: {answer}"))
}

#[test]
fn tools_run_over_tcp_and_over_a_unix_socket() {
    let Some(python) = python() else { return };
    for over in [Over::Tcp, Over::Unix] {
        let runner = Reference::start(&python, TOOLS, over);
        let gateway = runner.gateway();
        assert!(gateway.tools("/mcp").contains(&"add".to_owned()));
        for _ in 0..3 {
            let added = gateway.call("add", json!({"a": 1, "b": 2})).json();
            assert_eq!(said(&added), "3", "{over:?}");
            assert_eq!(
                added["result"]["structuredContent"],
                json!({"result": 3}),
                "{added}"
            );
        }
        let failed = gateway.call("fail", json!({})).json();
        assert_eq!(failed["result"]["isError"], true, "{failed}");
        assert_eq!(said(&failed), "as it should");
        let large = gateway.call("large", json!({"size": 5_000_000})).json();
        assert_eq!(said(&large).len(), 5_000_000);
        let wrong = gateway.call("add", json!({"a": "x"})).json();
        assert_eq!(wrong["result"]["isError"], true, "{wrong}");
        let unknown = gateway.call("nothing", json!({})).json();
        assert_eq!(unknown["error"]["code"], -32602, "{unknown}");
    }
}

#[test]
fn progress_and_log_lines_arrive_in_the_course_of_a_call() {
    let Some(python) = python() else { return };
    let runner = Reference::start(&python, TOOLS, Over::Unix);
    let gateway = runner.gateway();
    let meta = json!({"progressToken": "mine", "io.modelcontextprotocol/logLevel": "info"});
    let params = json!({"name": "count", "arguments": {"n": 3}, "_meta": meta});
    let messages = gateway.modern("/mcp", "tools/call", params).messages();
    let of = |method: &str| -> Vec<Value> {
        let of = messages.iter().filter(|said| said["method"] == method);
        of.map(|said| said["params"].clone()).collect()
    };
    let report =
        |n| json!({"progress": n, "total": 3, "message": "on it", "progressToken": "mine"});
    assert_eq!(
        of("notifications/progress"),
        [report(1), report(2), report(3)]
    );
    let log = json!({"level": "info", "data": "a line"});
    assert_eq!(of("notifications/message"), vec![log; 3], "{messages:?}");
    assert_eq!(said(messages.last().expect("a result")), "counted");
}

#[test]
fn a_sign_of_life_moves_the_limit_and_silence_does_not() {
    let Some(python) = python() else { return };
    let runner = Reference::start(&python, TOOLS, Over::Unix);
    let gateway = Gateway::start(&format!(
        "[servers.py]\nidle_timeout = \"4s\"\n{}",
        runner.section("py")
    ));
    let alive = gateway
        .call("beat", json!({"times": 10, "pause": 0.6}))
        .json();
    assert_eq!(said(&alive), "alive");
    let silent = gateway
        .call("wait", json!({"at": text(&runner.path("gone"))}))
        .json();
    assert_eq!(silent["error"]["code"], -31002, "{silent}");
    // The function was cancelled, too.
    wait_for("the function is cancelled", || runner.path("gone").exists());
}

#[test]
fn a_question_of_a_tool_goes_to_its_caller_and_back() {
    let Some(python) = python() else { return };
    let runner = Reference::start(&python, TOOLS, Over::Unix);
    let gateway = runner.gateway();
    let meta = json!({"io.modelcontextprotocol/clientCapabilities": {"elicitation": {"form": {}}}});
    let call = json!({"name": "sure", "arguments": {}, "_meta": meta});
    let asked = ask(&gateway, "tools/call", call.clone());
    assert_eq!(asked["result"]["resultType"], "input_required", "{asked}");
    let questions = asked["result"]["inputRequests"]
        .as_object()
        .expect("questions");
    let (key, question) = questions.iter().next().expect("a question");
    assert_eq!(question["params"]["message"], "Sure?");
    let mut again = call;
    again["requestState"] = asked["result"]["requestState"].clone();
    again["inputResponses"] = json!({key: {"action": "accept", "content": {"value": true}}});
    assert_eq!(said(&ask(&gateway, "tools/call", again)), "accept True");
    let unasked = gateway.call("sure", json!({})).json();
    assert_eq!(unasked["error"]["code"], -32021, "{unasked}");
}

#[test]
fn who_leaves_cancels_the_function() {
    let Some(python) = python() else { return };
    let runner = Reference::start(&python, TOOLS, Over::Tcp);
    let gateway = runner.gateway();
    let gone = runner.path("gone");
    let request = support::modern_request(
        "/mcp",
        "tools/call",
        json!({"name": "wait", "arguments": {"at": text(&gone)}}),
    );
    let mut stream = gateway.connect();
    stream.write_all(&request).expect("sent");
    wait_for("the call has begun", || runner.path("gone.begun").exists());
    drop(stream);
    wait_for("the function is cancelled", || gone.exists());
    assert_eq!(
        said(&gateway.call("add", json!({"a": 1, "b": 1})).json()),
        "2"
    );
}

#[test]
fn a_runner_that_dies_is_named_and_comes_back_with_what_it_has_then() {
    let Some(python) = python() else { return };
    let mut runner = Reference::start(&python, TOOLS, Over::Unix);
    let gateway = runner.gateway();
    let request = support::modern_request(
        "/mcp",
        "tools/call",
        json!({"name": "wait", "arguments": {"at": text(&runner.path("gone"))}}),
    );
    let mut stream = gateway.connect();
    stream.write_all(&request).expect("sent");
    wait_for("the call has begun", || runner.path("gone.begun").exists());
    runner.kill();
    let mut answer = String::new();
    let _ = stream.read_to_string(&mut answer);
    assert!(
        answer.contains("-31003") && answer.contains("connection was lost"),
        "{answer}"
    );
    // A connection that was kept may have to be found broken first.
    let mut down = Value::Null;
    wait_for("it is known to be down", || {
        down = gateway.call("add", json!({"a": 1, "b": 2})).json();
        down["error"]["code"] == -31001
    });
    let why = down["error"]["message"].as_str().unwrap_or_default();
    assert!(
        why.contains("cannot be reached") && why.contains("r.sock"),
        "{why}"
    );
    let more = format!(
        "{TOOLS}\n@worker.tool()\ndef another() -> str:\n    \"New.\"\n    return \"new\"\n"
    );
    runner.again(&python, &more);
    wait_for("the new tool is listed", || {
        gateway.tools("/mcp").contains(&"another".to_owned())
    });
    assert_eq!(said(&gateway.call("another", json!({})).json()), "new");
}

#[test]
fn resources_prompts_and_completions_are_those_of_the_runner() {
    let Some(python) = python() else { return };
    let runner = Reference::start(&python, reference::SERVER, Over::Unix);
    let gateway = runner.gateway();
    let listed = ask(&gateway, "resources/list", json!({}));
    assert_eq!(listed["result"]["resources"][0]["uri"], "test://text");
    let templates = ask(&gateway, "resources/templates/list", json!({}));
    assert_eq!(
        templates["result"]["resourceTemplates"][0]["uriTemplate"],
        "test://of/{name}"
    );
    let contents = |uri: &str| {
        let read = ask(&gateway, "resources/read", json!({"uri": uri}));
        read["result"]["contents"][0]["text"].clone()
    };
    assert_eq!(contents("test://text"), "a text");
    assert_eq!(contents("test://of/it"), "of it");
    let missing = ask(&gateway, "resources/read", json!({"uri": "test://none"}));
    assert_eq!(missing["error"]["data"]["uri"], "test://none", "{missing}");
    let params = json!({"name": "greet", "arguments": {"name": "Ann"}});
    let got = ask(&gateway, "prompts/get", params);
    assert_eq!(
        got["result"]["messages"][0]["content"]["text"], "Greet Ann",
        "{got}"
    );
    let reference = json!({"type": "ref/prompt", "name": "greet"});
    let params = json!({"ref": reference, "argument": {"name": "name", "value": "A"}});
    let completed = ask(&gateway, "completion/complete", params);
    assert_eq!(
        completed["result"]["completion"]["values"],
        json!(["Ann", "Abe"]),
        "{completed}"
    );
}

#[test]
fn a_token_is_shown_to_the_runner() {
    let Some(python) = python() else { return };
    let runner = Reference::start_with(&python, TOOLS, Over::Tcp, Some("secret"));
    let with = |bearer: &str| Gateway::start(&format!("{}{bearer}", runner.section("py")));
    let known = with("bearer = \"secret\"\n");
    assert_eq!(
        said(&known.call("add", json!({"a": 1, "b": 2})).json()),
        "3"
    );
    let unknown = with("");
    assert_eq!(unknown.state("py"), "down");
    let doctor = unknown.log();
    assert!(!doctor.contains("secret"), "{doctor}");
}

#[test]
fn three_lines_start_a_runner_and_start_it_again() {
    let Some(python) = python() else { return };
    let folder = tempfile::tempdir().expect("a folder");
    let file = folder.path().join("tools.py");
    std::fs::write(&file, TOOLS).expect("written");
    let command = json!([python, "-m", "toolbus.runner", text(&file)]);
    let gateway = Gateway::start(&format!(
        "[servers.py.runner]\ncommand = {command}\n{}",
        reference::env()
    ));
    assert_eq!(
        said(&gateway.call("add", json!({"a": 1, "b": 2})).json()),
        "3"
    );
    let died = gateway.call("die", json!({})).json();
    assert_eq!(died["error"]["code"], -31003, "{died}");
    wait_for("it was started again", || {
        let answer = gateway.call("add", json!({"a": 1, "b": 2})).json();
        answer["result"]["content"][0]["text"] == "3"
    });
}

#[test]
fn a_command_that_cannot_serve_says_why() {
    let Some(python) = python() else { return };
    let folder = tempfile::tempdir().expect("a folder");
    let file = folder.path().join("tools.py");
    std::fs::write(&file, "import nothing_of_this_name\n").expect("written");
    let config = folder.path().join("toolbus.toml");
    let command = json!([python, "-m", "toolbus.runner", text(&file)]);
    let section = format!(
        "[servers.py.runner]\ncommand = {command}\n{}",
        reference::env()
    );
    std::fs::write(&config, section).expect("written");
    let mut doctor = support::command(folder.path());
    let output = doctor.arg("doctor").arg(&config).output().expect("an end");
    let shown = String::from_utf8_lossy(&output.stdout);
    assert!(!output.status.success(), "{shown}");
    assert!(
        shown.contains("nothing_of_this_name") && shown.contains("exit status 2"),
        "{shown}"
    );
}

#[test]
fn a_python_file_is_a_section_of_its_own() {
    let Some(python) = python() else { return };
    let folder = tempfile::tempdir().expect("a folder");
    // A name that is also Python's own.
    let file = folder.path().join("math.py");
    std::fs::write(&file, TOOLS).expect("written");
    let (file, python) = (json!(file), json!(python));
    let gateway = Gateway::start(&format!(
        "[servers.math.python]\nfile = {file}\ninterpreter = {python}\n{}",
        reference::env()
    ));
    assert_eq!(
        said(&gateway.call("add", json!({"a": 1, "b": 2})).json()),
        "3"
    );
}

#[test]
fn the_example_serves_what_it_says() {
    if python().is_none() {
        return;
    }
    let config = std::fs::read_to_string(workspace("examples/runner/toolbus.toml"));
    let top = text(&workspace(""));
    let config = config
        .expect("the example")
        .replace("\".venv/", &format!("\"{top}/.venv/"))
        .replace("\"examples/", &format!("\"{top}/examples/"));
    let gateway = Gateway::start(&format!("{config}{}", reference::env()));
    let counted = gateway
        .call("count", json!({"text": "to be or not to be"}))
        .json();
    assert_eq!(
        counted["result"]["structuredContent"],
        json!({"to": 2, "be": 2, "or": 1}),
        "{counted}"
    );
    let read = gateway
        .call("read_slowly", json!({"text": "word by word"}))
        .json();
    assert_eq!(said(&read), "3 words");
}
