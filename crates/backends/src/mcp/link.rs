//! One connection to a server: what to send, over which transport, and what is known of the peer.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tokio::sync::Notify;
use tokio::time::timeout;
use toolbus_model::json::Edit;
use toolbus_model::{Cause, Era, Error, Freshness, LogLevel, Object, Raw, Revision};

use super::http::HttpLink;
use super::outgoing::{Ids, Outgoing};
use super::stdio::Process;

/// How long a server may take to set its log level. The call that wants it waits.
const TUNE_WITHIN: Duration = Duration::from_secs(5);

/// What a server said of itself.
#[derive(Debug, Clone)]
pub(super) struct Peer {
    pub(super) revision: Revision,
    pub(super) capabilities: Object,
    pub(super) info: Option<Raw>,
    pub(super) instructions: Option<String>,
}

/// A server that can be asked.
#[derive(Debug)]
pub(super) enum Link {
    Stdio(Arc<Process>),
    Http(Box<HttpLink>),
}

/// A link, and who is at its other end.
#[derive(Debug)]
pub(super) struct Connection {
    pub(super) peer: Peer,
    pub(super) link: Link,
    /// The lowest level of log lines that the server was asked for.
    level: Mutex<Option<LogLevel>>,
}

impl Connection {
    pub(super) fn new(peer: Peer, link: Link) -> Self {
        Self {
            peer,
            link,
            level: Mutex::default(),
        }
    }

    /// The server speaks a revision before 2026-07-28.
    pub(super) fn is_older(&self) -> bool {
        self.peer.revision.era() == Era::Legacy
    }

    /// Sends a notification.
    pub(super) async fn notify(&self, body: Vec<u8>) -> Result<(), Error> {
        self.link.notify(self.peer.revision, body).await
    }

    /// Sends the response to a request of the server's.
    pub(super) async fn answer(&self, body: Vec<u8>) -> Result<(), Error> {
        match &self.link {
            Link::Stdio(process) => process.send(body).await,
            Link::Http(link) => link.answer(self.peer.revision, body).await,
        }
    }

    /// Sees to it that the server logs what a caller wants to see. In older revisions the level is the session's, so that
    /// it is set to the lowest that anybody asked for; each caller is told what it wants.
    pub(super) async fn tune(&self, wanted: Option<LogLevel>, ids: &Ids) {
        let Some(level) = wanted.filter(|_| self.is_older()) else {
            return;
        };
        if self.peer.capabilities.get("logging").is_none() || !self.lower_to(level) {
            return;
        }
        let quoted = Raw::of(level.as_str());
        let members = [("level", Edit::Put(quoted.bytes()))];
        let request = Outgoing::own(ids, self.peer.revision, "logging/setLevel", &members);
        // A server that does not set it has its own: log lines are advice.
        if !matches!(
            timeout(TUNE_WITHIN, self.link.exchange(request)).await,
            Ok(Ok(_))
        ) {
            tracing::debug!(
                level = level.as_str(),
                "the server did not set its log level"
            );
        }
    }

    fn lower_to(&self, level: LogLevel) -> bool {
        let mut known = self.level.lock().unwrap_or_else(PoisonError::into_inner);
        let lower = known.is_none_or(|known| level < known);
        if lower {
            *known = Some(level);
        }
        lower
    }
}

impl Link {
    /// Sends a request and waits for its answer. Dropping the future takes the caller's interest away, not more.
    pub(super) async fn exchange(&self, outgoing: Outgoing) -> Result<Object, Error> {
        match self {
            Self::Stdio(process) => process.exchange(outgoing).await,
            Self::Http(link) => link.exchange(outgoing).await,
        }
    }

    /// Sends a notification.
    pub(super) async fn notify(&self, revision: Revision, body: Vec<u8>) -> Result<(), Error> {
        match self {
            Self::Stdio(process) => process.send(body).await,
            Self::Http(link) => link.notify(revision, body).await,
        }
    }

    /// The connection can still be used.
    pub(super) fn is_alive(&self) -> bool {
        match self {
            Self::Stdio(process) => !process.has_ended(),
            Self::Http(_) => true,
        }
    }

    /// Waits until the connection is lost; one that cannot be lost waits for ever.
    pub(super) async fn lost(&self) -> Error {
        match self {
            Self::Stdio(process) => Error::Unavailable(process.ended().await.into()),
            Self::Http(_) => std::future::pending().await,
        }
    }

    /// What the server says without naming a request can only be told from its turn.
    pub(super) fn hears_by_turns(&self) -> bool {
        matches!(self, Self::Stdio(_))
    }

    /// What is known of the server's state, for an error that says `what`.
    pub(super) fn cause(&self, what: &str) -> Cause {
        match self {
            Self::Stdio(process) => process.cause(what),
            Self::Http(link) => link.cause(what),
        }
    }

    /// Rung when the server says that a list of its has changed.
    pub(super) fn changed(&self) -> Option<&Notify> {
        match self {
            Self::Stdio(process) => Some(process.changed()),
            Self::Http(_) => None,
        }
    }

    /// A cancelled request must be told to the server; a modern one over HTTP sees its connection close.
    pub(super) fn cancels_by_closing(&self, revision: Revision) -> bool {
        matches!(self, Self::Http(_)) && revision.era() == Era::Modern
    }

    /// Ends the connection.
    pub(super) async fn close(&self) {
        match self {
            Self::Stdio(process) => process.close().await,
            Self::Http(link) => link.close().await,
        }
    }
}

/// What a server's list results said about how long they may be kept.
pub(super) fn freshness(result: &Object) -> Option<Freshness> {
    let ttl_ms = result.raw("ttlMs")?.read().ok()?;
    Some(Freshness {
        ttl_ms,
        shared: result.str("cacheScope").as_deref() == Some("public"),
    })
}
