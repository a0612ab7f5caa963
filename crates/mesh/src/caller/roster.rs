//! The workers of a mesh, for whoever asks once.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use tokio::time::{Instant, timeout, timeout_at};

use crate::bus::{BucketSettings, Bus, BusError, Change, Message};
use crate::frame::{Control, header};
use crate::registry::{HEARTBEAT, Heartbeat, WORKER_TTL, WorkerRecord, bucket};
use crate::subject::Subjects;

/// How long a bucket may take to be read.
const READ_WITHIN: Duration = Duration::from_secs(5);

/// How long a worker may take to answer on its control subject.
const ANSWER_WITHIN: Duration = Duration::from_secs(2);

/// Longer than from one heartbeat to the next.
const BEAT_WITHIN: Duration = HEARTBEAT.saturating_add(Duration::from_millis(500));

/// The largest record in the object store that is read, in bytes.
const LARGEST_RECORD: usize = 16 * 1024 * 1024;

/// Heartbeats and answers that wait.
const WAITING: usize = 4_096;

/// A worker that is registered.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Member {
    /// What it has.
    pub record: WorkerRecord,
    /// What its heart said; none of one that was not heard of.
    pub beat: Option<Heartbeat>,
}

/// Asks a mesh about its workers.
#[derive(Debug)]
pub struct Roster<'a> {
    bus: &'a Arc<dyn Bus>,
    subjects: &'a Subjects,
}

impl<'a> Roster<'a> {
    /// Of this mesh.
    pub fn new(bus: &'a Arc<dyn Bus>, subjects: &'a Subjects) -> Self {
        Self { bus, subjects }
    }

    /// All workers, by their ids. Waits until the heart of each has beaten, or was due to.
    pub async fn all(&self) -> Result<BTreeMap<String, Member>, BusError> {
        let pattern = self.subjects.heartbeat("*");
        let mut beats = self.bus.subscribe(&pattern, None, WAITING).await?;
        let mut members = self.records().await?;
        let end = Instant::now() + BEAT_WITHIN;
        while members.values().any(|member| member.beat.is_none()) {
            let Ok(Some(message)) = timeout_at(end, beats.next()).await else {
                break;
            };
            let id = message.subject.rsplit('.').next().unwrap_or_default();
            if let Some(member) = members.get_mut(id) {
                member.beat = serde_json::from_slice(&message.payload).ok();
            }
        }
        Ok(members)
    }

    /// What is registered.
    async fn records(&self) -> Result<BTreeMap<String, Member>, BusError> {
        let name = self.subjects.bucket(bucket::WORKERS);
        let settings = BucketSettings {
            max_age: Some(WORKER_TTL),
            history: 1,
        };
        let bucket = self.bus.bucket(&name, settings).await?;
        let mut changes = bucket.watch(&self.subjects.key(&[">"])).await?;
        let mut members = BTreeMap::new();
        let reading = async {
            while let Some(change) = changes.recv().await {
                match change {
                    Change::Put(key, value, _) => {
                        let id = key.rsplit('.').next().unwrap_or_default().to_owned();
                        let record = self.record(&value).await?;
                        members.insert(id, Member { record, beat: None });
                    }
                    Change::Gone(key) => {
                        members.remove(key.rsplit('.').next().unwrap_or_default());
                    }
                    Change::Current => break,
                }
            }
            Ok(())
        };
        let read = timeout(READ_WITHIN, reading).await;
        read.map_err(|_| BusError("the list of workers does not come".to_owned()))??;
        Ok(members)
    }

    async fn record(&self, value: &[u8]) -> Result<WorkerRecord, BusError> {
        let wrong = |error: serde_json::Error| {
            BusError(format!("a worker's record cannot be read: {error}"))
        };
        let mut record: WorkerRecord = serde_json::from_slice(value).map_err(wrong)?;
        if let Some(object) = &record.object {
            let store = self
                .bus
                .objects(&self.subjects.bucket(bucket::OBJECTS))
                .await?;
            let servers = store.get(object, LARGEST_RECORD).await?;
            record.servers = serde_json::from_slice(&servers).map_err(wrong)?;
        }
        Ok(record)
    }

    /// Tells a worker to take nothing new, to finish what it has, and to end.
    pub async fn drain(&self, id: &str) -> Result<(), BusError> {
        let inbox = self.bus.inbox();
        let mut answers = self.bus.subscribe(&inbox, None, WAITING).await?;
        let message = Message {
            subject: self.subjects.control(id),
            reply: Some(inbox),
            headers: Control::Drain.headers(None),
            ..Message::default()
        };
        let sent = self.bus.send(message);
        sent.map_err(|why| BusError(why.to_string()))?;
        let answer = timeout(ANSWER_WITHIN, answers.next()).await;
        match answer.ok().flatten() {
            Some(answer) if answer.no_responders => {
                Err(BusError(format!("the worker {id} is not there")))
            }
            Some(answer) => match answer.headers.get(header::SERVICE_ERROR) {
                None => Ok(()),
                Some(_) => Err(BusError(
                    String::from_utf8_lossy(&answer.payload).into_owned(),
                )),
            },
            None => Err(BusError(format!("the worker {id} does not answer"))),
        }
    }
}
