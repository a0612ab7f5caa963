//! Errors as JSON-RPC has them: the one table of codes, and what stands in `data`.

use serde_json::{Value, json};
use toolbus_model::{CallId, Era, Error, Fault, Kind, Raw};

/// The JSON-RPC code of an error, for a peer of this era.
pub fn code(error: &Error, era: Era) -> i64 {
    match error {
        Error::Parse(_) => -32700,
        Error::InvalidRequest(_) | Error::Unauthenticated(_) | Error::SessionUnknown => -32600,
        Error::InvalidParams(_) => -32602,
        Error::MethodNotFound(_) => -32601,
        Error::HeaderMismatch(_) => -32020,
        Error::MissingClientCapability(_) => -32021,
        Error::UnsupportedVersion { .. } => -32022,
        // Older revisions have a code of their own for resources.
        Error::Unknown {
            kind: Kind::Resource,
            ..
        } if era == Era::Legacy => -32002,
        Error::Unknown { .. } => -32602,
        Error::Unavailable(_) => -31001,
        Error::DeadlineExceeded(_) => -31002,
        Error::OutcomeUnknown(_) => -31003,
        Error::Busy { .. } => -31004,
        Error::TooLarge { .. } => -31005,
        Error::StateLost(_) => -31006,
        Error::Upstream { code, .. } => *code,
        // A cancelled one is sent only where the wire must answer: a cancelled POST of an older revision.
        Error::Cancelled | Error::Internal(_) => -32603,
    }
}

/// What a program reads of an error.
pub fn data(error: &Error, call: Option<CallId>) -> Option<Raw> {
    let specific = match error {
        Error::Upstream { data, .. } => return data.clone(),
        // The specification gives these two their shape.
        Error::UnsupportedVersion {
            requested,
            supported,
        } => {
            return Some(Raw::of(
                &json!({"supported": supported, "requested": requested}),
            ));
        }
        Error::MissingClientCapability(required) => {
            let mut text = br#"{"requiredCapabilities":"#.to_vec();
            text.extend_from_slice(required.bytes());
            text.push(b'}');
            return Raw::parse(text.into()).ok();
        }
        Error::Unknown {
            kind: Kind::Resource,
            name,
        } => json!({ "uri": name }),
        Error::Busy { retry_after, .. } => {
            json!({"retryAfterMs": u64::try_from(retry_after.as_millis()).unwrap_or(u64::MAX)})
        }
        error => error.cause().map_or_else(
            || json!({}),
            |cause| {
                json!({"cause": {
                    "what": cause.what,
                    "command": cause.command.as_deref(),
                    "status": cause.status,
                    "stderr": cause.stderr,
                    "remedy": cause.remedy,
                }})
            },
        ),
    };
    let mut data = json!({
        "retryable": error.is_retryable(),
        "fault": match error.fault() {
            Fault::Caller => "caller",
            Fault::Gateway => "gateway",
            Fault::Backend => "backend",
        },
    });
    if let (Value::Object(data), Value::Object(specific)) = (&mut data, specific) {
        data.extend(call.map(|call| ("callId".to_owned(), call.to_string().into())));
        data.extend(specific);
    }
    Some(Raw::of(&data))
}
