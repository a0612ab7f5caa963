//! Tickets that come back as they were, bent, late, by the wrong hand, or with another request.

use super::*;
use serde_json::json;

fn request(arguments: &serde_json::Value, state: Option<&str>) -> Request {
    let mut params = json!({"name": "deploy", "arguments": arguments});
    if let Some(state) = state {
        params["requestState"] = state.into();
    }
    Request {
        method: Method::ToolsCall,
        target: Some("deploy".into()),
        params: Object::of(&params),
        meta: Object::empty(),
    }
}

fn given(parties: &Parties<'_>, asked: &Asked, first: Option<&str>) -> String {
    let result = Object::of(&json!({"resultType": "input_required", "requestState": "at step 2"}));
    let outcome = parties
        .give(Outcome::InputRequired(result), asked, first, CallId::new())
        .expect("sealed");
    let state = outcome.object().str(REQUEST_STATE).expect("a state");
    assert_ne!(state, "at step 2");
    state.into_owned()
}

#[test]
fn a_state_comes_back_to_its_request_and_its_caller_only() {
    let (key, other) = (Key::new(&[7; 32]), Key::new(&[8; 32]));
    let (ada, bob) = (Caller::named("ada"), Caller::named("bob"));
    let (math, files) = (
        ServerName::from_foreign("math"),
        ServerName::from_foreign("files"),
    );
    let parties = |key, caller, server| Parties {
        key,
        caller,
        server,
    };
    let arguments = json!({"to": "production"});
    let asked = Asked::of(&request(&arguments, None));
    let state = given(&parties(&key, &ada, &math), &asked, Some("call-1"));

    let mut again = request(&arguments, Some(&state));
    let first = parties(&key, &ada, &math).resume(&mut again, &asked);
    assert_eq!(first, Ok(Some("call-1".to_owned())));
    assert_eq!(
        again.params.str(REQUEST_STATE).as_deref(),
        Some("at step 2")
    );

    let other_arguments = Asked::of(&request(&json!({"to": "staging"}), None));
    let refused = [
        parties(&key, &bob, &math).resume(&mut request(&arguments, Some(&state)), &asked),
        parties(&key, &ada, &files).resume(&mut request(&arguments, Some(&state)), &asked),
        parties(&other, &ada, &math).resume(&mut request(&arguments, Some(&state)), &asked),
        parties(&key, &ada, &math).resume(&mut request(&arguments, Some(&state)), &other_arguments),
        parties(&key, &ada, &math).resume(&mut request(&arguments, Some("at step 2")), &asked),
    ];
    for refusal in refused {
        assert!(
            matches!(refusal, Err(Error::InvalidParams(_))),
            "{refusal:?}"
        );
    }
}

#[test]
fn every_bent_byte_of_a_state_is_refused() {
    let (key, ada, math) = (
        Key::new(&[7; 32]),
        Caller::named("ada"),
        ServerName::from_foreign("math"),
    );
    let parties = Parties {
        key: &key,
        caller: &ada,
        server: &math,
    };
    let asked = Asked::of(&request(&json!({}), None));
    let state = given(&parties, &asked, None);
    for at in 0..state.len() {
        let mut bent = state.clone().into_bytes();
        bent[at] = if bent[at] == b'A' { b'B' } else { b'A' };
        let bent = String::from_utf8(bent).expect("ASCII");
        let refusal = parties.resume(&mut request(&json!({}), Some(&bent)), &asked);
        assert!(refusal.is_err(), "byte {at}");
    }
}

#[test]
fn a_task_is_its_callers_alone_and_keeps_the_id_it_was_given() {
    let (key, ada, math) = (
        Key::new(&[7; 32]),
        Caller::named("ada"),
        ServerName::from_foreign("math"),
    );
    let parties = Parties {
        key: &key,
        caller: &ada,
        server: &math,
    };
    let created = Outcome::Task(Object::of(&json!({"resultType": "task", "taskId": "t1"})));
    let asked = Asked::of(&request(&json!({}), None));
    let created = parties
        .give(created, &asked, None, CallId::new())
        .expect("sealed");
    let id = created.object().str(TASK_ID).expect("an id").into_owned();
    assert_eq!(task(&key, &ada, &id), Ok((math.clone(), "t1".into())));
    assert!(task(&key, &Caller::named("bob"), &id).is_err());
    assert!(task(&key, &ada, "t1").is_err());

    let result = Outcome::Complete(Object::of(&json!({"taskId": "t1", "status": "working"})));
    let restored = restore_task(result, &Raw::of(&id));
    assert_eq!(restored.object().str(TASK_ID).as_deref(), Some(&*id));
}
