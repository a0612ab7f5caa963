//! What the workers registered, as the buckets told it.

mod workers;

use std::collections::{BTreeMap, HashMap, HashSet};
use std::hash::{BuildHasher, RandomState};
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use serde::Deserialize;
use serde::de::DeserializeOwned;
use tokio::time::Instant;
use toolbus_model::{Object, ServerName};

use super::peer::Peer;
use super::routes::Edition;
use crate::bus::Bus;
use crate::frame::Start;
use crate::registry::{
    Heartbeat, ServedServer, ServerLists, ServerRecord, ToolRecord, WorkerRecord,
};

/// Versions of tools, and of servers, that are known at once: ten times what the largest mesh was measured with.
const MOST_RECORDS: usize = 100_000;

/// Workers that are known at once.
const MOST_WORKERS: usize = 10_000;

/// The largest record in the object store that is read, in bytes: the names of a hundred thousand tools.
const LARGEST_RECORD: usize = 16 * 1024 * 1024;

/// A worker that was not heard of for so long is forgotten, although nobody said that its record is gone.
const FORGET_AFTER: Duration = Duration::from_secs(120);

/// One version of a tool.
#[derive(Debug)]
pub(super) struct Version {
    pub(super) digest: Arc<str>,
    pub(super) definition: Object,
    pub(super) start: Start,
    /// Grows with each version that is registered.
    pub(super) revision: u64,
    /// Its record is gone: it stays for as long as a worker has it, or had it a short time ago.
    is_gone: bool,
}

/// One version of what a server has besides tools.
#[derive(Debug)]
pub(super) struct Lists {
    pub(super) lists: Arc<ServerLists>,
    pub(super) revision: u64,
    is_gone: bool,
}

/// A worker's record.
#[derive(Debug)]
pub(super) struct Worker {
    pub(super) peer: Arc<Peer>,
    /// A hash of the record, which comes again and again.
    hash: u64,
    pub(super) editions: Vec<(ServerName, Arc<Edition>, [u64; 3])>,
    /// It was listed as live.
    pub(super) was_live: bool,
}

/// Everything that is registered.
#[derive(Debug, Default)]
pub(super) struct Books {
    pub(super) tools: HashMap<ServerName, HashMap<Arc<str>, Vec<Version>>>,
    pub(super) lists: HashMap<ServerName, HashMap<Arc<str>, Lists>>,
    pub(super) workers: BTreeMap<Arc<str>, Worker>,
    /// What each key of the buckets stands for.
    tool_keys: HashMap<String, (ServerName, Arc<str>, Arc<str>)>,
    list_keys: HashMap<String, (ServerName, Arc<str>)>,
    /// Servers of which something has changed.
    pub(super) dirty: HashSet<ServerName>,
    /// How often the workers said that a list changed.
    pub(super) changes: HashMap<ServerName, [u64; 3]>,
    /// Keys that were told since each bucket was complete last.
    told: [HashSet<String>; 3],
    hasher: RandomState,
    is_full: bool,
}

/// One of the buckets.
#[derive(Debug, Clone, Copy)]
pub(super) enum Shelved {
    Tools,
    Lists,
    Workers,
}

/// The parts of a tool's definition that are read.
#[derive(Default, Deserialize)]
#[serde(default)]
struct Definition {
    annotations: Annotations,
}

#[derive(Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
struct Annotations {
    read_only_hint: bool,
    idempotent_hint: bool,
}

/// How a tool of this definition starts where nothing is configured: what may run twice without harm runs at once.
fn start(definition: &Object) -> Start {
    let read: Result<Definition, _> = definition.to_raw().read();
    match read.unwrap_or_default().annotations {
        Annotations {
            read_only_hint: false,
            idempotent_hint: false,
        } => Start::Claim,
        _ => Start::Direct,
    }
}

impl Books {
    /// A version of a tool is registered.
    pub(super) async fn put_tool(
        &mut self,
        bus: &dyn Bus,
        store: &str,
        key: &str,
        value: &Bytes,
        revision: u64,
    ) -> Result<(), String> {
        self.told(Shelved::Tools, key);
        let record: ToolRecord = read(value)?;
        let (server, tool) = split(&record.name)?;
        let digest: Arc<str> = key.rsplit('.').next().unwrap_or_default().into();
        let definition = match (record.definition, record.object) {
            (Some(definition), _) => Bytes::from(Box::<str>::from(definition).into_string()),
            (None, Some(object)) => fetch(bus, store, &object).await?,
            (None, None) => return Err("it has no definition".to_owned()),
        };
        let definition = Object::parse(definition).map_err(|error| error.to_string())?;
        if !self.has_room(self.tool_keys.len(), MOST_RECORDS) {
            return Ok(());
        }
        let tool: Arc<str> = tool.into();
        let versions = self.tools.entry(server.clone()).or_default();
        let versions = versions.entry(Arc::clone(&tool)).or_default();
        match versions.iter_mut().find(|known| known.digest == digest) {
            // Written again: the version is as old as it was.
            Some(known) => {
                known.is_gone = false;
                return Ok(());
            }
            None => versions.push(Version {
                digest: Arc::clone(&digest),
                start: start(&definition),
                definition,
                revision,
                is_gone: false,
            }),
        }
        self.dirty.insert(server.clone());
        self.tool_keys
            .insert(key.to_owned(), (server, tool, digest));
        Ok(())
    }

    /// A version of a tool is not registered any more.
    pub(super) fn drop_tool(&mut self, key: &str) {
        let Some((server, tool, digest)) = self.tool_keys.get(key) else {
            return;
        };
        let versions = self
            .tools
            .get_mut(server)
            .and_then(|tools| tools.get_mut(tool));
        let mut versions = versions.into_iter().flatten();
        if let Some(version) = versions.find(|version| version.digest == *digest) {
            version.is_gone = true;
        }
        self.dirty.insert(server.clone());
    }

    /// What a server has besides tools is registered.
    pub(super) async fn put_lists(
        &mut self,
        bus: &dyn Bus,
        store: &str,
        key: &str,
        value: &Bytes,
        revision: u64,
    ) -> Result<(), String> {
        self.told(Shelved::Lists, key);
        let record: ServerRecord = read(value)?;
        let server = ServerName::parse(&record.name)?;
        let digest: Arc<str> = key.rsplit('.').next().unwrap_or_default().into();
        let lists = match (record.lists, record.object) {
            (Some(lists), _) => lists,
            (None, Some(object)) => read(&fetch(bus, store, &object).await?)?,
            (None, None) => return Err("it has no lists".to_owned()),
        };
        if !self.has_room(self.list_keys.len(), MOST_RECORDS) {
            return Ok(());
        }
        let known = self.lists.entry(server.clone()).or_default();
        if let Some(known) = known.get_mut(&digest) {
            known.is_gone = false;
            return Ok(());
        }
        let entry = Lists {
            lists: Arc::new(lists),
            revision,
            is_gone: false,
        };
        known.insert(Arc::clone(&digest), entry);
        self.dirty.insert(server.clone());
        self.list_keys.insert(key.to_owned(), (server, digest));
        Ok(())
    }

    /// They are not registered any more.
    pub(super) fn drop_lists(&mut self, key: &str) {
        if let Some((server, digest)) = self.list_keys.get(key) {
            let known = self
                .lists
                .get_mut(server)
                .and_then(|known| known.get_mut(digest));
            if let Some(lists) = known {
                lists.is_gone = true;
            }
            self.dirty.insert(server.clone());
        }
    }

    /// Some record of a server is gone.
    pub(super) fn has_gone(&self, server: &ServerName) -> bool {
        let tools = self
            .tools
            .get(server)
            .into_iter()
            .flat_map(HashMap::values)
            .flatten();
        let lists = self.lists.get(server).into_iter().flat_map(HashMap::values);
        tools
            .map(|version| version.is_gone)
            .chain(lists.map(|lists| lists.is_gone))
            .any(|gone| gone)
    }

    /// Lets go of the versions whose records are gone, and which are in none of the editions that count.
    pub(super) fn purge(&mut self, server: &ServerName, editions: &[&Edition]) {
        let had = |tool: &Arc<str>, digest: &Arc<str>| {
            editions
                .iter()
                .any(|edition| edition.tools.get(tool) == Some(digest))
        };
        if let Some(tools) = self.tools.get_mut(server) {
            for (tool, versions) in tools.iter_mut() {
                versions.retain(|version| !version.is_gone || had(tool, &version.digest));
            }
            tools.retain(|_, versions| !versions.is_empty());
        }
        if let Some(lists) = self.lists.get_mut(server) {
            let had = |digest: &Arc<str>| editions.iter().any(|edition| edition.digest == *digest);
            lists.retain(|digest, lists| !lists.is_gone || had(digest));
        }
        let (tools, lists) = (&self.tools, &self.lists);
        self.tool_keys.retain(|_, (owner, tool, digest)| {
            let versions = || tools.get(owner)?.get(tool);
            owner != server
                || versions().is_some_and(|known| known.iter().any(|v| v.digest == *digest))
        });
        self.list_keys.retain(|_, (owner, digest)| {
            owner != server
                || lists
                    .get(owner)
                    .is_some_and(|known| known.contains_key(digest))
        });
    }

    /// Everything of a bucket was told: what was not told since the last time is gone.
    pub(super) fn sweep(&mut self, what: Shelved) {
        let told = std::mem::take(&mut self.told[what as usize]);
        let gone = |known: &mut dyn Iterator<Item = String>| -> Vec<String> {
            known.filter(|key| !told.contains(key)).collect()
        };
        match what {
            Shelved::Tools => {
                for key in gone(&mut self.tool_keys.keys().cloned()) {
                    self.drop_tool(&key);
                }
            }
            Shelved::Lists => {
                for key in gone(&mut self.list_keys.keys().cloned()) {
                    self.drop_lists(&key);
                }
            }
            Shelved::Workers => {
                let ids: HashSet<&str> = told
                    .iter()
                    .filter_map(|key| key.rsplit('.').next())
                    .collect();
                // One whose heart beats will write its record again.
                let gone = self
                    .workers
                    .iter()
                    .filter(|(id, worker)| !ids.contains(&***id) && !worker.peer.is_live());
                for id in gone.map(|(id, _)| id.to_string()).collect::<Vec<_>>() {
                    self.drop_worker(&id);
                }
            }
        }
    }

    /// Nothing is left of a server.
    pub(super) fn forget(&mut self, server: &ServerName) {
        self.changes.remove(server);
    }

    /// Remembers that a key was told; no more of them than there may be records.
    fn told(&mut self, what: Shelved, key: &str) {
        let told = &mut self.told[what as usize];
        if told.len() < MOST_RECORDS && !told.contains(key) {
            told.insert(key.to_owned());
        }
    }

    fn has_room(&mut self, count: usize, most: usize) -> bool {
        let has_room = count < most;
        if !has_room && !std::mem::replace(&mut self.is_full, true) {
            tracing::error!(
                "the mesh has more than {most} entries of one kind; further ones are not seen"
            );
        }
        has_room
    }
}

/// `server.tool`
fn split(name: &str) -> Result<(ServerName, &str), String> {
    let (server, tool) = name
        .split_once('.')
        .ok_or_else(|| format!("{name:?} is not SERVER.TOOL"))?;
    Ok((ServerName::parse(server)?, tool))
}

fn read<T: DeserializeOwned>(value: &[u8]) -> Result<T, String> {
    serde_json::from_slice(value).map_err(|error| error.to_string())
}

async fn fetch(bus: &dyn Bus, store: &str, object: &str) -> Result<Bytes, String> {
    let store = bus.objects(store).await.map_err(|error| error.0)?;
    let got = store.get(object, LARGEST_RECORD).await;
    got.map_err(|error| error.0)
}

/// When something was seen to have gone.
pub(super) fn left(before: Option<Instant>, is_live: bool) -> Option<Instant> {
    match (is_live, before) {
        (true, _) => None,
        (false, Some(before)) => Some(before),
        (false, None) => Some(Instant::now()),
    }
}
