//! Buckets of keys and values in JetStream, in the form that all NATS clients share (ADR-8).

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use serde_json::{Value, json};
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use toolbus_model::BoxFuture;

use super::handshake;
use super::jetstream::{JetStream, Refused, WRONG_LAST, nanos};
use super::watching;
use crate::bus::{
    BUCKET_BYTES, Bucket, BucketSettings, BusError, Change, Headers, Message, WATCH_QUEUE,
};
use crate::subject;

/// Says that a value is a deletion.
const OPERATION: &str = "KV-Operation";

/// Says that a value is the server's own note of why a value went.
const MARKER: &str = "Nats-Marker-Reason";

/// How long a server's note of that stays.
const MARKER_AGE: Duration = Duration::from_secs(60);

/// A bucket.
#[derive(Clone)]
pub(super) struct NatsBucket(Arc<Inner>);

struct Inner {
    jetstream: JetStream,
    stream: String,
    prefix: String,
    settings: BucketSettings,
    tasks: TaskTracker,
    stop: CancellationToken,
}

impl NatsBucket {
    pub(super) async fn open(
        jetstream: JetStream,
        name: &str,
        settings: BucketSettings,
        tasks: TaskTracker,
        stop: CancellationToken,
    ) -> Result<Self, BusError> {
        subject::check_store(name).map_err(BusError)?;
        let bucket = Self(Arc::new(Inner {
            jetstream,
            stream: format!("KV_{name}"),
            prefix: format!("$KV.{name}."),
            settings,
            tasks,
            stop,
        }));
        let (stream, config) = (bucket.stream(), bucket.config());
        bucket.jetstream().ensure_once(stream, &config).await?;
        Ok(bucket)
    }

    pub(super) fn jetstream(&self) -> &JetStream {
        &self.0.jetstream
    }

    pub(super) fn stream(&self) -> &str {
        &self.0.stream
    }

    pub(super) fn prefix(&self) -> &str {
        &self.0.prefix
    }

    /// Makes the bucket where there is none.
    pub(super) async fn ensure(&self) -> Result<(), BusError> {
        self.jetstream().ensure(self.stream(), &self.config()).await
    }

    /// The server tells of values whose time was over.
    fn has_markers(&self) -> bool {
        let server = self.jetstream().shared.server();
        handshake::version(&server.version) >= Some((2, 11))
    }

    /// How often everything must be read again to notice what is gone, where the server does not tell.
    pub(super) fn reread_after(&self) -> Option<Duration> {
        let age = self.0.settings.max_age.filter(|_| !self.has_markers())?;
        Some((age / 2).max(Duration::from_secs(1)))
    }

    fn config(&self) -> Value {
        let BucketSettings { max_age, history } = self.0.settings;
        let mut config = json!({
            "name": self.stream(),
            "subjects": [format!("{}>", self.prefix())],
            "storage": "file",
            "num_replicas": 1,
            "discard": "new",
            "max_bytes": BUCKET_BYTES,
            // The last value and those before it.
            "max_msgs_per_subject": u32::from(history.min(63)) + 1,
            "allow_direct": true,
            "allow_rollup_hdrs": true,
            "deny_delete": true,
        });
        if let Some(age) = max_age {
            config["max_age"] = nanos(age).into();
            config["duplicate_window"] = nanos(age.min(Duration::from_secs(120))).into();
            if self.has_markers() {
                config["allow_msg_ttl"] = true.into();
                config["subject_delete_marker_ttl"] = nanos(MARKER_AGE).into();
            }
        }
        config
    }

    /// Keeps a value; once more where the bucket was lost and could be made again.
    async fn keep(&self, key: &str, headers: Headers, value: Bytes) -> Result<(), Refused> {
        let message = Message {
            subject: format!("{}{key}", self.prefix()),
            headers,
            payload: value,
            ..Message::default()
        };
        match self.jetstream().keep(message.clone()).await {
            Err(Refused::NoOne) => {}
            kept => return kept,
        }
        self.ensure().await.map_err(Refused::Bus)?;
        self.jetstream().keep(message).await
    }

    async fn last(&self, key: &str) -> Result<Option<Message>, BusError> {
        let key = format!("{}{key}", self.prefix());
        match self.jetstream().last(self.stream(), &key).await {
            // No bucket: nobody answers for it, and nothing is in it.
            Err(Refused::NoOne) => self.ensure().await.map(|()| None),
            last => last.map_err(|why| self.explain(why)),
        }
    }

    async fn create_new(&self, key: &str, value: Bytes) -> Result<bool, BusError> {
        match self.keep(key, expecting("0"), value.clone()).await {
            Ok(()) => return Ok(true),
            Err(Refused::Api(WRONG_LAST, _)) => {}
            Err(why) => return Err(self.explain(why)),
        }
        // Something is there, but it may be the note of a deletion.
        let Some(last) = self.last(key).await? else {
            return Ok(false);
        };
        let Some(sequence) = last.headers.get("Nats-Sequence").filter(|_| is_gone(&last)) else {
            return Ok(false);
        };
        match self.keep(key, expecting(sequence), value).await {
            Ok(()) => Ok(true),
            Err(Refused::Api(WRONG_LAST, _)) => Ok(false),
            Err(why) => Err(self.explain(why)),
        }
    }

    pub(super) fn explain(&self, why: Refused) -> BusError {
        self.jetstream().explain(self.stream(), why)
    }
}

/// Kept only where nothing came after this sequence number under the key.
fn expecting(sequence: &str) -> Headers {
    let mut headers = Headers::default();
    headers.put("Nats-Expected-Last-Subject-Sequence", sequence.to_owned());
    headers
}

/// A message of a bucket's stream says that its key is gone.
pub(super) fn is_gone(message: &Message) -> bool {
    message
        .headers
        .get(OPERATION)
        .is_some_and(|what| what != "PUT")
        || message.headers.get(MARKER).is_some()
}

impl Bucket for NatsBucket {
    fn get<'a>(&'a self, key: &'a str) -> BoxFuture<'a, Result<Option<Bytes>, BusError>> {
        Box::pin(async move {
            subject::check_key(key).map_err(BusError)?;
            let last = self.last(key).await?;
            Ok(last.filter(|last| !is_gone(last)).map(|last| last.payload))
        })
    }

    fn put<'a>(&'a self, key: &'a str, value: Bytes) -> BoxFuture<'a, Result<(), BusError>> {
        Box::pin(async move {
            subject::check_key(key).map_err(BusError)?;
            let kept = self.keep(key, Headers::default(), value).await;
            kept.map_err(|why| self.explain(why))
        })
    }

    fn create<'a>(&'a self, key: &'a str, value: Bytes) -> BoxFuture<'a, Result<bool, BusError>> {
        Box::pin(async move {
            subject::check_key(key).map_err(BusError)?;
            self.create_new(key, value).await
        })
    }

    fn delete<'a>(&'a self, key: &'a str) -> BoxFuture<'a, Result<(), BusError>> {
        Box::pin(async move {
            subject::check_key(key).map_err(BusError)?;
            let mut headers = Headers::default();
            headers.put(OPERATION, "DEL");
            let kept = self.keep(key, headers, Bytes::new()).await;
            kept.map_err(|why| self.explain(why))
        })
    }

    fn watch<'a>(
        &'a self,
        pattern: &'a str,
    ) -> BoxFuture<'a, Result<mpsc::Receiver<Change>, BusError>> {
        Box::pin(async move {
            subject::check(pattern, true).map_err(BusError)?;
            let (sender, changes) = mpsc::channel(WATCH_QUEUE);
            let watch = watching::run(self.clone(), pattern.to_owned(), sender);
            let stop = self.0.stop.clone();
            self.0.tasks.spawn(stop.run_until_cancelled_owned(watch));
            Ok(changes)
        })
    }
}

impl fmt::Debug for NatsBucket {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.stream())
    }
}
