//! Sessions of older revisions: batches, streams of their own and streams taken up again, questions, HTTP+SSE.

mod support;

use serde_json::{Value, json};
use support::events::Events;
use support::{Gateway, Session, post};

fn gateway() -> Gateway {
    Gateway::start(&Gateway::server(
        "fixture",
        "fixture",
        &["stdio", "--era", "both"],
    ))
}

fn request(id: i64, method: &str, params: Value) -> Value {
    json!({"jsonrpc": "2.0", "id": id, "method": method, "params": params})
}

fn call(id: i64, tool: &str, arguments: Value) -> Value {
    request(
        id,
        "tools/call",
        json!({"name": tool, "arguments": arguments}),
    )
}

#[test]
fn a_batch_is_answered_in_the_one_revision_that_has_them() {
    let gateway = gateway();
    let session = Session::open_as(&gateway, "2025-03-26", json!({}));
    let batch = json!([
        request(1, "ping", json!({})),
        {"jsonrpc": "2.0", "method": "notifications/initialized"},
        call(2, "echo", json!({"message": "in a batch"})),
        request(3, "no/such/method/\u{e4}", json!({})),
        {"jsonrpc": "2.0", "id": 4},
    ]);
    let answer = session.send(&batch);
    assert_eq!(answer.status, 200, "{}", answer.text());
    let answers: Vec<Value> = serde_json::from_slice(&answer.body).expect("an array");
    let of = |id: i64| {
        answers
            .iter()
            .find(|answer| answer["id"] == id)
            .unwrap_or(&Value::Null)
    };
    assert_eq!(answers.len(), 4, "{answers:?}");
    assert_eq!(of(1)["result"], json!({}));
    assert!(
        of(2)["result"]["content"][0]["text"]
            .as_str()
            .is_some_and(|t| t.contains("in a batch"))
    );
    assert_eq!(of(3)["error"]["code"], -32601);
    assert_eq!(of(4)["error"]["code"], -32600);

    let notifications = json!([{"jsonrpc": "2.0", "method": "notifications/initialized"}]);
    assert_eq!(session.send(&notifications).status, 202);
    assert_eq!(session.send(&json!([])).json()["error"]["code"], -32600);

    for revision in ["2024-11-05", "2025-06-18", "2025-11-25"] {
        let other = Session::open_as(&gateway, revision, json!({}));
        let refused = other.send(&batch);
        assert_eq!(
            (refused.status, refused.json()["error"]["code"].as_i64()),
            (400, Some(-32600))
        );
    }
}

#[test]
fn a_session_has_a_stream_until_it_is_deleted() {
    let gateway = gateway();
    let session = Session::open(&gateway);
    let mut stream = Events::get(&gateway, "/mcp", &session.headers());
    assert_eq!(stream.status, 200);
    let first = stream.next().expect("a priming event");
    assert!(
        first.data.is_empty() && first.id.is_some() && first.retry.is_some(),
        "{first:?}"
    );

    let trigger = session.send(&call(1, "test_trigger_tool_change", json!({})));
    assert_eq!(trigger.status, 200);
    let told = stream.next().expect("a notice");
    assert_eq!(told.json()["method"], "notifications/tools/list_changed");

    // What comes while nobody reads is there when the stream is taken up again.
    drop(stream);
    session.send(&call(2, "test_trigger_prompt_change", json!({})));
    let headers = format!(
        "{}last-event-id: {}\r\n",
        session.headers(),
        told.id.expect("an id")
    );
    let mut again = Events::get(&gateway, "/mcp", &headers);
    let missed = again.message().expect("a notice");
    assert_eq!(missed["method"], "notifications/prompts/list_changed");

    let delete = format!(
        "DELETE /mcp HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\n{}\r\n",
        session.headers()
    );
    assert_eq!(gateway.send(delete.as_bytes()).status, 204);
    assert!(
        again.message().is_none(),
        "the stream ends with its session"
    );
    assert_eq!(session.ask("ping", json!({})).status, 404);
    assert_eq!(
        Events::get(&gateway, "/mcp", &session.headers()).status,
        404
    );
}

#[test]
fn a_call_goes_on_without_its_reader_and_its_answer_waits() {
    let gateway = gateway();
    let session = Session::open(&gateway);
    let params = json!({"name": "test_tool_with_progress", "arguments": {}, "_meta": {"progressToken": "p"}});
    let body = request(7, "tools/call", params).to_string();
    let mut stream = Events::open(&gateway, &post("/mcp", &session.headers(), &body));
    let seen = stream.next().expect("an event");
    drop(stream);
    let headers = format!(
        "{}last-event-id: {}\r\n",
        session.headers(),
        seen.id.expect("an id")
    );
    let mut again = Events::get(&gateway, "/mcp", &headers);
    let answer = loop {
        let message = again.message().expect("the answer");
        if message["id"] == 7 {
            break message;
        }
    };
    assert!(answer["result"]["content"].is_array(), "{answer}");
    assert!(again.message().is_none());

    let stranger = Session::open(&gateway);
    let headers = headers.replace(&session.id, &stranger.id);
    assert_eq!(Events::get(&gateway, "/mcp", &headers).status, 503);
}

#[test]
fn a_client_is_asked_on_the_calls_own_stream_and_may_refuse() {
    let gateway = gateway();
    let session = Session::open_as(
        &gateway,
        "2025-11-25",
        json!({"elicitation": {}, "sampling": {}}),
    );
    let ask = |id: i64, tool: &str, arguments: Value, answer: &dyn Fn(&Value) -> Value| {
        let body = call(id, tool, arguments).to_string();
        let mut stream = Events::open(&gateway, &post("/mcp", &session.headers(), &body));
        loop {
            let message = stream.message().expect("an answer");
            if message["id"] == id {
                return message;
            }
            if message["method"].is_string() && message["id"].is_string() {
                let mut reply = answer(&message);
                reply["jsonrpc"] = "2.0".into();
                reply["id"] = message["id"].clone();
                assert_eq!(session.send(&reply).status, 202);
                assert_eq!(session.send(&reply).status, 400, "answered already");
            }
        }
    };
    let done = ask(1, "test_sampling", json!({"prompt": "hi"}), &|question| {
        assert_eq!(question["method"], "sampling/createMessage");
        json!({"result": {"role": "assistant", "model": "m", "content": {"type": "text", "text": "hello"}}})
    });
    assert_eq!(done["result"]["content"][0]["text"], "LLM response: hello");
    let refused = ask(
        2,
        "test_elicitation",
        json!({"message": "who?"}),
        &|_| json!({"error": {"code": -1, "message": "not now"}}),
    );
    let text = refused["result"]["content"][0]["text"]
        .as_str()
        .unwrap_or_default();
    assert!(
        text.contains("not now") || text.contains("cancel"),
        "{refused}"
    );
}

#[test]
fn the_oldest_clients_get_a_stream_and_post_beside_it() {
    let gateway = gateway();
    for path in ["/sse", "/servers/fixture/sse"] {
        let mut stream = Events::get(&gateway, path, "");
        let endpoint = stream.next().expect("an endpoint");
        assert_eq!(endpoint.name, "endpoint");
        let say = |message: Value| {
            let answer = gateway.send(&post(&endpoint.data, "", &message.to_string()));
            assert_eq!(answer.status, 202, "{}", answer.text());
        };
        let hello = json!({"protocolVersion": "2024-11-05", "capabilities": {}, "clientInfo": {"name": "old", "version": "1"}});
        say(request(1, "initialize", hello));
        let opened = stream.message().expect("a result");
        assert_eq!(opened["result"]["protocolVersion"], "2024-11-05");
        say(json!({"jsonrpc": "2.0", "method": "notifications/initialized"}));
        say(call(2, "echo", json!({"message": "old"})));
        let answer = stream.message().expect("an answer");
        assert_eq!(answer["id"], 2, "{answer}");
        say(json!({"jsonrpc": "2.0", "id": 3, "method": 5}));
        assert_eq!(stream.message().expect("an error")["error"]["code"], -32600);
    }
    let nowhere = gateway.send(&post("/messages/none", "", "{}"));
    assert_eq!(nowhere.status, 404);
}
