//! The bus on a NATS server.
//!
//! A client of our own for the few things that are said here, because the one at hand takes a subscription away before
//! the server has confirmed it, which loses calls, and sends after a reconnect what was queued before it, which runs
//! calls that were reported as failed. See decision 0015.

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use tokio::sync::{broadcast, watch};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use toolbus_model::BoxFuture;
use uuid::Uuid;

use self::bucket::NatsBucket;
use self::jetstream::JetStream;
use self::objects::NatsObjects;
use self::settings::Address;
pub use self::settings::{Credentials, Settings, Source, Tls};
use self::shared::{Server, Shared, Target};
use crate::bus::{
    Bucket, BucketSettings, Bus, BusError, Denied, Link, Message, NotSent, Objects, Subscription,
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
mod shared;
mod subscription;
mod tls;
mod watching;
mod wire;
mod write;

/// How long is waited for a connection, or for the server's answer, before it is an error.
const PATIENCE: Duration = Duration::from_secs(5);

/// What a server's words are read as when they come in such pieces: its messages, and what could not be read. It is how
/// the reader is tried with hostile words; nothing of ours calls it.
pub fn overheard<'a>(pieces: impl Iterator<Item = &'a [u8]>) -> (Vec<Message>, Option<String>) {
    let (mut read, mut heard) = (bytes::BytesMut::new(), Vec::new());
    for piece in pieces {
        read.extend_from_slice(piece);
        loop {
            match wire::next(&mut read) {
                Ok(Some(wire::Said::Message(_, message))) => heard.push(message),
                Ok(Some(_)) => {}
                Ok(None) => break,
                Err(fault) => return (heard, Some(fault)),
            }
        }
    }
    (heard, None)
}

/// A NATS server, to which a connection is kept.
pub struct NatsBus {
    shared: Arc<Shared>,
    tasks: TaskTracker,
    stop: CancellationToken,
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
        let inbox = inbox(&settings.inbox_prefix)?;
        let shared = Arc::new(Shared::new(settings, target, inbox));
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
