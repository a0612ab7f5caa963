//! Whether anybody uses a server: as long as nobody does, its process can rest.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::time::Instant;

/// Who uses a server.
#[derive(Debug)]
pub(super) struct Uses(Mutex<State>);

#[derive(Debug)]
struct State {
    calls: usize,
    listeners: usize,
    last: Instant,
}

/// A use of the server, for as long as this is held.
#[derive(Debug)]
pub(super) struct Use {
    uses: Arc<Uses>,
    kind: Kind,
}

/// What somebody does with a server.
#[derive(Debug, Clone, Copy)]
pub(super) enum Kind {
    Call,
    Listen,
}

impl Uses {
    pub(super) fn new() -> Arc<Self> {
        Arc::new(Self(Mutex::new(State {
            calls: 0,
            listeners: 0,
            last: Instant::now(),
        })))
    }

    pub(super) fn begin(self: &Arc<Self>, kind: Kind) -> Use {
        *self.state().count(kind) += 1;
        let uses = Arc::clone(self);
        Use { uses, kind }
    }

    /// There is a call.
    pub(super) fn has_calls(&self) -> bool {
        self.state().calls > 0
    }

    /// How long ago the last use ended; none while there is one.
    pub(super) fn unused_for(&self) -> Option<Duration> {
        let state = self.state();
        state.is_unused().then(|| state.last.elapsed())
    }

    /// Does something unless there is a use. None can begin meanwhile.
    pub(super) fn unless_used<T>(&self, work: impl FnOnce() -> T) -> Option<T> {
        let state = self.state();
        state.is_unused().then(work)
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    fn count(&mut self, kind: Kind) -> &mut usize {
        match kind {
            Kind::Call => &mut self.calls,
            Kind::Listen => &mut self.listeners,
        }
    }

    fn is_unused(&self) -> bool {
        self.calls + self.listeners == 0
    }
}

impl Drop for Use {
    fn drop(&mut self) {
        let mut state = self.uses.state();
        *state.count(self.kind) -= 1;
        state.last = Instant::now();
    }
}
