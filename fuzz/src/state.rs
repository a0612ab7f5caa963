//! `requestState` and task ids: a server gets its own back, from the caller who got it, with the request that it was for,
//! or it is not asked.

use std::sync::OnceLock;

use bytes::Bytes;
use toolbus_model::{Caller, Error, Method, Object, Outcome};

use crate::byte;
use crate::rig::{HALF, rig};

/// The call that asked for input.
const FIRST: &[u8] = br#"{"name":"t0","arguments":{"a":1}}"#;

pub(crate) fn check(mut data: &[u8]) {
    let choice = byte(&mut data);
    let caller = if choice & 1 == 0 {
        Caller::local()
    } else {
        Caller::named(HALF)
    };
    let (state, task) = given();
    let text = String::from_utf8_lossy(data);
    let text = text.replace("@state", state).replace("@task", task);
    let Ok(params) = Object::parse(Bytes::from(text)) else {
        return;
    };
    if choice & 2 == 0 {
        retried(&caller, &params, state);
    } else {
        asked(&caller, &params, task);
    }
}

/// What the local caller was given, once: a state and the id of a task.
fn given() -> &'static (String, String) {
    static GIVEN: OnceLock<(String, String)> = OnceLock::new();
    GIVEN.get_or_init(|| {
        let call = |params: &'static [u8]| {
            let params = Object::parse(Bytes::from_static(params)).expect("an object");
            rig().call(&Caller::local(), Method::ToolsCall, &params)
        };
        let state = call(FIRST).expect("a result");
        let task = call(br#"{"name":"t0","task":true}"#).expect("a result");
        let member = |outcome: &Outcome, name| outcome.object().str(name).map(String::from);
        let state = member(&state, "requestState").expect("a state");
        (state, member(&task, "taskId").expect("a task"))
    })
}

fn retried(caller: &Caller, params: &Object, state: &str) {
    let brought = params.get("requestState");
    match rig().call(caller, Method::ToolsCall, params) {
        Ok(Outcome::Complete(_)) => {
            assert_eq!(params.str("requestState").as_deref(), Some(state));
            assert_eq!(*caller, Caller::local());
            assert_eq!(params.str("name").as_deref(), Some("t0"));
            assert_eq!(params.get("arguments"), Some(&br#"{"a":1}"#[..]));
        }
        Ok(_) => assert_eq!(brought, None),
        Err(Error::Unknown { .. } | Error::InvalidParams(_)) => {}
        Err(error) => panic!("{error:?}"),
    }
}

fn asked(caller: &Caller, params: &Object, task: &str) {
    match rig().call(caller, Method::Other("tasks/get".into()), params) {
        Ok(outcome) => {
            assert_eq!(params.str("taskId").as_deref(), Some(task));
            assert_eq!(*caller, Caller::local());
            assert_eq!(outcome.object().get("taskId"), params.get("taskId"));
        }
        Err(Error::Unknown { .. } | Error::InvalidParams(_)) => {}
        Err(error) => panic!("{error:?}"),
    }
}
