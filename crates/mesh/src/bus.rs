//! What carries messages: a NATS server, or the same within this process.

use std::borrow::Cow;
use std::fmt;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use bytes::Bytes;
use futures_util::Stream;
use tokio::sync::{broadcast, watch};
use toolbus_model::BoxFuture;

pub mod local;
pub mod nats;

/// Changes that wait for a watch that does not read them, before they are held back.
const WATCH_QUEUE: usize = 256;

/// What the values of a bucket may take together, in bytes: 10,000 tools of 4 KiB, and as much again.
const BUCKET_BYTES: usize = 64 * 1024 * 1024;

/// What the objects of a store may take together, in bytes: an hour's worth of results above 32 MiB.
const OBJECT_BYTES: usize = 512 * 1024 * 1024;

/// How long an object is kept.
const OBJECT_AGE: std::time::Duration = std::time::Duration::from_secs(3600);

/// A message's headers. Few, so that a list is faster than a table.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Headers(Vec<(Cow<'static, str>, Cow<'static, str>)>);

/// A message.
#[derive(Debug, Clone, Default)]
pub struct Message {
    /// Where it goes, or came in.
    pub subject: String,
    /// Where to answer.
    pub reply: Option<String>,
    /// Its headers.
    pub headers: Headers,
    /// Its body.
    pub payload: Bytes,
    /// The server's word that nobody got the request (503).
    pub no_responders: bool,
}

/// Why a message was not sent. Nothing of it is on its way, and nothing will be.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum NotSent {
    /// There is no connection at the moment.
    Disconnected,
    /// The connection takes more than it gets rid of.
    Full,
    /// Larger than the server takes, in bytes.
    TooLarge(usize),
    /// The subject is not one, or a header cannot be one.
    Subject(String),
}

/// Why something of the bus cannot be had, for a person.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BusError(pub String);

/// How the connection is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Link {
    /// There is one. The number counts connections, so that a new one is noticed.
    Up(u64),
    /// There is none, and why.
    Down(String),
}

/// What the server did not permit.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Denied {
    /// To publish, or else to subscribe.
    pub is_publish: bool,
    /// The subject.
    pub subject: String,
}

/// Messages of a subject, for as long as this is held.
pub struct Subscription {
    inner: Box<dyn Subscribed>,
}

/// What a bus gives for a subscription.
pub trait Subscribed: Send + Sync {
    /// The next message.
    fn poll_next(&mut self, context: &mut Context<'_>) -> Poll<Option<Message>>;

    /// Takes the interest away at the server. What it sent before that still comes; then the messages end.
    fn unsubscribe(&mut self) -> BoxFuture<'_, ()>;
}

/// How a bucket is made where there is none.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct BucketSettings {
    /// How long a value lasts.
    pub max_age: Option<std::time::Duration>,
    /// How many earlier values are kept beside the last; 1 to 64.
    pub history: u8,
}

/// A change in a bucket.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Change {
    /// A key has this value now. The number grows with each change of the bucket.
    Put(String, Bytes, u64),
    /// A key is gone: deleted, or its time was over.
    Gone(String),
    /// Everything that was there when the watch began has been told. Comes once, and again whenever the watch had to
    /// be begun anew: what was not told since the last one is gone.
    Current,
}

/// A bucket of keys and values.
pub trait Bucket: Send + Sync + fmt::Debug {
    /// The value of a key.
    fn get<'a>(&'a self, key: &'a str) -> BoxFuture<'a, Result<Option<Bytes>, BusError>>;
    /// Sets a value.
    fn put<'a>(&'a self, key: &'a str, value: Bytes) -> BoxFuture<'a, Result<(), BusError>>;
    /// Sets the value of a key that has none; false where it has one.
    fn create<'a>(&'a self, key: &'a str, value: Bytes) -> BoxFuture<'a, Result<bool, BusError>>;
    /// Takes a key away.
    fn delete<'a>(&'a self, key: &'a str) -> BoxFuture<'a, Result<(), BusError>>;
    /// All values and then all changes of the keys that match a pattern such as `_.>`, for as long as the receiver is
    /// held, also across a loss of the connection, of the server, or of the bucket, which is made anew then.
    fn watch<'a>(
        &'a self,
        pattern: &'a str,
    ) -> BoxFuture<'a, Result<tokio::sync::mpsc::Receiver<Change>, BusError>>;
}

/// A store of large things.
pub trait Objects: Send + Sync + fmt::Debug {
    /// Keeps an object for as long as the store keeps anything: an hour.
    fn put<'a>(&'a self, name: &'a str, body: Bytes) -> BoxFuture<'a, Result<(), BusError>>;
    /// Reads an object that is no larger than `limit` bytes.
    fn get<'a>(&'a self, name: &'a str, limit: usize) -> BoxFuture<'a, Result<Bytes, BusError>>;
    /// Takes an object away.
    fn delete<'a>(&'a self, name: &'a str) -> BoxFuture<'a, Result<(), BusError>>;
}

/// What carries messages.
pub trait Bus: Send + Sync + fmt::Debug {
    /// Sends a message, or says at once why not. Never waits.
    fn send(&self, message: Message) -> Result<(), NotSent>;

    /// Messages of a subject, which may hold wildcards, alone or as one of a queue group. Of those that nobody reads
    /// `capacity` wait; then the newest are lost. The interest is known to the server when the future is done.
    fn subscribe<'a>(
        &'a self,
        subject: &'a str,
        queue: Option<&'a str>,
        capacity: usize,
    ) -> BoxFuture<'a, Result<Subscription, BusError>>;

    /// There and back: when it is done, the server has seen everything that was sent before.
    fn round_trip(&self) -> BoxFuture<'_, Result<(), BusError>>;

    /// The largest message that the server takes, headers included, in bytes.
    fn max_payload(&self) -> usize;

    /// A subject under which nobody else subscribes, for replies.
    fn inbox(&self) -> String;

    /// How the connection is, now and at each change.
    fn link(&self) -> watch::Receiver<Link>;

    /// What the server does not permit, as it says so.
    fn denied(&self) -> broadcast::Receiver<Denied>;

    /// A bucket of this name; made where there is none.
    fn bucket<'a>(
        &'a self,
        name: &'a str,
        settings: BucketSettings,
    ) -> BoxFuture<'a, Result<Arc<dyn Bucket>, BusError>>;

    /// The object store of this name; made where there is none.
    fn objects<'a>(&'a self, name: &'a str) -> BoxFuture<'a, Result<Arc<dyn Objects>, BusError>>;

    /// Appends a record to the stream that keeps a subject, once the server has it. The stream is made where there is none,
    /// for everything under `subjects`.
    fn append<'a>(
        &'a self,
        stream: &'a str,
        subjects: &'a str,
        message: Message,
    ) -> BoxFuture<'a, Result<(), BusError>>;

    /// What is appended to a stream outlives this process.
    fn is_lasting(&self) -> bool {
        true
    }

    /// What it is, for a person: `NATS 2.15.1 at 127.0.0.1:4222`.
    fn describe(&self) -> String;

    /// Sends what is still to be sent, and ends.
    fn close(&self) -> BoxFuture<'_, ()>;
}

impl Headers {
    /// Sets a header.
    pub fn put(&mut self, name: impl Into<Cow<'static, str>>, value: impl Into<Cow<'static, str>>) {
        let (name, value) = (name.into(), value.into());
        match self.0.iter_mut().find(|(known, _)| *known == name) {
            Some((_, old)) => *old = value,
            None => self.0.push((name, value)),
        }
    }

    /// Adds a header that is not there yet.
    fn push(&mut self, name: Cow<'static, str>, value: Cow<'static, str>) {
        self.0.push((name, value));
    }

    /// The value of a header. Names are compared as they are.
    pub fn get(&self, name: &str) -> Option<&str> {
        let found = self.0.iter().find(|(known, _)| known == name);
        found.map(|(_, value)| value.as_ref())
    }

    /// All of them, in their order.
    pub fn iter(&self) -> impl Iterator<Item = (&str, &str)> {
        self.0
            .iter()
            .map(|(name, value)| (name.as_ref(), value.as_ref()))
    }

    /// There are none.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Refuses what would read as another header, or as none.
    fn check(&self) -> Result<(), String> {
        for (name, value) in self.iter() {
            let name_fits = |byte: u8| byte.is_ascii_graphic() && byte != b':';
            if name.is_empty() || !name.bytes().all(name_fits) {
                return Err(format!("header {name:?}: the name is not one"));
            }
            if value.bytes().any(|byte| matches!(byte, b'\r' | b'\n')) {
                return Err(format!("header {name}: its value holds a line break"));
            }
        }
        Ok(())
    }

    /// What they take on the wire, in bytes.
    fn size(&self) -> usize {
        if self.is_empty() {
            return 0;
        }
        let line = |(name, value): (&str, &str)| name.len() + value.len() + ": \r\n".len();
        "NATS/1.0\r\n\r\n".len() + self.iter().map(line).sum::<usize>()
    }
}

impl Message {
    /// What counts against [`Bus::max_payload`], in bytes.
    pub fn size(&self) -> usize {
        self.headers.size() + self.payload.len()
    }
}

impl Subscription {
    /// A subscription over what a bus has of it.
    pub fn new(inner: impl Subscribed + 'static) -> Self {
        Self {
            inner: Box::new(inner),
        }
    }

    /// The next message; `None` when no more come.
    pub async fn next(&mut self) -> Option<Message> {
        std::future::poll_fn(|context| self.inner.poll_next(context)).await
    }

    /// Takes the interest away at the server. What it sent before that can still be read; then the messages end.
    pub async fn unsubscribe(&mut self) {
        self.inner.unsubscribe().await;
    }
}

impl Stream for Subscription {
    type Item = Message;

    fn poll_next(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Message>> {
        self.inner.poll_next(context)
    }
}

impl fmt::Debug for Subscription {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Subscription")
    }
}

impl BusError {
    fn no_object(name: &str) -> Self {
        Self(format!(
            "the mesh has no object {name:?}, or no longer: it keeps one for an hour"
        ))
    }

    fn object_too_large(name: &str, size: usize, limit: usize) -> Self {
        Self(format!(
            "object {name:?} has {size} bytes, and no more than {limit} are read"
        ))
    }
}

impl fmt::Display for BusError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::error::Error for BusError {}

impl fmt::Display for NotSent {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Disconnected => f.write_str("there is no connection to the mesh"),
            Self::Full => f.write_str("the connection to the mesh takes no more at the moment"),
            Self::TooLarge(limit) => {
                write!(
                    f,
                    "the message is larger than the {limit} bytes that the mesh takes"
                )
            }
            Self::Subject(why) => f.write_str(why),
        }
    }
}
