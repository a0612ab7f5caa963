//! Two gateways behind a round robin: what either can answer, and what only the one that began can.

mod support;

use serde_json::{Value, json};
use support::events::Events;
use support::{Answer, Gateway, Session, post, wait_for};

const KEY: &str = "state_key = \"0123456789abcdef0123456789abcdef\"\n";

fn pair(era: &str) -> [Gateway; 2] {
    let server = Gateway::server("fixture", "fixture", &["stdio", "--era", era]);
    [(); 2].map(|()| Gateway::start_with(KEY, &server))
}

fn asking(gateway: &Gateway, more: &Value) -> Answer {
    let mut params = json!({
        "name": "test_input_required_result_request_state", "arguments": {},
        "_meta": {"io.modelcontextprotocol/clientCapabilities": {"elicitation": {}}},
    });
    if let (Some(params), Some(more)) = (params.as_object_mut(), more.as_object()) {
        params.extend(more.clone());
    }
    gateway.modern("/mcp", "tools/call", params)
}

#[test]
fn a_session_is_served_by_either_and_ended_where_its_end_was_heard() {
    let [a, b] = pair("both");
    let session = Session::open(&a);
    let ask = |gateway: &Gateway| {
        let body = json!({"jsonrpc": "2.0", "id": 1, "method": "tools/list"}).to_string();
        gateway
            .send(&post("/mcp", &session.headers(), &body))
            .status
    };
    assert_eq!((ask(&a), ask(&b)), (200, 200));
    let delete = format!(
        "DELETE /mcp HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\n{}\r\n",
        session.headers()
    );
    assert_eq!(b.send(delete.as_bytes()).status, 204);
    assert_eq!(ask(&b), 404);
}

#[test]
fn a_state_of_a_modern_server_is_taken_by_either() {
    let [a, b] = pair("modern");
    let asked = asking(&a, &json!({})).json();
    let result = &asked["result"];
    assert_eq!(result["resultType"], "input_required", "{asked}");
    let questions = result["inputRequests"].as_object().expect("questions");
    let answers: Value = questions
        .keys()
        .map(|key| (key.clone(), json!({"action": "accept", "content": {"ok": true, "confirmed": true, "name": "x"}})))
        .collect::<serde_json::Map<_, _>>()
        .into();
    let retry = json!({"inputResponses": answers, "requestState": result["requestState"]});
    let done = asking(&b, &retry).json();
    assert_eq!(done["result"]["resultType"], "complete", "{done}");

    let state = result["requestState"].as_str().expect("a state");
    let bent = format!("{}A", &state[..state.len() - 1]);
    let bent = if bent == state {
        format!("{}B", &state[..state.len() - 1])
    } else {
        bent
    };
    let refused = asking(
        &b,
        &json!({"inputResponses": retry["inputResponses"], "requestState": bent}),
    );
    assert_eq!(
        refused.json()["error"]["code"],
        -32602,
        "{}",
        refused.text()
    );
    wait_for("a record that names the first call", || {
        let records = b.records();
        records.iter().any(|record| record["continues"].is_string())
    });
}

#[test]
fn a_call_that_an_older_server_holds_is_lost_elsewhere_and_says_so() {
    let [a, b] = pair("legacy");
    let params = json!({
        "name": "test_elicitation", "arguments": {"message": "who?"},
        "_meta": {"io.modelcontextprotocol/clientCapabilities": {"elicitation": {}}},
    });
    let asked = a.modern("/mcp", "tools/call", params.clone()).json();
    let result = &asked["result"];
    assert_eq!(result["resultType"], "input_required", "{asked}");
    let key = result["inputRequests"]
        .as_object()
        .and_then(|questions| questions.keys().next())
        .expect("a question");
    let mut retry = params;
    retry["requestState"] = result["requestState"].clone();
    retry["inputResponses"] = json!({key.as_str(): {"action": "accept", "content": {"username": "ada", "email": "a@b.c"}}});
    let lost = b.modern("/mcp", "tools/call", retry.clone()).json();
    assert_eq!(lost["error"]["code"], -31006, "{lost}");
    let done = a.modern("/mcp", "tools/call", retry).json();
    let text = done["result"]["content"][0]["text"]
        .as_str()
        .unwrap_or_default();
    assert!(text.contains("ada"), "{done}");
}

#[test]
fn an_answer_to_a_question_of_the_other_is_refused_aloud() {
    let [a, b] = pair("both");
    let session = Session::open_as(&a, "2025-11-25", json!({"elicitation": {}}));
    let body = json!({"jsonrpc": "2.0", "id": 1, "method": "tools/call", "params": {
        "name": "test_elicitation", "arguments": {"message": "who?"}}})
    .to_string();
    let mut stream = Events::open(&a, &post("/mcp", &session.headers(), &body));
    let question = stream.message().expect("a question");
    let reply = json!({"jsonrpc": "2.0", "id": question["id"], "result": {"action": "decline"}})
        .to_string();
    let elsewhere = b.send(&post("/mcp", &session.headers(), &reply));
    assert_eq!(elsewhere.status, 400, "{}", elsewhere.text());
    assert_eq!(
        a.send(&post("/mcp", &session.headers(), &reply)).status,
        202
    );
    assert_eq!(stream.message().expect("an answer")["id"], 1);
}
