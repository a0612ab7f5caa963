//! Opening a connection: which era a server speaks is found out as the specification says (basic/versioning).

mod url;

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use tokio::time::timeout;
use tokio_util::sync::{CancellationToken, DropGuard};
use tokio_util::task::TaskTracker;
use toolbus_model::{Era, Error, Object};

pub(super) use self::url::http;
use super::greeting::{self, discovered, initialized, offers_ours, opened};
use super::line_link::LineLink;
use super::link::{Connection, Link, Peer};
use super::news::News;
use super::outgoing::Ids;
use super::server::Target;
use super::{stdio, unix};
use crate::process::Command;

/// How long a server may take to answer its first question. Some are downloaded first.
const START_WITHIN: Duration = Duration::from_secs(60);

/// How long a child is given to answer `server/discover` before it is also asked in the older way. Some older servers
/// do not answer what they do not know.
const PATIENCE: Duration = Duration::from_secs(3);

/// What a server's connections have in common.
#[derive(Debug, Clone)]
pub(super) struct Means {
    pub(super) ids: Arc<Ids>,
    pub(super) news: Arc<News>,
    pub(super) tasks: TaskTracker,
    /// Cancelled when the server is not wanted any more.
    pub(super) closing: CancellationToken,
}

/// A server that is spoken to in lines.
#[derive(Debug, Clone, Copy)]
pub(super) enum Lined<'a> {
    /// As a child process, a new one each time.
    Child(&'a Command),
    /// At a Unix socket: all connections lead to one process.
    Socket(&'a Path),
}

impl Lined<'_> {
    async fn open(self, means: &Means) -> Result<Arc<LineLink>, Error> {
        let Means { news, tasks, .. } = means;
        match self {
            Self::Child(command) => stdio::start(command, news, tasks).await,
            Self::Socket(path) => unix::connect(path, news, tasks).await,
        }
    }

    fn link(self, link: Arc<LineLink>) -> Link {
        match self {
            Self::Child(_) => Link::Stdio(link),
            Self::Socket(_) => Link::Unix(link),
        }
    }
}

/// Connects to a server that is spoken to in lines. `known` is the era it spoke before.
pub(super) async fn lined(
    target: Lined<'_>,
    known: Option<Era>,
    means: &Means,
) -> Result<Connection, Error> {
    let ids = &means.ids;
    if known != Some(Era::Legacy) {
        let process = target.open(means).await?;
        let guard = process.guard();
        match within(&process, probe(&process, ids)).await {
            // Some older servers end at a first message that is not `initialize`: they get another chance with it.
            Err(_) if known.is_none() && process.has_ended() => {}
            result => return finish(target, process, guard, result).await,
        }
    }
    let process = target.open(means).await?;
    let guard = process.guard();
    let opened = within(&process, initialize_lined(&process, &Object::empty(), ids)).await;
    finish(target, process, guard, opened).await
}

/// A further session with a server that is known.
pub(super) struct Further<'a> {
    pub(super) target: &'a Target,
    pub(super) base: &'a Connection,
    pub(super) era: Era,
    /// What the server is told that it may ask.
    pub(super) capabilities: &'a Object,
}

impl Further<'_> {
    pub(super) async fn open(self, means: &Means) -> Result<Connection, Error> {
        match (self.target, &self.base.link) {
            (Target::Stdio(command), _) => self.lined(Lined::Child(command), means).await,
            (Target::Unix(path), _) => self.lined(Lined::Socket(path), means).await,
            (Target::Http(_), Link::Http(base)) => {
                let link = base.beside();
                link.hold_questions();
                let opened = url::initialize(link, self.capabilities, means).await;
                opened.map_err(|failure| failure.error)
            }
            (Target::Http(_), Link::OldSse(base)) => {
                let gone = || Error::Unavailable(base.cause("the server gives no stream").into());
                let link = base.beside(&means.tasks).await.ok_or_else(gone)?;
                link.hold_questions();
                url::initialize_old_sse(link, self.capabilities, &means.ids).await
            }
            (Target::Http(_), Link::Stdio(_) | Link::Unix(_)) => {
                Err(Error::Internal("a URL has no process".to_owned()))
            }
        }
    }

    async fn lined(&self, target: Lined<'_>, means: &Means) -> Result<Connection, Error> {
        if self.era == Era::Modern {
            return lined(target, Some(Era::Modern), means).await;
        }
        let process = target.open(means).await?;
        let guard = process.guard();
        process.hold_questions();
        let opening = initialize_lined(&process, self.capabilities, &means.ids);
        let opened = within(&process, opening).await;
        finish(target, process, guard, opened).await
    }
}

/// Bounds the start, and turns every failure into "not available": nothing of a caller's has been sent yet.
async fn within(
    process: &LineLink,
    work: impl Future<Output = Result<Peer, Error>>,
) -> Result<Peer, Error> {
    match timeout(START_WITHIN, work).await {
        Ok(Ok(peer)) => Ok(peer),
        Ok(Err(error)) => Err(match error {
            Error::OutcomeUnknown(cause) | Error::Unavailable(cause) => Error::Unavailable(cause),
            other => Error::Unavailable(
                process
                    .cause(&format!("the server did not open: {other}"))
                    .into(),
            ),
        }),
        Err(_) => {
            let what = format!(
                "the server did not answer within {} s",
                START_WITHIN.as_secs()
            );
            Err(Error::Unavailable(process.cause(&what).into()))
        }
    }
}

async fn finish(
    target: Lined<'_>,
    process: Arc<LineLink>,
    guard: DropGuard,
    opened: Result<Peer, Error>,
) -> Result<Connection, Error> {
    match opened {
        Ok(peer) => {
            guard.disarm();
            Ok(Connection::new(peer, target.link(process)))
        }
        Err(error) => {
            process.close().await;
            Err(error)
        }
    }
}

/// Asks `server/discover`; with no answer in time also `initialize`. The first good answer decides.
async fn probe(process: &LineLink, ids: &Ids) -> Result<Peer, Error> {
    let nothing = Object::empty();
    let discover = process.exchange(greeting::discover(ids));
    tokio::pin!(discover);
    let first = match timeout(PATIENCE, &mut discover).await {
        Ok(answer) => answer,
        Err(_) => tokio::select! {
            // One that is only slow to start refuses this, and answers the first question all the same.
            Ok(peer) = initialize_lined(process, &nothing, ids) => return Ok(peer),
            answer = &mut discover => answer,
        },
    };
    let answer = match first {
        Err(error) if offers_ours(&error) => process.exchange(greeting::discover(ids)).await,
        first => first,
    };
    match answer.map(|result| discovered(&result)) {
        Ok(Some(peer)) => Ok(peer),
        Err(error @ (Error::OutcomeUnknown(_) | Error::Unavailable(_))) => Err(error),
        Ok(None) | Err(_) => initialize_lined(process, &nothing, ids).await,
    }
}

async fn initialize_lined(
    process: &LineLink,
    capabilities: &Object,
    ids: &Ids,
) -> Result<Peer, Error> {
    let result = process
        .exchange(greeting::initialize(capabilities, ids))
        .await?;
    process.send(initialized()).await?;
    opened(&result)
}
