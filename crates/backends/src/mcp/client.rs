//! Requests over HTTP to one server: a pool of connections, with TLS or without, and what becomes of them.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http::header::{CONTENT_TYPE, RETRY_AFTER};
use http::{HeaderMap, HeaderValue, Request, Response, StatusCode, Uri};
use http_body_util::{BodyExt as _, Full};
use hyper::body::Incoming;
use toolbus_model::{Cause, Error};
use toolbus_protocol::gather::Gather;

use super::events::Events;
use super::outgoing::MAX_MESSAGE;
use crate::pool::Pool;
pub(super) use crate::pool::chain;

/// How much of an unexpected answer is shown.
const SHOWN: usize = 300;

/// Why a request has no result, with the HTTP status where there was one.
#[derive(Debug)]
pub(super) struct Failure {
    pub(super) status: Option<StatusCode>,
    pub(super) error: Error,
}

impl From<Error> for Failure {
    fn from(error: Error) -> Self {
        Self {
            status: None,
            error,
        }
    }
}

/// The way to one server.
#[derive(Debug)]
pub(super) struct Client {
    pool: Pool,
    shown: Arc<str>,
}

impl Client {
    pub(super) fn new(url: &Uri) -> Result<Self, Error> {
        let shown: Arc<str> = url.to_string().into();
        let pool = Pool::to(url).map_err(|why| {
            let command = Some(Arc::clone(&shown));
            let cause = Cause {
                command,
                ..Cause::new(why)
            };
            Error::Unavailable(cause.into())
        })?;
        Ok(Self { pool, shown })
    }

    pub(super) async fn send(
        &self,
        request: Request<Full<Bytes>>,
    ) -> Result<Response<Incoming>, Error> {
        let sent = self.pool.send(request).await;
        sent.map_err(|error| {
            if !error.is_connect() {
                return self.lost(&chain(&error));
            }
            let what = format!("the server cannot be reached: {}", chain(&error));
            let remedy = Some("check that it runs and that the URL is right".to_owned());
            Error::Unavailable(
                Cause {
                    remedy,
                    ..self.cause(&what)
                }
                .into(),
            )
        })
    }

    /// Asks for a stream.
    pub(super) async fn stream(
        &self,
        request: Request<Full<Bytes>>,
        in_session: bool,
    ) -> Result<Events, Failure> {
        let response = self.send(request).await?;
        if is_event_stream(&response) {
            return Ok(Events::new(response.into_body()));
        }
        let (head, body) = response.into_parts();
        let body = self.read_all(body).await?;
        Err(Failure {
            status: Some(head.status),
            error: self.refused(head.status, &head.headers, &body, in_session),
        })
    }

    pub(super) async fn read_all(&self, mut body: Incoming) -> Result<Bytes, Error> {
        let mut gather = Gather::new(MAX_MESSAGE);
        while let Some(frame) = body.frame().await {
            let Ok(data) = frame
                .map_err(|error| self.lost(&chain(&error)))?
                .into_data()
            else {
                continue;
            };
            gather.push(data).map_err(|_| too_large())?;
        }
        Ok(gather.finish())
    }

    /// The connection was lost in mid-call, for this reason.
    pub(super) fn lost(&self, why: &str) -> Error {
        Error::OutcomeUnknown(
            self.cause(&format!("the connection was lost: {why}"))
                .into(),
        )
    }

    pub(super) fn cause(&self, what: &str) -> Cause {
        Cause {
            command: Some(Arc::clone(&self.shown)),
            ..Cause::new(what)
        }
    }

    /// What an answer means that is no JSON-RPC response.
    pub(super) fn refused(
        &self,
        status: StatusCode,
        fields: &HeaderMap,
        body: &[u8],
        in_session: bool,
    ) -> Error {
        let shown = String::from_utf8_lossy(&body[..body.len().min(SHOWN)]);
        let cause = self.cause(&format!("the server answered {status}: {}", shown.trim()));
        let seconds = || fields.get(RETRY_AFTER)?.to_str().ok()?.parse().ok();
        match status.as_u16() {
            404 if in_session => Error::SessionUnknown,
            401 | 403 => {
                let remedy = Some("it wants credentials: set `headers` of this server".to_owned());
                Error::Unavailable(Cause { remedy, ..cause }.into())
            }
            429 => Error::Busy {
                what: cause.to_string(),
                retry_after: Duration::from_secs(seconds().unwrap_or(1)),
            },
            // What a proxy or a starting server says before anything was run.
            404 | 405 | 415 | 503 => Error::Unavailable(cause.into()),
            400..500 => Error::InvalidRequest(cause.to_string()),
            _ => Error::OutcomeUnknown(cause.into()),
        }
    }
}

pub(super) fn is_event_stream(response: &Response<Incoming>) -> bool {
    let kind = response.headers().get(CONTENT_TYPE);
    let is_stream = |kind: &HeaderValue| {
        kind.as_bytes()
            .to_ascii_lowercase()
            .starts_with(b"text/event-stream")
    };
    response.status() == StatusCode::OK && kind.is_some_and(is_stream)
}

pub(super) fn too_large() -> Error {
    Error::TooLarge {
        what: "server's answer",
        limit: MAX_MESSAGE,
    }
}
