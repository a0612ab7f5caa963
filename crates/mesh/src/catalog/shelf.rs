//! One server of the mesh: from what its workers registered to what is offered, and who serves it.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use serde_json::value::RawValue;
use tokio::time::Instant;
use toolbus_model::{
    Cause, Changes, Error, Freshness, Health, Item, Object, Offer, Raw, Revision, ServerName,
};

use super::books::{Books, Version, left};
use super::peer::Peer;
use super::routes::{Edition, Listed, Routes};
use crate::registry::ServerLists;

/// An edition that some worker has, or had a short time ago.
#[derive(Debug)]
struct Standing {
    edition: Arc<Edition>,
    peers: Vec<Arc<Peer>>,
    is_live: bool,
    /// Since when nobody has it.
    left: Option<Instant>,
}

/// What is remembered of a server between two looks.
#[derive(Debug, Default)]
pub(super) struct Shelf {
    editions: Vec<Standing>,
    last_worker: Option<Arc<str>>,
}

impl Shelf {
    /// Takes in who is there now. What nobody has any more stays for `grace`.
    pub(super) fn renew(&mut self, books: &Books, server: &ServerName, grace: Duration) {
        for known in &mut self.editions {
            known.peers.clear();
        }
        for worker in books.workers.values() {
            let Some((_, edition, _)) = worker.editions.iter().find(|(name, ..)| name == server)
            else {
                continue;
            };
            let known = self
                .editions
                .iter_mut()
                .find(|known| *known.edition == **edition);
            match known {
                Some(known) => known.peers.push(Arc::clone(&worker.peer)),
                None => self.editions.push(Standing {
                    edition: Arc::clone(edition),
                    peers: vec![Arc::clone(&worker.peer)],
                    is_live: false,
                    left: None,
                }),
            }
            self.last_worker = Some(Arc::clone(&worker.peer.id));
        }
        for known in &mut self.editions {
            known.is_live = known.peers.iter().any(|peer| peer.is_live());
            known.left = left(known.left, known.is_live);
        }
        let now = Instant::now();
        let stays = |known: &Standing| known.left.is_none_or(|left| left + grace > now);
        self.editions.retain(stays);
        let revision = |known: &Standing| newest(books, server, &known.edition);
        self.editions
            .sort_by_cached_key(|known| std::cmp::Reverse((known.is_live, revision(known))));
    }

    /// When something is to be taken out next.
    pub(super) fn next_end(&self, grace: Duration) -> Option<Instant> {
        let left = self.editions.iter().filter_map(|known| known.left);
        left.min().map(|left| left + grace)
    }

    /// What some worker has, or had a short time ago.
    pub(super) fn editions(&self) -> Vec<&Edition> {
        self.editions.iter().map(|known| &*known.edition).collect()
    }

    /// Nothing is left of the server.
    pub(super) fn is_empty(&self) -> bool {
        self.editions.is_empty()
    }

    /// The tools that are listed, each in its newest version that somebody has, and who has what.
    pub(super) fn routes(&self, books: &Books, server: &ServerName) -> Routes {
        let mut tools = HashMap::new();
        for (tool, version) in self.listed(books, server) {
            let listed = Listed {
                digest: Arc::clone(&version.digest),
                start: version.start,
            };
            tools.insert(Arc::clone(tool), listed);
        }
        let groups = self.editions.iter();
        let groups = groups.map(|known| (Arc::clone(&known.edition), known.peers.clone()));
        let newest = self.editions.first();
        Routes {
            tools,
            groups: groups.collect(),
            stateful: newest.is_some_and(|known| known.edition.stateful),
            absence: self.absence(),
            ..Routes::default()
        }
    }

    /// What the gateway offers of the server.
    pub(super) fn offer(&self, books: &Books, server: &ServerName) -> Offer {
        let empty = ServerLists::default();
        let known = books.lists.get(server);
        let lists = self.editions.iter().find_map(|standing| {
            let lists = known?.get(&standing.edition.digest)?;
            Some(&*lists.lists)
        });
        let lists = lists.unwrap_or(&empty);
        let item = |(tool, version): (&Arc<str>, &Version)| Item {
            key: Arc::clone(tool),
            definition: version.definition.clone(),
        };
        let freshness = Freshness {
            ttl_ms: lists.ttl_ms,
            shared: lists.shared,
        };
        let [tools, prompts, resources] = books.changes.get(server).copied().unwrap_or_default();
        Offer {
            tools: self.listed(books, server).into_iter().map(item).collect(),
            prompts: items(&lists.prompts, "name"),
            resources: items(&lists.resources, "uri"),
            templates: items(&lists.templates, "uriTemplate"),
            capabilities: lists.capabilities.as_deref().and_then(object),
            info: lists
                .info
                .as_deref()
                .and_then(object)
                .map(|info| info.to_raw()),
            instructions: lists.instructions.clone(),
            revision: Some(Revision::V2026_07_28.as_str()),
            freshness,
            changes: Changes {
                tools,
                prompts,
                resources,
            },
            health: self.health(),
            trouble: None,
        }
    }

    fn listed<'b>(
        &self,
        books: &'b Books,
        server: &ServerName,
    ) -> Vec<(&'b Arc<str>, &'b Version)> {
        let Some(known) = books.tools.get(server) else {
            return Vec::new();
        };
        let (mut seen, mut listed) = (HashSet::new(), Vec::new());
        for standing in &self.editions {
            for tool in standing.edition.tools.keys() {
                if seen.insert(tool)
                    && let Some((tool, versions)) = known.get_key_value(tool)
                    && let Some(version) = self.version(tool, versions)
                {
                    listed.push((tool, version));
                }
            }
        }
        listed
    }

    /// The newest version of a tool that somebody has; where nobody is there, that somebody had.
    fn version<'b>(&self, tool: &Arc<str>, versions: &'b [Version]) -> Option<&'b Version> {
        if let ([only], [_]) = (versions, &self.editions[..]) {
            let has = |known: &Standing| known.edition.tools.get(tool) == Some(&only.digest);
            return has(&self.editions[0]).then_some(only);
        }
        let rank = |version: &Version| {
            let has = |known: &&Standing| known.edition.tools.get(tool) == Some(&version.digest);
            let live = self
                .editions
                .iter()
                .filter(has)
                .map(|known| known.is_live)
                .max()?;
            Some((live, version.revision))
        };
        let ranked = versions
            .iter()
            .filter_map(|version| Some((rank(version)?, version)));
        ranked
            .max_by_key(|(rank, _)| *rank)
            .map(|(_, version)| version)
    }

    fn health(&self) -> Health {
        if self.editions.iter().any(|known| known.is_live) {
            return Health::Up;
        }
        let cause = Cause {
            what: format!("no worker serves it: {}", self.absence()),
            remedy: Some("start one with `toolbus worker`".to_owned()),
            ..Cause::default()
        };
        Health::Down(Error::Unavailable(cause.into()))
    }

    fn absence(&self) -> String {
        match &self.last_worker {
            Some(id) => format!("its last worker was {id}"),
            None => "no worker has registered it".to_owned(),
        }
    }
}

fn newest(books: &Books, server: &ServerName, edition: &Edition) -> u64 {
    let lists = books
        .lists
        .get(server)
        .and_then(|known| known.get(&edition.digest));
    let tools = books.tools.get(server);
    let revision = |(tool, digest): (&Arc<str>, &Arc<str>)| {
        let versions = tools?.get(tool)?;
        versions
            .iter()
            .find(|version| version.digest == *digest)
            .map(|version| version.revision)
    };
    let tools = edition.tools.iter().filter_map(revision).max();
    tools
        .into_iter()
        .chain(lists.map(|lists| lists.revision))
        .max()
        .unwrap_or_default()
}

fn object(text: &RawValue) -> Option<Object> {
    Object::parse(Bytes::copy_from_slice(text.get().as_bytes())).ok()
}

fn items(entries: &[Box<RawValue>], member: &str) -> Vec<Item> {
    let item = |text: &RawValue| {
        let definition = object(text)?;
        let key = Raw::as_str(&definition.raw(member)?)?.into();
        Some(Item { key, definition })
    };
    entries.iter().filter_map(|text| item(text)).collect()
}
