//! The bus on a NATS server.
//!
//! A client of our own for the few things that are said here, because the one at hand takes a subscription away before
//! the server has confirmed it, which loses calls, and sends after a reconnect what was queued before it, which runs
//! calls that were reported as failed. See decision 0015.

use std::collections::HashSet;
use std::fmt;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll};
use std::time::Duration;

use tokio::sync::{broadcast, mpsc, watch};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use toolbus_model::BoxFuture;
use uuid::Uuid;

use self::bucket::NatsBucket;
use self::interests::Interests;
use self::jetstream::JetStream;
use self::objects::NatsObjects;
use self::outbox::Outbox;
use self::settings::Address;
pub use self::settings::{Credentials, Settings, Source, Tls};
use self::wire::Info;
use crate::bus::{
    Bucket, BucketSettings, Bus, BusError, Denied, Link, Message, NotSent, Objects, Subscribed,
    Subscription,
};
use crate::subject;

mod bucket;
mod driver;
mod handshake;
mod interests;
mod jetstream;
mod known;
mod nkey;
mod objects;
mod outbox;
mod pool;
mod settings;
mod tls;
mod watching;
mod wire;
mod write;

/// How long is waited for a connection, or for the server's answer, before it is an error.
const PATIENCE: Duration = Duration::from_secs(5);

/// What servers take that do not say, in bytes.
const MAX_PAYLOAD: usize = 1024 * 1024;

/// Refusals kept for those that listen and are slow to read them.
const DENIALS: usize = 256;

/// A NATS server, to which a connection is kept.
pub struct NatsBus {
    shared: Arc<Shared>,
    tasks: TaskTracker,
    stop: CancellationToken,
}

/// What the connection's task, the subscriptions and the watches share.
struct Shared {
    settings: Settings,
    target: watch::Sender<Target>,
    outbox: Outbox,
    interests: Interests,
    link: watch::Sender<Link>,
    denied: broadcast::Sender<Denied>,
    connections: AtomicU64,
    max_payload: AtomicUsize,
    server: Mutex<Server>,
    inbox: String,
    inboxes: AtomicU64,
    /// Streams that were there when something was appended to them last.
    streams: Mutex<HashSet<String>>,
    /// Connections that were lost or never came to be.
    attempts: AtomicUsize,
}

/// Where to connect, and as whom.
#[derive(Debug, Clone, Default)]
struct Target {
    addresses: Vec<Address>,
    credentials: Credentials,
}

/// The server at the other end, now or last.
#[derive(Debug, Clone, Default)]
struct Server {
    version: String,
    address: String,
    has_jetstream: bool,
}

impl NatsBus {
    /// Begins to connect, and goes on by itself whenever the connection is lost. An error is one of the settings.
    pub fn start(settings: Settings) -> Result<Arc<Self>, BusError> {
        if settings.servers.is_empty() {
            return Err(BusError("no NATS server is named".into()));
        }
        Self::start_later(settings)
    }

    /// [`NatsBus::start`] for a server whose place may only be told later, by [`NatsBus::point`].
    pub fn start_later(settings: Settings) -> Result<Arc<Self>, BusError> {
        let target = Target {
            addresses: addresses(&settings.servers)?,
            credentials: settings.credentials.clone(),
        };
        let shared = Arc::new(Shared {
            inbox: inbox(&settings.inbox_prefix)?,
            settings,
            target: watch::Sender::new(target),
            outbox: Outbox::default(),
            interests: Interests::default(),
            link: watch::Sender::new(Link::Down("not connected yet".into())),
            denied: broadcast::Sender::new(DENIALS),
            connections: AtomicU64::new(0),
            max_payload: AtomicUsize::new(MAX_PAYLOAD),
            server: Mutex::default(),
            inboxes: AtomicU64::new(0),
            streams: Mutex::default(),
            attempts: AtomicUsize::new(0),
        });
        let (tasks, stop) = (TaskTracker::new(), CancellationToken::new());
        tasks.spawn(
            stop.clone()
                .run_until_cancelled_owned(driver::run(shared.clone())),
        );
        Ok(Arc::new(Self {
            shared,
            tasks,
            stop,
        }))
    }

    /// Begins to connect, and waits for the first connection. An error says why there is none.
    pub async fn connect(settings: Settings) -> Result<Arc<Self>, BusError> {
        let bus = Self::start(settings)?;
        let mut link = bus.link();
        let outcome = link.wait_for(|link| match link {
            Link::Up(_) => true,
            Link::Down(_) => bus.shared.was_tried(),
        });
        match tokio::time::timeout(PATIENCE * 2, outcome).await {
            Ok(Ok(link)) => match &*link {
                Link::Up(_) => {}
                Link::Down(why) => return Err(BusError(why.clone())),
            },
            _ => return Err(BusError("the NATS server does not answer".into())),
        }
        Ok(bus)
    }

    /// Names the servers and who connects anew, from the next attempt on. A connection that is there stays.
    pub fn point(&self, servers: &[String], credentials: Credentials) -> Result<(), BusError> {
        let addresses = addresses(servers)?;
        self.shared.target.send_replace(Target {
            addresses,
            credentials,
        });
        Ok(())
    }

    /// The server's version, once there was a connection.
    pub fn version(&self) -> String {
        self.shared.server().version
    }

    /// The server's address, once there was a connection.
    pub fn address(&self) -> String {
        self.shared.server().address
    }

    fn jetstream(&self) -> JetStream {
        JetStream::new(self.shared.clone())
    }
}

fn addresses(servers: &[String]) -> Result<Vec<Address>, BusError> {
    servers.iter().map(|text| Address::parse(text)).collect()
}

fn inbox(prefix: &str) -> Result<String, BusError> {
    let prefix = if prefix.is_empty() { "_INBOX" } else { prefix };
    let inbox = format!("{prefix}.{}", Uuid::new_v4().simple());
    subject::check(&inbox, false)
        .map_err(|why| BusError(format!("the prefix of inboxes: {why}")))?;
    Ok(inbox)
}

impl Shared {
    fn server(&self) -> Server {
        let server = self.server.lock();
        server.unwrap_or_else(PoisonError::into_inner).clone()
    }

    fn next_number(&self) -> u64 {
        self.connections.fetch_add(1, Ordering::Relaxed) + 1
    }

    /// Every server was tried.
    fn was_tried(&self) -> bool {
        let count = self.target.borrow().addresses.len();
        self.attempts.load(Ordering::Relaxed) >= count.max(1)
    }

    fn is_known(&self, stream: &str) -> bool {
        let streams = self.streams.lock();
        streams
            .unwrap_or_else(PoisonError::into_inner)
            .contains(stream)
    }

    fn set_known(&self, stream: &str, is_known: bool) {
        let streams = self.streams.lock();
        let mut streams = streams.unwrap_or_else(PoisonError::into_inner);
        if is_known {
            streams.insert(stream.to_owned());
        } else {
            streams.remove(stream);
        }
    }

    fn set_max_payload(&self, limit: usize) {
        let limit = if limit == 0 { MAX_PAYLOAD } else { limit };
        self.max_payload.store(limit, Ordering::Relaxed);
    }

    fn began(&self, address: &str, info: &Info) {
        self.set_max_payload(info.max_payload);
        if handshake::version(&info.version) < Some((2, 11)) {
            tracing::warn!(
                version = info.version,
                "this NATS server is older than 2.11: what leaves the catalog by its age is noticed late"
            );
        }
        let server = Server {
            version: info.version.clone(),
            address: address.to_owned(),
            has_jetstream: info.jetstream,
        };
        *self.server.lock().unwrap_or_else(PoisonError::into_inner) = server;
        tracing::debug!(address, version = info.version, "connected to NATS");
    }

    fn ended(&self, why: String) {
        tracing::debug!(why, "no connection to NATS");
        self.attempts.fetch_add(1, Ordering::Relaxed);
        // Shut before it is said: who hears that there is no connection must not be able to send.
        self.outbox.shut();
        self.link.send_replace(Link::Down(why));
    }

    fn send(&self, message: &Message) -> Result<(), NotSent> {
        message.headers.check().map_err(NotSent::Subject)?;
        let limit = self.max_payload.load(Ordering::Relaxed);
        if message.size() > limit {
            return Err(NotSent::TooLarge(limit));
        }
        self.outbox.send(message)
    }

    fn inbox(&self) -> String {
        let number = self.inboxes.fetch_add(1, Ordering::Relaxed);
        format!("{}.{number}", self.inbox)
    }

    /// A subscription that the server need not have confirmed: what is sent after it on this connection comes after it.
    fn listen(
        self: &Arc<Self>,
        subject: &str,
        queue: Option<&str>,
        capacity: usize,
    ) -> (Interested, Result<(), NotSent>) {
        let (sid, messages, told) = self.interests.add(subject, queue, capacity, &self.outbox);
        let interested = Interested {
            shared: self.clone(),
            sid,
            messages,
        };
        (interested, told)
    }

    /// Done when the server has seen everything that was sent before.
    async fn round_trip(&self) -> Result<(), BusError> {
        let answered = self
            .outbox
            .ping()
            .map_err(|why| BusError(why.to_string()))?;
        match tokio::time::timeout(PATIENCE, answered).await {
            Ok(Ok(())) => Ok(()),
            Ok(Err(_)) => Err(self.down()),
            Err(_) => Err(BusError(format!(
                "the NATS server did not answer within {} s",
                PATIENCE.as_secs()
            ))),
        }
    }

    fn down(&self) -> BusError {
        match &*self.link.borrow() {
            Link::Up(_) => BusError("the connection to the mesh was lost".into()),
            Link::Down(why) => BusError(format!("there is no connection to the mesh: {why}")),
        }
    }

    /// Waits until a server knows all subscriptions: this connection's, or the next one's, which begins with them.
    async fn known(&self) -> Result<(), BusError> {
        let known = async {
            let mut link = self.link.subscribe();
            while self.round_trip().await.is_err() {
                // An error means that the bus is gone, which the next round finds out.
                let _ = link.changed().await;
                let _ = link.wait_for(|link| matches!(link, Link::Up(_))).await;
            }
        };
        let waited = tokio::time::timeout(PATIENCE, known).await;
        waited.map_err(|_| self.down())
    }
}

impl Bus for NatsBus {
    fn send(&self, message: Message) -> Result<(), NotSent> {
        subject::check(&message.subject, false).map_err(NotSent::Subject)?;
        if let Some(reply) = &message.reply {
            subject::check(reply, false).map_err(NotSent::Subject)?;
        }
        self.shared.send(&message)
    }

    fn subscribe<'a>(
        &'a self,
        subject: &'a str,
        queue: Option<&'a str>,
        capacity: usize,
    ) -> BoxFuture<'a, Result<Subscription, BusError>> {
        Box::pin(async move {
            subject::check(subject, true).map_err(BusError)?;
            if let Some(queue) = queue {
                subject::check(queue, false).map_err(BusError)?;
            }
            let (interested, told) = self.shared.listen(subject, queue, capacity);
            if let Err(why @ (NotSent::Full | NotSent::TooLarge(_) | NotSent::Subject(_))) = told {
                return Err(BusError(why.to_string()));
            }
            self.shared.known().await?;
            if self.shared.interests.is_denied(interested.sid) {
                return Err(BusError(format!(
                    "the NATS server does not permit to subscribe to {subject}: give this user the permission"
                )));
            }
            Ok(Subscription::new(interested))
        })
    }

    fn round_trip(&self) -> BoxFuture<'_, Result<(), BusError>> {
        Box::pin(self.shared.round_trip())
    }

    fn max_payload(&self) -> usize {
        self.shared.max_payload.load(Ordering::Relaxed)
    }

    fn inbox(&self) -> String {
        self.shared.inbox()
    }

    fn link(&self) -> watch::Receiver<Link> {
        self.shared.link.subscribe()
    }

    fn denied(&self) -> broadcast::Receiver<Denied> {
        self.shared.denied.subscribe()
    }

    fn bucket<'a>(
        &'a self,
        name: &'a str,
        settings: BucketSettings,
    ) -> BoxFuture<'a, Result<Arc<dyn Bucket>, BusError>> {
        Box::pin(async move {
            let bucket = NatsBucket::open(
                self.jetstream(),
                name,
                settings,
                self.tasks.clone(),
                self.stop.clone(),
            );
            Ok(Arc::new(bucket.await?) as Arc<dyn Bucket>)
        })
    }

    fn objects<'a>(&'a self, name: &'a str) -> BoxFuture<'a, Result<Arc<dyn Objects>, BusError>> {
        Box::pin(async move {
            let objects = NatsObjects::open(self.jetstream(), name);
            Ok(Arc::new(objects.await?) as Arc<dyn Objects>)
        })
    }

    fn append<'a>(
        &'a self,
        stream: &'a str,
        subjects: &'a str,
        message: Message,
    ) -> BoxFuture<'a, Result<(), BusError>> {
        Box::pin(async move {
            subject::check_store(stream).map_err(BusError)?;
            subject::check(subjects, true).map_err(BusError)?;
            subject::check(&message.subject, false).map_err(BusError)?;
            self.jetstream().append(stream, subjects, message).await
        })
    }

    fn describe(&self) -> String {
        let Server {
            version, address, ..
        } = self.shared.server();
        match &*self.shared.link.borrow() {
            Link::Up(_) => format!("NATS {version} at {address}"),
            Link::Down(why) => format!("no connection to NATS ({why})"),
        }
    }

    fn close(&self) -> BoxFuture<'_, ()> {
        Box::pin(async {
            // What is still to be sent is with the server when it answers.
            let _ = self.shared.round_trip().await;
            self.stop.cancel();
            self.tasks.close();
            self.tasks.wait().await;
            self.shared.interests.clear();
            self.shared.ended("closed".into());
        })
    }
}

impl Drop for NatsBus {
    fn drop(&mut self) {
        self.stop.cancel();
    }
}

impl fmt::Debug for NatsBus {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "NatsBus({})", self.describe())
    }
}

/// A subscription.
struct Interested {
    shared: Arc<Shared>,
    sid: u64,
    messages: mpsc::Receiver<Message>,
}

impl Interested {
    /// The next message, where it comes in time.
    async fn next(&mut self, within: Duration) -> Result<Message, BusError> {
        let next = tokio::time::timeout(within, self.messages.recv()).await;
        next.ok().flatten().ok_or_else(|| {
            BusError(format!(
                "the NATS server did not answer within {} s",
                within.as_secs()
            ))
        })
    }
}

impl Subscribed for Interested {
    fn poll_next(&mut self, context: &mut Context<'_>) -> Poll<Option<Message>> {
        self.messages.poll_recv(context)
    }

    fn unsubscribe(&mut self) -> BoxFuture<'_, ()> {
        Box::pin(async {
            // The server takes the interest away before it answers the PING, and what it sent until then comes before
            // the answer. Only then is the subscription forgotten here, which ends the messages after the last of them.
            self.shared.interests.leave(self.sid, &self.shared.outbox);
            let _ = self.shared.round_trip().await;
            self.shared.interests.remove(self.sid);
        })
    }
}

impl Drop for Interested {
    fn drop(&mut self) {
        self.shared.interests.leave(self.sid, &self.shared.outbox);
        self.shared.interests.remove(self.sid);
    }
}
