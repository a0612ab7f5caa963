//! A server as a back end: what belongs to it, and what is asked of it.

use std::collections::HashMap;
use std::path::PathBuf;
use std::sync::atomic::AtomicBool;
use std::sync::{Arc, Mutex, Weak};
use std::time::Duration;

use arc_swap::ArcSwapOption;
use tokio::sync::{Notify, watch};
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use toolbus_model::{
    Backend, BoxFuture, Call, CallSeed, Error, Filter, Listening, Offer, Outcome, Request, Revision,
};
use toolbus_protocol::params::ParamHeaders;

use super::base::Attempts;
use super::connect::Means;
use super::keep::param_headers;
use super::life::{Begin, Known, Start};
use super::link::Connection;
use super::parked::Parked;
use super::sessions::Sessions;
use super::starts::Starts;
use super::uses::{Kind, Uses};
use super::works::Works;
use super::{HttpTarget, listener};
use crate::process::Command;

/// How to reach a server.
#[derive(Debug, Clone, PartialEq)]
pub enum Target {
    /// As a child process.
    Stdio(Command),
    /// As a process that runs by itself and listens at this Unix socket. It is not started again: once its connection is
    /// lost, the server is down, for good and with the reason.
    Unix(PathBuf),
    /// At a URL.
    Http(HttpTarget),
}

/// Whose calls may share a session of an older server.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Sharing {
    /// Calls of all callers whose clients declare the same capabilities.
    #[default]
    Shared,
    /// One caller's calls alone.
    PerCaller,
}

/// How a server is treated.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Settings {
    /// Whose calls may share a session.
    pub sharing: Sharing,
    /// How long a call waits for its caller's answer to a question.
    pub patience: Duration,
    /// How long a session that was opened for callers is kept without a call.
    pub idle: Duration,
    /// When a process starts.
    pub start: Start,
    /// How long a process runs that nobody uses; for ever without.
    pub idle_stop: Option<Duration>,
    /// How old a process gets; any age without.
    pub max_lifetime: Option<Duration>,
}

impl Default for Settings {
    /// A person has five minutes to answer, as most servers that ask give them.
    fn default() -> Self {
        Self {
            sharing: Sharing::Shared,
            patience: Duration::from_secs(5 * 60),
            idle: Duration::from_secs(5 * 60),
            start: Start::FirstUse,
            idle_stop: None,
            max_lifetime: None,
        }
    }
}

/// An existing MCP server.
#[derive(Debug)]
pub struct McpServer {
    /// For what goes on when the call that began it is gone.
    pub(super) myself: Weak<Self>,
    pub(super) name: String,
    pub(super) target: Target,
    pub(super) settings: Settings,
    pub(super) means: Means,
    pub(super) starts: Starts,
    pub(super) offer: watch::Sender<Arc<Offer>>,
    pub(super) current: ArcSwapOption<Connection>,
    pub(super) uses: Arc<Uses>,
    /// Counts how often a connection was wanted that was not there.
    pub(super) wishes: watch::Sender<u64>,
    pub(super) attempts: tokio::sync::Mutex<Attempts>,
    /// Sessions besides the current connection.
    pub(super) sessions: Arc<Sessions>,
    /// Calls that wait for their callers.
    pub(super) parked: Parked,
    /// Tasks, which outlast their calls.
    pub(super) works: Works,
    /// It speaks 2026-07-28, and nothing older.
    pub(super) modern_only: AtomicBool,
    /// When a further process was not to be had.
    pub(super) refused: Mutex<Option<Instant>>,
    /// The arguments of its tools that travel in headers.
    pub(super) headers: Mutex<HashMap<Arc<str>, ParamHeaders>>,
    pub(super) reconnected: Notify,
    pub(super) tasks: TaskTracker,
    pub(super) closing: CancellationToken,
}

impl McpServer {
    /// A server of this name; its connection opens in the background at once.
    pub fn start(name: &str, target: Target, settings: Settings) -> Arc<Self> {
        Self::begin(name, target, settings, Begin::default())
    }

    /// [`McpServer::start`] with what is known from before: a process can then wait for its first use.
    pub fn begin(name: &str, target: Target, settings: Settings, begin: Begin) -> Arc<Self> {
        let Begin { starts, known } = begin;
        let rests = matches!(
            (&target, settings.start, &known),
            (Target::Stdio(_), Start::FirstUse, Known::Own(_))
        );
        let offer = known.offer(rests);
        let era = offer.revision.and_then(Revision::parse).map(Revision::era);
        let (tasks, closing) = (TaskTracker::new(), CancellationToken::new());
        let server = Arc::new_cyclic(|myself| Self {
            myself: Weak::clone(myself),
            name: name.to_owned(),
            target,
            means: Means {
                ids: Arc::default(),
                news: Arc::default(),
                tasks: tasks.clone(),
                closing: closing.clone(),
            },
            starts,
            headers: Mutex::new(param_headers(&offer)),
            offer: watch::Sender::new(offer),
            current: ArcSwapOption::empty(),
            uses: Uses::new(),
            wishes: watch::Sender::new(0),
            attempts: tokio::sync::Mutex::new(Attempts::knowing(era)),
            sessions: Sessions::new(settings.max_lifetime, tasks.clone()),
            parked: Parked::new(settings.patience),
            works: Works::default(),
            modern_only: AtomicBool::new(false),
            refused: Mutex::default(),
            reconnected: Notify::new(),
            tasks,
            closing,
            settings,
        });
        let (keeper, wishes) = (
            Arc::clone(&server),
            rests.then(|| server.wishes.subscribe()),
        );
        server.tasks.spawn(async move {
            let keeping = keeper.keep(wishes);
            keeper.closing.run_until_cancelled(keeping).await;
        });
        let sweeper = Arc::clone(&server);
        server.tasks.spawn(async move {
            sweeper.closing.run_until_cancelled(sweeper.sweep()).await;
        });
        server
    }
}

impl Backend for McpServer {
    fn offer(&self) -> watch::Receiver<Arc<Offer>> {
        self.offer.subscribe()
    }

    fn serve<'a>(
        &'a self,
        request: Request,
        call: &'a Call,
    ) -> BoxFuture<'a, Result<Outcome, Error>> {
        Box::pin(async move {
            let _in_use = self.uses.begin(Kind::Call);
            self.answer(request, call).await
        })
    }

    fn listen<'a>(
        &'a self,
        filter: Filter,
        seed: &'a CallSeed,
    ) -> BoxFuture<'a, Result<Listening, Error>> {
        Box::pin(async move {
            let in_use = self.uses.begin(Kind::Listen);
            let task = filter.tasks.first();
            let connection = match task.and_then(|id| self.works.place_of(id)) {
                Some(connection) => connection,
                None => self.connection().await?,
            };
            let listening =
                listener::listen(&connection, &self.means, &filter, seed, in_use).await?;
            self.subscribe_siblings(&listening.honoured.resources).await;
            Ok(listening)
        })
    }

    fn holds(&self, request: &Request) -> bool {
        self.parked.holds(request) || self.works.place(request).is_some()
    }

    fn is_awaited(&self) -> bool {
        self.uses.has_calls() || self.is_engaged()
    }

    fn stop(&self) -> BoxFuture<'_, ()> {
        Box::pin(async move {
            self.closing.cancel();
            self.tasks.close();
            // An attempt that is under way has ended then, and no other one begins.
            drop(self.attempts.lock().await);
            self.parked.clear();
            self.works.clear();
            self.sessions.close();
            if let Some(connection) = self.current.swap(None) {
                connection.link.close().await;
            }
            self.tasks.wait().await;
        })
    }
}
