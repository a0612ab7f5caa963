//! What the connection's task, the subscriptions, and what is asked of JetStream share.

use std::collections::HashSet;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use tokio::sync::{broadcast, watch};

use super::interests::Interests;
use super::outbox::Outbox;
use super::settings::{Address, Credentials, Settings};
use super::subscription::Interested;
use super::wire::Info;
use super::{PATIENCE, handshake};
use crate::bus::{BusError, Denied, Link, Message, NotSent};

/// What servers take that do not say, in bytes.
const MAX_PAYLOAD: usize = 1024 * 1024;

/// Refusals kept for those that listen and are slow to read them.
const DENIALS: usize = 256;

/// What the connection's task, the subscriptions and the watches share.
pub(super) struct Shared {
    pub(super) settings: Settings,
    pub(super) target: watch::Sender<Target>,
    pub(super) outbox: Outbox,
    pub(super) interests: Interests,
    pub(super) link: watch::Sender<Link>,
    pub(super) denied: broadcast::Sender<Denied>,
    pub(super) connections: AtomicU64,
    pub(super) max_payload: AtomicUsize,
    pub(super) server: Mutex<Server>,
    pub(super) inbox: String,
    pub(super) inboxes: AtomicU64,
    /// Streams that were there when something was appended to them last.
    pub(super) streams: Mutex<HashSet<String>>,
    /// Connections that were lost or never came to be.
    pub(super) attempts: AtomicUsize,
}

/// Where to connect, and as whom.
#[derive(Debug, Clone, Default)]
pub(super) struct Target {
    pub(super) addresses: Vec<Address>,
    pub(super) credentials: Credentials,
}

/// The server at the other end, now or last.
#[derive(Debug, Clone, Default)]
pub(super) struct Server {
    pub(super) version: String,
    pub(super) address: String,
    pub(super) has_jetstream: bool,
}

impl Shared {
    pub(super) fn new(settings: Settings, target: Target, inbox: String) -> Self {
        Self {
            inbox,
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
        }
    }

    pub(super) fn server(&self) -> Server {
        let server = self.server.lock();
        server.unwrap_or_else(PoisonError::into_inner).clone()
    }

    pub(super) fn next_number(&self) -> u64 {
        self.connections.fetch_add(1, Ordering::Relaxed) + 1
    }

    /// Every server was tried.
    pub(super) fn was_tried(&self) -> bool {
        let count = self.target.borrow().addresses.len();
        self.attempts.load(Ordering::Relaxed) >= count.max(1)
    }

    pub(super) fn is_known(&self, stream: &str) -> bool {
        let streams = self.streams.lock();
        streams
            .unwrap_or_else(PoisonError::into_inner)
            .contains(stream)
    }

    pub(super) fn set_known(&self, stream: &str, is_known: bool) {
        let streams = self.streams.lock();
        let mut streams = streams.unwrap_or_else(PoisonError::into_inner);
        if is_known {
            streams.insert(stream.to_owned());
        } else {
            streams.remove(stream);
        }
    }

    pub(super) fn set_max_payload(&self, limit: usize) {
        let limit = if limit == 0 { MAX_PAYLOAD } else { limit };
        self.max_payload.store(limit, Ordering::Relaxed);
    }

    pub(super) fn began(&self, address: &str, info: &Info) {
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

    pub(super) fn ended(&self, why: String) {
        tracing::debug!(why, "no connection to NATS");
        self.attempts.fetch_add(1, Ordering::Relaxed);
        // Shut before it is said: who hears that there is no connection must not be able to send.
        self.outbox.shut();
        self.link.send_replace(Link::Down(why));
    }

    pub(super) fn send(&self, message: &Message) -> Result<(), NotSent> {
        message.headers.check().map_err(NotSent::Subject)?;
        let limit = self.max_payload.load(Ordering::Relaxed);
        if message.size() > limit {
            return Err(NotSent::TooLarge(limit));
        }
        self.outbox.send(message)
    }

    pub(super) fn inbox(&self) -> String {
        let number = self.inboxes.fetch_add(1, Ordering::Relaxed);
        format!("{}.{number}", self.inbox)
    }

    /// A subscription that the server need not have confirmed: what is sent after it on this connection comes after it.
    pub(super) fn listen(
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
    pub(super) async fn round_trip(&self) -> Result<(), BusError> {
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

    pub(super) fn down(&self) -> BusError {
        match &*self.link.borrow() {
            Link::Up(_) => BusError("the connection to the mesh was lost".into()),
            Link::Down(why) => BusError(format!("there is no connection to the mesh: {why}")),
        }
    }

    /// Waits until a server knows all subscriptions: this connection's, or the next one's, which begins with them.
    pub(super) async fn known(&self) -> Result<(), BusError> {
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
