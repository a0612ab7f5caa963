//! Opening a connection: which era a server speaks is found out as the specification says (basic/versioning).

use std::sync::Arc;
use std::time::Duration;

use tokio::time::timeout;
use tokio_util::sync::{CancellationToken, DropGuard};
use tokio_util::task::TaskTracker;
use toolbus_model::json::Edit;
use toolbus_model::{Cause, Era, Error, Object, Revision};
use toolbus_protocol::{meta, write};

use super::client::Failure;
use super::dialect::{quoted, us};
use super::http::{HttpLink, HttpTarget};
use super::link::{Connection, Link, Peer};
use super::news::News;
use super::old_sse::OldSse;
use super::outgoing::{Ids, Outgoing};
use super::server::Target;
use super::stdio::Process;
use crate::process::Command;

/// How long a server may take to answer its first question. Some are downloaded first.
const START_WITHIN: Duration = Duration::from_secs(60);

/// How long a child is given to answer `server/discover` before it is also asked in the older way. Some older servers
/// do not answer what they do not know.
const PATIENCE: Duration = Duration::from_secs(3);

const MODERN: Revision = Revision::V2026_07_28;

/// What a server's connections have in common.
#[derive(Debug, Clone)]
pub(super) struct Means {
    pub(super) ids: Arc<Ids>,
    pub(super) news: Arc<News>,
    pub(super) tasks: TaskTracker,
    /// Cancelled when the server is not wanted any more.
    pub(super) closing: CancellationToken,
}

/// Connects to a child process. `known` is the era it spoke before.
pub(super) async fn stdio(
    command: &Command,
    known: Option<Era>,
    means: &Means,
) -> Result<Connection, Error> {
    let Means {
        ids, news, tasks, ..
    } = means;
    if known != Some(Era::Legacy) {
        let process = Process::start(command, news, tasks).await?;
        let guard = process.guard();
        match within(&process, probe(&process, ids)).await {
            // Some older servers end at a first message that is not `initialize`: they get another chance with it.
            Err(_) if known.is_none() && process.has_ended() => {}
            result => return finish(process, guard, result).await,
        }
    }
    let process = Process::start(command, news, tasks).await?;
    let guard = process.guard();
    let opened = within(&process, initialize_stdio(&process, &Object::empty(), ids)).await;
    finish(process, guard, opened).await
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
        let Means {
            ids, news, tasks, ..
        } = means;
        match (self.target, &self.base.link) {
            (Target::Stdio(command), _) if self.era == Era::Modern => {
                stdio(command, Some(Era::Modern), means).await
            }
            (Target::Stdio(command), _) => {
                let process = Process::start(command, news, tasks).await?;
                let guard = process.guard();
                process.hold_questions();
                let opening = initialize_stdio(&process, self.capabilities, ids);
                let opened = within(&process, opening).await;
                finish(process, guard, opened).await
            }
            (Target::Http(_), Link::Http(base)) => {
                let link = base.beside();
                link.hold_questions();
                let opened = initialize_http(link, self.capabilities, means).await;
                opened.map_err(|failure| failure.error)
            }
            (Target::Http(_), Link::OldSse(base)) => {
                let gone = || Error::Unavailable(base.cause("the server gives no stream").into());
                let link = base.beside(tasks).await.ok_or_else(gone)?;
                link.hold_questions();
                initialize_old_sse(link, self.capabilities, ids).await
            }
            (Target::Http(_), Link::Stdio(_)) => {
                Err(Error::Internal("a URL has no process".to_owned()))
            }
        }
    }
}

/// Bounds the start, and turns every failure into "not available": nothing of a caller's has been sent yet.
async fn within(
    process: &Process,
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
    process: Arc<Process>,
    guard: DropGuard,
    opened: Result<Peer, Error>,
) -> Result<Connection, Error> {
    match opened {
        Ok(peer) => {
            guard.disarm();
            Ok(Connection::new(peer, Link::Stdio(process)))
        }
        Err(error) => {
            process.close().await;
            Err(error)
        }
    }
}

/// Asks `server/discover`; with no answer in time also `initialize`. The first good answer decides.
async fn probe(process: &Process, ids: &Ids) -> Result<Peer, Error> {
    let nothing = Object::empty();
    let discover = process.exchange(discover(ids));
    tokio::pin!(discover);
    let first = match timeout(PATIENCE, &mut discover).await {
        Ok(answer) => answer,
        Err(_) => tokio::select! {
            opened = initialize_stdio(process, &nothing, ids) => return opened,
            answer = &mut discover => answer,
        },
    };
    match first {
        Ok(result) => Ok(discovered(&result)),
        Err(error @ (Error::OutcomeUnknown(_) | Error::Unavailable(_))) => Err(error),
        Err(_) => initialize_stdio(process, &nothing, ids).await,
    }
}

async fn initialize_stdio(
    process: &Process,
    capabilities: &Object,
    ids: &Ids,
) -> Result<Peer, Error> {
    let result = process.exchange(initialize(capabilities, ids)).await?;
    process.send(initialized()).await?;
    opened(&result)
}

/// Connects to a URL. `known` is the era it spoke before.
pub(super) async fn http(
    target: &HttpTarget,
    known: Option<Era>,
    means: &Means,
) -> Result<Connection, Error> {
    let link = HttpLink::new(target.clone(), Arc::clone(&means.news))?;
    if known != Some(Era::Legacy) {
        match bounded(&link, link.open(discover(&means.ids))).await {
            Ok((result, _)) => {
                let peer = discovered(&result);
                return Ok(Connection::new(peer, Link::Http(Arc::new(link))));
            }
            Err(failure) if !is_older_servers(&failure) => return Err(failure.error),
            Err(_) => {}
        }
    }
    let nothing = Object::empty();
    match initialize_http(link.beside(), &nothing, means).await {
        Ok(connection) => Ok(connection),
        Err(Failure {
            status: Some(status),
            error,
        }) if matches!(status.as_u16(), 400 | 404 | 405) => {
            if let Some(older) = link.old_sse(&means.tasks).await {
                return initialize_old_sse(older, &nothing, &means.ids).await;
            }
            let remedy = "check that the URL is that of the server's MCP endpoint; with the older HTTP+SSE it is that of \
                          the stream, which mostly ends in /sse";
            let what = format!("the server did not open: {error}");
            let cause = Cause {
                remedy: Some(remedy.to_owned()),
                ..link.cause(&what)
            };
            Err(Error::Unavailable(cause.into()))
        }
        Err(Failure {
            error: error @ (Error::Unavailable(_) | Error::Busy { .. }),
            ..
        }) => Err(error),
        Err(Failure { error, .. }) => {
            let what = format!("the server did not open: {error}");
            Err(Error::Unavailable(link.cause(&what).into()))
        }
    }
}

/// Opens a session of an older revision.
async fn initialize_http(
    link: HttpLink,
    capabilities: &Object,
    means: &Means,
) -> Result<Connection, Failure> {
    let opening = link.open(initialize(capabilities, &means.ids));
    let (result, session) = bounded(&link, opening).await?;
    let (peer, link) = (opened(&result)?, link.with_session(session));
    link.notify(peer.revision, initialized()).await?;
    Ok(Connection::new(peer, Link::Http(Arc::new(link))).hear(&means.tasks))
}

/// Opens a session over HTTP with SSE of 2024-11-05.
async fn initialize_old_sse(
    link: Arc<OldSse>,
    capabilities: &Object,
    ids: &Ids,
) -> Result<Connection, Error> {
    let opening = async {
        let result = link.exchange(initialize(capabilities, ids)).await?;
        let peer = opened(&result)?;
        link.notify(peer.revision, initialized()).await?;
        Ok(peer)
    };
    let why = match timeout(START_WITHIN, opening).await {
        Ok(Ok(peer)) => return Ok(Connection::new(peer, Link::OldSse(link))),
        Ok(Err(Error::OutcomeUnknown(cause) | Error::Unavailable(cause))) => {
            return Err(Error::Unavailable(cause));
        }
        Ok(Err(error)) => format!("the server did not open: {error}"),
        Err(_) => format!(
            "the server did not answer within {} s",
            START_WITHIN.as_secs()
        ),
    };
    Err(Error::Unavailable(link.cause(&why).into()))
}

async fn bounded<T>(
    link: &HttpLink,
    work: impl Future<Output = Result<T, Failure>>,
) -> Result<T, Failure> {
    let late = |_| {
        let what = format!(
            "the server did not answer within {} s",
            START_WITHIN.as_secs()
        );
        Error::Unavailable(link.cause(&what).into())
    };
    timeout(START_WITHIN, work).await.map_err(late)?
}

/// A refusal of `server/discover` that an older server may have made. What stands in the way of any request (missing
/// credentials, too many requests, no connection) is none.
fn is_older_servers(failure: &Failure) -> bool {
    match (&failure.error, failure.status.map(|status| status.as_u16())) {
        (_, Some(401 | 403 | 429)) => false,
        // The codes of the modern era: the server knows it, and refuses something else.
        (
            Error::Upstream {
                code: -32020 | -32021,
                ..
            },
            _,
        ) => false,
        (Error::Upstream { .. }, _) | (_, Some(400..500)) => true,
        _ => false,
    }
}

fn discover(ids: &Ids) -> Outgoing {
    Outgoing::own(ids, MODERN, "server/discover", &[])
}

fn initialize(capabilities: &Object, ids: &Ids) -> Outgoing {
    let revision = Revision::NEWEST_LEGACY;
    let (version, us) = (quoted(revision.as_str()), us());
    let members = [
        ("protocolVersion", Edit::Put(&version[..])),
        ("capabilities", Edit::Put(capabilities.bytes())),
        ("clientInfo", Edit::Put(us.bytes())),
    ];
    Outgoing::own(ids, revision, "initialize", &members)
}

fn initialized() -> Vec<u8> {
    write::notification(
        "notifications/initialized",
        |out| out.extend_from_slice(b"{}"),
        2,
    )
}

fn discovered(result: &Object) -> Peer {
    let meta = result.object("_meta").and_then(Result::ok);
    Peer {
        revision: MODERN,
        capabilities: result
            .object("capabilities")
            .and_then(Result::ok)
            .unwrap_or_else(Object::empty),
        info: meta.and_then(|meta| meta.raw(meta::SERVER)),
        instructions: result.str("instructions").map(|text| text.into_owned()),
    }
}

fn opened(result: &Object) -> Result<Peer, Error> {
    let version = result.str("protocolVersion").unwrap_or_default();
    let revision = Revision::parse(&version).filter(|revision| revision.era() == Era::Legacy);
    let unknown = || {
        Cause::new(format!(
            "the server answered initialize with the unknown revision {version:?}"
        ))
    };
    Ok(Peer {
        revision: revision.ok_or_else(|| Error::Unavailable(unknown().into()))?,
        capabilities: result
            .object("capabilities")
            .and_then(Result::ok)
            .unwrap_or_else(Object::empty),
        info: result.raw("serverInfo"),
        instructions: result.str("instructions").map(|text| text.into_owned()),
    })
}
