//! A worker: serves back ends on the mesh.
//!
//! One task per call, one timer per worker. What a request must be is in `intake`, its life in `conduct`, what is known of
//! the calls under way in `calls`; what the worker tells of itself is in `registrar`, `pulse` and `service`.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use indexmap::IndexMap;
use tokio::sync::{Notify, Semaphore};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use toolbus_model::{Backend, ServerName};
use uuid::Uuid;

use crate::bus::{Bus, BusError, Objects};
use crate::registry::bucket;
use crate::subject::Subjects;

mod assertion;
mod calls;
mod compat;
mod conduct;
mod control;
mod deliver;
mod drain;
mod intake;
mod interest;
mod listen;
mod offered;
mod pulse;
mod registrar;
mod requests;
mod service;
mod snapshot;
mod terminal;
mod work;

pub use assertion::CallerKey;
pub use compat::Compat;

use calls::Calls;
use offered::{Offered, Shelf};

/// How many calls a worker runs at once where it is not told: as many as a gateway has at one server.
pub const CAPACITY: usize = 256;

/// Streams of notices at once: one for each gateway and server, and some for its callers.
const LISTENERS: usize = 1_024;

/// How long a worker that drains waits for its calls, where it is not told.
pub const DRAIN_WITHIN: Duration = Duration::from_secs(30);

/// How one server is served.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct ServerOptions {
    /// It keeps state for each caller, so that a caller's calls stay with one worker.
    pub stateful: bool,
}

/// A server, as a worker is given it.
pub type Given = (ServerName, Arc<dyn Backend>, ServerOptions);

/// How a worker works.
#[derive(Debug, Clone)]
pub struct Settings {
    /// Its id, where the server's permissions name it: no other worker may have it. Made where it is not given.
    pub id: Option<WorkerId>,
    /// How many calls run at once. What comes beyond it is answered `busy`.
    pub capacity: usize,
    /// The keys that callers are signed with. With none, callers are believed.
    pub caller_keys: Vec<CallerKey>,
    /// The published subjects on which it is to be found as well.
    pub compat: Option<Compat>,
    /// How long it waits for its calls when it drains.
    pub drain_within: Duration,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            id: None,
            capacity: CAPACITY,
            caller_keys: Vec::new(),
            compat: None,
            drain_within: DRAIN_WITHIN,
        }
    }
}

/// What a worker is called on the mesh: 1 to 16 of `[A-Za-z0-9_-]`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct WorkerId(String);

impl WorkerId {
    /// The id of this text.
    pub fn parse(text: &str) -> Result<Self, String> {
        // A colon would end it in what a caller takes away.
        let fits = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'_' || byte == b'-';
        if (1..=16).contains(&text.len()) && text.bytes().all(fits) {
            return Ok(Self(text.to_owned()));
        }
        Err(format!(
            "a worker's id {text:?}: use 1 to 16 letters, digits, '_' or '-'"
        ))
    }

    /// An id that nobody else has.
    fn random() -> Self {
        let id = Uuid::new_v4().simple().to_string();
        Self(id[..12].to_owned())
    }
}

/// A worker. It works until it is drained, whether this is held or not.
#[derive(Debug, Clone)]
pub struct Worker {
    shared: Arc<Shared>,
}

/// What the tasks of a worker share.
struct Shared {
    id: String,
    bus: Arc<dyn Bus>,
    subjects: Subjects,
    settings: Settings,
    servers: IndexMap<ServerName, Served>,
    /// What is offered now.
    shelf: Shelf,
    calls: Calls,
    /// Places for calls.
    places: Arc<Semaphore>,
    /// Places for streams of notices.
    listeners: Arc<Semaphore>,
    /// Where the server says that nobody hears a stream of notices any more.
    inbox: String,
    /// Nobody watches over the calls: there were none.
    rests: AtomicBool,
    /// Rung when there is a call again.
    wake: Notify,
    /// Rung when the heart is to beat at once.
    beat: Notify,
    /// It leaves.
    draining: CancellationToken,
    /// Takes nothing new.
    refuses: AtomicBool,
    /// Nothing is left to do.
    closed: CancellationToken,
    /// What the worker's own tasks end with.
    ending: CancellationToken,
    tasks: TaskTracker,
    started_at: std::time::SystemTime,
}

/// A server of a worker.
struct Served {
    backend: Arc<dyn Backend>,
    options: ServerOptions,
    /// What was asked of it besides tools.
    counters: service::Counters,
}

impl Worker {
    /// Starts to work. It is there when the future is done; what the servers offer follows as they say it.
    pub async fn start(
        bus: Arc<dyn Bus>,
        subjects: Subjects,
        servers: Vec<Given>,
        settings: Settings,
    ) -> Result<Self, BusError> {
        let shared = Arc::new(Shared::new(bus, subjects, servers, settings));
        let worker = Self { shared };
        // What has been begun must not go on when the rest cannot be had.
        worker.open().await.inspect_err(|_| worker.abandon())?;
        Ok(worker)
    }

    async fn open(&self) -> Result<(), BusError> {
        let shared = &self.shared;
        shared.tasks.spawn(pulse::watch(Arc::clone(shared)));
        shared
            .tasks
            .spawn(control::hear_denials(Arc::clone(shared)));
        control::open(shared).await?;
        listen::open(shared).await?;
        service::open(shared).await?;
        compat::open(shared).await?;
        let doors = interest::open(shared).await?;
        shared.tasks.spawn(pulse::beat(Arc::clone(shared)));
        shared
            .tasks
            .spawn(registrar::keep(Arc::clone(shared), doors));
        shared.tasks.spawn(drain::wait(Arc::clone(shared)));
        Ok(())
    }

    fn abandon(&self) {
        self.shared.draining.cancel();
        self.shared.ending.cancel();
        self.shared.tasks.close();
        self.shared.closed.cancel();
    }

    /// Its id.
    pub fn id(&self) -> &str {
        &self.shared.id
    }

    /// How many calls it is at.
    pub fn in_flight(&self) -> usize {
        self.shared.in_flight()
    }

    /// Takes nothing new, finishes what runs, leaves the mesh. Done when nothing is left to do.
    pub async fn drain(&self) {
        self.shared.draining.cancel();
        self.closed().await;
    }

    /// Completes when it has been drained, by whomever.
    pub async fn closed(&self) {
        self.shared.closed.cancelled().await;
        self.shared.tasks.wait().await;
    }
}

impl Shared {
    fn new(bus: Arc<dyn Bus>, subjects: Subjects, servers: Vec<Given>, settings: Settings) -> Self {
        let WorkerId(id) = settings.id.clone().unwrap_or_else(WorkerId::random);
        let served = |(name, backend, options)| {
            let counters = service::Counters::default();
            let served = Served {
                backend,
                options,
                counters,
            };
            (name, served)
        };
        Self {
            id,
            inbox: bus.inbox(),
            bus,
            subjects,
            servers: servers.into_iter().map(served).collect(),
            shelf: Shelf::default(),
            calls: Calls::default(),
            places: Arc::new(Semaphore::new(settings.capacity)),
            listeners: Arc::new(Semaphore::new(LISTENERS)),
            settings,
            rests: AtomicBool::new(false),
            wake: Notify::new(),
            beat: Notify::new(),
            draining: CancellationToken::new(),
            refuses: AtomicBool::new(false),
            closed: CancellationToken::new(),
            ending: CancellationToken::new(),
            tasks: TaskTracker::new(),
            started_at: std::time::SystemTime::now(),
        }
    }

    fn in_flight(&self) -> usize {
        self.settings
            .capacity
            .saturating_sub(self.places.available_permits())
    }

    /// It leaves.
    fn is_draining(&self) -> bool {
        self.draining.is_cancelled()
    }

    /// It takes nothing new.
    fn refuses(&self) -> bool {
        self.refuses.load(Ordering::SeqCst)
    }

    fn offered(&self) -> Arc<Offered> {
        self.shelf.get()
    }

    /// Where large things are.
    async fn objects(&self) -> Result<Arc<dyn Objects>, BusError> {
        let name = self.subjects.bucket(bucket::OBJECTS);
        self.bus.objects(&name).await
    }
}

impl std::fmt::Debug for Shared {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "worker {}", self.id)
    }
}
