//! The worker's entries in the catalog: written when it starts, kept, written anew when its offer changes or the
//! connection is another one, and taken away when it ends.

use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use futures_util::{StreamExt as _, stream};
use tokio::sync::Notify;
use tokio::time::{Instant, sleep_until, timeout};
use toolbus_model::{BoxFuture, ServerName};

use super::interest::Doors;
use super::offered::Tool;
use super::snapshot::{DOWN_FOR, Downs, Snapshot, raw};
use super::{Shared, compat};
use crate::bus::{Bucket, BucketSettings, BusError, Link};
use crate::registry::{
    LARGEST_VALUE, ServerLists, ServerRecord, ToolRecord, WORKER_REFRESH, WORKER_TTL, WorkerRecord,
    bucket,
};

/// Changes that come in close succession are told as one. Gateways wait longer before they tell theirs.
const DEBOUNCE: Duration = Duration::from_millis(25);

/// How soon it is tried again to write what could not be written.
const AGAIN: Duration = Duration::from_secs(2);

/// How long all of it may take to be written.
const WRITTEN_WITHIN: Duration = Duration::from_secs(30);

/// Entries that are written at once.
const AT_ONCE: usize = 64;

/// How often objects are stored again, though nothing changed: the store keeps them for an hour.
const STORE_AGAIN: Duration = Duration::from_secs(20 * 60);

/// How long the last word may take.
const REMOVED_WITHIN: Duration = Duration::from_secs(2);

/// How much is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Extent {
    /// The worker's own record, and everything where something of it is not there any more.
    Own,
    /// What lies in the object store, as well.
    Objects,
    /// Everything that is not there yet.
    All,
}

/// What the registrar knows.
struct Registrar {
    shared: Arc<Shared>,
    doors: Doors,
    downs: Downs,
    now: Snapshot,
    /// When to write next, and how much.
    due: (Instant, Extent),
    /// When objects are to be stored again.
    store: Instant,
    /// When the offer is to be looked at.
    look: Option<Instant>,
    /// Counts the times of looking whether everything is there.
    probes: usize,
    is_failing: bool,
}

/// Keeps the entries until the worker ends.
pub(super) async fn keep(shared: Arc<Shared>, doors: Doors) {
    let changed = follow(&shared);
    let now = Instant::now();
    let mut registrar = Registrar {
        doors,
        downs: Downs::new(),
        now: Snapshot::default(),
        due: (now + WORKER_REFRESH, Extent::Own),
        store: now + STORE_AGAIN,
        look: Some(now),
        probes: 0,
        is_failing: false,
        shared: Arc::clone(&shared),
    };
    let keeping = registrar.keep(&changed);
    shared.ending.run_until_cancelled(keeping).await;
    registrar.remove().await;
}

/// Rings at every change of an offer.
fn follow(shared: &Arc<Shared>) -> Arc<Notify> {
    let changed = Arc::new(Notify::new());
    for served in shared.servers.values() {
        let (mut offer, changed) = (served.backend.offer(), Arc::clone(&changed));
        let ending = shared.ending.clone();
        shared.tasks.spawn(async move {
            while let Some(Ok(())) = ending.run_until_cancelled(offer.changed()).await {
                changed.notify_one();
            }
        });
    }
    changed
}

impl Registrar {
    async fn keep(&mut self, changed: &Notify) {
        let shared = Arc::clone(&self.shared);
        let mut link = shared.bus.link();
        link.mark_unchanged();
        let mut drains = pin!(shared.draining.cancelled());
        let mut drained = false;
        loop {
            let next = self.look.map_or(self.due.0, |look| look.min(self.due.0));
            tokio::select! {
                () = changed.notified() => {
                    self.look.get_or_insert_with(|| Instant::now() + DEBOUNCE);
                    continue;
                }
                Ok(()) = link.changed() => {
                    if matches!(*link.borrow_and_update(), Link::Up(_)) {
                        // Another server may know nothing of it.
                        self.due = (Instant::now(), Extent::Own);
                        shared.beat.notify_one();
                    }
                    continue;
                }
                () = &mut drains, if !drained => {
                    drained = true;
                    self.look = Some(Instant::now());
                    continue;
                }
                () = sleep_until(next) => {}
            }
            self.step().await;
        }
    }

    /// Does what is due.
    async fn step(&mut self) {
        let now = Instant::now();
        if self.look.is_some_and(|look| look <= now) {
            self.look = None;
            self.look().await;
        } else if self.due.0 <= now {
            let extent = match self.due.1 {
                Extent::Own if self.store <= now => Extent::Objects,
                extent => extent,
            };
            self.write(extent).await;
        }
    }

    /// Looks at what is offered now. New subjects are open before the catalog says so, old ones close after.
    async fn look(&mut self) {
        let snapshot = Snapshot::take(&self.shared, &mut self.downs);
        let downs = self.downs.values().filter(|s| s.elapsed() < DOWN_FOR);
        self.look = downs.min().map(|since| *since + DOWN_FOR);
        if snapshot.offered.digest == self.now.offered.digest {
            return;
        }
        let offered = Arc::clone(&snapshot.offered);
        self.shared.shelf.set(Arc::clone(&offered));
        if let Err(error) = self.doors.open(&self.shared, &offered).await {
            tracing::warn!("not all tools can be called: {error}");
            self.look = Some(Instant::now() + AGAIN);
        }
        self.now = snapshot;
        self.write(Extent::All).await;
        self.shared.beat.notify_one();
        self.doors.close(&self.shared, &offered);
        compat::announce(&self.shared, &offered);
    }

    /// Writes, and says when to write next.
    async fn write(&mut self, extent: Extent) {
        let written = timeout(WRITTEN_WITHIN, self.try_write(extent)).await;
        let slow = |_| Err(BusError("it took too long to write all entries".to_owned()));
        let error = written.unwrap_or_else(slow).err();
        let now = Instant::now();
        self.due = match error {
            Some(_) => (now + AGAIN, Extent::All),
            None => (now + WORKER_REFRESH, Extent::Own),
        };
        if error.is_none() && extent != Extent::Own {
            self.store = now + STORE_AGAIN;
        }
        self.tell(error);
    }

    /// Says once that the catalog cannot be written, and once that it can.
    fn tell(&mut self, error: Option<BusError>) {
        let failed = error.is_some();
        match error {
            Some(error) if !self.is_failing => tracing::warn!(
                "the catalog cannot be written, so that gateways do not see this worker: {error}; \
                 start nats-server with JetStream (-js)"
            ),
            None if self.is_failing => tracing::info!("the catalog is written"),
            Some(_) | None => {}
        }
        self.is_failing = failed;
    }

    /// Writes the worker's record, before it what it names.
    async fn try_write(&mut self, extent: Extent) -> Result<(), BusError> {
        let extent = match extent {
            Extent::All => extent,
            _ if !self.is_there().await? => Extent::All,
            _ => extent,
        };
        if extent != Extent::Own {
            self.write_tools(extent).await?;
            self.write_servers().await?;
        }
        self.write_worker(extent).await
    }

    /// Another one of what was written is still there, each time.
    async fn is_there(&mut self) -> Result<bool, BusError> {
        self.probes += 1;
        let (tools, lists) = (&self.now.offered.tools, &self.now.lists);
        let (kind, key) = match tools.get(self.probes % tools.len().max(1)) {
            Some(tool) => (bucket::TOOLS, self.tool_key(tool)),
            None => match lists.get(self.probes % lists.len().max(1)) {
                Some(list) => (bucket::SERVERS, self.list_key(list)),
                None => return Ok(true),
            },
        };
        Ok(self.bucket(kind).await?.get(&key).await?.is_some())
    }

    /// What is there stays as it is: the key names the content, and gateways take what was written last for the newest.
    async fn write_tools(&self, extent: Extent) -> Result<(), BusError> {
        let bucket = self.bucket(bucket::TOOLS).await?;
        let mut writes: Vec<BoxFuture<'_, Result<(), BusError>>> = Vec::new();
        for tool in &self.now.offered.tools {
            if extent == Extent::All || self.is_large(tool) {
                writes.push(Box::pin(self.write_tool(&*bucket, tool)));
            }
        }
        let mut written = stream::iter(writes).buffer_unordered(AT_ONCE);
        while let Some(done) = written.next().await {
            done?;
        }
        Ok(())
    }

    async fn write_tool(&self, bucket: &dyn Bucket, tool: &Tool) -> Result<(), BusError> {
        let value = self.tool_value(tool).await?;
        // Where it is there already all is well.
        bucket.create(&self.tool_key(tool), value.into()).await?;
        Ok(())
    }

    fn is_large(&self, tool: &Tool) -> bool {
        // What the record has besides: twice the longest names.
        tool.definition.bytes().len() + 1024 > LARGEST_VALUE
    }

    fn list_key(&self, (name, _, digest): &(ServerName, String, String)) -> String {
        self.shared.subjects.key(&[name.as_str(), digest])
    }

    fn tool_key(&self, tool: &Tool) -> String {
        self.shared.subjects.key(&[&tool.token, &tool.digest])
    }

    async fn tool_value(&self, tool: &Tool) -> Result<Vec<u8>, BusError> {
        let server = self.shared.servers.get_index(tool.server);
        let server = server.map_or("", |(name, _)| name.as_str());
        let mut record = ToolRecord {
            name: format!("{server}.{}", tool.name),
            definition: raw(tool.definition.bytes()),
            object: None,
        };
        if !self.is_large(tool) {
            return Ok(serde_json::to_vec(&record).unwrap_or_default());
        }
        record.definition = None;
        let object = format!("tool.{}.{}", tool.token, tool.digest);
        record.object = Some(self.store(object, tool.definition.bytes()).await?);
        Ok(serde_json::to_vec(&record).unwrap_or_default())
    }

    async fn write_servers(&self) -> Result<(), BusError> {
        let bucket = self.bucket(bucket::SERVERS).await?;
        for list in &self.now.lists {
            let (name, text, digest) = list;
            let mut record = ServerRecord {
                name: name.to_string(),
                lists: serde_json::from_str::<ServerLists>(text).ok(),
                object: None,
            };
            if text.len() > LARGEST_VALUE {
                record.lists = None;
                let object = format!("server.{name}.{digest}");
                record.object = Some(self.store(object, text.as_bytes()).await?);
            }
            let value = serde_json::to_vec(&record).unwrap_or_default();
            bucket.create(&self.list_key(list), value.into()).await?;
        }
        Ok(())
    }

    async fn write_worker(&self, extent: Extent) -> Result<(), BusError> {
        let bucket = self.bucket(bucket::WORKERS).await?;
        let mut value = serde_json::to_vec(&self.now.record).unwrap_or_default();
        if value.len() > LARGEST_VALUE {
            let servers = serde_json::to_vec(&self.now.record.servers).unwrap_or_default();
            // Workers that serve the same share it.
            let object = format!("worker.{}", crate::registry::digest(&servers));
            if extent != Extent::Own {
                self.store(object.clone(), &servers).await?;
            }
            let record = WorkerRecord {
                servers: indexmap::IndexMap::new(),
                object: Some(object),
                ..self.now.record.clone()
            };
            value = serde_json::to_vec(&record).unwrap_or_default();
        }
        bucket.put(&self.own_key(), value.into()).await
    }

    async fn store(&self, object: String, body: &[u8]) -> Result<String, BusError> {
        let store = self.shared.objects().await?;
        store.put(&object, body.to_vec().into()).await?;
        Ok(object)
    }

    async fn bucket(&self, kind: &str) -> Result<Arc<dyn Bucket>, BusError> {
        let name = self.shared.subjects.bucket(kind);
        let settings = BucketSettings {
            max_age: (kind == bucket::WORKERS).then_some(WORKER_TTL),
            history: 1,
        };
        self.shared.bus.bucket(&name, settings).await
    }

    fn own_key(&self) -> String {
        self.shared.subjects.key(&[&self.shared.id])
    }

    /// Leaves the catalog. Where that fails the entry ends by itself.
    async fn remove(&self) {
        let removing = async {
            let bucket = self.bucket(bucket::WORKERS).await?;
            bucket.delete(&self.own_key()).await
        };
        if !matches!(timeout(REMOVED_WITHIN, removing).await, Ok(Ok(()))) {
            tracing::debug!("the worker's entry stays until its time is over");
        }
    }
}
