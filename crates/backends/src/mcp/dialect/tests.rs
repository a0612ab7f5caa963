//! Requests and results across eras, without a server.

use serde_json::{Value, json};
use toolbus_model::{CallSeed, Caller, Trace};

use super::*;

const MODERN: Revision = Revision::V2026_07_28;
const OLDER: Revision = Revision::V2025_11_25;

fn call(revision: Revision, capabilities: Value) -> std::sync::Arc<Call> {
    let seed = CallSeed {
        caller: Caller::local(),
        revision,
        door: "test",
        capabilities: Raw::of(&capabilities),
        client: None,
        log_level: None,
        progress_token: None,
        trace: Trace::default(),
    };
    Call::begin(seed, tokio_util::sync::CancellationToken::new()).0
}

fn request(method: &str) -> Request {
    Request {
        method: Method::parse(method),
        target: Some("t".into()),
        params: Object::empty(),
        meta: Object::empty(),
    }
}

fn peer(capabilities: Value) -> Peer {
    Peer {
        revision: MODERN,
        capabilities: Object::of(&capabilities),
        info: None,
        instructions: None,
    }
}

/// What a result of this type is to a caller and a server with these extensions.
fn meaning(method: &str, kind: &str, caller: &[&str], server: &[&str]) -> Result<Outcome, Error> {
    let declare = |names: &[&str]| {
        let extensions: serde_json::Map<_, _> = names
            .iter()
            .map(|name| ((*name).to_owned(), json!({})))
            .collect();
        json!({ "extensions": extensions })
    };
    let (call, peer) = (call(MODERN, declare(caller)), peer(declare(server)));
    let result = Object::of(&json!({ "resultType": kind }));
    outcome(result, &request(method), &call, &peer)
}

#[test]
fn kinds_of_result_that_an_extension_may_define_need_one_in_common() {
    let passes = |caller: &[&str], server: &[&str]| {
        let outcome = meaning("tools/call", "partial", caller, server);
        match outcome {
            Ok(Outcome::Extended(_)) => true,
            Err(Error::Upstream { code: -32603, .. }) => false,
            other => panic!("{other:?}"),
        }
    };
    assert!(passes(&["a/b", TASKS], &["a/b"]));
    assert!(!passes(&[], &["a/b"]));
    assert!(!passes(&["a/b"], &[]));
    assert!(!passes(&["a/b"], &["c/d"]));
    assert!(!passes(&[TASKS], &[TASKS]), "its kind of result is known");
}

#[test]
fn tasks_are_for_callers_that_know_them_whatever_else_they_know() {
    let task = |caller: &[&str]| meaning("tools/call", "task", caller, &["a/b", TASKS]);
    assert!(matches!(task(&[TASKS]), Ok(Outcome::Task(_))));
    assert!(task(&["a/b"]).is_err());
    let about = meaning("tasks/get", "complete", &[TASKS], &[TASKS]);
    assert!(matches!(about, Ok(Outcome::Complete(_))));
}

/// What an error about pages is to a caller.
fn pages(revision: Revision, capabilities: Value, data: Value) -> Result<Outcome, Error> {
    let error = Error::Upstream {
        code: -32042,
        message: "open it".to_owned(),
        data: Some(Raw::of(&data)),
    };
    failure(error, &request("tools/call"), &call(revision, capabilities))
}

fn two_pages() -> Value {
    let page = |n: u8| json!({"mode": "url", "elicitationId": n.to_string(), "url": format!("http://{n}")});
    json!({"elicitations": [page(1), page(2)]})
}

#[test]
fn pages_to_open_are_questions_of_2026_07_28() {
    let asked = pages(MODERN, json!({"elicitation": {"url": {}}}), two_pages());
    let Ok(Outcome::InputRequired(result)) = asked else {
        panic!("{asked:?}");
    };
    let question = |n: u8| json!({"method": "elicitation/create", "params": {"mode": "url", "url": format!("http://{n}")}});
    let wanted = json!({
        "resultType": "input_required",
        "inputRequests": {"url1": question(1), "url2": question(2)},
        "requestState": "afresh",
    });
    let result: Value = result.to_raw().read().expect("JSON");
    assert_eq!(result, wanted);
}

#[test]
fn pages_to_open_are_an_error_for_whom_they_cannot_be_a_question() {
    let code = |outcome: Result<Outcome, Error>| match outcome {
        Err(Error::Upstream { code, .. }) => code,
        other => panic!("{other:?}"),
    };
    let url = || json!({"elicitation": {"url": {}}});
    assert_eq!(code(pages(OLDER, url(), two_pages())), -32042, "as it is");
    assert_eq!(
        code(pages(MODERN, url(), json!({}))),
        -32603,
        "none are named"
    );
    let missing = pages(MODERN, json!({"elicitation": {}}), two_pages());
    assert!(
        matches!(missing, Err(Error::MissingClientCapability(_))),
        "{missing:?}"
    );
}
