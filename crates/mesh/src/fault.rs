//! Errors on the mesh: as JSON-RPC has them, and so that they are the same error again at the other end.

use std::time::Duration;

use serde::Deserialize;
use toolbus_model::{Cause, Era, Error, Kind, Raw};
use toolbus_protocol::{fault, write};

/// The body of an `err` frame, and the label for its header where the error is one of ours.
pub fn encode(id: &Raw, error: &Error) -> (Vec<u8>, Option<&'static str>, i64) {
    let (code, message) = (fault::code(error, Era::Modern), text(error));
    let data = fault::data(error, None);
    let body = write::error(Some(id), code, &message, data.as_ref().map(Raw::bytes));
    let label = (!matches!(error, Error::Upstream { .. })).then(|| error.label());
    (body, label, code)
}

/// The error that a label, and what came with it as [`Error::Upstream`], stand for.
pub fn decode(label: Option<&str>, received: Error) -> Error {
    let (Some(label), Error::Upstream { message, data, .. }) = (label, &received) else {
        return received;
    };
    let data: Data = data
        .as_ref()
        .and_then(|data| data.read().ok())
        .unwrap_or_default();
    let message = message.clone();
    match label {
        "parse" => Error::Parse(message),
        "invalid_request" => Error::InvalidRequest(message),
        "invalid_params" => Error::InvalidParams(message),
        "method_not_found" => Error::MethodNotFound(message),
        "header_mismatch" => Error::HeaderMismatch(message),
        "missing_client_capability" => match data.required_capabilities {
            Some(required) => Error::MissingClientCapability(Raw::of(&required)),
            None => received,
        },
        "unknown" => match data.uri {
            Some(name) => unknown(Kind::Resource, name),
            None => unknown(Kind::Tool, message),
        },
        "session_unknown" => Error::SessionUnknown,
        "busy" => Error::Busy {
            what: message,
            retry_after: Duration::from_millis(data.retry_after_ms),
        },
        "unavailable" => Error::Unavailable(data.cause(message)),
        "deadline_exceeded" => Error::DeadlineExceeded(data.cause(message)),
        "outcome_unknown" => Error::OutcomeUnknown(data.cause(message)),
        "state_lost" => Error::StateLost(message),
        "cancelled" => Error::Cancelled,
        "internal" => Error::Internal(message),
        // A label of a later version, or one whose shape the specification gives.
        _ => received,
    }
}

fn unknown(kind: Kind, name: String) -> Error {
    Error::Unknown { kind, name }
}

/// What a person reads, without the words that the variant puts in front again at the other end.
fn text(error: &Error) -> String {
    match error {
        Error::MethodNotFound(text) | Error::Internal(text) | Error::Busy { what: text, .. } => {
            text.clone()
        }
        Error::Unknown { name, .. } => name.clone(),
        Error::Unavailable(cause)
        | Error::DeadlineExceeded(cause)
        | Error::OutcomeUnknown(cause) => cause.what.clone(),
        other => other.to_string(),
    }
}

/// What is read of `data`.
#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
struct Data {
    uri: Option<String>,
    required_capabilities: Option<serde_json::Value>,
    retry_after_ms: u64,
    cause: Option<Told>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct Told {
    what: String,
    command: Option<String>,
    status: Option<String>,
    stderr: Option<String>,
    remedy: Option<String>,
}

impl Data {
    fn cause(self, message: String) -> Box<Cause> {
        let Some(told) = self.cause else {
            return Cause::new(message).into();
        };
        Box::new(Cause {
            what: told.what,
            command: told.command.map(Into::into),
            status: told.status,
            stderr: told.stderr,
            remedy: told.remedy,
        })
    }
}

#[cfg(test)]
mod tests {
    use toolbus_protocol::Message;

    use super::*;

    fn sent(error: &Error) -> Error {
        let (body, label, _) = encode(&Raw::of("id"), error);
        match Message::parse(&body.into()) {
            Ok(Message::Reply(reply)) => decode(label, reply.result.expect_err("an error")),
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn an_error_is_the_same_at_the_other_end() {
        let cause = Cause {
            what: "it died".into(),
            command: Some("npx x".into()),
            status: Some("exit status 3".into()),
            stderr: Some("boom\n".into()),
            remedy: Some("install it".into()),
        };
        let busy = Error::Busy {
            what: "8 calls run".into(),
            retry_after: Duration::from_millis(250),
        };
        for error in [
            Error::InvalidParams("wrong".into()),
            Error::MethodNotFound("x/y".into()),
            unknown(Kind::Tool, "add".into()),
            unknown(Kind::Resource, "a:b".into()),
            busy,
            Error::Unavailable(cause.clone().into()),
            Error::DeadlineExceeded(cause.clone().into()),
            Error::OutcomeUnknown(cause.into()),
            Error::StateLost("gone".into()),
            Error::SessionUnknown,
            Error::MissingClientCapability(Raw::of(&serde_json::json!({"elicitation": {}}))),
            Error::Cancelled,
            Error::Internal("bug".into()),
            Error::Upstream {
                code: -32602,
                message: "mine".into(),
                data: Some(Raw::of(&[1, 2])),
            },
        ] {
            assert_eq!(sent(&error), error);
        }
    }
}
