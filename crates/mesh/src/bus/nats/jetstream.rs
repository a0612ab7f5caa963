//! What is asked of JetStream: streams, and what they hold.
//!
//! The subjects and bodies are those of <https://docs.nats.io/reference/reference-protocols/nats_api_reference>.

use std::sync::Arc;

use bytes::Bytes;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use super::{Interested, PATIENCE, Shared};
use crate::bus::nats::wire::STATUS;
use crate::bus::{BusError, Link, Message};

/// How much a stream of records keeps, in bytes; the oldest go first.
const STREAM_BYTES: u64 = 1024 * 1024 * 1024;

/// How long a stream of records keeps them.
const STREAM_AGE: std::time::Duration = std::time::Duration::from_secs(30 * 24 * 3600);

/// JetStream's number for "stream not found".
const NO_STREAM: u64 = 10_059;

/// For "stream name already in use with a different configuration".
const OTHER_STREAM: u64 = 10_058;

/// For "wrong last sequence": someone was faster.
pub(super) const WRONG_LAST: u64 = 10_071;

/// For "insufficient resources" and "no limits left" of several kinds.
const NO_ROOM: [u64; 5] = [10_023, 10_028, 10_047, 10_077, 10_122];

/// For JetStream that is not there, or not for this account.
const NO_JETSTREAM: [u64; 3] = [10_035, 10_039, 10_076];

/// JetStream, as one connection reaches it.
#[derive(Clone)]
pub(super) struct JetStream {
    pub(super) shared: Arc<Shared>,
}

/// Why JetStream did not do something.
#[derive(Debug)]
pub(super) enum Refused {
    /// It says so, with its number.
    Api(u64, String),
    /// Nobody is there to ask: no such stream, or no JetStream.
    NoOne,
    /// Anything else.
    Bus(BusError),
}

/// Any answer: an error, or what was asked for.
#[derive(Deserialize)]
struct Answer<T> {
    error: Option<Problem>,
    #[serde(flatten)]
    result: Option<T>,
}

#[derive(Deserialize)]
#[serde(default)]
#[derive(Default)]
struct Problem {
    err_code: u64,
    description: String,
}

impl JetStream {
    pub(super) fn new(shared: Arc<Shared>) -> Self {
        Self { shared }
    }

    /// Asks for one answer. The subject is ours, and may be longer than a message's of the mesh.
    pub(super) async fn request(&self, mut message: Message) -> Result<Message, Refused> {
        let inbox = self.shared.inbox();
        let (mut answers, _) = self.shared.listen(&inbox, None, 1);
        let mut denied = self.shared.denied.subscribe();
        let mut link = self.shared.link.subscribe();
        message.reply = Some(inbox);
        self.send(&message)?;
        let refusal = async {
            loop {
                match denied.recv().await {
                    Ok(denied) if denied.is_publish && denied.subject == message.subject => return,
                    Ok(_) | Err(tokio::sync::broadcast::error::RecvError::Lagged(_)) => {}
                    Err(_) => return std::future::pending().await,
                }
            }
        };
        tokio::select! {
            answer = answers.next(PATIENCE) => match answer.map_err(Refused::Bus)? {
                answer if answer.no_responders => Err(Refused::NoOne),
                answer => Ok(answer),
            },
            () = refusal => Err(Refused::Bus(not_permitted(&message.subject))),
            _ = link.wait_for(|link| matches!(link, Link::Down(_))) => Err(Refused::Bus(self.shared.down())),
        }
    }

    pub(super) fn send(&self, message: &Message) -> Result<(), Refused> {
        self.shared
            .send(message)
            .map_err(|why| Refused::Bus(BusError(why.to_string())))
    }

    /// Asks JetStream's interface, under `$JS.API.`.
    pub(super) async fn api<T: for<'de> Deserialize<'de>>(
        &self,
        what: &str,
        body: &impl Serialize,
    ) -> Result<T, Refused> {
        let message = Message {
            subject: format!("$JS.API.{what}"),
            payload: serde_json::to_vec(body)
                .map(Bytes::from)
                .map_err(unreadable)?,
            ..Message::default()
        };
        read(&self.request(message).await?)
    }

    /// Has a stream keep a message.
    pub(super) async fn keep(&self, message: Message) -> Result<(), Refused> {
        acknowledged(&self.request(message).await?)
    }

    /// The last message of a subject in a stream. The subject is part of the question's, so that permissions can name it.
    pub(super) async fn last(
        &self,
        stream: &str,
        subject: &str,
    ) -> Result<Option<Message>, Refused> {
        let which = format!("{stream}.{subject}");
        self.get(&which, Bytes::new()).await
    }

    /// The first message from a number on that has a subject.
    pub(super) async fn from(
        &self,
        stream: &str,
        sequence: u64,
        subject: &str,
    ) -> Result<Option<Message>, Refused> {
        let which = json!({ "seq": sequence, "next_by_subj": subject });
        self.get(stream, which.to_string().into()).await
    }

    /// A message of a stream that allows to be read so (`allow_direct`).
    async fn get(&self, which: &str, payload: Bytes) -> Result<Option<Message>, Refused> {
        let message = Message {
            subject: format!("$JS.API.DIRECT.GET.{which}"),
            payload,
            ..Message::default()
        };
        let answer = self.request(message).await?;
        match answer.headers.get(STATUS) {
            None => Ok(Some(answer)),
            Some(status) if status.starts_with("404") => Ok(None),
            Some(status) => Err(Refused::Bus(BusError(format!("JetStream says {status:?}")))),
        }
    }

    /// [`JetStream::ensure`], unless the stream was there before: whoever then finds that it is not makes it anew.
    pub(super) async fn ensure_once(&self, name: &str, config: &Value) -> Result<(), BusError> {
        if !self.shared.is_known(name) {
            self.ensure(name, config).await?;
            self.shared.set_known(name, true);
        }
        Ok(())
    }

    /// Makes a stream where there is none. One that is there stays as its owner made it.
    pub(super) async fn ensure(&self, name: &str, config: &Value) -> Result<(), BusError> {
        let found = self
            .api::<Value>(&format!("STREAM.INFO.{name}"), &json!({}))
            .await;
        let made = match found {
            Err(Refused::Api(NO_STREAM, _)) => {
                self.api::<Value>(&format!("STREAM.CREATE.{name}"), config)
                    .await
            }
            found => found,
        };
        match made {
            Ok(_) | Err(Refused::Api(OTHER_STREAM, _)) => Ok(()),
            Err(why) => Err(self.explain(name, why)),
        }
    }

    /// Why something with a stream cannot be done, for a person.
    pub(super) fn explain(&self, stream: &str, why: Refused) -> BusError {
        let server = self.shared.server();
        match why {
            Refused::Bus(error) => BusError(format!("{stream}: {error}")),
            Refused::NoOne if server.has_jetstream => BusError(format!(
                "{stream}: JetStream does not answer at {}; it may still be starting, or this account may not use it",
                server.address
            )),
            Refused::NoOne => no_jetstream(&server.address),
            Refused::Api(number, _) if NO_JETSTREAM.contains(&number) => {
                no_jetstream(&server.address)
            }
            Refused::Api(number, text) if NO_ROOM.contains(&number) => BusError(format!(
                "{stream}: JetStream has no room: {text}; raise max_file or max_store in the NATS server's configuration, or the account's limits"
            )),
            Refused::Api(_, text) => BusError(format!("{stream}: JetStream says {text:?}")),
        }
    }

    /// Appends a record, and makes the stream where there is none.
    pub(super) async fn append(
        &self,
        stream: &str,
        subjects: &str,
        message: Message,
    ) -> Result<(), BusError> {
        // Others may listen to the subject, so that a stream that is missing is not noticed by the silence.
        if self.shared.is_known(stream) {
            match self.keep(message.clone()).await {
                Ok(()) => return Ok(()),
                Err(Refused::NoOne) => {}
                Err(why) => {
                    self.shared.set_known(stream, false);
                    return Err(self.explain(stream, why));
                }
            }
        }
        let config = json!({
            "name": stream,
            "subjects": [subjects],
            "storage": "file",
            "num_replicas": 1,
            "discard": "old",
            "max_bytes": STREAM_BYTES,
            "max_age": nanos(STREAM_AGE),
        });
        self.ensure(stream, &config).await?;
        self.shared.set_known(stream, true);
        self.keep(message)
            .await
            .map_err(|why| self.explain(stream, why))
    }

    /// A subscription for the answers to several messages.
    pub(super) fn answers(&self, capacity: usize) -> (String, Interested) {
        let inbox = self.shared.inbox();
        let (answers, _) = self.shared.listen(&inbox, None, capacity);
        (inbox, answers)
    }
}

/// A stream's word that it has a message.
pub(super) fn acknowledged(answer: &Message) -> Result<(), Refused> {
    if answer.no_responders {
        return Err(Refused::NoOne);
    }
    read::<Value>(answer).map(|_| ())
}

fn read<T: for<'de> Deserialize<'de>>(answer: &Message) -> Result<T, Refused> {
    let answer: Answer<T> = serde_json::from_slice(&answer.payload).map_err(unreadable)?;
    match (answer.error, answer.result) {
        (Some(problem), _) => Err(Refused::Api(problem.err_code, problem.description)),
        (None, Some(result)) => Ok(result),
        (None, None) => Err(Refused::Bus(BusError(
            "JetStream answered with something else".into(),
        ))),
    }
}

/// A span of time as JetStream has it.
pub(super) fn nanos(time: std::time::Duration) -> u64 {
    u64::try_from(time.as_nanos()).unwrap_or(u64::MAX)
}

fn unreadable(error: serde_json::Error) -> Refused {
    Refused::Bus(BusError(format!(
        "JetStream's answer cannot be read: {error}"
    )))
}

fn not_permitted(subject: &str) -> BusError {
    BusError(format!(
        "the NATS server does not permit to publish to {subject}: give this user the permission"
    ))
}

fn no_jetstream(address: &str) -> BusError {
    BusError(format!(
        "the NATS server at {address} has no JetStream for us, in which the catalog of tools is kept: start it with -js, or with `jetstream {{}}` in its configuration (and `jetstream: enabled` in the account)"
    ))
}
