//! Retries and refusals as servers of each era are to read them.

use serde_json::{Value, json};
use toolbus_model::{CallSeed, Caller, Method, Trace};

use super::*;

fn call(revision: Revision) -> std::sync::Arc<Call> {
    let seed = CallSeed {
        caller: Caller::local(),
        revision,
        door: "test",
        capabilities: Object::empty().to_raw(),
        client: None,
        log_level: None,
        progress_token: None,
        trace: Trace::default(),
    };
    Call::begin(seed, tokio_util::sync::CancellationToken::new()).0
}

fn request(params: Value) -> Request {
    Request {
        method: Method::ToolsCall,
        target: Some("t".into()),
        params: Object::of(&params),
        meta: Object::empty(),
    }
}

fn seen(revision: Revision, caller: Revision, params: Value) -> Result<Value, Error> {
    let (request, call) = (request(params), call(caller));
    let seen = towards(revision, &request, &call)?;
    Ok(seen.params.to_raw().read().expect("JSON"))
}

const MODERN: Revision = Revision::V2026_07_28;
const OLDER: Revision = Revision::V2025_11_25;

/// A retry of an older caller, after a question under each of these methods.
fn retried(asked: Value, state: Option<&str>, answers: Value) -> Result<Value, Error> {
    let mut result = json!({"resultType": "input_required", "inputRequests": asked});
    if let Some(state) = state {
        result["requestState"] = state.into();
    }
    let remembered = remember(&Object::of(&result));
    let state = remembered
        .str("requestState")
        .expect("a state")
        .into_owned();
    let params = json!({"name": "t", "inputResponses": answers, "requestState": state});
    seen(MODERN, OLDER, params)
}

#[test]
fn an_older_server_knows_no_retries() {
    let params = json!({
        "name": "t", "requestState": AFRESH, "inputResponses": {"url1": {"action": "accept"}},
    });
    assert_eq!(seen(OLDER, MODERN, params), Ok(json!({"name": "t"})));
    let params = json!({"name": "t", "inputResponses": {}});
    assert_eq!(seen(OLDER, MODERN, params), Ok(json!({"name": "t"})));
}

#[test]
fn a_page_that_was_not_opened_is_not_asked_for_again() {
    let params = json!({
        "name": "t", "requestState": AFRESH,
        "inputResponses": {"url1": {"action": "accept"}, "url2": {"action": "decline"}},
    });
    let error = seen(OLDER, MODERN, params).expect_err("declined");
    assert!(error.to_string().contains("decline"), "{error}");
}

#[test]
fn a_state_of_another_server_is_lost_at_an_older_one() {
    let params = json!({"name": "t", "requestState": "theirs"});
    let error = seen(OLDER, MODERN, params).expect_err("unknown");
    assert!(matches!(error, Error::StateLost(_)), "{error:?}");
}

#[test]
fn a_modern_callers_retry_passes_as_it_is() {
    let params = json!({"name": "t", "requestState": "theirs", "inputResponses": {"a": {}}});
    assert_eq!(seen(MODERN, MODERN, params.clone()), Ok(params));
}

#[test]
fn an_older_callers_retry_brings_the_servers_own_state() {
    let asked = json!({"a": {"method": "roots/list", "params": {}}});
    let answers = json!({"a": {"roots": []}});
    assert_eq!(
        retried(asked.clone(), Some("s \"1\""), answers.clone()),
        Ok(json!({"name": "t", "inputResponses": answers, "requestState": "s \"1\""}))
    );
    assert_eq!(
        retried(asked, None, answers.clone()),
        Ok(json!({"name": "t", "inputResponses": answers}))
    );
}

#[test]
fn a_refused_elicitation_is_cancelled_and_any_other_refusal_ends_the_call() {
    let asked =
        json!({"a": {"method": "elicitation/create"}, "b": {"method": "sampling/createMessage"}});
    let refused = json!({"_meta": {"toolbus/error": {"code": -1, "message": "no", "data": [1]}}});
    let answer = json!({"role": "assistant"});
    assert_eq!(
        retried(asked.clone(), None, json!({"a": refused, "b": answer})),
        Ok(json!({"name": "t", "inputResponses": {"a": {"action": "cancel"}, "b": answer}}))
    );
    assert_eq!(
        retried(
            asked,
            None,
            json!({"a": {"action": "accept"}, "b": refused})
        ),
        Err(Error::Upstream {
            code: -1,
            message: "no".to_owned(),
            data: Some(Raw::of(&json!([1]))),
        })
    );
}
