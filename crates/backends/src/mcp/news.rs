//! What a server tells of its own accord, to those who listen: which lists have changed, and which resources.

use std::collections::{HashMap, HashSet};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard};

use tokio::sync::{Notify, mpsc, watch};
use tokio_util::sync::CancellationToken;
use toolbus_model::{Changes, Notice, Object};
use toolbus_protocol::Envelope;

use super::lock;
use super::overlap::Overlap;

/// Notices that wait for a listener. One that reads has none waiting; one that does not is let go.
const QUEUE: usize = 256;

/// Resources of one server that are listened to. A request that names them all has about a megabyte, which is what
/// servers take by default.
const MAX_URIS: usize = 10_000;

/// The most places at which a URI is cut to find whoever listens to what is above it.
const MAX_CUTS: usize = 64;

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

#[derive(Debug, Default)]
struct Table {
    count: u64,
    listeners: HashMap<u64, Listener>,
    interests: HashMap<Arc<str>, Interest>,
}

#[derive(Debug)]
struct Listener {
    uris: Vec<Arc<str>>,
    notices: mpsc::Sender<Notice>,
    gone: CancellationToken,
    /// It knows what is honoured, and relies on it.
    is_told: bool,
}

/// A resource that somebody listens to.
#[derive(Debug, Default)]
struct Interest {
    listeners: Vec<u64>,
    standing: Standing,
}

/// Whether the server tells of a resource.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
enum Standing {
    /// It has not been asked yet.
    #[default]
    Open,
    /// It did, until the connection was lost: what changed since then nobody knows.
    Lost,
    Honoured,
    Refused,
}

/// The resources that are listened to.
#[derive(Debug, Default)]
pub(super) struct Wanted {
    pub(super) all: HashSet<Arc<str>>,
    /// Those that the server is to be asked for.
    pub(super) open: Vec<Arc<str>>,
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
        !self.table().listeners.is_empty()
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
        let mut wanted = Wanted::default();
        for (uri, interest) in &self.table().interests {
            wanted.all.insert(Arc::clone(uri));
            if matches!(interest.standing, Standing::Open | Standing::Lost) {
                wanted.open.push(Arc::clone(uri));
            }
        }
        wanted
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
        let mut table = self.table();
        let honoured = |(uri, interest): (&Arc<str>, &Interest)| {
            (interest.standing == Standing::Honoured).then(|| Arc::clone(uri))
        };
        let uris: Vec<_> = table.interests.iter().filter_map(honoured).collect();
        uris.iter().for_each(|uri| table.deliver_own(uri));
        drop(table);
        self.relist.notify_one();
    }

    /// The server does not tell us any more: it is to be asked again, and may have missed to tell something.
    pub(super) fn lost(&self) {
        for interest in self.table().interests.values_mut() {
            interest.standing = match interest.standing {
                Standing::Honoured | Standing::Lost => Standing::Lost,
                Standing::Open | Standing::Refused => Standing::Open,
            };
        }
    }

    fn overlap(&self) -> MutexGuard<'_, Overlap> {
        lock(&self.overlap)
    }

    fn table(&self) -> MutexGuard<'_, Table> {
        lock(&self.table)
    }
}

impl Table {
    fn join(
        &mut self,
        uris: &[Arc<str>],
        notices: mpsc::Sender<Notice>,
        gone: CancellationToken,
    ) -> u64 {
        self.count += 1;
        let id = self.count;
        let mut taken = Vec::with_capacity(uris.len());
        for uri in uris {
            let room = self.interests.len() < MAX_URIS || self.interests.contains_key(uri);
            if !room || taken.contains(uri) {
                continue;
            }
            let interest = self.interests.entry(Arc::clone(uri)).or_default();
            interest.listeners.push(id);
            taken.push(Arc::clone(uri));
        }
        let listener = Listener {
            uris: taken,
            notices,
            gone,
            is_told: false,
        };
        self.listeners.insert(id, listener);
        id
    }

    fn leave(&mut self, id: u64) {
        let Some(listener) = self.listeners.remove(&id) else {
            return;
        };
        listener.gone.cancel();
        for uri in &listener.uris {
            self.lose_interest(uri, id);
        }
    }

    fn lose_interest(&mut self, uri: &Arc<str>, id: u64) {
        if let Some(interest) = self.interests.get_mut(uri) {
            interest.listeners.retain(|listener| *listener != id);
            if interest.listeners.is_empty() {
                self.interests.remove(uri);
            }
        }
    }

    fn standing(&self, uri: &str) -> Standing {
        let interest = self.interests.get(uri);
        interest.map_or(Standing::Refused, |interest| interest.standing)
    }

    fn is_decided(&self, id: u64) -> bool {
        let is_decided =
            |uri: &Arc<str>| matches!(self.standing(uri), Standing::Honoured | Standing::Refused);
        let listener = self.listeners.get(&id);
        listener.is_none_or(|listener| listener.uris.iter().all(is_decided))
    }

    /// From now on the listener relies on what is honoured; the rest it does not want any more.
    fn settle(&mut self, id: u64) -> Vec<Arc<str>> {
        let Some(listener) = self.listeners.get(&id) else {
            return Vec::new();
        };
        let (honoured, refused): (Vec<_>, Vec<_>) = listener
            .uris
            .iter()
            .cloned()
            .partition(|uri| self.standing(uri) == Standing::Honoured);
        for uri in &refused {
            self.lose_interest(uri, id);
        }
        if let Some(listener) = self.listeners.get_mut(&id) {
            listener.uris.clone_from(&honoured);
            listener.is_told = true;
        }
        honoured
    }

    fn decide(&mut self, uri: &Arc<str>, is_honoured: bool) {
        let Some(interest) = self.interests.get_mut(uri) else {
            return;
        };
        let standing = match is_honoured {
            true => Standing::Honoured,
            false => Standing::Refused,
        };
        let before = std::mem::replace(&mut interest.standing, standing);
        match (before, standing) {
            // It may have changed while nobody could tell.
            (Standing::Lost, Standing::Honoured) => self.deliver_own(uri),
            // Whoever relies on it must learn that it is over.
            (_, Standing::Refused) => {
                let ids = interest.listeners.clone();
                let relies = |id: &u64| self.listeners.get(id).is_some_and(|known| known.is_told);
                let ids: Vec<_> = ids.into_iter().filter(relies).collect();
                ids.into_iter().for_each(|id| self.leave(id));
            }
            _ => {}
        }
    }

    /// A notice of ours.
    fn deliver_own(&mut self, uri: &Arc<str>) {
        let params = Object::of(&serde_json::json!({ "uri": **uri }));
        self.deliver(uri, &params);
    }

    /// Tells whoever listens to this resource, or to what is above it: servers may report parts of what was asked for.
    fn deliver(&mut self, uri: &str, params: &Object) {
        let mut ids: Vec<u64> = above(uri)
            .filter_map(|uri| self.interests.get(uri))
            .flat_map(|interest| interest.listeners.iter().copied())
            .collect();
        ids.sort_unstable();
        ids.dedup();
        let name: Arc<str> = uri.into();
        for id in ids {
            let notice = Notice::Resource(Arc::clone(&name), params.clone());
            let listener = self.listeners.get(&id);
            if listener.is_some_and(|listener| listener.notices.try_send(notice).is_err()) {
                self.leave(id);
            }
        }
    }
}

/// A URI and those above it.
fn above(uri: &str) -> impl Iterator<Item = &str> {
    let ends = |(at, mark): (usize, char)| {
        let with_slash = (mark == '/').then(|| &uri[..=at]);
        [
            Some(&uri[..at]),
            with_slash.filter(|part| part.len() < uri.len()),
        ]
    };
    let marks = uri
        .char_indices()
        .filter(|(_, c)| matches!(c, '/' | '?' | '#'));
    let parts = marks.take(MAX_CUTS).flat_map(ends).flatten();
    std::iter::once(uri).chain(parts)
}

#[cfg(test)]
mod tests;
