//! A server at a URL: Streamable HTTP, answers as JSON or as an event stream.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http::header::{ACCEPT, CONTENT_TYPE};
use http::{HeaderMap, HeaderName, HeaderValue, Method, Request, Response, StatusCode, Uri};
use http_body_util::Full;
use hyper::body::Incoming;
use tokio_util::sync::{CancellationToken, DropGuard};
use tokio_util::task::TaskTracker;
use toolbus_model::{Cause, Era, Error, Object, Raw, Revision};
use toolbus_protocol::{Envelope, Message, headers};

use super::answer::Awaited;
use super::client::{Client, Failure, is_event_stream};
use super::ear::Ear;
use super::events::Events;
use super::news::News;
use super::old_sse::OldSse;
use super::outgoing::Outgoing;
use super::resume::Place;
use super::waiting::Waiting;

/// How long a server has to take a notification.
const NOTIFY_WITHIN: Duration = Duration::from_secs(5);

const BOTH: HeaderValue = HeaderValue::from_static("application/json, text/event-stream");
const JSON: HeaderValue = HeaderValue::from_static("application/json");
const EVENTS: HeaderValue = HeaderValue::from_static("text/event-stream");
const LAST_EVENT_ID: HeaderName = HeaderName::from_static("last-event-id");

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

/// A connection to a server at a URL. It is a pool underneath, so it cannot be lost; a session can.
#[derive(Debug)]
pub(super) struct HttpLink {
    client: Arc<Client>,
    target: HttpTarget,
    session: Option<HeaderValue>,
    news: Arc<News>,
    /// The calls of an older session, for what is said on the stream that belongs to none.
    calls: Waiting,
    over: CancellationToken,
    /// Ends what was started for this link when nobody holds it any more.
    _end: DropGuard,
}

impl HttpLink {
    pub(super) fn new(target: HttpTarget, news: Arc<News>) -> Result<Self, Error> {
        let client = Arc::new(Client::new(&target.url)?);
        Ok(Self::at(client, target, news))
    }

    fn at(client: Arc<Client>, target: HttpTarget, news: Arc<News>) -> Self {
        let over = CancellationToken::new();
        Self {
            client,
            target,
            session: None,
            news,
            calls: Waiting::default(),
            _end: over.clone().drop_guard(),
            over,
        }
    }

    /// The same server, without a session.
    pub(super) fn beside(&self) -> Self {
        Self::at(self.client(), self.target.clone(), Arc::clone(&self.news))
    }

    /// The same server, where it speaks the transport of 2024-11-05.
    pub(super) async fn old_sse(&self, tasks: &TaskTracker) -> Option<Arc<OldSse>> {
        let (target, news) = (self.target.clone(), Arc::clone(&self.news));
        OldSse::open(self.client(), target, news, tasks).await
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
        let opened = self.ask(outgoing).await;
        if opened
            .as_ref()
            .is_err_and(|failure| failure.error == Error::SessionUnknown)
        {
            self.over.cancel();
        }
        opened
    }

    async fn ask(&self, outgoing: Outgoing) -> Result<(Object, Option<HeaderValue>), Failure> {
        let (id, revision, ear) = (outgoing.id, outgoing.revision, outgoing.ear.clone());
        let is_older = revision.era() == Era::Legacy;
        let _under_way = is_older.then(|| self.calls.enter(id, ear.clone()));
        if let Some(ear @ Ear::Questions(_)) = &ear {
            for reply in self.calls.hear_early(ear) {
                let _ = self.notify(revision, reply).await;
            }
        }
        let response = self.client.send(self.request(outgoing)).await?;
        let session = response.headers().get(headers::SESSION).cloned();
        if is_event_stream(&response) {
            let awaited = Awaited { id, revision, ear };
            let events = Events::new(response.into_body());
            return Ok((self.read_answer(events, &awaited).await?, session));
        }
        let (head, body) = response.into_parts();
        let body = self.client.read_all(body).await?;
        let failure = |error| Failure {
            status: Some(head.status),
            error,
        };
        match Message::parse(&body) {
            Ok(Message::Reply(_)) if head.status == StatusCode::NOT_FOUND && self.is_session() => {
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
            _ => {
                let in_session = self.is_session();
                let error = self
                    .client
                    .refused(head.status, &head.headers, &body, in_session);
                Err(failure(error))
            }
        }
    }

    /// The request for the stream that belongs to no request, or with a place for the rest of one that has ended.
    pub(super) fn get(&self, revision: Revision, place: &Place) -> Request<Full<Bytes>> {
        let mut request = self.bare(Method::GET, Bytes::new());
        let fields = request.headers_mut();
        fields.insert(ACCEPT, EVENTS);
        fields.insert(
            headers::VERSION,
            HeaderValue::from_static(revision.as_str()),
        );
        fields.extend(place.last_id.clone().map(|id| (LAST_EVENT_ID, id)));
        request
    }

    pub(super) fn client(&self) -> Arc<Client> {
        Arc::clone(&self.client)
    }

    pub(super) fn news(&self) -> &News {
        &self.news
    }

    pub(super) fn is_session(&self) -> bool {
        self.session.is_some()
    }

    /// Cancelled when the session is over, or nobody is to use the link any more.
    pub(super) fn over(&self) -> &CancellationToken {
        &self.over
    }

    /// From now on questions are kept for the first call.
    pub(super) fn hold_questions(&self) {
        self.calls.hold_questions();
    }

    /// Takes what the server says beside its answers; `ear` is that of the request on whose stream it says it.
    pub(super) async fn told(&self, said: &Envelope, revision: Revision, ear: Option<&Ear>) {
        let reply = self.calls.told(said, ear, &self.news);
        if let Some(reply) = reply {
            // A server that does not take the answer to its own question is told by its own time limits.
            let _ = self.notify(revision, reply).await;
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
        let body = self.client.read_all(body).await?;
        let in_session = self.is_session();
        Err(self
            .client
            .refused(head.status, &head.headers, &body, in_session))
    }

    async fn tell(&self, revision: Revision, body: Vec<u8>) -> Result<Response<Incoming>, Error> {
        let mut request = self.post(body.into());
        request.headers_mut().insert(
            headers::VERSION,
            HeaderValue::from_static(revision.as_str()),
        );
        let sent = tokio::time::timeout(NOTIFY_WITHIN, self.client.send(request)).await;
        sent.map_err(|_| {
            Error::Unavailable(self.cause("the server did not take a notification").into())
        })?
    }

    /// Ends a legacy session.
    pub(super) async fn close(&self) {
        self.over.cancel();
        if self.session.is_none() {
            return;
        }
        let request = self.bare(Method::DELETE, Bytes::new());
        // A server may refuse to end sessions, and ours ends all the same.
        let _ = tokio::time::timeout(NOTIFY_WITHIN, self.client.send(request)).await;
    }

    pub(super) fn cause(&self, what: &str) -> Cause {
        self.client.cause(what)
    }

    fn bare(&self, method: Method, body: Bytes) -> Request<Full<Bytes>> {
        let mut request = Request::new(Full::new(body));
        *request.method_mut() = method;
        *request.uri_mut() = self.target.url.clone();
        let fields = request.headers_mut();
        fields.clone_from(&self.target.headers);
        fields.extend(
            self.session
                .iter()
                .map(|session| (HeaderName::from_static(headers::SESSION), session.clone())),
        );
        request
    }

    fn post(&self, body: Bytes) -> Request<Full<Bytes>> {
        let mut request = self.bare(Method::POST, body);
        let fields = request.headers_mut();
        fields.insert(CONTENT_TYPE, JSON);
        fields.insert(ACCEPT, BOTH);
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
        if outgoing.revision.era() == Era::Modern {
            if let Ok(method) = HeaderValue::from_str(outgoing.method.as_str()) {
                fields.insert(headers::METHOD, method);
            }
            fields.extend(outgoing.target.map(|target| {
                (
                    HeaderName::from_static(headers::NAME),
                    headers::encode(&target),
                )
            }));
            fields.extend(outgoing.headers);
        }
        request
    }
}

/// Whether a response's id is that of our request.
pub(super) fn answers(id: Option<&Raw>, expected: u64) -> bool {
    id.and_then(|id| id.read::<u64>().ok()) == Some(expected)
}
