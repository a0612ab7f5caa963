//! Errors on the wire: the HTTP statuses beside the codes of `protocol/fault.rs`.

use std::time::Duration;

use http::StatusCode;
use toolbus_model::{CallId, Era, Error, Kind, Raw};
use toolbus_protocol::fault;

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
        let modern = modern_status(error);
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
            code: fault::code(error, era),
            message: error.to_string(),
            data: fault::data(error, call),
            retry_after,
        }
    }
}

/// The HTTP status at 2026-07-28.
fn modern_status(error: &Error) -> StatusCode {
    match error {
        Error::Parse(_)
        | Error::InvalidRequest(_)
        | Error::InvalidParams(_)
        | Error::HeaderMismatch(_)
        | Error::MissingClientCapability(_)
        | Error::UnsupportedVersion { .. } => StatusCode::BAD_REQUEST,
        Error::MethodNotFound(_)
        | Error::SessionUnknown
        | Error::Unknown {
            kind: Kind::Server, ..
        } => StatusCode::NOT_FOUND,
        Error::Unauthenticated(_) => StatusCode::UNAUTHORIZED,
        Error::TooLarge { .. } => StatusCode::PAYLOAD_TOO_LARGE,
        Error::Busy { .. } => StatusCode::TOO_MANY_REQUESTS,
        Error::Upstream { code, .. } => upstream_status(*code),
        Error::Unknown { .. }
        | Error::Unavailable(_)
        | Error::DeadlineExceeded(_)
        | Error::OutcomeUnknown(_)
        | Error::StateLost(_)
        | Error::Cancelled => StatusCode::OK,
        Error::Internal(_) => StatusCode::INTERNAL_SERVER_ERROR,
    }
}

/// The HTTP status at the capability API.
pub fn capability_status(error: &Error) -> StatusCode {
    match error {
        Error::Parse(_)
        | Error::InvalidRequest(_)
        | Error::InvalidParams(_)
        | Error::HeaderMismatch(_)
        | Error::MissingClientCapability(_)
        | Error::UnsupportedVersion { .. } => StatusCode::BAD_REQUEST,
        Error::Unauthenticated(_) => StatusCode::UNAUTHORIZED,
        Error::MethodNotFound(_) | Error::SessionUnknown | Error::Unknown { .. } => {
            StatusCode::NOT_FOUND
        }
        Error::StateLost(_) => StatusCode::CONFLICT,
        Error::TooLarge { .. } => StatusCode::PAYLOAD_TOO_LARGE,
        Error::Busy { .. } => StatusCode::TOO_MANY_REQUESTS,
        Error::OutcomeUnknown(_) | Error::Upstream { .. } => StatusCode::BAD_GATEWAY,
        // Only a gateway that closes cancels a call whose caller still waits.
        Error::Unavailable(_) | Error::Cancelled => StatusCode::SERVICE_UNAVAILABLE,
        Error::DeadlineExceeded(_) => StatusCode::GATEWAY_TIMEOUT,
        Error::Internal(_) => StatusCode::INTERNAL_SERVER_ERROR,
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
