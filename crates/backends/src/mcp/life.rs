//! When a server's process runs: from the first use on, until nobody has used it for a while or it is old. None of this
//! loses a call.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::watch;
use tokio::time::{sleep, timeout};
use toolbus_model::{Call, Cause, Error, Health, Offer};

use super::link::{Connection, Link};
use super::server::{McpServer, Target};
use super::starts::Starts;

/// How long a process that was replaced is kept for its last calls. Their own limits are shorter; one without a limit must
/// not keep it for ever.
const RETIRE_WITHIN: Duration = Duration::from_secs(24 * 60 * 60);

/// How soon a process that could not be replaced is to be replaced again.
const REPLACE_AGAIN: Duration = Duration::from_secs(60);

/// When a process starts.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Start {
    /// With the first use, where what the server offers is known from before.
    #[default]
    FirstUse,
    /// At once.
    Now,
}

/// What a server is taken up with.
#[derive(Debug, Clone, Default)]
pub struct Begin {
    /// Places for processes that start, shared by all servers.
    pub starts: Starts,
    /// What is known of its offer.
    pub known: Known,
}

/// What is known of a server's offer before it is asked.
#[derive(Debug, Clone, Default)]
pub enum Known {
    /// Nothing.
    #[default]
    Nothing,
    /// What it offered last.
    Own(Arc<Offer>),
    /// What the server offered whose place it takes. It stands for its own until it has answered.
    Predecessors(Arc<Offer>),
}

/// Calls for a server that rests.
pub(super) type Wishes = watch::Receiver<u64>;

impl Known {
    /// What is offered at first.
    pub(super) fn offer(self, is_resting: bool) -> Arc<Offer> {
        let health = if is_resting {
            Health::Resting
        } else {
            Health::Starting
        };
        match self {
            Self::Nothing => Arc::default(),
            Self::Own(offer) | Self::Predecessors(offer) => Arc::new(Offer {
                health,
                ..Offer::clone(&offer)
            }),
        }
    }
}

impl McpServer {
    /// It can rest: it is a process, and need not run at all times.
    pub(super) fn may_rest(&self) -> bool {
        matches!(self.target, Target::Stdio(_)) && self.settings.start == Start::FirstUse
    }

    /// [`McpServer::connection`] for a call, which need not wait for it.
    pub(super) async fn connection_for(&self, call: &Call) -> Result<Arc<Connection>, Error> {
        if let Some(connection) = self.usable() {
            return Ok(connection);
        }
        tokio::select! {
            connection = self.connection() => connection,
            () = call.cancelled() => {
                let command = match &self.target {
                    Target::Stdio(command) => command.to_string(),
                    Target::Unix(path) => path.display().to_string(),
                    Target::Http(target) => target.url.to_string(),
                };
                let cause = Cause {
                    command: Some(command.into()),
                    status: Some("it had not started yet".to_owned()),
                    ..Cause::new("the call waited for its server to start")
                };
                Err(Error::Unavailable(cause.into()))
            }
        }
    }

    /// Waits until nobody has used the server for its idle time.
    pub(super) async fn idle(&self) {
        let limit = match (&self.target, self.settings.idle_stop) {
            (Target::Stdio(_), Some(limit)) => limit,
            (Target::Unix(_) | Target::Http(_), _) | (_, None) => {
                return std::future::pending().await;
            }
        };
        loop {
            // Who uses it now has not stopped before the limit is over.
            let unused = self.uses.unused_for().filter(|_| !self.is_engaged());
            let unused = unused.unwrap_or_default();
            if unused >= limit {
                return;
            }
            sleep(limit - unused).await;
        }
    }

    /// A call outlasts the request that brought it.
    pub(super) fn is_engaged(&self) -> bool {
        !self.parked.is_empty() || !self.works.is_empty() || self.sessions.are_used()
    }

    /// Ends the processes, unless somebody uses them, and waits until they are wanted again.
    pub(super) async fn lie_down(&self) {
        let wishes = self.wishes.subscribe();
        let ended = self.uses.unless_used(|| {
            if self.is_engaged() {
                return false;
            }
            self.sessions.close();
            if let Some(connection) = self.current.swap(None) {
                self.tasks
                    .spawn(async move { connection.link.close().await });
            }
            true
        });
        if ended != Some(true) {
            return;
        }
        self.offer
            .send_modify(|offer| Arc::make_mut(offer).health = Health::Resting);
        tracing::info!(
            server = self.name,
            "nobody uses the server: it starts again when it is wanted"
        );
        self.wait_for(wishes).await;
    }

    /// Waits until a call wants the server, or an attempt that outlasted its call has started it.
    pub(super) async fn wait_for(&self, mut wishes: Wishes) {
        loop {
            tokio::select! {
                _ = wishes.changed() => return,
                () = self.reconnected.notified() => if self.usable().is_some() { return },
            }
        }
    }

    /// Waits until a process is as old as it may get.
    pub(super) async fn aged(&self, connection: &Connection) {
        match (&connection.link, self.settings.max_lifetime) {
            (Link::Stdio(_), Some(limit)) => {
                sleep(limit.saturating_sub(connection.opened.elapsed())).await;
            }
            (Link::Unix(_) | Link::Http(_) | Link::OldSse(_), _) | (_, None) => {
                std::future::pending().await
            }
        }
    }

    /// Has a new process take the place of an old one, which serves the calls that it has.
    pub(super) async fn replace(&self, old: Arc<Connection>) {
        let replaced = self.open_another(&old).await;
        match replaced {
            Ok(()) => {
                tracing::info!(
                    server = self.name,
                    "a new process takes the place of the old one"
                );
                self.end_after_calls(old);
            }
            Err(error) => {
                tracing::warn!(server = self.name, %error, "the process is old and cannot be replaced");
                tokio::select! {
                    () = sleep(REPLACE_AGAIN) => {}
                    _ = old.link.lost() => {}
                }
            }
        }
    }

    fn end_after_calls(&self, old: Arc<Connection>) {
        let Link::Stdio(process) = &old.link else {
            return;
        };
        let (process, unused) = (Arc::clone(process), old.unused());
        let closing = self.closing.clone();
        drop(old);
        self.tasks.spawn(async move {
            let calls = timeout(RETIRE_WITHIN, unused.cancelled());
            // When the server is stopped, its calls have ended.
            let _ = closing.run_until_cancelled(calls).await;
            process.close().await;
        });
    }
}
