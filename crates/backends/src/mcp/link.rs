//! One connection to a server: what to send, over which transport, and what is known of the peer.

use std::sync::atomic::AtomicBool;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use tokio::sync::watch;
use tokio::time::{Instant, timeout};
use tokio_util::sync::{CancellationToken, DropGuard};
use tokio_util::task::TaskTracker;
use toolbus_model::json::Edit;
use toolbus_model::{Cause, Era, Error, Freshness, LogLevel, Object, Raw, Revision};

use super::http::HttpLink;
use super::line_link::LineLink;
use super::lock;
use super::old_sse::OldSse;
use super::outgoing::{Ids, Outgoing};
use super::standalone::Standalone;

/// How long a server may take to set its log level. The call that wants it waits.
const TUNE_WITHIN: Duration = Duration::from_secs(5);

/// How long the first reading of the lists waits for the stream on which their changes are told: what comes between the
/// two would have to be read again.
const TELLS_WITHIN: Duration = Duration::from_millis(250);

/// How long the first call of a session waits for the stream that belongs to no request. Some servers ask on it, and what
/// they ask before it is there is lost. Those that do not begin to answer before they have something to say cost this much.
const ASKS_WITHIN: Duration = Duration::from_secs(1);

/// What a server said of itself.
#[derive(Debug, Clone)]
pub(super) struct Peer {
    pub(super) revision: Revision,
    pub(super) capabilities: Object,
    pub(super) info: Option<Raw>,
    pub(super) instructions: Option<String>,
}

/// Each of the lists, and something that is so of it or not.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(super) struct Lists {
    pub(super) tools: bool,
    pub(super) prompts: bool,
    pub(super) resources: bool,
}

impl Lists {
    pub(super) fn any(self) -> bool {
        self != Self::default()
    }

    /// Whether it is so of all that it is so of in `others`.
    pub(super) fn cover(self, others: Self) -> bool {
        let missing = Self {
            tools: others.tools && !self.tools,
            prompts: others.prompts && !self.prompts,
            resources: others.resources && !self.resources,
        };
        !missing.any()
    }
}

/// Whether a server tells us when its lists change.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Tells {
    /// It is not known yet.
    Unsettled,
    Yes,
    No,
}

/// What is known of whether a server tells us, for as long as a connection lasts.
#[derive(Debug)]
pub(super) struct Telling {
    state: watch::Sender<Tells>,
    since: Instant,
}

impl Telling {
    /// Notes that the server tells of its lists from now on, or does not. True where something may have been missed.
    pub(super) fn note(&self, tells: Tells) -> bool {
        let before = self.state.send_replace(tells);
        let is_late = before == Tells::Unsettled && self.since.elapsed() >= TELLS_WITHIN;
        tells == Tells::Yes && (before == Tells::No || is_late)
    }

    /// Whether the server tells of its lists, now and at each change.
    pub(super) fn follow(&self) -> watch::Receiver<Tells> {
        self.state.subscribe()
    }

    /// Waits, though not for long, until it is known whether the server tells of its lists.
    pub(super) async fn settled(&self) {
        self.settled_within(TELLS_WITHIN).await;
    }

    /// Waits until the stream is there on which an older server may ask, or it is known that there is none.
    pub(super) async fn can_ask(&self) {
        self.settled_within(ASKS_WITHIN).await;
    }

    async fn settled_within(&self, limit: Duration) {
        let mut state = self.follow();
        let settled = state.wait_for(|tells| *tells != Tells::Unsettled);
        let left = limit.saturating_sub(self.since.elapsed());
        let _ = timeout(left, settled).await;
    }
}

/// A server that can be asked.
#[derive(Debug)]
pub(super) enum Link {
    /// A child process.
    Stdio(Arc<LineLink>),
    /// A process that runs by itself, at a Unix socket.
    Unix(Arc<LineLink>),
    Http(Arc<HttpLink>),
    OldSse(Arc<OldSse>),
}

/// A link, and who is at its other end.
#[derive(Debug)]
pub(super) struct Connection {
    pub(super) peer: Peer,
    pub(super) link: Link,
    pub(super) opened: Instant,
    /// Cancelled when another one takes its place: who holds it then only ends what is under way.
    pub(super) retired: CancellationToken,
    unused: DropGuard,
    /// It was listed in full.
    pub(super) listed: AtomicBool,
    /// The lowest level of log lines that the server was asked for.
    level: Mutex<Option<LogLevel>>,
    pub(super) telling: Arc<Telling>,
}

impl Peer {
    /// The lists that it has.
    pub(super) fn lists(&self) -> Lists {
        self.lists_of(|_| true)
    }

    /// The lists of whose changes it can tell.
    pub(super) fn changing(&self) -> Lists {
        self.lists_of(|capability| capability.get("listChanged") == Some(b"true"))
    }

    fn lists_of(&self, holds: impl Fn(&Object) -> bool) -> Lists {
        let holds = |name| {
            let capability = self.capabilities.object(name).and_then(Result::ok);
            capability.is_some_and(|capability| holds(&capability))
        };
        Lists {
            tools: holds("tools"),
            prompts: holds("prompts"),
            resources: holds("resources"),
        }
    }

    /// It can tell of changes of single resources.
    pub(super) fn subscribes(&self) -> bool {
        let resources = self.capabilities.object("resources").and_then(Result::ok);
        resources.is_some_and(|resources| resources.get("subscribe") == Some(b"true"))
    }
}

impl Connection {
    pub(super) fn new(peer: Peer, link: Link) -> Self {
        // Where all share one stream, an older server tells of its changes unasked.
        let tells = match (&link, peer.revision.era()) {
            (Link::Stdio(_) | Link::Unix(_) | Link::OldSse(_), Era::Legacy) => Tells::Yes,
            (Link::Stdio(_) | Link::Unix(_) | Link::OldSse(_) | Link::Http(_), _) => {
                Tells::Unsettled
            }
        };
        Self {
            peer,
            link,
            opened: Instant::now(),
            retired: CancellationToken::new(),
            unused: CancellationToken::new().drop_guard(),
            listed: AtomicBool::new(false),
            level: Mutex::default(),
            telling: Arc::new(Telling {
                state: watch::Sender::new(tells),
                since: Instant::now(),
            }),
        }
    }

    /// Hears what an older server says of its own accord over HTTP, for as long as the session lasts.
    pub(super) fn hear(self, tasks: &TaskTracker) -> Self {
        if let Link::Http(link) = &self.link {
            let stream = Standalone::of(link, &self.peer, Arc::clone(&self.telling));
            let over = link.over().clone();
            tasks.spawn(async move {
                over.run_until_cancelled(stream.hear()).await;
            });
        }
        self
    }

    /// Cancelled when nobody holds the connection any more.
    pub(super) fn unused(&self) -> CancellationToken {
        self.unused.token().clone()
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
            Link::Stdio(process) | Link::Unix(process) => process.send(body).await,
            Link::Http(link) => link.answer(self.peer.revision, body).await,
            Link::OldSse(link) => link.notify(self.peer.revision, body).await,
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
        let mut known = lock(&self.level);
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
            Self::Stdio(process) | Self::Unix(process) => process.exchange(outgoing).await,
            Self::Http(link) => link.exchange(outgoing).await,
            Self::OldSse(link) => link.exchange(outgoing).await,
        }
    }

    /// Sends a notification.
    pub(super) async fn notify(&self, revision: Revision, body: Vec<u8>) -> Result<(), Error> {
        match self {
            Self::Stdio(process) | Self::Unix(process) => process.send(body).await,
            Self::Http(link) => link.notify(revision, body).await,
            Self::OldSse(link) => link.notify(revision, body).await,
        }
    }

    /// The connection can still be used.
    pub(super) fn is_alive(&self) -> bool {
        match self {
            Self::Stdio(process) | Self::Unix(process) => !process.has_ended(),
            Self::Http(link) => !link.over().is_cancelled(),
            Self::OldSse(link) => !link.over().is_cancelled(),
        }
    }

    /// Waits until the connection is lost, or nobody is to use it any more.
    pub(super) async fn lost(&self) -> Error {
        let (over, what) = match self {
            Self::Stdio(process) | Self::Unix(process) => {
                return Error::Unavailable(process.ended().await.into());
            }
            Self::Http(link) => (link.over(), "the session with the server is over"),
            Self::OldSse(link) => (link.over(), "the server's stream has ended"),
        };
        over.cancelled().await;
        Error::Unavailable(self.cause(what).into())
    }

    /// Nobody is to use it any more: at its URL there may be another server by now, or one without our session.
    pub(super) fn abandon(&self) {
        match self {
            Self::Stdio(_) | Self::Unix(_) => {}
            Self::Http(link) => link.over().cancel(),
            Self::OldSse(link) => link.over().cancel(),
        }
    }

    /// What the server says without naming a request can only be told from its turn.
    pub(super) fn hears_by_turns(&self) -> bool {
        matches!(self, Self::Stdio(_) | Self::Unix(_) | Self::OldSse(_))
    }

    /// What the server asks could be meant for any call of a session, so that each session has one at a time. Over HTTP
    /// that is known once the server has asked on the stream that belongs to no request.
    pub(super) fn asks_by_turns(&self) -> bool {
        match self {
            Self::Stdio(_) | Self::Unix(_) | Self::OldSse(_) => true,
            Self::Http(link) => link.news().asks_apart(),
        }
    }

    /// What is known of the server's state, for an error that says `what`.
    pub(super) fn cause(&self, what: &str) -> Cause {
        match self {
            Self::Stdio(process) | Self::Unix(process) => process.cause(what),
            Self::Http(link) => link.cause(what),
            Self::OldSse(link) => link.cause(what),
        }
    }

    /// A cancelled request must be told to the server; a modern one over HTTP sees its connection close.
    pub(super) fn cancels_by_closing(&self, revision: Revision) -> bool {
        matches!(self, Self::Http(_)) && revision.era() == Era::Modern
    }

    /// Ends the connection.
    pub(super) async fn close(&self) {
        match self {
            Self::Stdio(process) | Self::Unix(process) => process.close().await,
            Self::Http(link) => link.close().await,
            Self::OldSse(link) => link.over().cancel(),
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
