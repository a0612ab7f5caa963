//! What a server tells of its own accord, to those who listen: which lists have changed, and which resources.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard};

use tokio::sync::{Notify, mpsc, watch};
use tokio_util::sync::CancellationToken;
use toolbus_model::{Changes, Notice};
use toolbus_protocol::Envelope;

use super::listeners::{Table, Wanted};
use super::lock;
use super::overlap::Overlap;

/// Notices that wait for a listener. One that reads has none waiting; one that does not is let go.
const QUEUE: usize = 256;

/// What one server says of its changes, from whichever stream it comes.
#[derive(Debug, Default)]
pub(super) struct News {
    changes: Mutex<Changes>,
    /// Rung when the lists are to be read again.
    relist: Notify,
    table: Mutex<Table>,
    overlap: Mutex<Overlap>,
    /// Rung when something else is wanted than before.
    wanted: Notify,
    /// Counts decisions of the server's.
    decided: watch::Sender<u64>,
    /// The server has asked something where it does not say in which call.
    asks_apart: AtomicBool,
}

/// A place among the listeners.
#[derive(Debug)]
pub(super) struct Place {
    pub(super) id: u64,
    pub(super) notices: mpsc::Sender<Notice>,
    /// Cancelled when the listener is let go.
    pub(super) gone: CancellationToken,
}

impl News {
    /// Takes a notice, if it is one of changes.
    pub(super) fn take(&self, said: &Envelope) -> bool {
        match said.method.as_str() {
            "notifications/tools/list_changed" => self.count(|changes| &mut changes.tools),
            "notifications/prompts/list_changed" => self.count(|changes| &mut changes.prompts),
            "notifications/resources/list_changed" => self.count(|changes| &mut changes.resources),
            "notifications/resources/updated" => {
                if let Some(uri) = said.params.str("uri") {
                    self.table().deliver(&uri, &said.params);
                }
            }
            _ => return false,
        }
        true
    }

    /// [`News::take`] for what is said on a listen for everybody, by the id of the listen.
    pub(super) fn take_from(&self, listen: u64, said: &Envelope) {
        if self.overlap().admits(listen, said) {
            self.take(said);
        }
    }

    /// A listen for everybody is there, and takes the place of the one before.
    pub(super) fn turn_to(&self, listen: u64, shares_stream: bool) {
        self.overlap().turn_to(listen, shares_stream);
    }

    /// A listen has ended.
    pub(super) fn over(&self, listen: u64) {
        self.overlap().end(listen);
    }

    fn count(&self, list: impl FnOnce(&mut Changes) -> &mut u64) {
        *list(&mut lock(&self.changes)) += 1;
        self.relist.notify_one();
    }

    /// How often each list was said to have changed.
    pub(super) fn changes(&self) -> Changes {
        *lock(&self.changes)
    }

    /// The lists may have changed without a word.
    pub(super) fn relist(&self) {
        self.relist.notify_one();
    }

    /// The server asks something on the stream that belongs to no request.
    pub(super) fn note_asks_apart(&self) {
        self.asks_apart.store(true, Ordering::Relaxed);
    }

    /// Whether it has done so before.
    pub(super) fn asks_apart(&self) -> bool {
        self.asks_apart.load(Ordering::Relaxed)
    }

    /// Waits until the lists are to be read again.
    pub(super) async fn outdated(&self) {
        self.relist.notified().await;
    }

    /// Somebody listens.
    #[cfg(test)]
    pub(super) fn is_heard(&self) -> bool {
        self.table().is_heard()
    }

    /// Takes a listener for these resources, as far as there is room.
    pub(super) fn join(&self, uris: &[Arc<str>]) -> (Place, mpsc::Receiver<Notice>) {
        let (notices, receiver) = mpsc::channel(QUEUE);
        let gone = CancellationToken::new();
        let id = self.table().join(uris, notices.clone(), gone.clone());
        self.wanted.notify_one();
        (Place { id, notices, gone }, receiver)
    }

    /// Lets a listener go.
    pub(super) fn leave(&self, id: u64) {
        self.table().leave(id);
        self.wanted.notify_one();
    }

    /// Waits until the server has decided about everything that this listener wants; what it honours.
    pub(super) async fn honoured(&self, id: u64) -> Vec<Arc<str>> {
        let mut decided = self.decided.subscribe();
        // The sender is our own, so that this cannot end before.
        let _ = decided.wait_for(|_| self.table().is_decided(id)).await;
        self.table().settle(id)
    }

    /// Waits until something else is wanted than before.
    pub(super) async fn wanted_changed(&self) {
        self.wanted.notified().await;
    }

    /// Everything that is listened to, and what of it the server is still to be asked for.
    pub(super) fn wanted(&self) -> Wanted {
        self.table().wanted()
    }

    /// What the server said when it was asked for these resources.
    pub(super) fn decide(&self, asked: &[Arc<str>], honours: impl Fn(&str) -> bool) {
        if asked.is_empty() {
            return;
        }
        let mut table = self.table();
        for uri in asked {
            table.decide(uri, honours(uri));
        }
        drop(table);
        self.decided.send_modify(|count| *count += 1);
    }

    /// Something may have been said that was not heard: whatever is listened to may have changed.
    pub(super) fn missed(&self) {
        self.table().missed();
        self.relist.notify_one();
    }

    /// The server does not tell us any more: it is to be asked again, and may have missed to tell something.
    pub(super) fn lost(&self) {
        self.table().lost();
    }

    fn overlap(&self) -> MutexGuard<'_, Overlap> {
        lock(&self.overlap)
    }

    fn table(&self) -> MutexGuard<'_, Table> {
        lock(&self.table)
    }
}

#[cfg(test)]
mod tests;
