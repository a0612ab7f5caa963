//! The calls that a worker is at, and those that it had lately: a call that must not run twice is known by its id.

use std::collections::{HashMap, VecDeque};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::sync::{Notify, Semaphore};
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;
use toolbus_model::CallId;

use crate::frame::{ACK_AFTER, Ask, KEEP_ALIVE, Start, WINDOW};

/// Calls of each mode that are remembered after their end: 4 MiB. A gateway dispatches a call again within seconds.
const REMEMBERED: usize = 65_536;

/// How far a call is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Phase {
    /// The worker would run it, and waits for the word.
    Claimed,
    /// It runs, or its result is on the way.
    Runs,
    /// Its last frame is out.
    Ended,
}

/// Why a call is stopped.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Stop {
    /// Its caller said so.
    Cancelled,
    /// Its time is over.
    Deadline,
    /// The worker does not wait any longer.
    Drained,
    /// Nobody hears it.
    Unheard,
}

/// A call that the worker is at.
#[derive(Debug)]
pub(super) struct Running {
    pub(super) id: CallId,
    pub(super) start: Start,
    pub(super) arrived: Instant,
    pub(super) deadline: Option<Instant>,
    /// It tells of changes until it is cancelled.
    pub(super) listens: bool,
    /// Stops its work.
    pub(super) cancel: CancellationToken,
    /// Rung when a claim is decided.
    pub(super) decided: Notify,
    /// How many chunks may go.
    pub(super) credits: Semaphore,
    state: Mutex<State>,
}

/// What changes while a call is under way. Every frame is sent under its lock, so that none comes after the last.
#[derive(Debug)]
pub(super) struct State {
    pub(super) phase: Phase,
    pub(super) reply: String,
    pub(super) attempt: u32,
    /// When the next sign of life is due.
    pub(super) sign: Instant,
    /// The caller has heard from it.
    pub(super) told: bool,
    pub(super) stop: Option<Stop>,
    /// Signs of life in a row that nobody heard, and whether the last one was such.
    pub(super) unheard: (u32, bool),
}

/// What is known of a request's call before it is begun.
#[derive(Debug)]
pub(super) enum Entered {
    /// Nothing: it is begun.
    New(Arc<Running>),
    /// It runs here already, and answers this attempt from now on.
    Adopted(Arc<Running>),
    /// This attempt, or a later one, came already.
    Duplicate,
    /// It has run here, and must not run again.
    HasRun,
}

#[derive(Debug, Default)]
pub(super) struct Calls(Mutex<Table>);

#[derive(Debug, Default)]
struct Table {
    running: HashMap<CallId, Arc<Running>>,
    direct: Recent,
    claimed: Recent,
}

/// The last calls of one mode.
#[derive(Debug, Default)]
struct Recent {
    known: HashMap<CallId, Past>,
    order: VecDeque<CallId>,
}

#[derive(Debug, Clone, Copy)]
struct Past {
    attempt: u32,
    has_run: bool,
}

impl Recent {
    fn note(&mut self, id: CallId, attempt: u32) {
        if let Some(past) = self.known.get_mut(&id) {
            past.attempt = past.attempt.max(attempt);
            return;
        }
        if self.order.len() == REMEMBERED
            && let Some(oldest) = self.order.pop_front()
        {
            self.known.remove(&oldest);
        }
        self.order.push_back(id);
        let has_run = false;
        self.known.insert(id, Past { attempt, has_run });
    }
}

impl Table {
    fn recent(&mut self, start: Start) -> &mut Recent {
        match start {
            Start::Direct => &mut self.direct,
            Start::Claim => &mut self.claimed,
        }
    }
}

impl Calls {
    /// Takes a request up, unless its call is known.
    pub(super) fn enter(&self, ask: &Ask, reply: &str, arrived: Instant, listens: bool) -> Entered {
        let mut table = self.table();
        let past = table.recent(ask.start).known.get(&ask.call).copied();
        if past.is_some_and(|past| ask.attempt <= past.attempt) {
            return Entered::Duplicate;
        }
        if let Some(running) = table.running.get(&ask.call).map(Arc::clone)
            && running.adopt(ask.attempt, reply)
        {
            table.recent(ask.start).note(ask.call, ask.attempt);
            return Entered::Adopted(running);
        }
        if ask.start == Start::Claim && past.is_some_and(|past| past.has_run) {
            return Entered::HasRun;
        }
        table.recent(ask.start).note(ask.call, ask.attempt);
        let running = Arc::new(Running::new(ask, reply, arrived, listens));
        table.running.insert(ask.call, Arc::clone(&running));
        Entered::New(running)
    }

    /// An attempt that is not here was cancelled. Words may overtake the request that they are about, which is heard
    /// on another subject: then it is not begun any more.
    pub(super) fn forestall(&self, id: CallId, attempt: u32) {
        let mut table = self.table();
        for start in [Start::Direct, Start::Claim] {
            table.recent(start).note(id, attempt);
        }
    }

    /// A claimed call runs from now on, and never again.
    pub(super) fn mark_run(&self, id: CallId) {
        if let Some(past) = self.table().claimed.known.get_mut(&id) {
            past.has_run = true;
        }
    }

    /// A call that was taken up is over.
    pub(super) fn leave(&self, running: &Arc<Running>) {
        let mut table = self.table();
        let own = table.running.get(&running.id);
        if own.is_some_and(|own| Arc::ptr_eq(own, running)) {
            table.running.remove(&running.id);
        }
    }

    pub(super) fn get(&self, id: CallId) -> Option<Arc<Running>> {
        self.table().running.get(&id).map(Arc::clone)
    }

    /// All of them, as they are now.
    pub(super) fn all(&self, into: &mut Vec<Arc<Running>>) {
        into.clear();
        into.extend(self.table().running.values().map(Arc::clone));
    }

    fn table(&self) -> MutexGuard<'_, Table> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Running {
    fn new(ask: &Ask, reply: &str, arrived: Instant, listens: bool) -> Self {
        let phase = match ask.start {
            Start::Direct => Phase::Runs,
            Start::Claim => Phase::Claimed,
        };
        let state = State {
            phase,
            reply: reply.to_owned(),
            attempt: ask.attempt,
            sign: arrived + ACK_AFTER,
            told: false,
            stop: None,
            unheard: (0, false),
        };
        Self {
            id: ask.call,
            start: ask.start,
            arrived,
            deadline: ask.deadline.map(|left| arrived + left),
            listens,
            cancel: CancellationToken::new(),
            decided: Notify::new(),
            credits: Semaphore::new(WINDOW as usize),
            state: Mutex::new(state),
        }
    }

    pub(super) fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A later attempt of the same call gets its frames from now on; false where the last one is out.
    fn adopt(&self, attempt: u32, reply: &str) -> bool {
        let mut state = self.state();
        if state.phase == Phase::Ended {
            return false;
        }
        state.attempt = attempt;
        reply.clone_into(&mut state.reply);
        true
    }

    /// Stops the call's work. The first reason stands.
    pub(super) fn stop(&self, why: Stop) {
        self.state().stop.get_or_insert(why);
        self.cancel.cancel();
        self.decided.notify_one();
    }

    /// Why it is stopped.
    pub(super) fn stopped(&self) -> Option<Stop> {
        self.state().stop
    }

    /// The word to run what was claimed; false where it is not to be had any more.
    pub(super) fn go(&self, attempt: u32) -> bool {
        let mut state = self.state();
        if state.attempt != attempt || state.stop.is_some() {
            return false;
        }
        match state.phase {
            Phase::Ended => return false,
            Phase::Runs => return true,
            Phase::Claimed => state.phase = Phase::Runs,
        }
        state.told = true;
        state.sign = Instant::now() + KEEP_ALIVE;
        self.decided.notify_one();
        true
    }

    /// What is left of its time.
    pub(super) fn left(&self) -> Option<Duration> {
        self.deadline
            .map(|deadline| deadline.saturating_duration_since(Instant::now()))
    }

    /// There is no time left.
    pub(super) fn is_over(&self) -> bool {
        self.left().is_some_and(|left| left.is_zero())
    }
}

impl State {
    /// The call gives no sign any more: its last frame is out, or it was never to have one.
    pub(super) fn end(&mut self) {
        self.phase = Phase::Ended;
    }
}

#[cfg(test)]
mod tests {
    use toolbus_model::Trace;

    use super::*;
    use crate::frame::START_WITHIN;

    fn ask(call: CallId, attempt: u32, start: Start) -> Ask {
        Ask {
            call,
            attempt,
            start,
            start_within: START_WITHIN,
            deadline: None,
            idempotency_key: None,
            caller: None,
            digest: None,
            object: None,
            method: "tools/call".into(),
            name: None,
            trace: Trace::default(),
        }
    }

    #[test]
    fn what_was_cancelled_before_it_came_is_not_begun() {
        for start in [Start::Direct, Start::Claim] {
            let (calls, id, now) = (Calls::default(), CallId::new(), Instant::now());
            let enter = |attempt| calls.enter(&ask(id, attempt, start), "reply", now, false);
            calls.forestall(id, 1);
            assert!(matches!(enter(1), Entered::Duplicate));
            // Another attempt of the same call is another matter.
            assert!(matches!(enter(2), Entered::New(_)));
            calls.forestall(id, 1);
            assert!(matches!(enter(2), Entered::Duplicate));
            assert!(matches!(enter(3), Entered::Adopted(_)));
        }
    }
}
