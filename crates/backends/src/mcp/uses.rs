//! Whether anybody uses a server: as long as nobody does, its process can rest.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::time::Instant;

/// The calls that a server is at, and those who listen to it.
#[derive(Debug)]
pub(super) struct Uses(Mutex<State>);

#[derive(Debug)]
struct State {
    count: usize,
    last: Instant,
}

/// A use of the server, for as long as this is held.
#[derive(Debug)]
pub(super) struct Use(Arc<Uses>);

impl Uses {
    pub(super) fn new() -> Arc<Self> {
        Arc::new(Self(Mutex::new(State {
            count: 0,
            last: Instant::now(),
        })))
    }

    pub(super) fn begin(self: &Arc<Self>) -> Use {
        self.state().count += 1;
        Use(Arc::clone(self))
    }

    /// How long ago the last use ended; none while there is one.
    pub(super) fn unused_for(&self) -> Option<Duration> {
        let state = self.state();
        (state.count == 0).then(|| state.last.elapsed())
    }

    /// Does something unless there is a use. None can begin meanwhile.
    pub(super) fn unless_used<T>(&self, work: impl FnOnce() -> T) -> Option<T> {
        let state = self.state();
        (state.count == 0).then(work)
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Use {
    fn drop(&mut self) {
        let mut state = self.0.state();
        state.count -= 1;
        state.last = Instant::now();
    }
}
