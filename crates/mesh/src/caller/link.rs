//! The state of the connection, as calls look at it.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use tokio::sync::watch;
use tokio::time::Instant;

use crate::bus::Link;

/// The connection's state, for readers that must not wait.
#[derive(Debug)]
pub(super) struct LinkState {
    opened: Instant,
    is_up: AtomicBool,
    /// The number of the connection.
    number: AtomicU64,
    /// When it came, in milliseconds after `opened`.
    since: AtomicU64,
    problem: Mutex<Option<String>>,
    /// Replies can not be received.
    deaf: Mutex<Option<String>>,
}

impl LinkState {
    pub(super) fn new(link: &watch::Receiver<Link>) -> Self {
        let state = Self {
            opened: Instant::now(),
            is_up: AtomicBool::new(false),
            number: AtomicU64::new(u64::MAX),
            since: AtomicU64::new(0),
            problem: Mutex::default(),
            deaf: Mutex::default(),
        };
        state.is(&link.borrow());
        state
    }

    pub(super) fn is(&self, link: &Link) {
        let problem = match link {
            Link::Up(number) => {
                if self.number.swap(*number, Ordering::Relaxed) != *number {
                    let since = self.opened.elapsed().as_millis();
                    let since = u64::try_from(since).unwrap_or(u64::MAX);
                    self.since.store(since, Ordering::Relaxed);
                }
                None
            }
            Link::Down(why) => Some(format!("there is no connection: {why}")),
        };
        self.is_up.store(problem.is_none(), Ordering::Relaxed);
        *self.problem.lock().unwrap_or_else(PoisonError::into_inner) = problem;
    }

    /// The server does not let us subscribe to our own inbox.
    pub(super) fn is_deaf(&self, subject: &str) {
        let why = format!(
            "the server does not permit to subscribe to {subject:?}, where replies come in"
        );
        *self.deaf.lock().unwrap_or_else(PoisonError::into_inner) = Some(why);
    }

    /// Since when there is this connection; none while there is none.
    pub(super) fn since(&self) -> Option<Instant> {
        let since = Duration::from_millis(self.since.load(Ordering::Relaxed));
        let is_up = self.is_up.load(Ordering::Relaxed);
        is_up.then(|| self.opened + since)
    }

    /// What is wrong with it.
    pub(super) fn problem(&self) -> Option<String> {
        let text = |problem: &Mutex<Option<String>>| {
            problem
                .lock()
                .unwrap_or_else(PoisonError::into_inner)
                .clone()
        };
        text(&self.problem).or_else(|| text(&self.deaf))
    }
}
