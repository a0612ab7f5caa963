//! HTTP+SSE of 2024-11-05: the client opens a stream, is told where to post, and reads every answer on the stream.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use bytes::Bytes;
use futures_util::stream::{self, StreamExt as _};
use http::{Request, Response, StatusCode};
use hyper::body::Incoming;
use tokio::sync::mpsc;
use tokio::time::timeout;
use toolbus_gateway::Scope;
use toolbus_model::{Caller, Era, Error};
use toolbus_protocol::sse;
use uuid::Uuid;

use super::HttpDoor;
use super::endpoint::{Failure, accepted, stream as event_stream, unacceptable, whole};
use crate::conversation::{Conversation, Party};
use crate::encode;
use crate::stream::{Body, KEEP_ALIVE};

/// Where messages are posted, before the stream's id.
pub(super) const MESSAGES: &str = "/messages/";

/// Streams at once.
const MAX_STREAMS: usize = 4_096;

/// Messages waiting for a slow reader, which makes its own calls wait.
const OUTBOX: usize = 64;

/// The open streams.
#[derive(Default)]
pub(super) struct OldStreams(Mutex<HashMap<String, Open>>);

struct Open {
    conversation: Arc<Conversation>,
    caller: Caller,
}

impl OldStreams {
    fn of(&self, id: &str, caller: &Caller) -> Option<Arc<Conversation>> {
        let open = self.lock();
        let found = open.get(id).filter(|open| open.caller == *caller);
        found.map(|open| Arc::clone(&open.conversation))
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<String, Open>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Ends the conversation with its stream.
struct Held {
    door: Arc<OldStreams>,
    id: String,
}

impl Drop for Held {
    fn drop(&mut self) {
        if let Some(open) = self.door.lock().remove(&self.id) {
            open.conversation.close();
        }
    }
}

impl HttpDoor {
    /// Opens a stream.
    pub(super) fn old_stream(&self, scope: Scope, caller: Caller) -> Response<Body> {
        if self.old_streams.lock().len() >= MAX_STREAMS {
            let error = Error::Busy {
                what: format!("{MAX_STREAMS} streams are open, which is the limit"),
                retry_after: std::time::Duration::from_secs(1),
            };
            return Failure::before_call(Era::Legacy, None, error).into_response();
        }
        let id = Uuid::new_v4().simple().to_string();
        let (outbox, messages) = mpsc::channel(OUTBOX);
        let party = Party {
            caller: caller.clone(),
            scope,
            door: "sse",
        };
        let conversation = Conversation::begin(
            Arc::clone(&self.gateway),
            Arc::clone(&self.legacy),
            party,
            outbox,
        );
        let held = Held {
            door: Arc::clone(&self.old_streams),
            id: id.clone(),
        };
        let endpoint = sse::named("endpoint", None, format!("{MESSAGES}{id}").as_bytes());
        self.old_streams.lock().insert(
            id,
            Open {
                conversation,
                caller,
            },
        );
        let told = stream::unfold((messages, held), |(mut messages, held)| async move {
            let event = match timeout(KEEP_ALIVE, messages.recv()).await {
                Ok(Some(message)) => sse::event(&message).into(),
                Ok(None) => return None,
                Err(_) => Bytes::from_static(sse::KEEP_ALIVE),
            };
            Some((event, (messages, held)))
        });
        let first = stream::iter([Bytes::from(endpoint)]);
        let ended = self.ending.clone().cancelled_owned();
        event_stream(Body::Stream(first.chain(told).take_until(ended).boxed()))
    }

    /// Takes what a stream's client posts; its answer comes on the stream.
    pub(super) async fn old_post(
        &self,
        id: &str,
        caller: &Caller,
        request: Request<Incoming>,
    ) -> Response<Body> {
        if let Some(refused) = unacceptable(request.headers()) {
            return refused;
        }
        let Some(conversation) = self.old_streams.of(id, caller) else {
            let message = encode::plain_error(None, Era::Legacy, &Error::SessionUnknown, None);
            return whole(StatusCode::NOT_FOUND, message);
        };
        let (head, body) = request.into_parts();
        match self.read(&head.headers, body).await {
            Ok(body) => {
                conversation.take(&body).await;
                accepted()
            }
            Err(error) => Failure::before_call(Era::Legacy, None, error).into_response(),
        }
    }
}
