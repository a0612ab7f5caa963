//! Who hears what in the course of a request, and what is answered at once.

use std::time::Duration;

use bytes::Bytes;
use serde_json::{Value, json};
use toolbus_model::{Call, CallSeed, Caller, Revision, Trace};
use toolbus_protocol::Message;

use super::*;

fn asking(capabilities: Value) -> Arc<Asking> {
    let seed = CallSeed {
        caller: Caller::local(),
        revision: Revision::V2026_07_28,
        door: "test",
        capabilities: Object::empty().to_raw(),
        client: None,
        log_level: None,
        progress_token: None,
        trace: Trace::default(),
    };
    let call = Call::begin(seed, tokio_util::sync::CancellationToken::new()).0;
    let abilities = Abilities::of(&Object::of(&capabilities));
    Arc::new(Asking::new(call.line().clone(), abilities))
}

fn said(message: Value) -> Envelope {
    match Message::parse(&Bytes::from(message.to_string())) {
        Ok(Message::Call(said)) => said,
        other => panic!("{other:?}"),
    }
}

/// What is answered at once.
fn answered(asking: &Arc<Asking>, mut message: Value) -> Option<Value> {
    message["jsonrpc"] = "2.0".into();
    let reply = Ear::Questions(Arc::clone(asking)).hear(&said(message));
    reply.map(|reply| serde_json::from_slice(&reply).expect("JSON"))
}

fn roots(id: impl Into<Value>) -> Value {
    json!({"id": id.into(), "method": "roots/list"})
}

#[tokio::test]
async fn questions_wait_under_keys_that_are_never_used_twice() {
    let asking = asking(json!({"roots": {}}));
    assert_eq!(answered(&asking, roots("a")), None);
    let taken = asking.take(|_| true);
    assert_eq!(
        (taken[0].key.as_str(), taken[0].id.bytes()),
        ("q1", &br#""a""#[..])
    );
    assert_eq!(answered(&asking, roots(7)), None);
    assert_eq!(asking.open()[0].key, "q2");
}

#[tokio::test]
async fn pings_are_answered_and_what_was_not_declared_is_refused() {
    let asking = asking(json!({"roots": {}}));
    let pong = answered(&asking, json!({"id": 1, "method": "ping"}));
    assert_eq!(pong, Some(json!({"jsonrpc": "2.0", "id": 1, "result": {}})));
    for method in ["sampling/createMessage", "elicitation/create", "tools/list"] {
        let refused = answered(&asking, json!({"id": 1, "method": method})).expect("an error");
        assert_eq!(refused["error"]["code"], -32601, "{method}");
    }
    assert!(asking.is_quiet());
}

#[tokio::test]
async fn a_server_may_withdraw_its_question() {
    let asking = asking(json!({"roots": {}}));
    answered(&asking, roots("a"));
    answered(&asking, roots("b"));
    let withdrawn = json!({"method": "notifications/cancelled", "params": {"requestId": "a"}});
    assert_eq!(answered(&asking, withdrawn), None);
    let left: Vec<_> = asking
        .open()
        .into_iter()
        .map(|question| question.key)
        .collect();
    assert_eq!(left, ["q2"]);
}

#[tokio::test]
async fn a_server_that_asks_without_end_is_refused() {
    let asking = asking(json!({"roots": {}}));
    for n in 0..MAX_OPEN {
        assert_eq!(answered(&asking, roots(n)), None);
    }
    let refused = answered(&asking, roots(1000)).expect("an error");
    assert_eq!(refused["error"]["code"], -32603);
    assert_eq!(asking.open().len(), MAX_OPEN);
}

#[tokio::test(start_paused = true)]
async fn whoever_waits_for_a_question_is_woken_by_it() {
    let asking = asking(json!({"roots": {}}));
    let waits = tokio::time::timeout(Duration::from_secs(60), asking.asked());
    assert!(waits.await.is_err(), "nothing was asked");
    answered(&asking, roots(1));
    asking.asked().await;
}
