//! A server as a back end: connected when needed, listed when it changes, restarted when it falls.

use std::collections::HashMap;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, Weak};
use std::time::Duration;

use arc_swap::ArcSwapOption;
use tokio::sync::{Notify, watch};
use tokio::time::{Instant, sleep, sleep_until, timeout};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use toolbus_model::{
    Backend, BoxFuture, Call, CallSeed, Cause, Era, Error, Filter, Freshness, Health, Listening,
    Offer, Outcome, Request, Revision,
};
use toolbus_protocol::params::ParamHeaders;

use super::attend::Attendant;
use super::connect::Means;
use super::life::{Begin, Known, Start, Wishes};
use super::link::{Connection, Link, Tells};
use super::parked::Parked;
use super::sessions::Sessions;
use super::starts::Starts;
use super::uses::{Kind, Uses};
use super::works::Works;
use super::{HttpTarget, connect, listener, listing, lock};
use crate::process::Command;

/// How long a failure to connect stands for callers: a crowd of them must not start a broken server again and again,
/// and the first call after its repair must not wait long.
const FAIL_FAST: Duration = Duration::from_secs(1);

/// First and longest pause between our own attempts to connect. They go on for ever.
const BACKOFF: (Duration, Duration) = (Duration::from_millis(250), Duration::from_secs(30));

/// A connection that lasted this long was a good one: the next attempt starts without a pause.
const STEADY: Duration = Duration::from_secs(10);

/// Changes that come within this time are read once.
const DEBOUNCE: Duration = Duration::from_millis(250);

/// How often a server that cannot tell us of changes is listed again, whatever it says about its lists.
const RELIST: (Duration, Duration) = (Duration::from_secs(10), Duration::from_secs(300));

/// How often parked calls and idle sessions are looked at: at an eighth of their time, within these.
const SWEEP: (Duration, Duration) = (Duration::from_millis(100), Duration::from_secs(15));

/// How long a list may take.
const LIST_WITHIN: Duration = Duration::from_secs(60);

/// How to reach a server.
#[derive(Debug, Clone, PartialEq)]
pub enum Target {
    /// As a child process.
    Stdio(Command),
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
    myself: Weak<Self>,
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
    attempts: tokio::sync::Mutex<Attempts>,
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

/// How connecting went so far.
#[derive(Debug, Default)]
struct Attempts {
    era: Option<Era>,
    failures: u32,
    /// The last failure, and until when it stands for further attempts.
    failed: Option<(Error, Instant)>,
    since: Option<Instant>,
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
        let attempts = Attempts {
            era: offer.revision.and_then(Revision::parse).map(Revision::era),
            ..Attempts::default()
        };
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
            attempts: tokio::sync::Mutex::new(attempts),
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

    /// Keeps the offer true for as long as the server is wanted. With `wishes` it rests until one of them comes.
    async fn keep(&self, wishes: Option<Wishes>) {
        if let Some(wishes) = wishes {
            self.wait_for(wishes).await;
        }
        loop {
            match self.list().await {
                Ok(freshness) => self.rest(freshness).await,
                Err(error) => self.wait_after(error).await,
            }
        }
    }

    /// Lets go of what nobody came back for.
    async fn sweep(&self) {
        let shortest = self.settings.patience.min(self.settings.idle);
        loop {
            sleep((shortest / 8).clamp(SWEEP.0, SWEEP.1)).await;
            self.parked.sweep();
            self.works.sweep();
            let idle = self.settings.idle;
            self.sessions
                .sweep(idle, |session| self.works.are_at(session));
        }
    }

    /// Says that the server is down, and waits before the next attempt; a caller may be faster.
    async fn wait_after(&self, error: Error) {
        tracing::warn!(server = self.name, %error, "the server cannot be used");
        let pause = self.attempts.lock().await.next_pause();
        self.offer
            .send_modify(|offer| Arc::make_mut(offer).health = Health::Down(error));
        let _ = timeout(pause, self.reconnected.notified()).await;
    }

    pub(super) async fn list(&self) -> Result<Freshness, Error> {
        let connection = self.connection().await?;
        let late = |_| {
            Error::Unavailable(
                connection
                    .link
                    .cause("the server did not answer when listed")
                    .into(),
            )
        };
        connection.telling.settled().await;
        // What is said to change meanwhile is read once more.
        let changes = self.means.news.changes();
        let read = timeout(LIST_WITHIN, listing::read(&connection, &self.means.ids)).await;
        let offer = read.map_err(late).flatten().inspect_err(|_| {
            // A URL may lead to another server by now, of another era or without our session.
            if !matches!(connection.link, Link::Stdio(_)) {
                self.let_go(&connection);
            }
        })?;
        let mut offer = Offer { changes, ..offer };
        if !matches!(connection.link, Link::Stdio(_)) {
            self.attempts.lock().await.failures = 0;
        }
        if connection.is_older() {
            self.add_from_siblings(&mut offer, &connection).await;
        }
        *lock(&self.headers) = param_headers(&offer);
        let freshness = offer.freshness;
        self.offer.send_if_modified(|known| {
            let changed = **known != offer;
            if changed {
                *known = Arc::new(offer);
            }
            changed
        });
        Ok(freshness)
    }

    /// Waits until the server should be listed again.
    async fn rest(&self, freshness: Freshness) {
        let Some(connection) = self.current.load_full() else {
            return;
        };
        let again = Duration::from_millis(freshness.ttl_ms).clamp(RELIST.0, RELIST.1);
        let again = Instant::now() + again;
        let mut telling = connection.telling.follow();
        loop {
            let tells = *telling.borrow_and_update() == Tells::Yes;
            tokio::select! {
                () = self.means.news.outdated() => return sleep(DEBOUNCE).await,
                () = self.replaced(&connection) => return,
                error = connection.link.lost() => return self.lost(error).await,
                () = sleep_until(again), if !tells => return,
                () = self.idle() => return self.lie_down().await,
                () = self.aged(&connection) => return self.replace(connection).await,
                _ = telling.changed() => {}
            }
        }
    }

    /// Waits until a caller has opened another connection.
    async fn replaced(&self, listed: &Arc<Connection>) {
        let is_listed = || {
            self.current
                .load()
                .as_ref()
                .is_some_and(|current| Arc::ptr_eq(current, listed))
        };
        loop {
            self.reconnected.notified().await;
            if !is_listed() {
                return;
            }
        }
    }

    /// A server that falls again and again is not restarted in a hurry.
    async fn lost(&self, error: Error) {
        let mut attempts = self.attempts.lock().await;
        let was_steady = attempts
            .since
            .take()
            .is_none_or(|since| since.elapsed() >= STEADY);
        if was_steady {
            attempts.failures = 0;
        }
        drop(attempts);
        match was_steady {
            // Whoever calls next starts it. Without a call nobody misses it.
            true if self.may_rest() => self.lie_down().await,
            true => {}
            false => self.wait_after(error).await,
        }
    }

    /// The open connection.
    pub(super) fn usable(&self) -> Option<Arc<Connection>> {
        self.current
            .load_full()
            .filter(|connection| connection.link.is_alive())
    }

    /// The open connection, or a new one. An attempt goes on also when whoever made it is gone: the next one will want the
    /// server too.
    pub(super) async fn connection(&self) -> Result<Arc<Connection>, Error> {
        if let Some(connection) = self.usable() {
            return Ok(connection);
        }
        self.wishes.send_modify(|count| *count += 1);
        let stopped = || Error::Unavailable(Cause::new("the server is being stopped").into());
        let server = self.myself.upgrade().ok_or_else(stopped)?;
        let attempt = self.tasks.spawn(async move {
            let connecting = server.connect();
            server.closing.run_until_cancelled(connecting).await
        });
        attempt.await.ok().flatten().ok_or_else(stopped)?
    }

    async fn connect(&self) -> Result<Arc<Connection>, Error> {
        let mut attempts = self.attempts.lock().await;
        if let Some(connection) = self.usable() {
            return Ok(connection);
        }
        if let Some((error, until)) = &attempts.failed
            && Instant::now() < *until
        {
            return Err(error.clone());
        }
        self.open_base(&mut attempts, None).await
    }

    /// Opens another connection in place of one that is in use.
    pub(super) async fn open_another(&self, old: &Connection) -> Result<(), Error> {
        let mut attempts = self.attempts.lock().await;
        self.open_base(&mut attempts, Some(old)).await.map(drop)
    }

    async fn open_base(
        &self,
        attempts: &mut Attempts,
        old: Option<&Connection>,
    ) -> Result<Arc<Connection>, Error> {
        let connected = match &self.target {
            Target::Stdio(command) => {
                let start = connect::stdio(command, attempts.era, &self.means);
                self.starts.run(Box::pin(start)).await
            }
            Target::Http(target) => connect::http(target, attempts.era, &self.means).await,
        };
        match connected {
            Ok(connection) => {
                let connection = Arc::new(connection);
                attempts.era = Some(connection.peer.revision.era());
                attempts.failed = None;
                attempts.since = Some(Instant::now());
                self.modern_only.store(false, Ordering::Relaxed);
                self.current.store(Some(Arc::clone(&connection)));
                if let Some(old) = old {
                    old.retired.cancel();
                }
                self.attend(&connection);
                self.reconnected.notify_one();
                tracing::info!(
                    server = self.name,
                    revision = connection.peer.revision.as_str(),
                    "connected"
                );
                Ok(connection)
            }
            Err(error) => {
                // It may have been replaced by one of another era.
                attempts.era = None;
                attempts.failed = Some((error.clone(), Instant::now() + FAIL_FAST));
                Err(error)
            }
        }
    }

    /// Keeps what the server tells us in line with what is listened to, for as long as this connection lasts.
    fn attend(&self, connection: &Arc<Connection>) {
        self.means.news.lost();
        let attendant = Attendant {
            connection: Arc::clone(connection),
            means: self.means.clone(),
        };
        let closing = self.closing.clone();
        self.tasks.spawn(async move {
            closing.run_until_cancelled(attendant.attend()).await;
        });
    }

    /// Lets go of a connection, unless another one has taken its place.
    pub(super) fn let_go(&self, connection: &Arc<Connection>) {
        connection.link.abandon();
        self.current.compare_and_swap(connection, None);
    }
}

/// The arguments of these tools that travel in headers.
fn param_headers(offer: &Offer) -> HashMap<Arc<str>, ParamHeaders> {
    let headers = offer.tools.iter().filter_map(|tool| {
        let headers = ParamHeaders::of_tool(&tool.definition)
            .ok()
            .filter(|headers| !headers.is_empty())?;
        Some((Arc::clone(&tool.key), headers))
    });
    headers.collect()
}

impl Attempts {
    /// How long to wait before the next attempt of our own; twice as long each time.
    fn next_pause(&mut self) -> Duration {
        let pause = BACKOFF
            .0
            .saturating_mul(2_u32.saturating_pow(self.failures))
            .min(BACKOFF.1);
        self.failures = self.failures.saturating_add(1);
        pause
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
