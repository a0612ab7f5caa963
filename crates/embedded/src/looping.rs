//! The event loop that all coroutines run on, in a thread of its own, and what goes to it.

use std::collections::VecDeque;
use std::fmt;
use std::os::fd::{AsRawFd as _, OwnedFd};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use pyo3::prelude::*;
use pyo3::types::{PyBytes, PyCFunction, PyDict, PyList, PyTuple};
use rustix::event::{EventfdFlags, eventfd};
use toolbus_model::Object;

use crate::calls::{Calls, Entry};
use crate::interpreter::Interpreter;
use crate::seat::Seat;
use crate::words;

/// Loops that are given up, each with its thread, before no other is started: what hangs a loop hangs the next one, too.
const MOST_LOST: usize = 4;

/// As Python's own threads have it. A coroutine that calls into C deeply needs more than Rust's threads have.
pub(crate) const STACK: usize = 16 * 1024 * 1024;

/// What the thread of a loop is always at: whatever it runs.
const ALWAYS: u64 = 1;

/// The loop of the moment.
#[derive(Debug, Default)]
pub(crate) struct Looping {
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    door: Option<Arc<Door>>,
    opened: u64,
    lost: usize,
}

/// Why there is no loop.
#[derive(Debug)]
pub(crate) enum NoLoop {
    /// So many hang.
    Lost(usize),
    /// The system gives no thread or descriptor.
    System(std::io::Error),
}

impl fmt::Display for NoLoop {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Lost(lost) => write!(
                f,
                "{lost} event loops were blocked for good by coroutines, and no more are started"
            ),
            Self::System(why) => write!(f, "no event loop: {why}"),
        }
    }
}

/// The way to one loop.
#[derive(Debug)]
pub(crate) struct Door {
    number: u64,
    letters: Mutex<VecDeque<Letter>>,
    bell: OwnedFd,
    put: AtomicU64,
    taken: AtomicU64,
    seat: std::sync::OnceLock<Seat>,
}

/// What a loop is told.
#[derive(Debug)]
enum Letter {
    Begin(Job),
    Cancel(u64),
}

/// A call for the loop.
#[derive(Debug)]
pub(crate) struct Job {
    /// The `begin` of a server.
    pub(crate) begin: Arc<Py<PyAny>>,
    pub(crate) entry: Arc<Entry>,
    pub(crate) tool: Arc<str>,
    pub(crate) arguments: Object,
}

impl Looping {
    /// The loop, which is started where there is none.
    pub(crate) fn door(&self, interpreter: &'static Interpreter) -> Result<Arc<Door>, NoLoop> {
        let mut state = self.lock();
        if let Some(door) = &state.door {
            return Ok(Arc::clone(door));
        }
        if state.lost >= MOST_LOST {
            return Err(NoLoop::Lost(state.lost));
        }
        state.opened += 1;
        let door = Door::open(interpreter, state.opened).map_err(NoLoop::System)?;
        state.door = Some(Arc::clone(&door));
        Ok(door)
    }

    /// The loop does nothing any more. The next call gets another one. True for the first who says so.
    pub(crate) fn give_up(&self, door: &Arc<Door>) -> bool {
        let mut state = self.lock();
        let is_current = state
            .door
            .as_ref()
            .is_some_and(|current| Arc::ptr_eq(current, door));
        if is_current {
            state.door = None;
            state.lost += 1;
        }
        is_current
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Door {
    fn open(interpreter: &'static Interpreter, number: u64) -> std::io::Result<Arc<Self>> {
        let door = Arc::new(Self {
            number,
            letters: Mutex::default(),
            bell: eventfd(0, EventfdFlags::CLOEXEC | EventfdFlags::NONBLOCK)?,
            put: AtomicU64::new(0),
            taken: AtomicU64::new(0),
            seat: std::sync::OnceLock::new(),
        });
        let own = Arc::clone(&door);
        std::thread::Builder::new()
            .name("toolbus-loop".into())
            .stack_size(STACK)
            .spawn(move || Python::attach(|py| run(py, interpreter, &own)))?;
        Ok(door)
    }

    /// Has the loop begin with a call.
    pub(crate) fn begin(&self, job: Job) {
        self.put(Letter::Begin(job));
    }

    /// Has the loop cancel a call. The number is for [`Door::has_taken`].
    pub(crate) fn cancel(&self, id: u64) -> u64 {
        self.put(Letter::Cancel(id))
    }

    /// The loop has come as far as this letter: it is alive.
    pub(crate) fn has_taken(&self, number: u64) -> bool {
        self.taken.load(Ordering::SeqCst) >= number
    }

    /// Which loop it is, of this process.
    pub(crate) fn number(&self) -> u64 {
        self.number
    }

    /// Raises an exception in whatever the loop is at.
    pub(crate) fn interrupt(&self, interrupt: &Bound<'_, PyAny>) -> PyResult<()> {
        match self.seat.get() {
            Some(seat) => seat.interrupt(ALWAYS, interrupt),
            None => Ok(()),
        }
    }

    fn put(&self, letter: Letter) -> u64 {
        let mut letters = self.lock();
        letters.push_back(letter);
        let number = self.put.fetch_add(1, Ordering::SeqCst) + 1;
        let is_first = letters.len() == 1;
        drop(letters);
        if is_first {
            // It fails only where its counter is full, and then it rings already.
            let _ = rustix::io::write(&self.bell, &1_u64.to_ne_bytes());
        }
        number
    }

    /// All letters, as Python takes them: `(begin, tool, arguments, id, is_retry)`, and to cancel `(None, "", b"", id, False)`.
    fn take<'py>(&self, py: Python<'py>, calls: &Calls) -> PyResult<Bound<'py, PyList>> {
        let letters = std::mem::take(&mut *self.lock());
        let all = PyList::empty(py);
        self.taken.fetch_add(letters.len() as u64, Ordering::SeqCst);
        for letter in letters {
            match letter {
                // Whoever left before it began gets no work done.
                Letter::Begin(job) if job.entry.is_abandoned() => calls.forget(job.entry.id),
                Letter::Begin(job) => {
                    let arguments = PyBytes::new(py, job.arguments.bytes());
                    let begin = job.begin.clone_ref(py);
                    let (id, is_retry) = (job.entry.id, job.entry.is_retry());
                    all.append((begin, &*job.tool, arguments, id, is_retry))?;
                }
                Letter::Cancel(id) => {
                    all.append((py.None(), "", PyBytes::new(py, b""), id, false))?;
                }
            }
        }
        Ok(all)
    }

    fn lock(&self) -> MutexGuard<'_, VecDeque<Letter>> {
        self.letters.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The life of a loop's thread.
fn run(py: Python<'_>, interpreter: &'static Interpreter, door: &Arc<Door>) {
    let own = Arc::clone(door);
    let take = move |args: &Bound<'_, PyTuple>, _: Option<&Bound<'_, PyDict>>| {
        own.take(args.py(), &interpreter.calls).map(Bound::unbind)
    };
    let run = || {
        let glue = interpreter.glue(py)?;
        let seat = Seat::new(words::thread(py)?);
        seat.begin(ALWAYS);
        let _ = door.seat.set(seat);
        let take = PyCFunction::new_closure(py, None, None, take)?;
        glue.run_loop
            .bind(py)
            .call1((door.bell.as_raw_fd(), take))
            .map(drop)
    };
    if let Err(error) = run() {
        tracing::error!("the event loop of Python ended: {error}");
    }
    interpreter.looping.give_up(door);
}
