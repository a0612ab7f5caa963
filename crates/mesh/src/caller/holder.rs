//! Which worker holds what a later request goes on with: its id stands in front of the request's state, or of the task's
//! id. The gateway seals both before a caller sees them.

use std::sync::Arc;

use toolbus_model::json::{Edit, write_string};
use toolbus_model::{Method, Object, Outcome, Request};

/// The member in which a result carries what the retry must bring back.
const STATE: &str = "requestState";
const TASK: &str = "taskId";

/// Between the worker's id, which may be missing, and the worker's own text.
const COLON: char = ':';

/// Puts the worker in front of what a caller takes away; where it holds nothing, any worker will do.
pub(super) fn mark(outcome: Outcome, worker: &str, holds: bool) -> Outcome {
    let worker = if holds { worker } else { "" };
    match outcome {
        Outcome::InputRequired(result) => Outcome::InputRequired(marked(&result, STATE, worker)),
        Outcome::Task(result) => Outcome::Task(marked(&result, TASK, worker)),
        done @ (Outcome::Complete(_) | Outcome::Extended(_)) => done,
    }
}

/// Takes the worker off what a request brings back. Answers the one worker that can serve it.
pub(super) fn unmark(request: &mut Request) -> Option<Arc<str>> {
    let is_about_task =
        matches!(&request.method, Method::Other(name) if name.starts_with("tasks/"));
    let member = if is_about_task { TASK } else { STATE };
    let brought = request.params.str(member)?.into_owned();
    let (worker, own) = split(&brought)?;
    request.params = with(&request.params, member, own);
    (!worker.is_empty()).then(|| worker.into())
}

/// The worker, and what it calls a task.
pub(super) fn split(marked: &str) -> Option<(&str, &str)> {
    marked.split_once(COLON)
}

/// What the gateway calls a worker's task.
pub(super) fn joined(worker: &str, own: &str) -> String {
    format!("{worker}{COLON}{own}")
}

fn marked(result: &Object, member: &str, worker: &str) -> Object {
    match result.str(member) {
        Some(own) => with(result, member, &joined(worker, &own)),
        None => result.clone(),
    }
}

/// An object with a member that is this text.
pub(super) fn with(object: &Object, member: &str, text: &str) -> Object {
    let mut quoted = Vec::with_capacity(text.len() + 2);
    write_string(text, &mut quoted);
    object.edited(&[(member, Edit::Put(&quoted))])
}

#[cfg(test)]
mod tests {
    use super::*;

    fn object(text: &'static str) -> Object {
        Object::parse(text.into()).expect("JSON")
    }

    fn retry(method: &str, params: Object) -> Request {
        Request {
            method: Method::parse(method),
            target: None,
            params,
            meta: Object::empty(),
        }
    }

    #[test]
    fn what_a_worker_holds_comes_back_to_it() {
        for (holds, worker) in [(true, Some("w1")), (false, None)] {
            let asked = Outcome::InputRequired(object(r#"{"requestState":"a:b\"","x":1}"#));
            let given = mark(asked, "w1", holds).object().clone();
            let mut request = retry("tools/call", given);
            assert_eq!(unmark(&mut request).as_deref(), worker);
            assert_eq!(request.params, object(r#"{"requestState":"a:b\"","x":1}"#));
            let task = mark(Outcome::Task(object(r#"{"taskId":"7"}"#)), "w1", holds);
            let mut request = retry("tasks/get", task.object().clone());
            assert_eq!(unmark(&mut request).as_deref(), worker);
            assert_eq!(request.params, object(r#"{"taskId":"7"}"#));
        }
    }

    #[test]
    fn what_brings_nothing_back_goes_anywhere() {
        let mut request = retry("tools/call", object(r#"{"taskId":"a:b"}"#));
        assert_eq!(unmark(&mut request), None);
        assert_eq!(request.params, object(r#"{"taskId":"a:b"}"#));
        let done = Outcome::Complete(object(r#"{"taskId":"a"}"#));
        assert_eq!(mark(done.clone(), "w", true), done);
    }
}
