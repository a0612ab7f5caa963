//! What waits to be written to the server. Nothing of it outlives its connection.

use std::collections::VecDeque;
use std::sync::{Mutex, MutexGuard, PoisonError};

use tokio::sync::{Notify, oneshot};
use tokio::task::yield_now;

use super::write;
use crate::bus::{Message, NotSent};

/// How much may wait, in bytes: a window of chunks for each of eight large results. What comes on top is refused.
const MOST: usize = 32 * 1024 * 1024;

/// A buffer above this is given back after it was written, in bytes.
const KEPT: usize = 256 * 1024;

/// What waits to be written.
#[derive(Default)]
pub(super) struct Outbox {
    waiting: Mutex<Waiting>,
    wake: Notify,
}

#[derive(Default)]
pub(super) struct Waiting {
    bytes: Vec<u8>,
    is_up: bool,
    /// Those who wait for the answer to a PING, in the order of the PINGs.
    pongs: VecDeque<Option<oneshot::Sender<()>>>,
}

impl Outbox {
    fn lock(&self) -> MutexGuard<'_, Waiting> {
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Adds a message, unless there is no connection or too much waits already.
    pub(super) fn send(&self, message: &Message) -> Result<(), NotSent> {
        let size = message.size() + message.subject.len() + 64;
        self.push(size, |waiting| write::message(&mut waiting.bytes, message))
    }

    /// Adds the interest in a subject.
    pub(super) fn subscribe(
        &self,
        sid: u64,
        subject: &str,
        queue: Option<&str>,
    ) -> Result<(), NotSent> {
        self.push(subject.len() + 64, |waiting| {
            write::subscribe(&mut waiting.bytes, sid, subject, queue);
        })
    }

    /// Adds the end of an interest. Where there is no connection it is over anyway.
    pub(super) fn unsubscribe(&self, sid: u64) {
        // Not held to the bound: it is small, and an interest that stays would cost more.
        let _ = self.push(0, |waiting| write::unsubscribe(&mut waiting.bytes, sid));
    }

    /// Adds a PING. What is given back is done when the server has seen everything before it; it fails with the connection.
    pub(super) fn ping(&self) -> Result<oneshot::Receiver<()>, NotSent> {
        let (done, answered) = oneshot::channel();
        self.push(8, |waiting| waiting.ping(Some(done)))?;
        Ok(answered)
    }

    /// Adds a PING to which the answer is only a sign of life.
    pub(super) fn knock(&self) {
        let _ = self.push(0, |waiting| waiting.ping(None));
    }

    /// Answers the server's PING.
    pub(super) fn pong(&self) {
        let _ = self.push(0, |waiting| waiting.bytes.extend_from_slice(b"PONG\r\n"));
    }

    fn push(&self, size: usize, add: impl FnOnce(&mut Waiting)) -> Result<(), NotSent> {
        let mut waiting = self.lock();
        if !waiting.is_up {
            return Err(NotSent::Disconnected);
        }
        // Something too large for an empty queue was refused for its size already.
        if size > 0 && !waiting.bytes.is_empty() && waiting.bytes.len() + size > MOST {
            return Err(NotSent::Full);
        }
        let was_empty = waiting.bytes.is_empty();
        add(&mut waiting);
        drop(waiting);
        if was_empty {
            self.wake.notify_one();
        }
        Ok(())
    }

    /// The server answered the oldest PING.
    pub(super) fn answered(&self) {
        let oldest = self.lock().pongs.pop_front();
        if let Some(Some(waits)) = oldest {
            let _ = waits.send(());
        }
    }

    /// Begins a connection: with what must be said first, and a PING after it.
    pub(super) fn open(&self, first: Vec<u8>) -> oneshot::Receiver<()> {
        let (done, answered) = oneshot::channel();
        let mut waiting = self.lock();
        *waiting = Waiting {
            bytes: first,
            is_up: true,
            pongs: VecDeque::new(),
        };
        waiting.ping(Some(done));
        drop(waiting);
        self.wake.notify_one();
        answered
    }

    /// Ends a connection: what was not written never will be, and nobody waits for an answer any more.
    pub(super) fn shut(&self) {
        *self.lock() = Waiting::default();
    }

    /// What is to be written next, in exchange for the buffer that was written last.
    pub(super) async fn take(&self, mut written: Vec<u8>) -> Vec<u8> {
        written.clear();
        written.shrink_to(KEPT);
        loop {
            {
                let mut waiting = self.lock();
                if !waiting.bytes.is_empty() {
                    return std::mem::replace(&mut waiting.bytes, written);
                }
            }
            self.wake.notified().await;
            // Whoever else can run now adds to the same write: of many callers each would cost a system call of its own.
            yield_now().await;
        }
    }
}

impl Waiting {
    fn ping(&mut self, done: Option<oneshot::Sender<()>>) {
        self.bytes.extend_from_slice(b"PING\r\n");
        self.pongs.push_back(done);
    }
}
