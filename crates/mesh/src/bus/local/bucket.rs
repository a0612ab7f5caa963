//! Buckets within the process.

use std::collections::{BTreeMap, VecDeque};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use bytes::Bytes;
use tokio::sync::{mpsc, watch};
use tokio::time::Instant;
use tokio_util::task::TaskTracker;
use toolbus_model::BoxFuture;

use super::lock;
use crate::bus::{Bucket, BucketSettings, BusError, Change, WATCH_QUEUE};
use crate::subject;

/// Changes kept for watches that have not read them. One that is further behind reads everything anew.
const LOG: usize = 4096;

/// What all values of a bucket may take together, in bytes: as for the buckets on a server.
const MAX_BYTES: usize = crate::bus::BUCKET_BYTES;

/// A bucket.
#[derive(Debug)]
pub(super) struct LocalBucket {
    name: String,
    max_age: Option<Duration>,
    values: Mutex<Values>,
    revision: watch::Sender<u64>,
    tasks: TaskTracker,
    /// Itself, for the watches.
    own: std::sync::Weak<LocalBucket>,
}

#[derive(Debug, Default)]
struct Values {
    current: BTreeMap<String, Value>,
    bytes: usize,
    revision: u64,
    /// The last changes, by their revisions without gaps.
    log: VecDeque<(u64, Change)>,
}

#[derive(Debug)]
struct Value {
    value: Bytes,
    revision: u64,
    ends: Option<Instant>,
}

impl LocalBucket {
    pub(super) fn new(name: &str, settings: BucketSettings, tasks: TaskTracker) -> Arc<Self> {
        Arc::new_cyclic(|own| Self {
            name: name.to_owned(),
            max_age: settings.max_age,
            values: Mutex::default(),
            revision: watch::Sender::new(0),
            tasks,
            own: own.clone(),
        })
    }

    fn change<T>(&self, change: impl FnOnce(&mut Values) -> T) -> T {
        let mut values = lock(&self.values);
        values.expire();
        let result = change(&mut values);
        let revision = values.revision;
        drop(values);
        self.revision.send_replace(revision);
        result
    }

    fn set(&self, key: &str, value: Bytes, only_new: bool) -> Result<bool, BusError> {
        check_key(key)?;
        let ends = self.max_age.map(|age| Instant::now() + age);
        self.change(|values| {
            let old = values.current.get(key);
            if only_new && old.is_some() {
                return Ok(false);
            }
            let freed = old.map_or(0, |old| old.value.len());
            if values.bytes - freed + value.len() > MAX_BYTES {
                return Err(BusError(format!(
                    "bucket {} is full: it takes {MAX_BYTES} bytes",
                    self.name
                )));
            }
            values.put(key, value, ends);
            Ok(true)
        })
    }

    /// Changes for a watch that has told everything up to a revision, the revision now, and when a value ends next.
    fn since(&self, told: Option<u64>, pattern: &str) -> (Vec<Change>, u64, Option<Instant>) {
        let mut values = lock(&self.values);
        values.expire();
        let mut changes = Vec::new();
        match told.and_then(|told| values.after(told)) {
            Some(new) => changes.extend(new.filter(|change| change.matches(pattern)).cloned()),
            None => {
                changes.extend(values.all(pattern));
                changes.push(Change::Current);
            }
        }
        let next = values.current.values().filter_map(|value| value.ends).min();
        (changes, values.revision, next)
    }
}

impl Values {
    fn record(&mut self, change: impl FnOnce(u64) -> Change) -> u64 {
        self.revision += 1;
        let change = change(self.revision);
        self.log.push_back((self.revision, change));
        if self.log.len() > LOG {
            self.log.pop_front();
        }
        self.revision
    }

    fn put(&mut self, key: &str, value: Bytes, ends: Option<Instant>) {
        let revision = self.record(|revision| Change::Put(key.to_owned(), value.clone(), revision));
        self.bytes += value.len();
        let value = Value {
            value,
            revision,
            ends,
        };
        if let Some(old) = self.current.insert(key.to_owned(), value) {
            self.bytes -= old.value.len();
        }
    }

    fn remove(&mut self, key: &str) {
        if let Some(old) = self.current.remove(key) {
            self.bytes -= old.value.len();
            self.record(|_| Change::Gone(key.to_owned()));
        }
    }

    fn expire(&mut self) {
        let now = Instant::now();
        let is_over = |value: &Value| value.ends.is_some_and(|ends| ends <= now);
        let over: Vec<String> = (self.current.iter())
            .filter(|(_, value)| is_over(value))
            .map(|(key, _)| key.clone())
            .collect();
        for key in over {
            self.remove(&key);
        }
    }

    /// The changes after a revision, unless some of them are no longer known.
    fn after(&self, told: u64) -> Option<impl Iterator<Item = &Change>> {
        let oldest = self
            .log
            .front()
            .map_or(self.revision + 1, |(first, _)| *first);
        let skip = usize::try_from((told + 1).checked_sub(oldest)?).ok()?;
        Some(self.log.iter().skip(skip).map(|(_, change)| change))
    }

    fn all(&self, pattern: &str) -> impl Iterator<Item = Change> {
        (self.current.iter())
            .filter(move |(key, _)| subject::matches(pattern, key))
            .map(|(key, held)| Change::Put(key.clone(), held.value.clone(), held.revision))
    }
}

impl Change {
    fn matches(&self, pattern: &str) -> bool {
        match self {
            Self::Put(key, ..) | Self::Gone(key) => subject::matches(pattern, key),
            Self::Current => true,
        }
    }
}

/// Tells a watch's receiver what happens, until it is dropped.
async fn tell(bucket: Arc<LocalBucket>, pattern: String, changes: mpsc::Sender<Change>) {
    let mut revision = bucket.revision.subscribe();
    let mut told = None;
    loop {
        revision.mark_unchanged();
        let (new, now, next) = bucket.since(told, &pattern);
        told = Some(now);
        for change in new {
            if changes.send(change).await.is_err() {
                return;
            }
        }
        let expiry = async {
            match next {
                Some(next) => tokio::time::sleep_until(next).await,
                None => std::future::pending().await,
            }
        };
        tokio::select! {
            _ = revision.changed() => {}
            () = expiry => {}
            () = changes.closed() => return,
        }
    }
}

impl Bucket for LocalBucket {
    fn get<'a>(&'a self, key: &'a str) -> BoxFuture<'a, Result<Option<Bytes>, BusError>> {
        Box::pin(async move {
            check_key(key)?;
            let mut values = lock(&self.values);
            values.expire();
            Ok(values.current.get(key).map(|held| held.value.clone()))
        })
    }

    fn put<'a>(&'a self, key: &'a str, value: Bytes) -> BoxFuture<'a, Result<(), BusError>> {
        Box::pin(async move { self.set(key, value, false).map(|_| ()) })
    }

    fn create<'a>(&'a self, key: &'a str, value: Bytes) -> BoxFuture<'a, Result<bool, BusError>> {
        Box::pin(async move { self.set(key, value, true) })
    }

    fn delete<'a>(&'a self, key: &'a str) -> BoxFuture<'a, Result<(), BusError>> {
        Box::pin(async move {
            check_key(key)?;
            self.change(|values| values.remove(key));
            Ok(())
        })
    }

    fn watch<'a>(
        &'a self,
        pattern: &'a str,
    ) -> BoxFuture<'a, Result<mpsc::Receiver<Change>, BusError>> {
        Box::pin(async move {
            subject::check(pattern, true).map_err(BusError)?;
            let (sender, changes) = mpsc::channel(WATCH_QUEUE);
            if let Some(own) = self.own.upgrade() {
                self.tasks.spawn(tell(own, pattern.to_owned(), sender));
            }
            Ok(changes)
        })
    }
}

fn check_key(key: &str) -> Result<(), BusError> {
    subject::check_key(key).map_err(BusError)
}
