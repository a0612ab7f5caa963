//! The one table from errors to codes and statuses, for every wire.

use std::time::Duration;

use http::StatusCode;
use serde_json::{Value, json};
use toolbus_model::{CallId, Era, Error, Fault, Kind, Raw};

/// An error as a wire shows it.
#[derive(Debug, Clone, PartialEq)]
pub struct Wire {
    /// The HTTP status.
    pub status: StatusCode,
    /// The JSON-RPC code.
    pub code: i64,
    /// What a person reads.
    pub message: String,
    /// What a program reads, as JSON.
    pub data: Option<Raw>,
    /// When to come back.
    pub retry_after: Option<Duration>,
}

impl Wire {
    /// The error as a caller of this era sees it.
    pub fn of(error: &Error, era: Era, call: Option<CallId>) -> Self {
        let (code, modern) = codes(error, era);
        let status = match era {
            Era::Modern => modern,
            Era::Legacy => legacy_status(error, modern),
        };
        let retry_after = match error {
            Error::Busy { retry_after, .. } => Some(*retry_after),
            _ => None,
        };
        Self {
            status,
            code,
            message: error.to_string(),
            data: data(error, call),
            retry_after,
        }
    }
}

/// JSON-RPC code, and the HTTP status that goes with it at 2026-07-28.
fn codes(error: &Error, era: Era) -> (i64, StatusCode) {
    match error {
        Error::Parse(_) => (-32700, StatusCode::BAD_REQUEST),
        Error::InvalidRequest(_) => (-32600, StatusCode::BAD_REQUEST),
        Error::InvalidParams(_) => (-32602, StatusCode::BAD_REQUEST),
        Error::MethodNotFound(_) => (-32601, StatusCode::NOT_FOUND),
        Error::HeaderMismatch(_) => (-32020, StatusCode::BAD_REQUEST),
        Error::MissingClientCapability(_) => (-32021, StatusCode::BAD_REQUEST),
        Error::UnsupportedVersion { .. } => (-32022, StatusCode::BAD_REQUEST),
        // Older revisions have a code of their own for resources.
        Error::Unknown {
            kind: Kind::Resource,
            ..
        } if era == Era::Legacy => (-32002, StatusCode::OK),
        Error::Unknown {
            kind: Kind::Server, ..
        } => (-32602, StatusCode::NOT_FOUND),
        Error::Unknown { .. } => (-32602, StatusCode::OK),
        Error::Unauthenticated(_) => (-32600, StatusCode::UNAUTHORIZED),
        Error::SessionUnknown => (-32600, StatusCode::NOT_FOUND),
        Error::TooLarge { .. } => (-31005, StatusCode::PAYLOAD_TOO_LARGE),
        Error::Busy { .. } => (-31004, StatusCode::TOO_MANY_REQUESTS),
        Error::Unavailable(_) => (-31001, StatusCode::OK),
        Error::DeadlineExceeded(_) => (-31002, StatusCode::OK),
        Error::OutcomeUnknown(_) => (-31003, StatusCode::OK),
        Error::StateLost(_) => (-31006, StatusCode::OK),
        Error::Upstream { code, .. } => (*code, upstream_status(*code)),
        // Sent only where the wire must answer: a cancelled POST of an older revision.
        Error::Cancelled => (-32603, StatusCode::OK),
        Error::Internal(_) => (-32603, StatusCode::INTERNAL_SERVER_ERROR),
    }
}

fn upstream_status(code: i64) -> StatusCode {
    match code {
        -32601 => StatusCode::NOT_FOUND,
        -32022..=-32020 => StatusCode::BAD_REQUEST,
        _ => StatusCode::OK,
    }
}

/// Older revisions answer 200 to every JSON-RPC error but to what the transport itself refuses.
fn legacy_status(error: &Error, modern: StatusCode) -> StatusCode {
    match error {
        Error::Parse(_)
        | Error::InvalidRequest(_)
        | Error::Unauthenticated(_)
        | Error::SessionUnknown
        | Error::TooLarge { .. }
        | Error::Busy { .. }
        | Error::Unknown {
            kind: Kind::Server, ..
        } => modern,
        Error::InvalidParams(_)
        | Error::MethodNotFound(_)
        | Error::HeaderMismatch(_)
        | Error::MissingClientCapability(_)
        | Error::UnsupportedVersion { .. }
        | Error::Unknown { .. }
        | Error::Unavailable(_)
        | Error::DeadlineExceeded(_)
        | Error::OutcomeUnknown(_)
        | Error::StateLost(_)
        | Error::Cancelled
        | Error::Upstream { .. }
        | Error::Internal(_) => StatusCode::OK,
    }
}

fn data(error: &Error, call: Option<CallId>) -> Option<Raw> {
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
