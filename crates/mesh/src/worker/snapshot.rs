//! What a worker's back ends offer at one moment, as records of the catalog.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use indexmap::IndexMap;
use serde_json::value::RawValue;
use tokio::time::Instant;
use toolbus_model::{Health, Item, Offer, ServerName};

use super::offered::{Offered, Tool};
use super::{Served, Shared};
use crate::registry::{ServedServer, ServerLists, WorkerRecord, digest};
use crate::subject::Work;

/// How long a server that is down stays in the catalog: a process that starts anew is soon back.
pub(super) const DOWN_FOR: Duration = Duration::from_secs(3);

/// What there is to be written.
#[derive(Debug, Default)]
pub(super) struct Snapshot {
    pub(super) offered: Arc<Offered>,
    pub(super) record: WorkerRecord,
    /// What the servers offer besides tools, by their names: the text and its digest.
    pub(super) lists: Vec<(ServerName, String, String)>,
}

/// Since when which server is down.
pub(super) type Downs = HashMap<usize, Instant>;

impl Snapshot {
    /// What is offered now. A server that went down stays for a moment.
    pub(super) fn take(shared: &Shared, downs: &mut Downs) -> Self {
        let old = shared.offered();
        let old: HashMap<_, _> = old.tools.iter().map(|t| (t.token.as_str(), t)).collect();
        let (mut tools, mut places, mut lists) = (Vec::new(), Vec::new(), Vec::new());
        let mut servers = IndexMap::new();
        for (place, (name, served)) in shared.servers.iter().enumerate() {
            let offer = served.backend.offer().borrow().clone();
            if !is_to_be_had(&offer, place, downs) {
                continue;
            }
            let own = own_tools(place, name, &offer, &old);
            let text = serde_json::to_string(&lists_of(&offer)).unwrap_or_default();
            let version = digest(text.as_bytes());
            servers.insert(name.to_string(), record(served, &offer, &version, &own));
            lists.push((name.clone(), text, version));
            tools.extend(own);
            places.push(place);
        }
        let record = WorkerRecord {
            servers,
            capacity: shared.settings.capacity,
            draining: shared.is_draining(),
            version: env!("CARGO_PKG_VERSION").to_owned(),
            object: None,
        };
        let version = digest(&serde_json::to_vec(&record).unwrap_or_default());
        Self {
            offered: Arc::new(Offered::new(tools, places, version)),
            record,
            lists,
        }
    }
}

/// A server is in the catalog once it is known what it offers, until it is down for longer than a moment.
fn is_to_be_had(offer: &Offer, place: usize, downs: &mut Downs) -> bool {
    if !matches!(offer.health, Health::Down(_)) {
        downs.remove(&place);
        return offer.capabilities.is_some();
    }
    let since = *downs.entry(place).or_insert_with(Instant::now);
    offer.capabilities.is_some() && since.elapsed() < DOWN_FOR
}

/// The tools of a server. One whose definition is the same is the same, with what was counted of it.
fn own_tools(
    server: usize,
    name: &ServerName,
    offer: &Offer,
    old: &HashMap<&str, &Arc<Tool>>,
) -> Vec<Arc<Tool>> {
    let tool = |item: &Item| {
        let token = Work::Tool(name, item.key.as_ref().into()).token();
        let known = old.get(token.as_str());
        if let Some(known) = known.filter(|known| known.definition == item.definition) {
            return Arc::clone(known);
        }
        Arc::new(Tool {
            server,
            name: Arc::clone(&item.key),
            token,
            digest: digest(item.definition.bytes()),
            definition: item.definition.clone(),
            counters: known
                .map(|known| known.counters.clone())
                .unwrap_or_default(),
        })
    };
    offer.tools.iter().map(tool).collect()
}

fn record(served: &Served, offer: &Offer, version: &str, tools: &[Arc<Tool>]) -> ServedServer {
    let tools = tools.iter();
    ServedServer {
        digest: version.to_owned(),
        tools: tools
            .map(|tool| (tool.name.to_string(), tool.digest.clone()))
            .collect(),
        stateful: served.options.stateful,
        changes: [
            offer.changes.tools,
            offer.changes.prompts,
            offer.changes.resources,
        ],
    }
}

fn lists_of(offer: &Offer) -> ServerLists {
    let all = |items: &[Item]| {
        let definitions = items.iter();
        definitions
            .filter_map(|item| raw(item.definition.bytes()))
            .collect()
    };
    ServerLists {
        prompts: all(&offer.prompts),
        resources: all(&offer.resources),
        templates: all(&offer.templates),
        capabilities: offer.capabilities.as_ref().and_then(|c| raw(c.bytes())),
        info: offer.info.as_ref().and_then(|info| raw(info.bytes())),
        instructions: offer.instructions.clone(),
        ttl_ms: offer.freshness.ttl_ms,
        shared: offer.freshness.shared,
    }
}

/// JSON that was checked before, as text that is copied as it is.
pub(super) fn raw(bytes: &[u8]) -> Option<Box<RawValue>> {
    let text = String::from_utf8(bytes.to_vec()).ok()?;
    RawValue::from_string(text).ok()
}
