//! What a worker's last frame means.

use bytes::Bytes;
use toolbus_model::{Error, Method, Object, Outcome};
use toolbus_protocol::Message;

use crate::fault;
use crate::frame::Reply;

/// How much of an answer that is none is shown.
const SHOWN: usize = 120;

/// The outcome that a response holds.
pub(super) fn outcome(reply: &Reply, body: &Bytes, method: &Method) -> Result<Outcome, Error> {
    let worker = reply.worker.as_deref().unwrap_or("of no name");
    match Message::parse(body) {
        Ok(Message::Reply(answer)) => match answer.result {
            Ok(result) => Ok(kind(result, method)),
            Err(error) => Err(fault::decode(reply.error.as_deref(), error)),
        },
        Ok(Message::Call(_)) => Err(garbage(worker, "with a request", body)),
        Err(refusal) => {
            let why = format!("with what is no JSON-RPC response ({})", refusal.error);
            Err(garbage(worker, &why, body))
        }
    }
}

/// Why a worker did not run a request.
pub(super) fn refusal(reply: &Reply) -> Error {
    match outcome(reply, &reply.body, &Method::ToolsCall) {
        Err(error) => error,
        Ok(_) => Error::Busy {
            what: "the worker gave no reason".to_owned(),
            retry_after: std::time::Duration::from_millis(100),
        },
    }
}

fn kind(result: Object, method: &Method) -> Outcome {
    if matches!(method, Method::Other(name) if name.starts_with("tasks/")) {
        return Outcome::Complete(result);
    }
    match result.str("resultType").as_deref() {
        None | Some("complete") => Outcome::Complete(result),
        Some("input_required") => Outcome::InputRequired(result),
        Some("task") => Outcome::Task(result),
        Some(_) => Outcome::Extended(result),
    }
}

/// An answer that cannot be read. The work was done, so it is not done again.
pub(super) fn garbage(worker: &str, why: &str, body: &Bytes) -> Error {
    let shown = String::from_utf8_lossy(&body[..body.len().min(SHOWN)]);
    let message = format!("the worker {worker} answered {why}: {shown:?}");
    Error::Upstream {
        code: -32603,
        message,
        data: None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::frame::Frame;

    fn read(body: &'static str, error: Option<&str>) -> Result<Outcome, Error> {
        let mut reply = Reply::new(Frame::End, "w7");
        reply.error = error.map(str::to_owned);
        outcome(
            &reply,
            &Bytes::from_static(body.as_bytes()),
            &Method::ToolsCall,
        )
    }

    #[test]
    fn results_are_told_apart_by_their_type() {
        for (kind, expected) in [
            ("complete", Outcome::Complete as fn(Object) -> Outcome),
            ("input_required", Outcome::InputRequired),
            ("task", Outcome::Task),
            ("other", Outcome::Extended),
        ] {
            let result = format!(r#"{{"resultType":"{kind}"}}"#);
            let body = format!(r#"{{"jsonrpc":"2.0","id":1,"result":{result}}}"#);
            let read = read(body.leak(), None);
            assert_eq!(
                read,
                Ok(expected(Object::parse(result.into()).expect("JSON")))
            );
        }
    }

    #[test]
    fn an_upstreams_own_error_passes_and_ours_is_ours_again() {
        let body = r#"{"jsonrpc":"2.0","id":1,"error":{"code":-31006,"message":"gone"}}"#;
        assert_eq!(
            read(body, Some("state_lost")),
            Err(Error::StateLost("gone".into()))
        );
        let own = read(body, None).expect_err("an error");
        assert!(matches!(own, Error::Upstream { code: -31006, .. }));
    }

    #[test]
    fn an_answer_that_is_none_names_the_worker() {
        for body in ["", "{", "[]", r#"{"jsonrpc":"2.0","id":1,"method":"x"}"#] {
            let error = read(body, None).expect_err("garbage").to_string();
            assert!(error.starts_with("the worker w7 answered with "), "{error}");
        }
    }
}
