//! The thread that Python takes for its main one: it starts the interpreter, and then does what must not wait elsewhere.
//!
//! Only Python's main thread can have signals handled by Python. No module is ever run here, so that signals stay ours.

use std::sync::mpsc::{Receiver, SyncSender, sync_channel};

use pyo3::Python;

/// What waits to be done: far more than a pool can give up at once. What does not fit is not done, and the threads that
/// it was about count as given up.
const MOST_CHORES: usize = 256;

type Chore = Box<dyn FnOnce(Python<'_>) + Send>;

/// The way to that thread.
#[derive(Debug)]
pub(crate) struct Housekeeper {
    chores: SyncSender<Chore>,
}

impl Housekeeper {
    /// Starts the interpreter in a thread of its own, which then stays for as long as the process.
    pub(crate) fn start() -> std::io::Result<Self> {
        let (chores, waiting) = sync_channel(MOST_CHORES);
        let (started, start) = sync_channel(1);
        let run = move || {
            Python::initialize();
            // The one who waits is there.
            let _ = started.send(());
            keep(&waiting);
        };
        std::thread::Builder::new()
            .name("toolbus-python".into())
            .spawn(run)?;
        start
            .recv()
            .map_err(|_| std::io::Error::other("Python did not start"))?;
        Ok(Self { chores })
    }

    /// Has something done soon, by somebody who may wait for the interpreter.
    pub(crate) fn order(&self, chore: impl FnOnce(Python<'_>) + Send + 'static) {
        if self.chores.try_send(Box::new(chore)).is_err() {
            tracing::warn!("Python has not been free for its housekeeping for a long time");
        }
    }
}

fn keep(waiting: &Receiver<Chore>) {
    while let Ok(chore) = waiting.recv() {
        Python::attach(chore);
    }
}
