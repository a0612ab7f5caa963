//! The subscriptions of one client, which outlive its connections.

use std::collections::HashMap;
use std::sync::{Mutex, MutexGuard, PoisonError};

use tokio::sync::mpsc;
use tokio::sync::mpsc::error::TrySendError;

use super::outbox::Outbox;
use super::write;
use crate::bus::{Message, NotSent};

/// The subscriptions of one client.
#[derive(Default)]
pub(super) struct Interests {
    table: Mutex<Table>,
}

#[derive(Default)]
struct Table {
    last: u64,
    held: HashMap<u64, Interest>,
}

struct Interest {
    subject: String,
    queue: Option<String>,
    messages: mpsc::Sender<Message>,
    is_denied: bool,
    /// How many messages its reader did not get.
    lost: u64,
    /// It was taken away at the server, whose last messages may still come.
    is_leaving: bool,
}

impl Interests {
    fn lock(&self) -> MutexGuard<'_, Table> {
        self.table.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Adds one, and tells the server where there is a connection. Where there is none, the next one begins with it.
    pub(super) fn add(
        &self,
        subject: &str,
        queue: Option<&str>,
        capacity: usize,
        outbox: &Outbox,
    ) -> (u64, mpsc::Receiver<Message>, Result<(), NotSent>) {
        let (sender, messages) = mpsc::channel(capacity.max(1));
        let mut table = self.lock();
        table.last += 1;
        let sid = table.last;
        let interest = Interest {
            subject: subject.to_owned(),
            queue: queue.map(ToOwned::to_owned),
            messages: sender,
            is_denied: false,
            lost: 0,
            is_leaving: false,
        };
        table.held.insert(sid, interest);
        // With the table locked, so that a connection that begins now says it once and not twice.
        let told = outbox.subscribe(sid, subject, queue);
        (sid, messages, told)
    }

    /// Begins a connection with all of them. The receiver is done when the server knows them.
    pub(super) fn open(&self, outbox: &Outbox) -> tokio::sync::oneshot::Receiver<()> {
        let mut table = self.lock();
        let mut first = Vec::new();
        for (sid, interest) in &mut table.held {
            if interest.is_leaving {
                continue;
            }
            interest.is_denied = false;
            write::subscribe(
                &mut first,
                *sid,
                &interest.subject,
                interest.queue.as_deref(),
            );
        }
        outbox.open(first)
    }

    /// Takes one away at the server, once. No connection begins with it any more.
    pub(super) fn leave(&self, sid: u64, outbox: &Outbox) {
        if let Some(interest) = self.lock().held.get_mut(&sid)
            && !std::mem::replace(&mut interest.is_leaving, true)
        {
            outbox.unsubscribe(sid);
        }
    }

    /// Forgets one: its messages end after those that wait.
    pub(super) fn remove(&self, sid: u64) {
        self.lock().held.remove(&sid);
    }

    /// Forgets all.
    pub(super) fn clear(&self) {
        self.lock().held.clear();
    }

    /// The server does not permit a subject.
    pub(super) fn deny(&self, subject: &str) {
        for interest in self.lock().held.values_mut() {
            if interest.subject == subject {
                interest.is_denied = true;
            }
        }
    }

    pub(super) fn is_denied(&self, sid: u64) -> bool {
        self.lock()
            .held
            .get(&sid)
            .is_some_and(|interest| interest.is_denied)
    }

    /// Gives a message to its reader. Where too many wait already it is the newest that is lost: a reader that does not
    /// read must not hold up the others.
    pub(super) fn deliver(&self, sid: u64, message: Message) {
        if let Some(interest) = self.lock().held.get_mut(&sid)
            && let Err(TrySendError::Full(_)) = interest.messages.try_send(message)
        {
            interest.lost += 1;
            // Said ever more rarely: there may be thousands in a second.
            if interest.lost.is_power_of_two() {
                let (subject, lost) = (&interest.subject, interest.lost);
                tracing::warn!(
                    subject,
                    lost,
                    "messages are lost: they are not read fast enough"
                );
            }
        }
    }
}
