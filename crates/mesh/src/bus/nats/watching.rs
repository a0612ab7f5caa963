//! A watch of a bucket: an ordered consumer, begun anew whenever something of it may have been missed.

use std::time::Duration;

use serde::Deserialize;
use serde_json::{Value, json};
use tokio::sync::{mpsc, watch};
use tokio::time::Instant;
use uuid::Uuid;

use super::PATIENCE;
use super::bucket::{NatsBucket, is_gone};
use super::jetstream::{Refused, nanos};
use super::subscription::Interested;
use super::wire::STATUS;
use crate::bus::{BusError, Change, Link, Message};

/// How often the server says that there is nothing new.
const HEARTBEAT: Duration = Duration::from_secs(2);

/// Without a word for so long, the consumer is gone.
const SILENCE: Duration = Duration::from_secs(6);

/// A consumer that nobody listens to is taken away by the server after this time.
const ABANDONED: Duration = Duration::from_secs(30);

/// Messages that wait for the watch. The server holds back more than that where it is told so (flow control).
const QUEUE: usize = 16 * 1024;

/// The first wait before a watch is begun anew, and the longest.
const WAITS: [Duration; 2] = [Duration::from_millis(50), Duration::from_secs(2)];

/// Why a watch ends, or must begin anew.
enum Ended {
    /// Nobody listens any more.
    Unwanted,
    /// Something may have been missed.
    Missed(String),
}

/// A consumer of the bucket's stream, and what it still has to tell of what was there at its beginning.
struct Consumer {
    messages: Interested,
    /// The number of its last message.
    last: u64,
    is_current: bool,
}

#[derive(Deserialize)]
struct Created {
    #[serde(default)]
    num_pending: u64,
}

/// Tells all values and all changes, until nobody listens.
pub(super) async fn run(bucket: NatsBucket, pattern: String, changes: mpsc::Sender<Change>) {
    let mut wait = WAITS[0];
    loop {
        let began = Instant::now();
        match tokio::select! {
            () = changes.closed() => Ended::Unwanted,
            ended = once(&bucket, &pattern, &changes) => ended,
        } {
            Ended::Unwanted => return,
            Ended::Missed(why) => tracing::debug!(bucket = ?bucket, why, "the watch begins anew"),
        }
        if began.elapsed() > SILENCE {
            wait = WAITS[0];
        }
        tokio::select! {
            () = changes.closed() => return,
            () = tokio::time::sleep(wait) => {}
        }
        wait = (wait * 2).min(WAITS[1]);
    }
}

/// One consumer's time.
async fn once(bucket: &NatsBucket, pattern: &str, changes: &mpsc::Sender<Change>) -> Ended {
    let mut link = bucket.jetstream().shared.link.subscribe();
    let is_up = link.wait_for(|link| matches!(link, Link::Up(_))).await;
    let Ok(connection) = is_up.map(|link| link.clone()) else {
        return Ended::Missed("closed".into());
    };
    let begun = match begin(bucket, pattern).await {
        Ok(begun) => begun,
        Err(error) => {
            tracing::warn!(error = %error, "the mesh's catalog cannot be watched; it is tried again");
            return Ended::Missed(error.0);
        }
    };
    tokio::select! {
        ended = begun.tell(bucket, changes) => ended,
        () = is_other(&mut link, &connection) => Ended::Missed("the connection was lost".into()),
        () = due(bucket.reread_after()) => Ended::Missed("it is time to look what is gone".into()),
    }
}

async fn is_other(link: &mut watch::Receiver<Link>, connection: &Link) {
    // An error means that the bus is gone, which is as good.
    let _ = link.wait_for(|link| link != connection).await;
}

async fn due(after: Option<Duration>) {
    match after {
        Some(after) => tokio::time::sleep(after).await,
        None => std::future::pending().await,
    }
}

async fn begin(bucket: &NatsBucket, pattern: &str) -> Result<Consumer, BusError> {
    let (inbox, messages) = bucket.jetstream().answers(QUEUE);
    let created = match create(bucket, pattern, &inbox).await {
        Err(Refused::Api(..) | Refused::NoOne) => {
            // The bucket may be lost.
            bucket.ensure().await?;
            create(bucket, pattern, &inbox).await
        }
        created => created,
    };
    let created = created.map_err(|why| bucket.explain(why))?;
    Ok(Consumer {
        messages,
        last: 0,
        is_current: created.num_pending == 0,
    })
}

async fn create(bucket: &NatsBucket, pattern: &str, inbox: &str) -> Result<Created, Refused> {
    let stream = bucket.stream();
    let name = Uuid::new_v4().simple();
    let filter = format!("{}{pattern}", bucket.prefix());
    let what = format!("CONSUMER.CREATE.{stream}.{name}.{filter}");
    bucket
        .jetstream()
        .api(&what, &settings(stream, &name.to_string(), &filter, inbox))
        .await
}

fn settings(stream: &str, name: &str, filter: &str, inbox: &str) -> Value {
    json!({
        "stream_name": stream,
        "config": {
            "name": name,
            "deliver_subject": inbox,
            "deliver_policy": "last_per_subject",
            "filter_subject": filter,
            "ack_policy": "none",
            "max_deliver": 1,
            "flow_control": true,
            "idle_heartbeat": nanos(HEARTBEAT),
            "inactive_threshold": nanos(ABANDONED),
            "mem_storage": true,
            "num_replicas": 1,
        },
    })
}

impl Consumer {
    async fn tell(mut self, bucket: &NatsBucket, changes: &mpsc::Sender<Change>) -> Ended {
        if self.is_current && changes.send(Change::Current).await.is_err() {
            return Ended::Unwanted;
        }
        loop {
            let message = match self.messages.next(SILENCE).await {
                Ok(message) => message,
                Err(_) => return Ended::Missed("the consumer is gone".into()),
            };
            let ended = match message.headers.get(STATUS) {
                Some(_) => self.answer(bucket, &message),
                None => self.pass(bucket, message, changes).await,
            };
            if let Some(ended) = ended {
                return ended;
            }
        }
    }

    /// A word of the server's: nothing new, or the question whether what it sent has been read.
    fn answer(&self, bucket: &NatsBucket, message: &Message) -> Option<Ended> {
        let missed = |why: &str| Some(Ended::Missed(why.to_owned()));
        let status = message.headers.get(STATUS)?;
        if !status.starts_with("100") {
            return missed(status);
        }
        let stalled = message.headers.get("Nats-Consumer-Stalled");
        if let Some(subject) = message.reply.as_deref().or(stalled) {
            let read = Message {
                subject: subject.to_owned(),
                ..Message::default()
            };
            if bucket.jetstream().send(&read).is_err() {
                return missed("the connection was lost");
            }
        }
        let last = message.headers.get("Nats-Last-Consumer");
        match last.and_then(|last| last.parse::<u64>().ok()) {
            Some(last) if last != self.last => missed("messages were lost"),
            _ => None,
        }
    }

    async fn pass(
        &mut self,
        bucket: &NatsBucket,
        message: Message,
        changes: &mpsc::Sender<Change>,
    ) -> Option<Ended> {
        let place = message.reply.as_deref().and_then(Place::read);
        let (Some(place), Some(key)) = (place, message.subject.strip_prefix(bucket.prefix()))
        else {
            return Some(Ended::Missed("a message is not one of the bucket".into()));
        };
        if place.consumer != self.last + 1 {
            return Some(Ended::Missed("messages were lost".into()));
        }
        self.last = place.consumer;
        let key = key.to_owned();
        let change = if is_gone(&message) {
            Change::Gone(key)
        } else {
            Change::Put(key, message.payload, place.stream)
        };
        if changes.send(change).await.is_err() {
            return Some(Ended::Unwanted);
        }
        if place.pending == 0 && !self.is_current {
            self.is_current = true;
            if changes.send(Change::Current).await.is_err() {
                return Some(Ended::Unwanted);
            }
        }
        None
    }
}

/// Where a message stands: `$JS.ACK.<stream>.<consumer>.<delivered>.<stream seq>.<consumer seq>.<time>.<pending>`, with
/// a domain and an account before the stream in the newer form.
struct Place {
    stream: u64,
    consumer: u64,
    pending: u64,
}

impl Place {
    fn read(reply: &str) -> Option<Self> {
        let tokens: Vec<&str> = reply.strip_prefix("$JS.ACK.")?.split('.').collect();
        let skip = if tokens.len() == 7 { 0 } else { 2 };
        let number = |place: usize| tokens.get(skip + place)?.parse().ok();
        Some(Self {
            stream: number(3)?,
            consumer: number(4)?,
            pending: number(6)?,
        })
    }
}

/// Kept here so that the wait for a consumer's creation is never longer than its silence would be.
const _: () = assert!(PATIENCE.as_secs() <= SILENCE.as_secs());

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_messages_place_is_read() {
        for reply in [
            "$JS.ACK.KV_A.c.1.7.3.123.5",
            "$JS.ACK._.ACCHASH.KV_A.c.1.7.3.123.5",
            "$JS.ACK.d.h.KV_A.c.1.7.3.123.5.x",
        ] {
            let place = Place::read(reply).expect(reply);
            assert_eq!((place.stream, place.consumer, place.pending), (7, 3, 5));
        }
        assert!(Place::read("_INBOX.x").is_none() && Place::read("$JS.ACK.a.b").is_none());
    }
}
