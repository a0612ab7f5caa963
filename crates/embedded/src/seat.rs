//! One thread that runs functions: which call it is at, and how that is interrupted without hitting another one.
//!
//! Python raises an exception in a thread at some later moment, and the thread may be at another call by then. So whoever
//! interrupts marks the seat first and looks second, and a thread whose seat is marked never runs another call.

use std::sync::atomic::{AtomicU8, AtomicU64, Ordering};
use std::time::Duration;

use pyo3::prelude::*;

const FREE: u8 = 0;
const MARKED: u8 = 1;
const INTERRUPTED: u8 = 2;

/// How often a thread that is about to end looks whether it may: the interruption is a matter of microseconds.
const LOOK: Duration = Duration::from_millis(1);

/// The seat of one thread.
#[derive(Debug)]
pub(crate) struct Seat {
    /// Python's own id of the thread.
    thread: u64,
    /// The call that it is at; 0 for none.
    at: AtomicU64,
    mark: AtomicU8,
}

impl Seat {
    pub(crate) fn new(thread: u64) -> Self {
        Self {
            thread,
            at: AtomicU64::new(0),
            mark: AtomicU8::new(FREE),
        }
    }

    /// The thread begins with a call.
    pub(crate) fn begin(&self, id: u64) {
        self.at.store(id, Ordering::SeqCst);
    }

    /// The thread is done with its call. False where it must not begin with another one.
    pub(crate) fn end(&self) -> bool {
        self.at.store(0, Ordering::SeqCst);
        self.mark.load(Ordering::SeqCst) == FREE
    }

    /// Waits until no exception is on its way to this thread's id, which the system may give to another thread.
    pub(crate) fn leave(&self) {
        while self.mark.load(Ordering::SeqCst) == MARKED {
            std::thread::sleep(LOOK);
        }
    }

    /// Raises an exception in the thread, if it is at this call.
    pub(crate) fn interrupt(&self, id: u64, interrupt: &Bound<'_, PyAny>) -> PyResult<()> {
        if self.at.load(Ordering::SeqCst) != id {
            return Ok(());
        }
        self.mark.store(MARKED, Ordering::SeqCst);
        let raised = if self.at.load(Ordering::SeqCst) == id {
            interrupt.call1((self.thread,)).map(drop)
        } else {
            Ok(())
        };
        self.mark.store(INTERRUPTED, Ordering::SeqCst);
        raised
    }
}
