//! Servers of older revisions that ask in mid-call: their questions reach modern callers, and the answers reach them.

mod support;

use std::io::{BufRead as _, BufReader, Write as _};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use serde_json::{Value, json};
use support::{Answer, Gateway, text, wait_for, workspace};
use tempfile::TempDir;

/// A gateway before a server that asks (`servers/asker.py`), and the file in which that writes what it hears.
struct Place {
    gateway: Gateway,
    heard: PathBuf,
    _folder: TempDir,
}

impl Place {
    fn new(arguments: &[&str], settings: &str, callers: &str) -> Self {
        let folder = tempfile::tempdir().expect("a folder");
        let heard = folder.path().join("heard");
        let script = workspace("crates/toolbus/tests/servers/asker.py");
        let mut command = vec!["python3".to_owned(), text(&script), text(&heard)];
        command.extend(arguments.iter().map(|argument| (*argument).to_owned()));
        let command = json!(command);
        let config = format!(
            "{callers}\n[servers.asker]\n{settings}\n[servers.asker.stdio]\ncommand = {command}\n"
        );
        Self {
            gateway: Gateway::start(&config),
            heard,
            _folder: folder,
        }
    }

    fn asker() -> Self {
        Self::new(&[], "", "")
    }

    /// How often the server heard this.
    fn heard(&self, line: &str) -> usize {
        let text = std::fs::read_to_string(&self.heard).unwrap_or_default();
        text.lines().filter(|known| *known == line).count()
    }
}

/// The fixture at a URL.
struct Fixture {
    _child: support::Owned,
    url: String,
}

impl Fixture {
    fn start(era: &str) -> Self {
        let mut child = Command::new(support::testkit("fixture"))
            .args(["http", "--era", era])
            .stdout(Stdio::piped())
            .spawn()
            .expect("the fixture starts");
        let mut url = String::new();
        let stdout = child.stdout.take().expect("a pipe");
        BufReader::new(stdout).read_line(&mut url).expect("a line");
        Self {
            _child: support::Owned(child),
            url: url.trim().to_owned(),
        }
    }
}

fn everything() -> Value {
    json!({"elicitation": {"form": {}, "url": {}}, "sampling": {}, "roots": {"listChanged": true}})
}

fn elicitation() -> Value {
    json!({"elicitation": {}})
}

/// A call's parameters, of a client with these capabilities.
fn params(tool: &str, capabilities: &Value) -> Value {
    json!({"name": tool, "arguments": {}, "_meta": {"io.modelcontextprotocol/clientCapabilities": capabilities}})
}

/// The same call, with answers to what was asked.
fn retry(params: &Value, asked: &Value, answers: Value) -> Value {
    let mut params = params.clone();
    params["requestState"] = asked["requestState"].clone();
    params["inputResponses"] = answers;
    params
}

fn send(gateway: &Gateway, params: &Value) -> Answer {
    gateway.modern("/mcp", "tools/call", params.clone())
}

/// What a call came to: its result, or its error.
fn ended(answer: &Answer) -> Value {
    let json = answer.json();
    json.get("result")
        .or(json.get("error"))
        .cloned()
        .unwrap_or_else(|| panic!("{}", answer.text()))
}

fn call(gateway: &Gateway, params: &Value) -> Value {
    ended(&send(gateway, params))
}

/// The questions of a result, by key.
fn questions(result: &Value) -> &serde_json::Map<String, Value> {
    assert_eq!(result["resultType"], "input_required", "{result}");
    result["inputRequests"].as_object().expect("questions")
}

fn key(result: &Value) -> String {
    questions(result).keys().next().expect("a question").clone()
}

/// The text that a tool gave.
fn said(result: &Value) -> &str {
    assert_eq!(result["resultType"], "complete", "{result}");
    result["content"][0]["text"].as_str().expect("text")
}

/// The text that a tool gave, where it is JSON.
fn told(result: &Value) -> Value {
    serde_json::from_str(said(result)).expect("JSON")
}

#[test]
fn form_url_sampling_and_defaults_pass_on_stdio_and_http() {
    let at_url = Fixture::start("legacy");
    let servers = [
        Gateway::server("fx", "fixture", &["stdio", "--era", "legacy"]),
        format!("[servers.fx.http]\nurl = \"{}\"\n", at_url.url),
    ];
    for config in servers {
        let gateway = Gateway::start(&config);
        let cases = [
            (
                "test_elicitation",
                json!({"message": "m"}),
                "elicitation/create",
                json!({"action": "accept", "content": {"username": "u", "email": "e@x"}}),
                "\"username\":\"u\"",
            ),
            (
                "test_elicitation_url",
                json!({}),
                "elicitation/create",
                json!({"action": "accept"}),
                "action=accept",
            ),
            (
                "test_elicitation_sep1034_defaults",
                json!({}),
                "elicitation/create",
                json!({"action": "decline"}),
                "action=decline",
            ),
            (
                "test_sampling",
                json!({"prompt": "p"}),
                "sampling/createMessage",
                json!({"role": "assistant", "model": "m", "content": {"type": "text", "text": "blue"}, "resultType": "complete"}),
                "blue",
            ),
        ];
        for (tool, arguments, method, answer, seen) in cases {
            let mut first = params(tool, &everything());
            first["arguments"] = arguments;
            let asked = call(&gateway, &first);
            let key = key(&asked);
            assert_eq!(asked["inputRequests"][&key]["method"], method, "{asked}");
            let result = call(&gateway, &retry(&first, &asked, json!({key: answer})));
            assert!(said(&result).contains(seen), "{tool}: {result}");
        }
    }
}

#[test]
fn a_server_lists_what_it_has_for_clients_that_can_be_asked() {
    let place = Place::asker();
    let listed = place.gateway.modern("/mcp", "tools/list", json!({})).json();
    let names = listed["result"]["tools"].as_array().expect("tools").iter();
    assert!(names.clone().any(|tool| tool["name"] == "two"), "{listed}");
}

#[test]
fn two_questions_of_one_call_are_asked_together_and_what_is_missing_again() {
    let (place, first) = (Place::asker(), params("two", &everything()));
    let asked = call(&place.gateway, &first);
    let methods: Vec<_> = questions(&asked)
        .values()
        .map(|question| &question["method"])
        .collect();
    assert_eq!(methods, ["elicitation/create", "sampling/createMessage"]);
    let answers = json!({"q2": {"role": "assistant"}, "unknown": {}, "q1": "no object"});
    let again = call(&place.gateway, &retry(&first, &asked, answers));
    assert_eq!(questions(&again).keys().collect::<Vec<_>>(), ["q1"]);
    assert_ne!(again["requestState"], asked["requestState"]);
    let result = call(
        &place.gateway,
        &retry(&first, &again, json!({"q1": {"action": "decline"}})),
    );
    assert_eq!(
        told(&result),
        json!([{"action": "decline"}, {"role": "assistant"}])
    );
}

#[test]
fn a_server_is_told_what_its_caller_can_do_and_nothing_more() {
    let place = Place::asker();
    let shown = |capabilities: &Value| told(&call(&place.gateway, &params("show", capabilities)));
    let base = shown(&json!({}));
    assert_eq!(base["capabilities"], json!({}));
    assert_eq!(
        shown(&json!({"extensions": {"x/y": {}}})),
        base,
        "nothing to ask"
    );
    let asked = json!({
        "elicitation": {"url": {}}, "tasks": {"list": {}}, "roots": {"listChanged": true, "x": 1},
        "extensions": {"io.modelcontextprotocol/tasks": {}}, "experimental": {"mine": {"a": [1]}},
    });
    let told = shown(&asked);
    assert_eq!(
        told["capabilities"],
        json!({"elicitation": {"url": {}}, "roots": {"x": 1}, "experimental": {"mine": {"a": [1]}}})
    );
    let other = shown(&elicitation());
    assert_eq!(other["capabilities"], elicitation());
    let pids = [&base["pid"], &told["pid"], &other["pid"]];
    assert!(
        pids[0] != pids[1] && pids[1] != pids[2] && pids[0] != pids[2],
        "{pids:?}"
    );
    assert_eq!(
        shown(&elicitation())["pid"],
        other["pid"],
        "one after the other meet the same"
    );
}

#[test]
fn what_a_caller_did_not_declare_is_refused_before_it_sees_it() {
    let place = Place::asker();
    let answers = |tool: &str, capabilities: Value| {
        told(&call(&place.gateway, &params(tool, &capabilities)))[0]["code"].clone()
    };
    assert_eq!(answers("ask", json!({})), -32601);
    assert_eq!(answers("ask", json!({"sampling": {}})), -32601);
    assert_eq!(
        answers("ask", json!({"elicitation": {"url": {}}})),
        -32602,
        "another mode"
    );
    assert_eq!(answers("page", elicitation()), -32602, "another mode");
    assert_eq!(answers("other", everything()), -32601);
}

#[test]
fn calls_that_wait_have_processes_of_their_own() {
    let (place, first) = (Place::asker(), params("ask", &elicitation()));
    let one = call(&place.gateway, &first);
    let two = call(&place.gateway, &first);
    for (asked, name) in [(two, "second"), (one, "first")] {
        let answer = json!({"q1": {"action": "accept", "content": {"name": name}}});
        let result = call(&place.gateway, &retry(&first, &asked, answer.clone()));
        assert_eq!(told(&result), json!([answer["q1"]]));
    }
}

#[test]
fn progress_comes_before_and_after_a_question_and_only_increases() {
    let place = Place::asker();
    let mut first = params("steps", &elicitation());
    first["_meta"]["progressToken"] = "mine".into();
    let steps = |answer: &Answer| -> Vec<f64> {
        let messages = answer.messages();
        let told = messages
            .iter()
            .filter(|m| m["method"] == "notifications/progress");
        told.inspect(|m| assert_eq!(m["params"]["progressToken"], "mine"))
            .map(|m| m["params"]["progress"].as_f64().expect("a number"))
            .collect()
    };
    let answer = send(&place.gateway, &first);
    assert_eq!(steps(&answer), [1.0, 2.0]);
    let answer = send(
        &place.gateway,
        &retry(&first, &ended(&answer), json!({"q1": {"action": "accept"}})),
    );
    assert_eq!(steps(&answer), [2.5, 4.0]);
    assert_eq!(told(&ended(&answer)), "done");
}

#[test]
fn a_server_that_dies_while_its_question_waits_is_named_to_the_retry() {
    let (place, first) = (Place::asker(), params("die", &elicitation()));
    let asked = call(&place.gateway, &first);
    wait_for("the server is dead", || {
        place.gateway.log().contains("exit status 3")
    });
    let error = call(
        &place.gateway,
        &retry(&first, &asked, json!({"q1": {"action": "accept"}})),
    );
    assert_eq!(error["code"], -31003, "{error}");
    let cause = &error["data"]["cause"];
    assert_eq!(cause["status"], "exit status 3");
    assert!(
        cause["stderr"]
            .as_str()
            .is_some_and(|words| words.contains("out of patience")),
        "{error}"
    );
    let next = call(&place.gateway, &params("ask", &elicitation()));
    assert_eq!(questions(&next).len(), 1, "another process serves");
}

#[test]
fn a_server_that_does_without_an_answer_has_its_result_for_the_retry() {
    let (place, first) = (Place::asker(), params("give_up", &elicitation()));
    let asked = call(&place.gateway, &first);
    // It waits for 0.3 s.
    std::thread::sleep(std::time::Duration::from_secs(3));
    let result = call(&place.gateway, &retry(&first, &asked, json!({})));
    assert_eq!(told(&result), "never mind");
}

#[test]
fn a_state_serves_once_and_only_its_own_call() {
    let (place, first) = (Place::asker(), params("ask", &elicitation()));
    let asked = call(&place.gateway, &first);
    let answers = json!({"q1": {"action": "accept"}});
    let mut forged = asked.clone();
    forged["requestState"] = "parked-01a1f95fe82e741a93a868a7503055a2".into();
    assert_eq!(
        call(&place.gateway, &retry(&first, &forged, answers.clone()))["code"],
        -32602
    );
    let other = params("two", &elicitation());
    assert_eq!(
        call(&place.gateway, &retry(&other, &asked, answers.clone()))["code"],
        -32602
    );
    let result = call(&place.gateway, &retry(&first, &asked, answers.clone()));
    assert_eq!(told(&result), json!([{"action": "accept"}]));
    let lost = call(&place.gateway, &retry(&first, &asked, answers));
    assert_eq!(lost["code"], -31006, "{lost}");
    let message = lost["message"].as_str().expect("text");
    assert!(message.contains("Make the request anew"), "{message}");
}

#[test]
fn a_resumed_call_whose_caller_leaves_is_cancelled_at_the_server() {
    let (place, first) = (Place::asker(), params("hang", &elicitation()));
    let shown = told(&call(&place.gateway, &params("show", &elicitation())));
    let pid = shown["pid"].as_u64().and_then(|pid| pid.try_into().ok());
    let pid: u32 = pid.expect("a number");
    let asked = call(&place.gateway, &first);
    let retry = retry(&first, &asked, json!({"q1": {"action": "accept"}}));
    let mut connection = place.gateway.connect();
    let request = support::modern_request("/mcp", "tools/call", retry);
    connection.write_all(&request).expect("sent");
    wait_for("the server has the answer", || place.heard("hanging") == 1);
    assert_eq!(
        place.heard("notifications/cancelled"),
        0,
        "its first call has long ended"
    );
    drop(connection);
    wait_for("the server hears of it", || {
        place.heard("notifications/cancelled") == 1
    });
    // It keeps its state for this caller, whose call comes next.
    let shown = told(&call(&place.gateway, &params("show", &elicitation())));
    assert_eq!(shown["pid"], pid);
}

#[test]
fn roots_that_a_server_asks_for_at_its_start_are_asked_in_the_first_call() {
    let place = Place::new(&["roots"], "", "");
    let first = params("show", &json!({"roots": {}}));
    // The server may have answered the call before its question was seen.
    let shown = call(&place.gateway, &first);
    let shown = match shown["resultType"].as_str() {
        Some("input_required") => {
            assert_eq!(shown["inputRequests"]["q1"]["method"], "roots/list");
            let roots = json!({"q1": {"roots": [{"uri": "file:///a"}]}});
            call(&place.gateway, &retry(&first, &shown, roots))
        }
        _ => shown,
    };
    assert!(told(&shown)["pid"].is_number(), "{shown}");
}

#[test]
fn pages_that_must_be_opened_first_are_asked_for_and_the_tool_is_called_afresh() {
    let place = Place::asker();
    let first = params("locked", &everything());
    let asked = call(&place.gateway, &first);
    let key = key(&asked);
    let question = &asked["inputRequests"][&key];
    assert_eq!(question["method"], "elicitation/create");
    assert_eq!(question["params"]["url"], "https://example.com/key");
    let declined = call(
        &place.gateway,
        &retry(&first, &asked, json!({&key: {"action": "decline"}})),
    );
    assert_eq!(declined["code"], -32603, "{declined}");
    let result = call(
        &place.gateway,
        &retry(&first, &asked, json!({key: {"action": "accept"}})),
    );
    assert_eq!(told(&result), "open");
    let error = call(&place.gateway, &params("locked", &elicitation()));
    assert_eq!(error["code"], -32021, "{error}");
    assert_eq!(
        error["data"]["requiredCapabilities"],
        json!({"elicitation": {"url": {}}})
    );
}

#[test]
fn the_log_level_of_a_session_follows_the_lowest_that_was_asked_for() {
    let place = Place::asker();
    let mut asking = params("show", &json!({}));
    for level in ["warning", "error", "debug", "info"] {
        asking["_meta"]["io.modelcontextprotocol/logLevel"] = level.into();
        told(&call(&place.gateway, &asking));
    }
    let all = std::fs::read_to_string(&place.heard).expect("it heard");
    let levels: Vec<_> = all
        .lines()
        .filter(|line| line.starts_with("logging"))
        .collect();
    assert_eq!(
        levels,
        ["logging/setLevel warning", "logging/setLevel debug"]
    );
}

#[test]
fn each_caller_has_a_process_of_its_own_where_it_is_configured() {
    let callers = "[callers.ann]\ntoken = \"a-token\"\n[callers.bob]\ntoken = \"b-token\"\n";
    let pid = |place: &Place, token: &str, capabilities: &Value| {
        let request = support::modern_request("/mcp", "tools/call", params("show", capabilities));
        let request = String::from_utf8(request).expect("text");
        let request =
            request.replacen("\r\n", &format!("\r\nauthorization: Bearer {token}\r\n"), 1);
        told(&ended(&place.gateway.send(request.as_bytes())))["pid"].clone()
    };
    let alone = Place::new(&[], "sessions = \"per-caller\"", callers);
    let shared = Place::new(&[], "", callers);
    for capabilities in [json!({}), elicitation()] {
        let of = |place, token| pid(place, token, &capabilities);
        assert_ne!(
            of(&alone, "a-token"),
            of(&alone, "b-token"),
            "{capabilities}"
        );
        assert_eq!(
            of(&alone, "a-token"),
            of(&alone, "a-token"),
            "{capabilities}"
        );
        assert_eq!(
            of(&shared, "a-token"),
            of(&shared, "b-token"),
            "{capabilities}"
        );
    }
    let roots = json!({"roots": {}});
    assert_ne!(
        pid(&shared, "a-token", &roots),
        pid(&shared, "b-token", &roots),
        "roots are a caller's own"
    );
}

#[test]
fn a_server_that_runs_only_once_serves_without_asking() {
    let folder = tempfile::tempdir().expect("a folder");
    let (script, lock) = (
        workspace("crates/toolbus/tests/servers/asker.py"),
        folder.path().join("lock"),
    );
    let once = format!(
        "mkdir {} || exit 1; exec python3 {} {}",
        text(&lock),
        text(&script),
        text(Path::new("/dev/null"))
    );
    let command = json!(["sh", "-c", once]);
    let gateway = Gateway::start(&format!("[servers.once.stdio]\ncommand = {command}\n"));
    let shown = told(&call(&gateway, &params("show", &everything())));
    assert_eq!(shown["capabilities"], json!({}));
}
