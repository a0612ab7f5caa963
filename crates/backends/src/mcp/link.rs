//! One connection to a server: what to send, over which transport, and what is known of the peer.

use std::sync::Arc;

use tokio::sync::Notify;
use toolbus_model::{Cause, Error, Freshness, Object, Raw, Revision};

use super::http::HttpLink;
use super::outgoing::Outgoing;
use super::stdio::Process;

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
}

impl Link {
    /// Sends a request and waits for its answer. Dropping the future takes the caller's interest away, not more.
    pub(super) async fn exchange(&self, outgoing: Outgoing<'_>) -> Result<Object, Error> {
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
        matches!(self, Self::Http(_)) && revision.era() == toolbus_model::Era::Modern
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
