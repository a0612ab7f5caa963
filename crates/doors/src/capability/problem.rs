//! Errors as this API shows them: `application/problem+json` (RFC 9457).

use std::time::Duration;

use http::header::{ALLOW, CONTENT_TYPE, HeaderName, HeaderValue, RETRY_AFTER, WWW_AUTHENTICATE};
use http::{Response, StatusCode};
use serde_json::{Map, Value, json};
use toolbus_model::{CallId, Error};
use toolbus_protocol::fault;

use crate::http::CHALLENGE;
use crate::reply;
use crate::stream::Body;

/// The header with a call's id.
pub(crate) const CALL: HeaderName = HeaderName::from_static("toolbus-call");

const PROBLEM: HeaderValue = HeaderValue::from_static("application/problem+json");

/// What the types of problems begin with. They are names, and stay the same.
const TYPE: &str = "urn:toolbus:problem:";

/// An error on its way out.
#[derive(Debug)]
pub(crate) struct Problem {
    status: StatusCode,
    kind: String,
    title: &'static str,
    detail: String,
    /// What else stands in the body.
    members: Map<String, Value>,
    call: Option<CallId>,
    retry_after: Option<Duration>,
    allow: Option<&'static str>,
}

impl Problem {
    /// A problem that is no error of the gateway's.
    pub(crate) fn new(
        status: StatusCode,
        kind: &str,
        title: &'static str,
        detail: impl Into<String>,
    ) -> Box<Self> {
        Box::new(Self {
            status,
            kind: kind.to_owned(),
            title,
            detail: detail.into(),
            members: Map::new(),
            call: None,
            retry_after: None,
            allow: None,
        })
    }

    /// An error of the gateway's, of a call where it became one.
    pub(crate) fn of(error: &Error, call: Option<CallId>) -> Box<Self> {
        let kind = error.label().replace('_', "-");
        let status = reply::capability_status(error);
        let mut problem = Self::new(status, &kind, title(error), error.to_string());
        problem.call = call;
        problem.members = members(error, call);
        if let Error::Busy { retry_after, .. } = error {
            problem.retry_after = Some(*retry_after);
        }
        problem
    }

    /// The tenant, or what is claimed of it, is not the caller's.
    pub(crate) fn forbidden(kind: &str, detail: impl Into<String>) -> Box<Self> {
        Self::new(StatusCode::FORBIDDEN, kind, "Not allowed", detail)
    }

    /// There is nothing at this path.
    pub(crate) fn nowhere() -> Box<Self> {
        let detail = "there are capabilities, capabilities/execute, auth/status and openapi.json under /api/v1/";
        Self::new(
            StatusCode::NOT_FOUND,
            "not-found",
            "Nothing at this path",
            detail,
        )
    }

    /// There is, but not for this method.
    pub(crate) fn method(allow: &'static str) -> Box<Self> {
        let status = StatusCode::METHOD_NOT_ALLOWED;
        let detail = format!("use {allow}");
        let mut problem = Self::new(status, "method-not-allowed", "Wrong method", detail);
        problem.allow = Some(allow);
        problem
    }

    /// The answer.
    pub(crate) fn into_response(self) -> Response<Body> {
        let mut body = json!({
            "type": format!("{TYPE}{}", self.kind),
            "title": self.title,
            "status": self.status.as_u16(),
            "detail": self.detail,
        });
        if let Some(body) = body.as_object_mut() {
            body.extend(self.members);
        }
        let mut response = Response::new(Body::of(body.to_string()));
        *response.status_mut() = self.status;
        let headers = response.headers_mut();
        headers.insert(CONTENT_TYPE, PROBLEM);
        if let Some(call) = self.call {
            put_call(headers, call);
        }
        if let Some(wait) = self.retry_after {
            let seconds = wait.as_secs() + u64::from(wait.subsec_nanos() > 0);
            headers.insert(RETRY_AFTER, HeaderValue::from(seconds));
        }
        if let Some(allow) = self.allow {
            headers.insert(ALLOW, HeaderValue::from_static(allow));
        }
        if self.status == StatusCode::UNAUTHORIZED {
            headers.insert(WWW_AUTHENTICATE, CHALLENGE);
        }
        response
    }
}

/// Names the call in a header.
pub(crate) fn put_call(headers: &mut http::HeaderMap, call: CallId) {
    if let Ok(id) = HeaderValue::from_str(&call.to_string()) {
        headers.insert(CALL, id);
    }
}

/// What a program reads beside the type: as `data` of a JSON-RPC error has it, and a server's own error.
fn members(error: &Error, call: Option<CallId>) -> Map<String, Value> {
    let Error::Upstream {
        code,
        message,
        data,
    } = error
    else {
        let data = fault::data(error, call).and_then(|data| data.read().ok());
        return data.unwrap_or_default();
    };
    let mut told = json!({"code": code, "message": message});
    if let Some(data) = data.as_ref().and_then(|data| data.read::<Value>().ok()) {
        told["data"] = data;
    }
    let call = call.map(|call| ("callId".to_owned(), call.to_string().into()));
    let own = ("error".to_owned(), told);
    call.into_iter().chain([own]).collect()
}

/// The same for every occurrence of a type.
fn title(error: &Error) -> &'static str {
    match error {
        Error::Parse(_) => "Not JSON",
        Error::InvalidRequest(_) => "Not an execution",
        Error::InvalidParams(_) => "Wrong parameters",
        Error::MethodNotFound(_) => "Unknown method",
        Error::HeaderMismatch(_) => "Header and body differ",
        Error::MissingClientCapability(_) => "It needs what this API does not have",
        Error::UnsupportedVersion { .. } => "Unknown revision",
        Error::Unknown { .. } => "Unknown capability",
        Error::Unauthenticated(_) => "Not authenticated",
        Error::SessionUnknown => "Unknown session",
        Error::TooLarge { .. } => "Too large",
        Error::Busy { .. } => "Busy",
        Error::Unavailable(_) => "Nobody serves it",
        Error::DeadlineExceeded(_) => "Too late",
        Error::OutcomeUnknown(_) => "It may have run",
        Error::StateLost(_) => "What it refers to is gone",
        Error::Cancelled => "Cancelled",
        Error::Upstream { .. } => "The server's own error",
        Error::Internal(_) => "A fault of the gateway",
    }
}
