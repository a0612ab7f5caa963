//! Who listens to which resources of a server, and whether it tells of them.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;

use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;
use toolbus_model::{Notice, Object};

/// Resources of one server that are listened to. A request that names them all has about a megabyte, which is what
/// servers take by default.
const MAX_URIS: usize = 10_000;

/// The most places at which a URI is cut to find whoever listens to what is above it.
const MAX_CUTS: usize = 64;

/// The listeners of one server.
#[derive(Debug, Default)]
pub(super) struct Table {
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

impl Table {
    pub(super) fn join(
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

    #[cfg(test)]
    pub(super) fn is_heard(&self) -> bool {
        !self.listeners.is_empty()
    }

    /// Lets a listener go.
    pub(super) fn leave(&mut self, id: u64) {
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

    /// The server has decided about everything that this listener wants.
    pub(super) fn is_decided(&self, id: u64) -> bool {
        let is_decided =
            |uri: &Arc<str>| matches!(self.standing(uri), Standing::Honoured | Standing::Refused);
        let listener = self.listeners.get(&id);
        listener.is_none_or(|listener| listener.uris.iter().all(is_decided))
    }

    /// From now on the listener relies on what is honoured; the rest it does not want any more.
    pub(super) fn settle(&mut self, id: u64) -> Vec<Arc<str>> {
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

    /// The server tells of a resource, or does not.
    pub(super) fn decide(&mut self, uri: &Arc<str>, is_honoured: bool) {
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

    /// Everything that is listened to, and what of it the server is still to be asked for.
    pub(super) fn wanted(&self) -> Wanted {
        let mut wanted = Wanted::default();
        for (uri, interest) in &self.interests {
            wanted.all.insert(Arc::clone(uri));
            if matches!(interest.standing, Standing::Open | Standing::Lost) {
                wanted.open.push(Arc::clone(uri));
            }
        }
        wanted
    }

    /// Whatever is listened to may have changed.
    pub(super) fn missed(&mut self) {
        let honoured = |(uri, interest): (&Arc<str>, &Interest)| {
            (interest.standing == Standing::Honoured).then(|| Arc::clone(uri))
        };
        let uris: Vec<_> = self.interests.iter().filter_map(honoured).collect();
        uris.iter().for_each(|uri| self.deliver_own(uri));
    }

    /// The server is to be asked for everything again.
    pub(super) fn lost(&mut self) {
        for interest in self.interests.values_mut() {
            interest.standing = match interest.standing {
                Standing::Honoured | Standing::Lost => Standing::Lost,
                Standing::Open | Standing::Refused => Standing::Open,
            };
        }
    }

    /// Tells whoever listens to this resource, or to what is above it: servers may report parts of what was asked for.
    pub(super) fn deliver(&mut self, uri: &str, params: &Object) {
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
mod tests {
    use super::*;

    #[test]
    fn parts_of_a_uri_are_few_and_whole() {
        let parts: Vec<_> = above("a://b/c?d#é/").collect();
        let expected = [
            "a://b/c?d#é/",
            "a:",
            "a:/",
            "a:/",
            "a://",
            "a://b",
            "a://b/",
            "a://b/c",
            "a://b/c?d",
            "a://b/c?d#é",
        ];
        assert_eq!(parts, expected);
        assert!(above(&"/".repeat(1_000_000)).count() <= 2 * MAX_CUTS + 1);
    }
}
