//! Following the buckets and the heartbeats, and publishing what follows from them.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use futures_util::future::OptionFuture;
use tokio::sync::{mpsc, watch};
use tokio::time::{Instant, MissedTickBehavior, interval, sleep_until};
use toolbus_model::ServerName;

use super::books::Books;
use super::shelf::Shelf;
use crate::bus::{BucketSettings, BusError, Change, Message, Subscription};
use crate::caller::{Core, Found, Remote};
use crate::registry::{Heartbeat, WORKER_TTL, bucket};

/// Changes that come within this time are published together.
const DEBOUNCE: Duration = Duration::from_millis(250);

/// How often it is looked who was not heard of.
const LOOK_EVERY: Duration = Duration::from_secs(1);

/// Heartbeats that wait: two of each of the most workers that are likely.
const BEATS: usize = 4_096;

/// One of the buckets.
#[derive(Debug, Clone, Copy)]
enum Kind {
    Tools,
    Servers,
    Workers,
}

/// A server that is published.
struct Entry {
    shelf: Shelf,
    remote: Arc<Remote>,
}

/// The catalog's keeper.
pub(crate) struct Watch {
    core: Arc<Core>,
    found: watch::Sender<Arc<Found>>,
    books: Books,
    servers: HashMap<ServerName, Entry>,
    /// Buckets whose first state is not complete yet.
    pending: usize,
    /// When the changes that were seen are published.
    due: Option<Instant>,
}

/// What is followed.
struct Sources {
    tools: mpsc::Receiver<Change>,
    servers: mpsc::Receiver<Change>,
    workers: mpsc::Receiver<Change>,
    beats: Subscription,
}

impl Sources {
    async fn open(core: &Core) -> Result<Self, BusError> {
        let pattern = core.subjects.key(&[">"]);
        let open = async |name: &str, settings: BucketSettings| {
            let bucket = core
                .bus
                .bucket(&core.subjects.bucket(name), settings)
                .await?;
            bucket.watch(&pattern).await
        };
        let lasting = BucketSettings {
            max_age: None,
            history: 1,
        };
        let passing = BucketSettings {
            max_age: Some(WORKER_TTL),
            history: 1,
        };
        // Made here where it is missing, so that workers need not be permitted to.
        let objects = core.subjects.bucket(bucket::OBJECTS);
        if let Err(error) = core.bus.objects(&objects).await {
            tracing::warn!(%error, "what is too large for a message has no place on the mesh");
        }
        // First the heartbeats: a worker that is seen in the bucket is heard of from then on.
        let beats = core.subjects.heartbeat("*");
        Ok(Self {
            beats: core.bus.subscribe(&beats, None, BEATS).await?,
            tools: open(bucket::TOOLS, lasting).await?,
            servers: open(bucket::SERVERS, lasting).await?,
            workers: open(bucket::WORKERS, passing).await?,
        })
    }
}

impl Watch {
    /// A keeper that has seen nothing yet.
    pub(crate) fn new(core: Arc<Core>, found: watch::Sender<Arc<Found>>) -> Self {
        Self {
            core,
            found,
            books: Books::default(),
            servers: HashMap::new(),
            pending: 3,
            due: None,
        }
    }

    /// Follows the mesh for as long as there is one.
    pub(crate) async fn follow(mut self) {
        let mut pause = Duration::from_millis(100);
        loop {
            match Sources::open(&self.core).await {
                Ok(sources) => {
                    pause = Duration::from_millis(100);
                    self.run(sources).await;
                }
                Err(error) => self.cannot(&error),
            }
            tokio::time::sleep(pause).await;
            pause = (pause * 2).min(Duration::from_secs(10));
        }
    }

    fn cannot(&self, error: &BusError) {
        let problem = format!("the catalog of the mesh cannot be read: {error}");
        self.found.send_if_modified(|found| {
            if found.problem.as_ref() == Some(&problem) {
                return false;
            }
            tracing::warn!("{problem}");
            let problem = Some(problem);
            *found = Arc::new(Found {
                problem,
                ..Found::clone(found)
            });
            true
        });
    }

    async fn run(&mut self, mut sources: Sources) {
        self.pending = 3;
        let mut looks = interval(LOOK_EVERY);
        looks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let core = Arc::clone(&self.core);
        loop {
            let due: OptionFuture<_> = self.due.map(sleep_until).into();
            tokio::select! {
                biased;
                Some(()) = due => self.publish(),
                Some(beat) = sources.beats.next() => self.beat(&beat),
                change = sources.workers.recv() => match change {
                    Some(change) => self.take(Kind::Workers, change).await,
                    None => return,
                },
                change = sources.tools.recv() => match change {
                    Some(change) => self.take(Kind::Tools, change).await,
                    None => return,
                },
                change = sources.servers.recv() => match change {
                    Some(change) => self.take(Kind::Servers, change).await,
                    None => return,
                },
                () = core.noticed.notified() => self.books.look(),
                _ = looks.tick() => self.look(),
            }
            if !self.books.dirty.is_empty() && self.pending == 0 && self.due.is_none() {
                let wait = if self.found.borrow().is_settled {
                    DEBOUNCE
                } else {
                    Duration::ZERO
                };
                self.due = Some(Instant::now() + wait);
            }
        }
    }

    fn beat(&mut self, message: &Message) {
        let id = message.subject.rsplit('.').next().unwrap_or_default();
        match serde_json::from_slice::<Heartbeat>(&message.payload) {
            Ok(beat) => self.books.beat(id, &beat),
            Err(error) => tracing::debug!(worker = id, %error, "a heartbeat cannot be read"),
        }
    }

    async fn take(&mut self, kind: Kind, change: Change) {
        let core = Arc::clone(&self.core);
        let (bus, store) = (&*core.bus, core.subjects.bucket(bucket::OBJECTS));
        let books = &mut self.books;
        let (key, taken) = match change {
            Change::Current => {
                self.current(kind);
                return;
            }
            Change::Gone(key) => {
                match kind {
                    Kind::Tools => books.drop_tool(&key),
                    Kind::Servers => books.drop_lists(&key),
                    Kind::Workers => books.drop_worker(&key),
                }
                return;
            }
            Change::Put(key, value, revision) => {
                let taken = match kind {
                    Kind::Tools => books.put_tool(bus, &store, &key, &value, revision).await,
                    Kind::Servers => books.put_lists(bus, &store, &key, &value, revision).await,
                    Kind::Workers => books.put_worker(bus, &store, &key, &value).await,
                };
                (key, taken)
            }
        };
        if let Err(why) = taken {
            tracing::warn!(%key, "an entry of the mesh's catalog is left out: {why}");
        }
    }

    /// Everything of a bucket was told.
    fn current(&mut self, kind: Kind) {
        tracing::debug!(?kind, "the catalog of the mesh is read");
        self.books.sweep(match kind {
            Kind::Tools => super::books::Shelved::Tools,
            Kind::Servers => super::books::Shelved::Lists,
            Kind::Workers => super::books::Shelved::Workers,
        });
        self.pending = self.pending.saturating_sub(1);
        if self.pending == 0 && !self.found.borrow().is_settled {
            self.due = Some(Instant::now());
        }
    }

    fn look(&mut self) {
        self.books.look();
        let (grace, now) = (self.core.settings.grace, Instant::now());
        let over = self
            .servers
            .iter()
            .filter(|(_, entry)| entry.shelf.next_end(grace).is_some_and(|end| end <= now));
        let over: Vec<_> = over.map(|(name, _)| name.clone()).collect();
        self.books.dirty.extend(over);
    }

    /// Publishes what has changed.
    fn publish(&mut self) {
        self.due = None;
        let dirty = std::mem::take(&mut self.books.dirty);
        let mut is_other = !self.found.borrow().is_settled;
        for name in dirty {
            is_other |= self.publish_server(name);
        }
        if is_other {
            let mut servers: Vec<_> = self
                .servers
                .values()
                .map(|entry| Arc::clone(&entry.remote))
                .collect();
            servers.sort_by(|a, b| a.name.cmp(&b.name));
            let (is_settled, problem) = (true, None);
            self.found.send_replace(Arc::new(Found {
                servers,
                is_settled,
                problem,
            }));
        }
    }

    /// Publishes a server; true where it is a new one, or is gone.
    fn publish_server(&mut self, name: ServerName) -> bool {
        let grace = self.core.settings.grace;
        let entry = self.servers.remove(&name);
        let is_new = entry.is_none();
        let mut shelf = Shelf::default();
        let remote = entry.map(|entry| {
            shelf = entry.shelf;
            entry.remote
        });
        shelf.renew(&self.books, &name, grace);
        if self.books.has_gone(&name) {
            self.books.purge(&name, &shelf.editions());
        }
        if shelf.is_empty() {
            if let Some(remote) = &remote {
                remote.leaves();
            }
            self.books.forget(&name);
            return !is_new;
        }
        let routes = shelf.routes(&self.books, &name);
        let offer = shelf.offer(&self.books, &name);
        let remote = remote.unwrap_or_else(|| Remote::new(name.clone(), Arc::clone(&self.core)));
        remote.publish(routes, offer);
        self.servers.insert(name, Entry { shelf, remote });
        is_new
    }
}
