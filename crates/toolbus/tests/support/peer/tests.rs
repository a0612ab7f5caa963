//! The clients refuse what a gateway must not send: here the gateway is a script that says one wrong thing.

use std::process::Command;

use serde_json::{Value, json};

use super::{Client, Revision, Way};

/// A client whose gateway says these lines after the first request that is not `initialize`.
fn hearing(revision: Revision, lines: &[Value]) -> Client {
    let opened =
        json!({ "jsonrpc": "2.0", "id": 1, "result": { "protocolVersion": revision.name() } });
    let mut script = Command::new("sh");
    script.arg("-c").arg(match revision.is_modern() {
        true => r#"read -r request; printf '%s\n' "$@"; cat > /dev/null"#,
        // `initialize`, `notifications/initialized`, the request.
        false => r#"read -r a; printf '%s\n' "$0"; read -r b; read -r c; printf '%s\n' "$@"; cat > /dev/null"#,
    });
    script.arg(opened.to_string());
    script.args(lines.iter().map(Value::to_string));
    Client::connect(Way::Stdio(script), revision, revision.capabilities()).expect("connected")
}

/// Makes a call that is answered with these lines, of which the client is to refuse one.
#[track_caller]
fn refuses(revision: Revision, lines: &[Value], word: &str) {
    let mut client = hearing(revision, lines);
    let params = json!({ "name": "t", "_meta": { "progressToken": "mine" } });
    let error = client.ask("tools/call", params).expect_err("it is wrong");
    assert!(error.contains(word), "{error:?} does not say {word:?}");
}

fn progress(token: &str, progress: u64) -> Value {
    let params = json!({ "progressToken": token, "progress": progress });
    json!({ "jsonrpc": "2.0", "method": "notifications/progress", "params": params })
}

fn done(id: u64) -> Value {
    let result = json!({ "resultType": "complete", "content": [{ "type": "text", "text": "ok" }] });
    json!({ "jsonrpc": "2.0", "id": id, "result": result })
}

fn roots(id: u64) -> Value {
    json!({ "jsonrpc": "2.0", "id": id, "method": "roots/list" })
}

#[test]
fn what_is_right_is_taken() {
    let mut client = hearing(
        Revision::V2026_07_28,
        &[progress("mine", 1), progress("mine", 2), done(1)],
    );
    let params = json!({ "name": "t", "_meta": { "progressToken": "mine" } });
    let result = client
        .ask("tools/call", params)
        .expect("in order")
        .expect("a result");
    assert_eq!(result["content"][0]["text"], "ok");
    assert_eq!(client.noticed("notifications/progress").len(), 2);
}

#[test]
fn what_is_wrong_is_refused() {
    let modern = Revision::V2026_07_28;
    refuses(modern, &[done(9)], "nothing that was asked");
    refuses(modern, &[roots(1)], "a request to a client of 2026-07-28");
    refuses(
        modern,
        &[progress("other", 1), done(1)],
        "progress of nothing",
    );
    refuses(
        modern,
        &[progress("mine", 2), progress("mine", 2), done(1)],
        "does not go up",
    );
    let changed = json!({ "jsonrpc": "2.0", "method": "notifications/tools/list_changed" });
    refuses(modern, &[changed, done(1)], "not here");
    let again = json!({ "jsonrpc": "2.0", "id": 1, "result": { "resultType": "input_required" } });
    refuses(modern, &[again], "neither a question nor a state");
    let legacy = Revision::V2025_11_25;
    refuses(legacy, &[roots(5), roots(5)], "used before");
    refuses(legacy, &[done(2)], "not of this revision");
}

#[test]
fn a_second_answer_is_refused() {
    let mut client = hearing(Revision::V2026_07_28, &[done(1), done(1)]);
    let first = client.ask("tools/call", json!({ "name": "t" }));
    assert!(first.is_ok_and(|outcome| outcome.is_ok()));
    let error = client
        .notice("notifications/message")
        .expect_err("it is wrong");
    assert!(error.contains("nothing that was asked"), "{error}");
}
