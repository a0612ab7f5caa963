//! Keeping what a server offers true: listed when it changes, started again when it falls.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use tokio::time::{Instant, sleep, sleep_until, timeout};
use toolbus_model::{Error, Freshness, Health, Offer};
use toolbus_protocol::params::ParamHeaders;

use super::life::Wishes;
use super::link::{Connection, Link, Tells};
use super::server::McpServer;
use super::{listing, lock};

/// Changes that come within this time are read once.
const DEBOUNCE: Duration = Duration::from_millis(250);

/// How often a server that cannot tell us of changes is listed again, whatever it says about its lists.
const RELIST: (Duration, Duration) = (Duration::from_secs(10), Duration::from_secs(300));

/// How often parked calls and idle sessions are looked at: at an eighth of their time, within these.
const SWEEP: (Duration, Duration) = (Duration::from_millis(100), Duration::from_secs(15));

/// How long a list may take.
const LIST_WITHIN: Duration = Duration::from_secs(60);

impl McpServer {
    /// Keeps the offer true for as long as the server is wanted. With `wishes` it rests until one of them comes.
    pub(super) async fn keep(&self, wishes: Option<Wishes>) {
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
    pub(super) async fn sweep(&self) {
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
            if !matches!(connection.link, Link::Stdio(_) | Link::Unix(_)) {
                self.let_go(&connection);
            }
        })?;
        let mut offer = Offer { changes, ..offer };
        if !matches!(connection.link, Link::Stdio(_) | Link::Unix(_)) {
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
        let was_steady = self.attempts.lock().await.was_steady();
        match was_steady {
            // Whoever calls next starts it. Without a call nobody misses it.
            true if self.may_rest() => self.lie_down().await,
            true => {}
            false => self.wait_after(error).await,
        }
    }
}

/// The arguments of these tools that travel in headers.
pub(super) fn param_headers(offer: &Offer) -> HashMap<Arc<str>, ParamHeaders> {
    let headers = offer.tools.iter().filter_map(|tool| {
        let headers = ParamHeaders::of_tool(&tool.definition)
            .ok()
            .filter(|headers| !headers.is_empty())?;
        Some((Arc::clone(&tool.key), headers))
    });
    headers.collect()
}
