//! The bus within this process: for one machine without a server, and for tests that must go the same way every time.

use std::collections::HashMap;
use std::fmt;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError, RwLock};
use std::task::{Context, Poll};

use tokio::sync::{broadcast, mpsc, watch};
use tokio_util::task::TaskTracker;
use toolbus_model::BoxFuture;
use uuid::Uuid;

use self::bucket::LocalBucket;
use self::interest::{Interest, Interests};
use self::objects::LocalObjects;
use self::stream::Streams;
use crate::bus::{
    BucketSettings, Bus, BusError, Denied, Link, Message, NotSent, Objects, Subscribed,
    Subscription,
};
use crate::subject;

mod bucket;
mod interest;
mod objects;
mod stream;

/// As a server has it that is not told otherwise, in bytes.
const MAX_PAYLOAD: usize = 1024 * 1024;

/// What those share that are on one bus: the part of a server.
#[derive(Default)]
pub struct Hub {
    interests: RwLock<Interests>,
    next: AtomicU64,
    buckets: Mutex<HashMap<String, Arc<LocalBucket>>>,
    objects: Mutex<HashMap<String, Arc<LocalObjects>>>,
    streams: Mutex<Streams>,
    tasks: TaskTracker,
}

/// One connection to a [`Hub`].
pub struct LocalBus {
    hub: Arc<Hub>,
    id: u64,
    link: watch::Sender<Link>,
    connections: AtomicU64,
    is_down: AtomicBool,
    denied: broadcast::Sender<Denied>,
}

impl Hub {
    /// A bus on which nobody is yet.
    pub fn new() -> Arc<Self> {
        Arc::default()
    }

    /// One more on it.
    pub fn connect(self: &Arc<Self>) -> Arc<LocalBus> {
        Arc::new(LocalBus {
            id: self.next.fetch_add(1, Ordering::Relaxed),
            hub: self.clone(),
            link: watch::Sender::new(Link::Up(1)),
            connections: AtomicU64::new(1),
            is_down: AtomicBool::new(false),
            denied: broadcast::Sender::new(1),
        })
    }

    /// What is kept of a stream, oldest first: the last 10,000 records.
    pub fn appended(&self, stream: &str) -> Vec<Message> {
        lock(&self.streams).records(stream)
    }

    fn deliver(&self, message: &Message) -> bool {
        let interests = self.interests.read();
        let interests = interests.unwrap_or_else(PoisonError::into_inner);
        interests.deliver(message)
    }

    fn forget(&self, subject: &str, id: u64) {
        let interests = self.interests.write();
        let mut interests = interests.unwrap_or_else(PoisonError::into_inner);
        interests.remove(subject, id);
    }
}

impl LocalBus {
    /// A bus of its own.
    pub fn new() -> Arc<Self> {
        Hub::new().connect()
    }

    /// What it is connected to.
    pub fn hub(&self) -> &Arc<Hub> {
        &self.hub
    }

    /// Takes the connection away, so that it can be seen what becomes of those who use it. Nothing is sent meanwhile, and
    /// what others send does not come.
    pub fn cut(&self, why: &str) {
        self.is_down.store(true, Ordering::Relaxed);
        self.set_interests(false);
        self.link.send_replace(Link::Down(why.to_owned()));
    }

    /// Gives the connection back, with all its subscriptions.
    pub fn restore(&self) {
        self.set_interests(true);
        self.is_down.store(false, Ordering::Relaxed);
        let number = self.connections.fetch_add(1, Ordering::Relaxed) + 1;
        self.link.send_replace(Link::Up(number));
    }

    fn set_interests(&self, is_up: bool) {
        let interests = self.hub.interests.write();
        let mut interests = interests.unwrap_or_else(PoisonError::into_inner);
        interests.set_connection(self.id, is_up);
    }

    fn check_up(&self) -> Result<(), BusError> {
        match &*self.link.borrow() {
            Link::Up(_) => Ok(()),
            Link::Down(why) => Err(BusError(format!(
                "there is no connection to the mesh: {why}"
            ))),
        }
    }

    fn check(&self, message: &Message) -> Result<(), NotSent> {
        subject::check(&message.subject, false).map_err(NotSent::Subject)?;
        if let Some(reply) = &message.reply {
            subject::check(reply, false).map_err(NotSent::Subject)?;
        }
        message.headers.check().map_err(NotSent::Subject)?;
        if message.size() > MAX_PAYLOAD {
            return Err(NotSent::TooLarge(MAX_PAYLOAD));
        }
        if self.is_down.load(Ordering::Relaxed) {
            return Err(NotSent::Disconnected);
        }
        Ok(())
    }

    fn new_subscription(&self, subject: &str, queue: Option<&str>, capacity: usize) -> Local {
        let (sender, messages) = mpsc::channel(capacity.max(1));
        let id = self.hub.next.fetch_add(1, Ordering::Relaxed);
        let interests = self.hub.interests.write();
        let mut interests = interests.unwrap_or_else(PoisonError::into_inner);
        let interest = Interest::new(id, self.id, queue, sender);
        interests.insert(subject, interest);
        Local {
            hub: self.hub.clone(),
            subject: subject.to_owned(),
            id,
            messages,
        }
    }
}

impl Bus for LocalBus {
    fn send(&self, message: Message) -> Result<(), NotSent> {
        self.check(&message)?;
        if !self.hub.deliver(&message)
            && let Some(reply) = message.reply
        {
            self.hub.deliver(&Message {
                subject: reply,
                no_responders: true,
                ..Message::default()
            });
        }
        Ok(())
    }

    fn subscribe<'a>(
        &'a self,
        subject: &'a str,
        queue: Option<&'a str>,
        capacity: usize,
    ) -> BoxFuture<'a, Result<Subscription, BusError>> {
        Box::pin(async move {
            subject::check(subject, true).map_err(BusError)?;
            self.check_up()?;
            let subscription = self.new_subscription(subject, queue, capacity);
            Ok(Subscription::new(subscription))
        })
    }

    fn round_trip(&self) -> BoxFuture<'_, Result<(), BusError>> {
        Box::pin(async { self.check_up() })
    }

    fn max_payload(&self) -> usize {
        MAX_PAYLOAD
    }

    fn inbox(&self) -> String {
        format!("_INBOX.{}", Uuid::new_v4().simple())
    }

    fn link(&self) -> watch::Receiver<Link> {
        self.link.subscribe()
    }

    fn denied(&self) -> broadcast::Receiver<Denied> {
        self.denied.subscribe()
    }

    fn bucket<'a>(
        &'a self,
        name: &'a str,
        settings: BucketSettings,
    ) -> BoxFuture<'a, Result<Arc<dyn crate::bus::Bucket>, BusError>> {
        Box::pin(async move {
            subject::check_store(name).map_err(BusError)?;
            let mut buckets = lock(&self.hub.buckets);
            let bucket = buckets
                .entry(name.to_owned())
                .or_insert_with(|| LocalBucket::new(name, settings, self.hub.tasks.clone()));
            Ok(bucket.clone() as Arc<dyn crate::bus::Bucket>)
        })
    }

    fn objects<'a>(&'a self, name: &'a str) -> BoxFuture<'a, Result<Arc<dyn Objects>, BusError>> {
        Box::pin(async move {
            subject::check_store(name).map_err(BusError)?;
            let mut stores = lock(&self.hub.objects);
            let store = stores.entry(name.to_owned()).or_default();
            Ok(store.clone() as Arc<dyn Objects>)
        })
    }

    fn append<'a>(
        &'a self,
        stream: &'a str,
        subjects: &'a str,
        message: Message,
    ) -> BoxFuture<'a, Result<(), BusError>> {
        Box::pin(async move {
            self.check(&message)
                .map_err(|why| BusError(why.to_string()))?;
            lock(&self.hub.streams).append(stream, subjects, message.clone())?;
            self.hub.deliver(&message);
            Ok(())
        })
    }

    fn is_lasting(&self) -> bool {
        false
    }

    fn describe(&self) -> String {
        "in process".to_owned()
    }

    fn close(&self) -> BoxFuture<'_, ()> {
        Box::pin(async {
            self.is_down.store(true, Ordering::Relaxed);
            let interests = self.hub.interests.write();
            let mut interests = interests.unwrap_or_else(PoisonError::into_inner);
            interests.remove_connection(self.id);
            drop(interests);
            self.link.send_replace(Link::Down("closed".to_owned()));
        })
    }
}

/// A subscription within the process.
struct Local {
    hub: Arc<Hub>,
    subject: String,
    id: u64,
    messages: mpsc::Receiver<Message>,
}

impl Subscribed for Local {
    fn poll_next(&mut self, context: &mut Context<'_>) -> Poll<Option<Message>> {
        self.messages.poll_recv(context)
    }

    fn unsubscribe(&mut self) -> BoxFuture<'_, ()> {
        // What is in the channel stays there: the sender goes, and the messages end after the last of them.
        Box::pin(async { self.hub.forget(&self.subject, self.id) })
    }
}

impl Drop for Local {
    fn drop(&mut self) {
        self.hub.forget(&self.subject, self.id);
    }
}

impl fmt::Debug for LocalBus {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "LocalBus({})", self.id)
    }
}

impl fmt::Debug for Hub {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Hub")
    }
}

fn lock<T>(mutex: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
