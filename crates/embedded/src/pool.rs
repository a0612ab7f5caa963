//! The threads of one server, in which its plain functions run.
//!
//! A thread stays attached to the interpreter for its life, as Python's own threads do, so that what a module keeps for
//! each thread is kept. One whose call never ends is given up and replaced, up to a bound.

use std::collections::VecDeque;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, OnceLock, PoisonError};

use bytes::Bytes;
use pyo3::prelude::*;
use pyo3::types::PyBytes;
use tokio::sync::oneshot;
use toolbus_model::Object;

use crate::looping::STACK;
use crate::seat::Seat;
use crate::words;

/// Functions that run now, of all servers.
static BUSY: AtomicUsize = AtomicUsize::new(0);

/// What a function gives: a result of `tools/call` as JSON, or what went wrong around it.
pub(crate) type Written = Result<Bytes, String>;

/// A call of a function.
#[derive(Debug)]
struct Work {
    function: Arc<Py<PyAny>>,
    arguments: Object,
    run: Arc<Run>,
    answer: oneshot::Sender<Written>,
}

/// How far a call is.
#[derive(Debug, Default)]
pub(crate) struct Run {
    id: u64,
    /// Nobody waits for it any more.
    abandoned: AtomicBool,
    is_lost: AtomicBool,
    /// The thread is free of it.
    is_over: AtomicBool,
    seat: OnceLock<Arc<Seat>>,
}

impl Run {
    /// Nobody waits for it any more. Where it did not begin, it never does.
    pub(crate) fn abandon(&self) {
        self.abandoned.store(true, Ordering::SeqCst);
    }

    fn is_abandoned(&self) -> bool {
        self.abandoned.load(Ordering::SeqCst)
    }

    /// A thread is, or was, at it.
    pub(crate) fn has_begun(&self) -> bool {
        self.seat.get().is_some()
    }

    /// Raises an exception in its thread, if that is still at it.
    pub(crate) fn interrupt(&self, interrupt: &Bound<'_, PyAny>) -> PyResult<()> {
        match self.seat.get() {
            Some(seat) => seat.interrupt(self.id, interrupt),
            None => Ok(()),
        }
    }
}

/// Why a call is not taken.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Refused {
    /// So many run, and so many wait.
    Full(usize, usize),
    /// So many threads are given up, and no more are replaced.
    Lost(usize),
    /// The system gives no thread.
    System(String),
    /// It was stopped.
    Closed,
}

/// The threads of a server.
#[derive(Debug)]
pub(crate) struct Pool {
    name: String,
    threads: usize,
    queue: usize,
    next: AtomicU64,
    state: Mutex<State>,
    wake: Condvar,
}

#[derive(Debug, Default)]
struct State {
    waiting: VecDeque<Work>,
    /// Threads that are not given up, and those of them that wait for work.
    alive: usize,
    idle: usize,
    lost: usize,
    is_closed: bool,
}

impl Pool {
    pub(crate) fn new(name: &str, threads: usize, queue: usize) -> Arc<Self> {
        Arc::new(Self {
            name: name.to_owned(),
            threads,
            queue,
            next: AtomicU64::new(1),
            state: Mutex::default(),
            wake: Condvar::new(),
        })
    }

    /// Has a function run in a thread.
    pub(crate) fn run(
        self: &Arc<Self>,
        function: Arc<Py<PyAny>>,
        arguments: Object,
    ) -> Result<(Arc<Run>, oneshot::Receiver<Written>), Refused> {
        let mut state = self.lock();
        if state.is_closed {
            return Err(Refused::Closed);
        }
        if state.idle <= state.waiting.len() {
            self.make_room(&mut state)?;
        }
        let run = Arc::new(Run {
            id: self.next.fetch_add(1, Ordering::Relaxed),
            ..Run::default()
        });
        let (answer, receiver) = oneshot::channel();
        state.waiting.push_back(Work {
            function,
            arguments,
            run: Arc::clone(&run),
            answer,
        });
        drop(state);
        self.wake.notify_one();
        Ok((run, receiver))
    }

    /// No thread is free: one more, or a place in the queue.
    fn make_room(self: &Arc<Self>, state: &mut State) -> Result<(), Refused> {
        let places = self.places(state);
        if places == 0 {
            return Err(Refused::Lost(state.lost));
        }
        if state.alive < places {
            return self.grow(state);
        }
        let unbounded_by_gone = |state: &State| state.waiting.len() < self.queue;
        if !unbounded_by_gone(state) {
            // Whoever left does not keep others out.
            state.waiting.retain(|work| !work.run.is_abandoned());
        }
        if unbounded_by_gone(state) {
            return Ok(());
        }
        Err(Refused::Full(state.alive, state.waiting.len()))
    }

    /// As many again may be given up as the pool has. From then on each takes a place of its own.
    fn places(&self, state: &State) -> usize {
        self.threads
            .min((2 * self.threads).saturating_sub(state.lost))
    }

    /// A thread is gone. What waits gets another one, or is told that there is none any more.
    fn refill(self: &Arc<Self>, state: &mut State) {
        let places = self.places(state);
        if places == 0 {
            state.waiting.clear();
        }
        while state.alive < places && state.idle < state.waiting.len() {
            if self.grow(state).is_err() {
                return;
            }
        }
    }

    fn grow(self: &Arc<Self>, state: &mut State) -> Result<(), Refused> {
        let own = Arc::clone(self);
        std::thread::Builder::new()
            .name(format!("toolbus-{}", self.name))
            .stack_size(STACK)
            .spawn(move || Python::attach(|py| own.serve(py)))
            .map_err(|error| Refused::System(error.to_string()))?;
        state.alive += 1;
        Ok(())
    }

    /// The life of a thread.
    fn serve(self: &Arc<Self>, py: Python<'_>) {
        let Ok(thread) = words::thread(py) else {
            self.lock().alive -= 1;
            return;
        };
        let seat = Arc::new(Seat::new(thread));
        while let Some(work) = py.detach(|| self.next()) {
            let run = Arc::clone(&work.run);
            if run.is_abandoned() {
                continue;
            }
            seat.begin(run.id);
            let _ = run.seat.set(Arc::clone(&seat));
            BUSY.fetch_add(1, Ordering::Relaxed);
            let written = call(py, &work.function, &work.arguments);
            BUSY.fetch_sub(1, Ordering::Relaxed);
            let goes_on = seat.end();
            // Whoever waited may be gone.
            let _ = work.answer.send(written);
            if !py.detach(|| self.goes_on(&run, goes_on)) {
                py.detach(|| seat.leave());
                return;
            }
        }
        self.lock().alive -= 1;
    }

    /// The next call, when there is one. `None` where the pool is closed.
    fn next(&self) -> Option<Work> {
        let mut state = self.lock();
        loop {
            if let Some(work) = state.waiting.pop_front() {
                return Some(work);
            }
            if state.is_closed {
                return None;
            }
            state.idle += 1;
            state = self
                .wake
                .wait(state)
                .unwrap_or_else(PoisonError::into_inner);
            state.idle -= 1;
        }
    }

    /// Whether the thread that ran this takes another call.
    fn goes_on(self: &Arc<Self>, run: &Run, is_sound: bool) -> bool {
        let mut state = self.lock();
        run.is_over.store(true, Ordering::SeqCst);
        let is_lost = run.is_lost.load(Ordering::SeqCst);
        if !is_lost && is_sound {
            return true;
        }
        if is_lost {
            // It came back after all. Another one has its place.
            state.lost -= 1;
        } else {
            state.alive -= 1;
        }
        self.refill(&mut state);
        false
    }

    /// The call's thread does not come back: another one may take its place. False where it did come back.
    pub(crate) fn give_up(self: &Arc<Self>, run: &Run) -> bool {
        let mut state = self.lock();
        let is_idle = !run.has_begun() || run.is_over.load(Ordering::SeqCst);
        if is_idle || run.is_lost.swap(true, Ordering::SeqCst) {
            return false;
        }
        state.alive -= 1;
        state.lost += 1;
        self.refill(&mut state);
        true
    }

    /// Takes no more calls, and has idle threads end.
    pub(crate) fn close(&self) {
        let mut state = self.lock();
        state.is_closed = true;
        state.waiting.clear();
        drop(state);
        self.wake.notify_all();
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Runs a function that never waits, in this thread. `None` where another one runs, and the interpreter would have to be
/// waited for.
pub(crate) fn at_once(function: &Py<PyAny>, arguments: &Object) -> Option<Written> {
    let taken = BUSY.compare_exchange(0, 1, Ordering::Relaxed, Ordering::Relaxed);
    taken.ok()?;
    let written = Python::attach(|py| call(py, function, arguments));
    BUSY.fetch_sub(1, Ordering::Relaxed);
    Some(written)
}

/// Calls a function of the glue: bytes to bytes.
fn call(py: Python<'_>, function: &Py<PyAny>, arguments: &Object) -> Written {
    let arguments = PyBytes::new(py, arguments.bytes());
    let written = function.bind(py).call1((arguments,));
    let written = written.and_then(|written| words::bytes(&written));
    written.map_err(|error| error.to_string())
}
