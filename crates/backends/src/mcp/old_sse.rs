//! HTTP with SSE of 2024-11-05: messages are posted to where the server says, and everything that it says itself comes
//! on one stream.

use std::sync::{Arc, Weak};
use std::time::Duration;

use bytes::Bytes;
use http::header::{ACCEPT, CONTENT_TYPE};
use http::uri::PathAndQuery;
use http::{HeaderValue, Method, Request, StatusCode, Uri};
use http_body_util::Full;
use tokio::time::timeout;
use tokio_util::sync::{CancellationToken, DropGuard};
use tokio_util::task::TaskTracker;
use toolbus_model::{Cause, Error, Object, Revision};
use toolbus_protocol::{Envelope, Message, headers};

use super::client::Client;
use super::ear::Ear;
use super::events::{Ended, Events};
use super::http::HttpTarget;
use super::news::News;
use super::outgoing::{MAX_MESSAGE, Outgoing};
use super::waiting::Waiting;

/// How long a server may take to say where messages go. It is the first thing that it says.
const ENDPOINT_WITHIN: Duration = Duration::from_secs(10);

/// How long a server has to take a notification.
const NOTIFY_WITHIN: Duration = Duration::from_secs(5);

/// A session: its stream, and where messages go. It lasts as long as the stream.
#[derive(Debug)]
pub(super) struct OldSse {
    client: Arc<Client>,
    target: HttpTarget,
    endpoint: Uri,
    waiting: Waiting,
    news: Arc<News>,
    over: CancellationToken,
    /// Ends the stream when nobody holds the session any more.
    _end: DropGuard,
}

impl OldSse {
    /// Opens a session at a URL. Nothing, where no such server answers there.
    pub(super) async fn open(
        client: Arc<Client>,
        target: HttpTarget,
        news: Arc<News>,
        tasks: &TaskTracker,
    ) -> Option<Arc<Self>> {
        let mut request = Request::new(Full::default());
        *request.method_mut() = Method::GET;
        *request.uri_mut() = target.url.clone();
        request.headers_mut().clone_from(&target.headers);
        let accept = HeaderValue::from_static("text/event-stream");
        request.headers_mut().insert(ACCEPT, accept);
        let first = async {
            let mut events = client.stream(request, false).await.ok()?;
            let event = events.next().await.ok()?;
            let said = (event.name == "endpoint").then_some(event.data)?;
            Some((events, resolve(&target.url, &said)?))
        };
        let (events, endpoint) = timeout(ENDPOINT_WITHIN, first).await.ok()??;
        let over = CancellationToken::new();
        let session = Arc::new(Self {
            client,
            target,
            endpoint,
            waiting: Waiting::default(),
            news,
            _end: over.clone().drop_guard(),
            over,
        });
        tasks.spawn(read(Arc::downgrade(&session), session.over.clone(), events));
        Some(session)
    }

    /// Another session at the same URL.
    pub(super) async fn beside(&self, tasks: &TaskTracker) -> Option<Arc<Self>> {
        let (client, target) = (Arc::clone(&self.client), self.target.clone());
        Self::open(client, target, Arc::clone(&self.news), tasks).await
    }

    /// Sends a request and waits for its answer.
    pub(super) async fn exchange(&self, outgoing: Outgoing) -> Result<Object, Error> {
        let is_first = outgoing.method.as_str() == "initialize";
        let revision = (!is_first).then_some(outgoing.revision);
        let ear = outgoing.ear.clone();
        let mut wait = self.waiting.enter(outgoing.id, outgoing.ear);
        // Whoever waits before the end is told of it; who comes later has to look.
        if self.over.is_cancelled() {
            return Err(Error::Unavailable(
                self.cause("the stream has ended").into(),
            ));
        }
        let posted = self.post(revision, outgoing.body);
        tokio::select! {
            biased;
            // Some servers take a message only when it is answered.
            answer = wait.answer() => return answer.unwrap_or_else(|| Err(self.lost())),
            posted = posted => posted?,
        }
        if let Some(ear @ Ear::Questions(_)) = &ear {
            for reply in self.waiting.hear_early(ear) {
                let _ = self.notify(outgoing.revision, reply).await;
            }
        }
        wait.answer().await.unwrap_or_else(|| Err(self.lost()))
    }

    /// Sends a notification, or a response.
    pub(super) async fn notify(&self, revision: Revision, body: Vec<u8>) -> Result<(), Error> {
        let posted = timeout(NOTIFY_WITHIN, self.post(Some(revision), body)).await;
        let late = |_| self.cause("the server did not take a notification");
        posted.map_err(|error| Error::Unavailable(late(error).into()))?
    }

    async fn post(&self, revision: Option<Revision>, body: Vec<u8>) -> Result<(), Error> {
        let mut request = Request::new(Full::new(Bytes::from(body)));
        *request.method_mut() = Method::POST;
        *request.uri_mut() = self.endpoint.clone();
        let fields = request.headers_mut();
        fields.clone_from(&self.target.headers);
        fields.insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
        if let Some(revision) = revision {
            let revision = HeaderValue::from_static(revision.as_str());
            fields.insert(headers::VERSION, revision);
        }
        let (head, body) = self.client.send(request).await?.into_parts();
        if head.status.is_success() {
            return Ok(());
        }
        let body = self.client.read_all(body).await?;
        let error = self.client.refused(head.status, &head.headers, &body, true);
        if head.status == StatusCode::NOT_FOUND {
            self.over.cancel();
        }
        Err(error)
    }

    /// Takes what came on the stream.
    async fn take(&self, message: Message) {
        match message {
            Message::Reply(reply) => self.waiting.answered(reply),
            Message::Call(said) => self.told(&said).await,
        }
    }

    async fn told(&self, said: &Envelope) {
        if let Some(reply) = self.waiting.told(said, None, &self.news) {
            // A server that does not take the answer to its own question is told by its own time limits.
            let _ = self.notify(Revision::V2024_11_05, reply).await;
        }
    }

    /// Cancelled when the stream has ended, or nobody is to use it any more.
    pub(super) fn over(&self) -> &CancellationToken {
        &self.over
    }

    /// From now on questions are kept for the first call.
    pub(super) fn hold_questions(&self) {
        self.waiting.hold_questions();
    }

    pub(super) fn cause(&self, what: &str) -> Cause {
        self.client.cause(what)
    }

    fn lost(&self) -> Error {
        Error::OutcomeUnknown(self.cause("the server's stream ended in mid-call").into())
    }
}

/// Reads the stream to its end, which is the session's.
async fn read(session: Weak<OldSse>, over: CancellationToken, mut events: Events) {
    let why = loop {
        let event = tokio::select! {
            event = events.next() => event,
            () = over.cancelled() => break "the session was closed".to_owned(),
        };
        let event = match event {
            Ok(event) => event,
            Err(Ended::Closed) => break "the server closed its stream".to_owned(),
            Err(Ended::Lost(why)) => break format!("the connection was lost: {why}"),
            Err(Ended::TooLarge) => break format!("a message had more than {MAX_MESSAGE} bytes"),
        };
        let Some(session) = session.upgrade() else {
            return;
        };
        if let Ok(message) = Message::parse(&event.data) {
            session.take(message).await;
        }
    };
    over.cancel();
    if let Some(session) = session.upgrade() {
        let cause = session.cause(&why);
        session
            .waiting
            .fail(|_| Error::OutcomeUnknown(cause.clone().into()));
    }
}

/// Where messages go, as the server says it: a path or a URL, at the origin of its stream and nowhere else. What is sent
/// may hold credentials.
fn resolve(base: &Uri, said: &[u8]) -> Option<Uri> {
    let said = std::str::from_utf8(said).ok()?.trim();
    let said = said.split('#').next().unwrap_or_default();
    let first = said.split(['/', '?']).next().unwrap_or_default();
    if first.contains(':') || said.starts_with("//") {
        let scheme = base.scheme_str()?;
        let whole = match said.strip_prefix("//") {
            Some(rest) => format!("{scheme}://{rest}"),
            None => said.to_owned(),
        };
        let uri: Uri = whole.parse().ok()?;
        return (origin(&uri)? == origin(base)?).then_some(uri);
    }
    let path = base.path();
    let path = match said.bytes().next()? {
        b'/' => said.to_owned(),
        b'?' => format!("{path}{said}"),
        _ => format!("{}{said}", &path[..=path.rfind('/')?]),
    };
    let mut parts = base.clone().into_parts();
    parts.path_and_query = Some(path.parse::<PathAndQuery>().ok()?);
    Uri::from_parts(parts).ok()
}

fn origin(uri: &Uri) -> Option<(String, String, u16)> {
    let scheme = uri.scheme_str()?.to_ascii_lowercase();
    let default = match scheme.as_str() {
        "https" => 443,
        _ => 80,
    };
    let host = uri.host()?.to_ascii_lowercase();
    Some((scheme, host, uri.port_u16().unwrap_or(default)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn messages_go_to_the_origin_of_the_stream_and_nowhere_else() {
        let base: Uri = "https://Example.com/a/sse?key=1".parse().expect("a URI");
        let at = |said: &str| resolve(&base, said.as_bytes()).map(|uri| uri.to_string());
        let good = [
            (
                "/messages/?session_id=7\n",
                "https://Example.com/messages/?session_id=7",
            ),
            ("messages?s=7#x", "https://Example.com/a/messages?s=7"),
            ("?s=7", "https://Example.com/a/sse?s=7"),
            ("https://example.com:443/m", "https://example.com:443/m"),
            ("//example.com/m", "https://example.com/m"),
            (
                "/m?to=http://elsewhere.com",
                "https://Example.com/m?to=http://elsewhere.com",
            ),
        ];
        for (said, expected) in good {
            assert_eq!(at(said).as_deref(), Some(expected), "{said}");
        }
        for said in [
            "",
            "http://example.com/m",
            "https://example.com:8443/m",
            "https://elsewhere.com/m",
            "https://example.com@elsewhere.com/m",
            "//elsewhere.com/m",
            "/with a space",
        ] {
            assert_eq!(at(said), None, "{said:?}");
        }
        assert_eq!(resolve(&base, &[0xff]), None);
    }
}
