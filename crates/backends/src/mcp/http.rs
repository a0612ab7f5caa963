//! A server at a URL: Streamable HTTP, answers as JSON or as an event stream.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http::header::{ACCEPT, CONTENT_TYPE, RETRY_AFTER};
use http::{HeaderMap, HeaderValue, Method, Request, Response, StatusCode, Uri};
use http_body_util::{BodyExt as _, Full};
use hyper::body::Incoming;
use hyper_rustls::{HttpsConnector, HttpsConnectorBuilder};
use hyper_util::client::legacy::Client;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::{TokioExecutor, TokioTimer};
use toolbus_model::{Cause, Error, Object, Revision};
use toolbus_protocol::gather::Gather;
use toolbus_protocol::{Message, headers, sse};

use super::ear::{Ear, refusal};
use super::outgoing::{MAX_MESSAGE, Outgoing};

/// How long an idle connection is kept. Common servers close theirs after five seconds; a request sent into that
/// moment would be lost with an unknown outcome.
const KEEP_IDLE: Duration = Duration::from_secs(4);

/// How long a connection may take to open.
const CONNECT_WITHIN: Duration = Duration::from_secs(10);

/// How long a server has to take a notification.
const NOTIFY_WITHIN: Duration = Duration::from_secs(5);

/// How much of an unexpected answer is shown.
const SHOWN: usize = 300;

const BOTH: HeaderValue = HeaderValue::from_static("application/json, text/event-stream");
const JSON: HeaderValue = HeaderValue::from_static("application/json");

/// Where a server is, and what to send along.
#[derive(Clone, PartialEq)]
pub struct HttpTarget {
    /// The server's MCP endpoint.
    pub url: Uri,
    /// Headers for every request, such as credentials.
    pub headers: HeaderMap,
}

impl fmt::Debug for HttpTarget {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "HttpTarget({}, {} headers)",
            self.url,
            self.headers.len()
        )
    }
}

type Plain = Client<HttpConnector, Full<Bytes>>;
type Tls = Client<HttpsConnector<HttpConnector>, Full<Bytes>>;

/// Two kinds of client, because reading the certificate store takes longer than many a first call.
#[derive(Debug, Clone)]
enum Http {
    Plain(Plain),
    Tls(Tls),
}

/// A connection to a server at a URL. It is a pool underneath, so it cannot be lost; a session can.
#[derive(Debug)]
pub(super) struct HttpLink {
    client: Http,
    target: HttpTarget,
    shown: Arc<str>,
    session: Option<HeaderValue>,
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

impl HttpLink {
    pub(super) fn new(target: HttpTarget) -> Result<Self, Error> {
        let shown: Arc<str> = target.url.to_string().into();
        let mut connector = HttpConnector::new();
        connector.enforce_http(false);
        connector.set_nodelay(true);
        connector.set_connect_timeout(Some(CONNECT_WITHIN));
        let mut builder = Client::builder(TokioExecutor::new());
        builder
            .pool_idle_timeout(KEEP_IDLE)
            .pool_timer(TokioTimer::new());
        let client = if target.url.scheme_str() == Some("https") {
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
        Ok(Self {
            client,
            target,
            shown,
            session: None,
        })
    }

    /// The same server, without a session.
    pub(super) fn beside(&self) -> Self {
        Self {
            client: self.client.clone(),
            target: self.target.clone(),
            shown: Arc::clone(&self.shown),
            session: None,
        }
    }

    /// The same link within a legacy session.
    pub(super) fn with_session(self, session: Option<HeaderValue>) -> Self {
        Self { session, ..self }
    }

    /// Sends a request and waits for its answer.
    pub(super) async fn exchange(&self, outgoing: Outgoing) -> Result<Object, Error> {
        self.open(outgoing)
            .await
            .map(|(result, _)| result)
            .map_err(|failure| failure.error)
    }

    /// [`HttpLink::exchange`], with the session id that an answer to `initialize` may carry.
    pub(super) async fn open(
        &self,
        outgoing: Outgoing,
    ) -> Result<(Object, Option<HeaderValue>), Failure> {
        let (id, revision, ear) = (outgoing.id, outgoing.revision, outgoing.ear.clone());
        let response = self.send(self.request(outgoing)).await?;
        let session = response.headers().get(headers::SESSION).cloned();
        let is_stream = response
            .headers()
            .get(CONTENT_TYPE)
            .is_some_and(is_event_stream);
        if response.status() == StatusCode::OK && is_stream {
            return Ok((
                self.read_stream(response.into_body(), id, revision, ear.as_ref())
                    .await?,
                session,
            ));
        }
        let (head, body) = response.into_parts();
        let body = self.read_all(body).await?;
        let failure = |error| Failure {
            status: Some(head.status),
            error,
        };
        let in_session = self.session.is_some();
        match Message::parse(&body) {
            Ok(Message::Reply(_)) if head.status == StatusCode::NOT_FOUND && in_session => {
                Err(failure(Error::SessionUnknown))
            }
            // A server that could not read the id leaves it out of its error.
            Ok(Message::Reply(reply))
                if answers(reply.id.as_ref(), id)
                    || (reply.id.is_none() && reply.result.is_err()) =>
            {
                reply
                    .result
                    .map(|result| (result, session))
                    .map_err(failure)
            }
            _ => Err(failure(self.refused(head.status, &head.headers, &body))),
        }
    }

    /// Sends a notification.
    pub(super) async fn notify(&self, revision: Revision, body: Vec<u8>) -> Result<(), Error> {
        self.tell(revision, body).await.map(drop)
    }

    /// Sends the response to a request of the server's, who has to take it.
    pub(super) async fn answer(&self, revision: Revision, body: Vec<u8>) -> Result<(), Error> {
        let (head, body) = self.tell(revision, body).await?.into_parts();
        if head.status.is_success() {
            return Ok(());
        }
        let body = self.read_all(body).await?;
        Err(self.refused(head.status, &head.headers, &body))
    }

    async fn tell(&self, revision: Revision, body: Vec<u8>) -> Result<Response<Incoming>, Error> {
        let mut request = self.post(body.into());
        request.headers_mut().insert(
            headers::VERSION,
            HeaderValue::from_static(revision.as_str()),
        );
        let sent = tokio::time::timeout(NOTIFY_WITHIN, self.send(request)).await;
        sent.map_err(|_| {
            Error::Unavailable(self.cause("the server did not take a notification").into())
        })?
    }

    /// Ends a legacy session.
    pub(super) async fn close(&self) {
        if self.session.is_none() {
            return;
        }
        let mut request = self.post(Bytes::new());
        *request.method_mut() = Method::DELETE;
        // A server may refuse to end sessions, and ours ends all the same.
        let _ = tokio::time::timeout(NOTIFY_WITHIN, self.send(request)).await;
    }

    pub(super) fn cause(&self, what: &str) -> Cause {
        Cause {
            command: Some(Arc::clone(&self.shown)),
            ..Cause::new(what)
        }
    }

    fn post(&self, body: Bytes) -> Request<Full<Bytes>> {
        let mut request = Request::new(Full::new(body));
        *request.method_mut() = Method::POST;
        *request.uri_mut() = self.target.url.clone();
        let fields = request.headers_mut();
        fields.clone_from(&self.target.headers);
        fields.insert(CONTENT_TYPE, JSON);
        fields.insert(ACCEPT, BOTH);
        if let Some(session) = &self.session {
            fields.insert(headers::SESSION, session.clone());
        }
        request
    }

    fn request(&self, outgoing: Outgoing) -> Request<Full<Bytes>> {
        let mut request = self.post(outgoing.body.into());
        let fields = request.headers_mut();
        if outgoing.method.as_str() != "initialize" {
            fields.insert(
                headers::VERSION,
                HeaderValue::from_static(outgoing.revision.as_str()),
            );
        }
        if outgoing.revision.era() == toolbus_model::Era::Modern {
            if let Ok(method) = HeaderValue::from_str(outgoing.method.as_str()) {
                fields.insert(headers::METHOD, method);
            }
            fields.extend(outgoing.target.map(|target| {
                (
                    http::HeaderName::from_static(headers::NAME),
                    headers::encode(&target),
                )
            }));
            fields.extend(outgoing.headers);
        }
        request
    }

    async fn send(&self, request: Request<Full<Bytes>>) -> Result<Response<Incoming>, Error> {
        let sent = match &self.client {
            Http::Plain(client) => client.request(request).await,
            Http::Tls(client) => client.request(request).await,
        };
        sent.map_err(|error| {
            let what = format!("the server cannot be reached: {}", chain(&error));
            if error.is_connect() {
                let remedy = Some("check that it runs and that the URL is right".to_owned());
                return Error::Unavailable(
                    Cause {
                        remedy,
                        ..self.cause(&what)
                    }
                    .into(),
                );
            }
            Error::OutcomeUnknown(
                self.cause(&format!("the connection was lost: {}", chain(&error)))
                    .into(),
            )
        })
    }

    async fn read_all(&self, mut body: Incoming) -> Result<Bytes, Error> {
        let mut gather = Gather::new(MAX_MESSAGE);
        while let Some(frame) = body.frame().await {
            let Ok(data) = frame.map_err(|error| self.lost(&error))?.into_data() else {
                continue;
            };
            let too_large = |_| Error::TooLarge {
                what: "server's answer",
                limit: MAX_MESSAGE,
            };
            gather.push(data).map_err(too_large)?;
        }
        Ok(gather.finish())
    }

    async fn read_stream(
        &self,
        mut body: Incoming,
        id: u64,
        revision: Revision,
        ear: Option<&Ear>,
    ) -> Result<Object, Error> {
        let mut reader = sse::Reader::new(MAX_MESSAGE);
        while let Some(frame) = body.frame().await {
            let Ok(data) = frame.map_err(|error| self.lost(&error))?.into_data() else {
                continue;
            };
            reader.push(&data);
            loop {
                let event = reader.next_event();
                let too_large = |_| Error::TooLarge {
                    what: "server's answer",
                    limit: MAX_MESSAGE,
                };
                let Some(event) = event.map_err(too_large)? else {
                    break;
                };
                match Message::parse(&event.data) {
                    Ok(Message::Reply(reply)) if answers(reply.id.as_ref(), id) => {
                        return reply.result;
                    }
                    Ok(Message::Call(told)) => {
                        let reply = match (ear, &told.id) {
                            (Some(ear), _) => ear.hear(&told),
                            (None, id) => id.as_ref().map(|id| refusal(id, &told.method)),
                        };
                        if let Some(reply) = reply {
                            self.notify(revision, reply).await?;
                        }
                    }
                    // Events without data, such as those that only carry an id to resume from.
                    _ => {}
                }
            }
        }
        Err(Error::OutcomeUnknown(
            self.cause("the server closed its stream without an answer")
                .into(),
        ))
    }

    fn lost(&self, error: &hyper::Error) -> Error {
        Error::OutcomeUnknown(
            self.cause(&format!("the connection was lost: {}", chain(error)))
                .into(),
        )
    }

    /// What an answer means that is no JSON-RPC response.
    fn refused(&self, status: StatusCode, fields: &HeaderMap, body: &[u8]) -> Error {
        let shown = String::from_utf8_lossy(&body[..body.len().min(SHOWN)]);
        let cause = self.cause(&format!("the server answered {status}: {}", shown.trim()));
        let seconds = || fields.get(RETRY_AFTER)?.to_str().ok()?.parse().ok();
        match status.as_u16() {
            404 if self.session.is_some() => Error::SessionUnknown,
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

fn answers(id: Option<&toolbus_model::Raw>, expected: u64) -> bool {
    id.and_then(|id| id.read::<u64>().ok()) == Some(expected)
}

fn is_event_stream(value: &HeaderValue) -> bool {
    value
        .as_bytes()
        .to_ascii_lowercase()
        .starts_with(b"text/event-stream")
}

/// An error and all its sources in one line.
fn chain(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(error) = source {
        text = format!("{text}: {error}");
        source = error.source();
    }
    text
}
