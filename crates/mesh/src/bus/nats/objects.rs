//! Large things in JetStream, in the form that all NATS clients share (ADR-20).

use std::fmt;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE;
use bytes::{Bytes, BytesMut};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use sha2::{Digest as _, Sha256};
use toolbus_model::BoxFuture;
use uuid::Uuid;

use super::PATIENCE;
use super::jetstream::{JetStream, Refused, acknowledged, nanos};
use crate::bus::{BusError, Headers, Message, OBJECT_AGE, OBJECT_BYTES, Objects};
use crate::subject;

/// The size of a part, in bytes, where the server takes it.
const PART: usize = 128 * 1024;

/// Parts under way that the server has not acknowledged.
const WINDOW: usize = 16;

/// A store of objects.
pub(super) struct NatsObjects {
    jetstream: JetStream,
    name: String,
    stream: String,
}

/// What is known of an object.
#[derive(Serialize, Deserialize)]
struct Known {
    name: String,
    bucket: String,
    nuid: String,
    size: usize,
    chunks: usize,
    digest: String,
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    deleted: bool,
}

impl NatsObjects {
    pub(super) async fn open(jetstream: JetStream, name: &str) -> Result<Self, BusError> {
        subject::check_store(name).map_err(BusError)?;
        let objects = Self {
            jetstream,
            name: name.to_owned(),
            stream: format!("OBJ_{name}"),
        };
        let (stream, config) = (&objects.stream, objects.config());
        objects.jetstream.ensure_once(stream, &config).await?;
        Ok(objects)
    }

    async fn ensure(&self) -> Result<(), BusError> {
        let config = self.config();
        self.jetstream.ensure(&self.stream, &config).await
    }

    fn config(&self) -> Value {
        json!({
            "name": self.stream,
            "subjects": [format!("$O.{}.C.>", self.name), format!("$O.{}.M.>", self.name)],
            "storage": "file",
            "num_replicas": 1,
            "discard": "new",
            "max_bytes": OBJECT_BYTES,
            "max_age": nanos(OBJECT_AGE),
            "allow_direct": true,
            "allow_rollup_hdrs": true,
        })
    }

    fn parts(&self, id: &str) -> String {
        format!("$O.{}.C.{id}", self.name)
    }

    fn about(&self, name: &str) -> String {
        format!("$O.{}.M.{}", self.name, URL_SAFE.encode(name))
    }

    async fn known(&self, name: &str) -> Result<Option<Known>, Refused> {
        let found = match self.jetstream.last(&self.stream, &self.about(name)).await {
            Err(Refused::NoOne) => None,
            found => found?,
        };
        let Some(found) = found else { return Ok(None) };
        let known: Known = serde_json::from_slice(&found.payload)
            .map_err(|error| Refused::Bus(BusError(format!("object {name:?}: {error}"))))?;
        Ok(Some(known).filter(|known| !known.deleted))
    }

    async fn write(&self, name: &str, body: &Bytes) -> Result<(), Refused> {
        let id = Uuid::new_v4().simple().to_string();
        let size = PART.min(
            self.jetstream
                .shared
                .max_payload
                .load(std::sync::atomic::Ordering::Relaxed)
                / 2,
        );
        let (chunks, digest) = match self.write_parts(&self.parts(&id), body, size).await {
            Ok(written) => written,
            Err(why) => {
                // What is there of it would take up room for an hour.
                let _ = self.purge(&id).await;
                return Err(why);
            }
        };
        let old = self.known(name).await?;
        let known = Known {
            name: name.to_owned(),
            bucket: self.name.clone(),
            nuid: id,
            size: body.len(),
            chunks,
            digest,
            deleted: false,
        };
        self.tell(&known).await?;
        match old {
            Some(old) => self.purge(&old.nuid).await,
            None => Ok(()),
        }
    }

    /// Sends the parts, some at once, and waits until all are kept. Gives their number and the digest of the whole.
    async fn write_parts(
        &self,
        subject: &str,
        body: &Bytes,
        size: usize,
    ) -> Result<(usize, String), Refused> {
        let (inbox, mut answers) = self.jetstream.answers(WINDOW * 2);
        let (mut sent, mut kept) = (0, 0);
        let mut hash = Sha256::new();
        for start in (0..body.len()).step_by(size) {
            let part = body.slice(start..body.len().min(start + size));
            hash.update(&part);
            let message = Message {
                subject: subject.to_owned(),
                reply: Some(inbox.clone()),
                payload: part,
                ..Message::default()
            };
            self.jetstream.send(&message)?;
            sent += 1;
            while sent - kept >= WINDOW {
                acknowledged(&answers.next(PATIENCE).await.map_err(Refused::Bus)?)?;
                kept += 1;
            }
        }
        while kept < sent {
            acknowledged(&answers.next(PATIENCE).await.map_err(Refused::Bus)?)?;
            kept += 1;
        }
        Ok((sent, digest(hash)))
    }

    /// Writes down what is known of an object, in place of what was.
    async fn tell(&self, known: &Known) -> Result<(), Refused> {
        let mut headers = Headers::default();
        headers.put("Nats-Rollup", "sub");
        let json =
            serde_json::to_vec(known).map_err(|error| Refused::Bus(BusError(error.to_string())))?;
        self.jetstream
            .keep(Message {
                subject: self.about(&known.name),
                headers,
                payload: json.into(),
                ..Message::default()
            })
            .await
    }

    async fn purge(&self, id: &str) -> Result<(), Refused> {
        let what = format!("STREAM.PURGE.{}", self.stream);
        let parts = json!({ "filter": self.parts(id) });
        self.jetstream.api::<Value>(&what, &parts).await.map(|_| ())
    }

    async fn read(&self, name: &str, limit: usize) -> Result<Bytes, BusError> {
        let known = self.known(name).await.map_err(|why| self.explain(why))?;
        let known = known.ok_or_else(|| BusError::no_object(name))?;
        if known.size > limit {
            return Err(BusError::object_too_large(name, known.size, limit));
        }
        let body = self
            .read_parts(&known)
            .await
            .map_err(|why| self.explain(why))?;
        body.ok_or_else(|| {
            BusError(format!(
                "object {name:?} is damaged: its digest is another one"
            ))
        })
    }

    async fn read_parts(&self, known: &Known) -> Result<Option<Bytes>, Refused> {
        let mut body = BytesMut::with_capacity(known.size);
        let mut hash = Sha256::new();
        let subject = self.parts(&known.nuid);
        let mut sequence = 1;
        while body.len() < known.size {
            let next = self.jetstream.from(&self.stream, sequence, &subject);
            let Some(part) = next.await? else {
                return Ok(None);
            };
            let found = part
                .headers
                .get("Nats-Sequence")
                .and_then(|text| text.parse::<u64>().ok());
            let Some(found) = found.filter(|_| !part.payload.is_empty()) else {
                return Ok(None);
            };
            sequence = found + 1;
            hash.update(&part.payload);
            body.extend_from_slice(&part.payload);
        }
        let is_whole = body.len() == known.size && same(&digest(hash), &known.digest);
        Ok(is_whole.then(|| body.freeze()))
    }

    fn explain(&self, why: Refused) -> BusError {
        self.jetstream.explain(&self.stream, why)
    }
}

fn digest(hash: Sha256) -> String {
    format!("SHA-256={}", URL_SAFE.encode(hash.finalize()))
}

/// Some clients write the digest without its padding.
fn same(one: &str, other: &str) -> bool {
    one.trim_end_matches('=') == other.trim_end_matches('=')
}

impl Objects for NatsObjects {
    fn put<'a>(&'a self, name: &'a str, body: Bytes) -> BoxFuture<'a, Result<(), BusError>> {
        Box::pin(async move {
            let written = match self.write(name, &body).await {
                Err(Refused::NoOne) => {
                    self.ensure().await?;
                    self.write(name, &body).await
                }
                written => written,
            };
            written.map_err(|why| self.explain(why))
        })
    }

    fn get<'a>(&'a self, name: &'a str, limit: usize) -> BoxFuture<'a, Result<Bytes, BusError>> {
        Box::pin(self.read(name, limit))
    }

    fn delete<'a>(&'a self, name: &'a str) -> BoxFuture<'a, Result<(), BusError>> {
        Box::pin(async move {
            let known = self.known(name).await.map_err(|why| self.explain(why))?;
            let Some(mut known) = known else {
                return Ok(());
            };
            known.deleted = true;
            let told = self.tell(&known).await;
            told.map_err(|why| self.explain(why))?;
            self.purge(&known.nuid)
                .await
                .map_err(|why| self.explain(why))
        })
    }
}

impl fmt::Debug for NatsObjects {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.stream)
    }
}
