//! The capabilities that are known: from workers' answers, from what they say unasked, and from the registry.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;
use std::time::Duration;

use tokio::time::Instant;
use toolbus_model::{Item, Object};
use toolbus_protocol::urn::{Register, Urn};

use super::Published;
use super::descriptor;
use super::register::{Clearance, Entry};
use crate::subject;

/// Capabilities that are kept: the tools that one list of a server may have.
const MOST: usize = 100_000;

/// What is known, by the tokens that stand for a URN.
#[derive(Debug, Default)]
pub(super) struct Shelf {
    /// BTreeMaps, so that the list has one order.
    said: BTreeMap<String, Said>,
    entries: BTreeMap<String, Entry>,
    /// URNs that were refused, so that each is told of once.
    refused: HashMap<Urn, ()>,
}

#[derive(Debug)]
struct Said {
    urn: Urn,
    described: Object,
    seen: Instant,
}

/// A capability that may be called.
#[derive(Debug, Clone)]
pub(super) struct Capability {
    pub(super) urn: Urn,
    pub(super) clearance: Clearance,
}

/// What is offered at one moment.
#[derive(Debug, Default)]
pub(super) struct Offered {
    /// By their aliases.
    pub(super) capabilities: HashMap<Arc<str>, Capability>,
    pub(super) tools: Vec<Item>,
}

impl Shelf {
    /// A worker said that it serves this. False where nothing is new of it.
    pub(super) fn hear(&mut self, published: &Published, urn: Urn, described: Object) -> bool {
        let key = urn.subject();
        if let Some(first) = self.said.get(&key).filter(|first| first.urn != urn) {
            let first = first.urn.clone();
            self.refuse(
                &urn,
                &format!("{first} came first, and both have the subject {key}"),
            );
            return false;
        }
        if let Err(why) = subject::check(&published.invoke(&urn), false) {
            self.refuse(&urn, &why);
            return false;
        }
        if self.said.len() >= MOST && !self.said.contains_key(&key) {
            self.refuse(&urn, "too many capabilities are known already");
            return false;
        }
        let said = Said {
            urn,
            described,
            seen: Instant::now(),
        };
        let before = self.said.insert(key.clone(), said);
        before.is_none_or(|before| before.described != self.said[&key].described)
    }

    fn refuse(&mut self, urn: &Urn, why: &str) {
        if self.refused.len() < MOST && self.refused.insert(urn.clone(), ()).is_none() {
            tracing::warn!("the capability {urn} is refused: {why}");
        }
    }

    /// Forgets what no worker said for so long. False where there is nothing like that.
    pub(super) fn forget(&mut self, after: Duration) -> bool {
        let before = self.said.len();
        self.said.retain(|_, said| said.seen.elapsed() < after);
        self.said.len() != before
    }

    /// The registry has this entry now.
    pub(super) fn enter(&mut self, key: String, entry: Entry) {
        if self.entries.len() < MOST || self.entries.contains_key(&key) {
            self.entries.insert(key, entry);
        }
    }

    /// The registry has this entry no longer.
    pub(super) fn strike(&mut self, key: &str) {
        self.entries.remove(key);
    }

    /// The registry has an entry of this capability.
    pub(super) fn is_registered(&self, urn: &Urn) -> bool {
        self.entries.contains_key(&urn.subject())
    }

    /// Everything that may be called.
    pub(super) fn offered(&self) -> Offered {
        let mut offered = Offered::default();
        let mut taken = Register::default();
        let said = self
            .said
            .iter()
            .map(|(key, said)| (key, said.urn.clone(), said.described.clone()));
        // What only the registry describes may have a worker that does not answer; the call will tell.
        let registered = self
            .entries
            .iter()
            .filter(|(key, _)| !self.said.contains_key(*key));
        let registered = registered.filter_map(|(key, entry)| {
            let (urn, described) = entry.description(key)?;
            Some((key, urn, described))
        });
        for (key, urn, described) in said.chain(registered) {
            let entry = self.entries.get(key);
            if entry.is_some_and(|entry| entry.epistemic_status.is_blocked()) {
                continue;
            }
            if let Err(why) = taken.take(urn.clone(), ()) {
                tracing::warn!("{why}");
                continue;
            }
            let tool = descriptor::tool(&urn, &described);
            let clearance = entry.map_or_else(Clearance::default, |entry| entry.clearance);
            offered
                .capabilities
                .insert(Arc::clone(&tool.key), Capability { urn, clearance });
            offered.tools.push(tool);
        }
        offered
    }
}
