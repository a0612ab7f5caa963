//! Requests over HTTP to one server: a pool of connections, with TLS or without, and what becomes of them.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http::header::{CONTENT_TYPE, RETRY_AFTER};
use http::{HeaderMap, HeaderValue, Request, Response, StatusCode, Uri};
use http_body_util::{BodyExt as _, Full};
use hyper::body::Incoming;
use hyper_rustls::{HttpsConnector, HttpsConnectorBuilder};
use hyper_util::client::legacy::Client as Pool;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::{TokioExecutor, TokioTimer};
use toolbus_model::{Cause, Error};
use toolbus_protocol::gather::Gather;

use super::events::Events;
use super::outgoing::MAX_MESSAGE;

/// How long an idle connection is kept. Common servers close theirs after five seconds; a request sent into that
/// moment would be lost with an unknown outcome.
const KEEP_IDLE: Duration = Duration::from_secs(4);

/// How long a connection may take to open.
const CONNECT_WITHIN: Duration = Duration::from_secs(10);

/// After how much silence a server's machine is asked whether it is still there, how often, and how many times in vain. A
/// stream on which nothing has to be said ends in any case within two minutes after the other side has vanished.
const STILL_THERE: (Duration, Duration, u32) =
    (Duration::from_secs(60), Duration::from_secs(15), 4);

/// How much of an unexpected answer is shown.
const SHOWN: usize = 300;

type Plain = Pool<HttpConnector, Full<Bytes>>;
type Tls = Pool<HttpsConnector<HttpConnector>, Full<Bytes>>;

/// Two kinds of pool, because reading the certificate store takes longer than many a first call.
#[derive(Debug)]
enum Http {
    Plain(Plain),
    Tls(Tls),
}

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
    http: Http,
    shown: Arc<str>,
}

impl Client {
    pub(super) fn new(url: &Uri) -> Result<Self, Error> {
        let shown: Arc<str> = url.to_string().into();
        let mut connector = HttpConnector::new();
        connector.enforce_http(false);
        connector.set_nodelay(true);
        connector.set_connect_timeout(Some(CONNECT_WITHIN));
        connector.set_keepalive(Some(STILL_THERE.0));
        connector.set_keepalive_interval(Some(STILL_THERE.1));
        connector.set_keepalive_retries(Some(STILL_THERE.2));
        let mut builder = Pool::builder(TokioExecutor::new());
        builder
            .pool_idle_timeout(KEEP_IDLE)
            .pool_timer(TokioTimer::new());
        let http = if url.scheme_str() == Some("https") {
            let tls = HttpsConnectorBuilder::new()
                .with_native_roots()
                .map_err(|error| {
                    let cause = Cause::new(format!(
                        "no certificates were found to verify https servers by: {error}"
                    ));
                    Error::Unavailable(
                        Cause {
                            command: Some(Arc::clone(&shown)),
                            ..cause
                        }
                        .into(),
                    )
                })?;
            Http::Tls(builder.build(tls.https_only().enable_http1().wrap_connector(connector)))
        } else {
            Http::Plain(builder.build(connector))
        };
        Ok(Self { http, shown })
    }

    pub(super) async fn send(
        &self,
        request: Request<Full<Bytes>>,
    ) -> Result<Response<Incoming>, Error> {
        let sent = match &self.http {
            Http::Plain(client) => client.request(request).await,
            Http::Tls(client) => client.request(request).await,
        };
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

/// An error and all its sources in one line.
pub(super) fn chain(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(error) = source {
        text = format!("{text}: {error}");
        source = error.source();
    }
    text
}
