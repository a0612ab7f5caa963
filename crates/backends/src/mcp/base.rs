//! The connection that serves everybody: opened when it is needed, by one attempt at a time.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use tokio::time::Instant;
use toolbus_model::{Cause, Era, Error};

use super::attend::Attendant;
use super::connect::{self, Lined};
use super::link::Connection;
use super::server::{McpServer, Target};

/// How long a failure to connect stands for callers at most: a crowd of them must not start a broken server again and
/// again, and the first call after its repair must not wait long.
const FAIL_FAST: Duration = Duration::from_secs(1);

/// First and longest pause between our own attempts to connect. They go on for ever.
const BACKOFF: (Duration, Duration) = (Duration::from_millis(250), Duration::from_secs(30));

/// A connection that lasted this long was a good one: the next attempt starts without a pause.
const STEADY: Duration = Duration::from_secs(10);

/// A server that refuses its era of the last time within this may have been replaced by one of another era, and is asked
/// at once which it speaks. One that takes longer is not.
const REPLACED_WITHIN: Duration = Duration::from_secs(5);

/// How connecting went so far.
#[derive(Debug, Default)]
pub(super) struct Attempts {
    era: Option<Era>,
    pub(super) failures: u32,
    /// The last failure, and until when it stands for further attempts.
    failed: Option<(Error, Instant)>,
    since: Option<Instant>,
}

impl Attempts {
    /// At a server that spoke this era before.
    pub(super) fn knowing(era: Option<Era>) -> Self {
        Self {
            era,
            ..Self::default()
        }
    }

    /// How long to wait before the next attempt of our own; twice as long each time.
    pub(super) fn next_pause(&mut self) -> Duration {
        let pause = BACKOFF
            .0
            .saturating_mul(2_u32.saturating_pow(self.failures))
            .min(BACKOFF.1);
        self.failures = self.failures.saturating_add(1);
        pause
    }

    /// The connection that was lost had lasted: the next attempt is as good as a first one.
    pub(super) fn was_steady(&mut self) -> bool {
        let since = self.since.take();
        let was_steady = since.is_none_or(|since| since.elapsed() >= STEADY);
        if was_steady {
            self.failures = 0;
        }
        was_steady
    }
}

impl McpServer {
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
        let (era, began) = (attempts.era.take(), Instant::now());
        let mut connected = self.dial(era).await;
        if connected.is_err() && era.is_some() && began.elapsed() < REPLACED_WITHIN {
            connected = self.dial(None).await;
        }
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
                attempts.failed =
                    Some((error.clone(), Instant::now() + self.stands(began.elapsed())));
                Err(error)
            }
        }
    }

    /// How long a failure stands that took this long to show. To ask a URL that refuses at once costs nothing.
    fn stands(&self, took: Duration) -> Duration {
        match &self.target {
            Target::Stdio(_) => FAIL_FAST,
            Target::Unix(_) | Target::Http(_) => took.min(FAIL_FAST),
        }
    }

    async fn dial(&self, era: Option<Era>) -> Result<Connection, Error> {
        match &self.target {
            Target::Stdio(command) => {
                let start = connect::lined(Lined::Child(command), era, &self.means);
                self.starts.run(Box::pin(start)).await
            }
            Target::Unix(path) => {
                // It was there, and is not started again.
                if let Some(last) = self.current.load_full() {
                    return Err(last.link.lost().await);
                }
                connect::lined(Lined::Socket(path), era, &self.means).await
            }
            Target::Http(target) => connect::http(target, era, &self.means).await,
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
