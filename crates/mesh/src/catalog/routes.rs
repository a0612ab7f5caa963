//! Who can do what of one server, and who of them is asked.

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use indexmap::IndexMap;

use super::peer::{Peer, Standing};
use crate::frame::Start;

/// What some workers have of a server: the same versions of the same tools.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Edition {
    /// The digest of what there is besides tools.
    pub(crate) digest: Arc<str>,
    /// The digests of its tools, in the server's order.
    pub(crate) tools: IndexMap<Arc<str>, Arc<str>>,
    /// It keeps state for each caller.
    pub(crate) stateful: bool,
}

/// A tool that is listed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Listed {
    /// Its version.
    pub(crate) digest: Arc<str>,
    /// How a call of it starts.
    pub(crate) start: Start,
}

/// The workers of a server at one moment.
#[derive(Debug, Default)]
pub(crate) struct Routes {
    /// The tools that are listed.
    pub(crate) tools: HashMap<Arc<str>, Listed>,
    /// Who has which edition; what is listed besides tools is the first one's.
    pub(crate) groups: Vec<(Arc<Edition>, Vec<Arc<Peer>>)>,
    /// A caller's calls stay with one worker.
    pub(crate) stateful: bool,
    /// Why nobody is there, for a person.
    pub(crate) absence: String,
    /// What chance goes by.
    pub(crate) turn: AtomicU64,
}

impl Routes {
    /// The worker of this id, where it has the server.
    pub(crate) fn peer(&self, id: &str) -> Option<&Arc<Peer>> {
        let mut all = self.groups.iter().flat_map(|(_, peers)| peers);
        all.find(|peer| *peer.id == *id)
    }

    /// Of two workers by chance the one with fewer calls, among those that have this version of the tool and are not among
    /// `tried`. Who is suspect is chosen only when nobody else is there. Where no tool is meant, the newest edition is.
    pub(crate) fn choose(
        &self,
        tool: Option<(&str, &str)>,
        tried: &[Arc<str>],
    ) -> Option<Arc<Peer>> {
        let Some((tool, digest)) = tool else {
            let newest = || self.among(&self.groups.first()?.1, tried);
            let all = || self.among_all(self.groups.iter(), tried);
            return newest().or_else(all);
        };
        let has = |(edition, _): &&(Arc<Edition>, _)| {
            edition.tools.get(tool).is_some_and(|has| **has == *digest)
        };
        self.among_all(self.groups.iter().filter(has), tried)
    }

    fn among_all<'g>(
        &self,
        groups: impl Iterator<Item = &'g (Arc<Edition>, Vec<Arc<Peer>>)>,
        tried: &[Arc<str>],
    ) -> Option<Arc<Peer>> {
        let mut groups = groups.map(|(_, peers)| peers);
        let first = groups.next()?;
        match groups.next() {
            None => self.among(first, tried),
            // Seldom: the same version of a tool in several editions of its server.
            Some(second) => {
                let all = first.iter().chain(second).chain(groups.flatten());
                self.among(&all.cloned().collect::<Vec<_>>(), tried)
            }
        }
    }

    fn among(&self, peers: &[Arc<Peer>], tried: &[Arc<str>]) -> Option<Arc<Peer>> {
        let total = peers.len();
        let fits = |peer: &&Arc<Peer>| !tried.contains(&peer.id);
        let (first, second) = (self.random(total), self.random(total.saturating_sub(1)));
        // Another one than the first.
        let second = if second >= first { second + 1 } else { second };
        let two = [peers.get(first), peers.get(second)];
        let is_good = |peer: &&Arc<Peer>| peer.standing() == Standing::Good;
        let good = two.into_iter().flatten().filter(is_good).filter(fits);
        if let Some(best) = good.min_by_key(|peer| peer.load()) {
            return Some(Arc::clone(best));
        }
        let is_there = |peer: &&Arc<Peer>| peer.standing() < Standing::Gone;
        let hopeful = peers.iter().filter(is_there).filter(fits);
        let best = hopeful.min_by_key(|peer| (peer.standing(), peer.load()));
        best.map(Arc::clone)
    }

    /// A number below `below`; 0 for 0. Splitmix64 over a counter: even, and without a lock.
    fn random(&self, below: usize) -> usize {
        let mut z = self
            .turn
            .fetch_add(0x9E37_79B9_7F4A_7C15, Ordering::Relaxed);
        z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        usize::try_from(z >> 33)
            .unwrap_or_default()
            .checked_rem(below)
            .unwrap_or_default()
    }

    /// Starts from another place than other gateways do.
    pub(crate) fn seeded(self, seed: u64) -> Self {
        self.turn.store(seed, Ordering::Relaxed);
        self
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::registry::Heartbeat;

    fn edition(digest: &str) -> Arc<Edition> {
        Arc::new(Edition {
            digest: "d".into(),
            tools: [("add".into(), digest.into())].into(),
            stateful: false,
        })
    }

    fn routes(groups: &[(&str, &[&str])]) -> Routes {
        let group = |(digest, ids): &(&str, &[&str])| {
            let peers = ids.iter().map(|id| Peer::new(id, 100)).collect();
            (edition(digest), peers)
        };
        Routes {
            groups: groups.iter().map(group).collect(),
            ..Routes::default()
        }
    }

    #[tokio::test(start_paused = true)]
    async fn the_one_with_fewer_calls_is_chosen() {
        let routes = routes(&[("1", &["a", "b"])]);
        let busy: Vec<_> = (0..9)
            .map(|_| routes.peer("a").expect("a").at_work())
            .collect();
        for _ in 0..50 {
            let chosen = routes.choose(Some(("add", "1")), &[]).expect("one");
            assert_eq!(&*chosen.id, "b");
        }
        drop(busy);
        let mut seen = HashMap::<Arc<str>, u32>::new();
        for _ in 0..400 {
            let chosen = routes.choose(None, &[]).expect("one");
            *seen.entry(Arc::clone(&chosen.id)).or_default() += 1;
        }
        assert!(seen.values().all(|count| *count > 100), "{seen:?}");
    }

    #[tokio::test(start_paused = true)]
    async fn a_version_goes_to_who_has_it_and_nobody_twice() {
        let routes = routes(&[("1", &["a", "b"]), ("2", &["c"])]);
        let chosen = |digest: &str, tried: &[&str]| {
            let tried: Vec<Arc<str>> = tried.iter().map(|id| (*id).into()).collect();
            routes
                .choose(Some(("add", digest)), &tried)
                .map(|peer| peer.id.to_string())
        };
        for _ in 0..20 {
            assert_eq!(chosen("2", &[]).as_deref(), Some("c"));
            assert_eq!(chosen("1", &["a"]).as_deref(), Some("b"));
        }
        assert_eq!(chosen("1", &["a", "b"]), None);
        assert_eq!(chosen("3", &[]), None);
    }

    #[tokio::test(start_paused = true)]
    async fn suspects_are_the_last_resort_and_who_drains_is_none() {
        let routes = routes(&[("1", &["a", "b", "c"])]);
        routes.peer("a").expect("a").was_silent();
        let draining = Heartbeat {
            in_flight: 0,
            capacity: 1,
            draining: true,
            digest: String::new(),
        };
        routes.peer("b").expect("b").beats(&draining);
        let id = |tried: &[Arc<str>]| routes.choose(None, tried).map(|peer| peer.id.to_string());
        for _ in 0..20 {
            assert_eq!(id(&[]).as_deref(), Some("c"));
            assert_eq!(id(&["c".into()]).as_deref(), Some("a"));
        }
    }
}
