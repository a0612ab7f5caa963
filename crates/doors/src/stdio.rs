//! The stdio door: one message per line on stdin and stdout, both eras in one process.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use bytes::Bytes;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::sync::{Semaphore, mpsc};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use toolbus_gateway::{Gateway, Scope};
use toolbus_model::{Caller, Era, Error, Raw};
use toolbus_protocol::lines::{Lines, frame};
use toolbus_protocol::meta::{self, Modern};
use toolbus_protocol::{Envelope, Message, write};

use crate::encode;
use crate::exchange::{self, Call, Terms, Work};
use crate::legacy::{Session, Sessions};

/// Longest line that is read, in bytes.
const MAX_LINE: usize = 10 * 1024 * 1024;

/// Messages waiting to be written. A client that does not read makes its own calls wait.
const OUTBOX: usize = 64;

/// Requests at once. Beyond it nothing more is read, so that a client that floods us waits in its own pipe.
const REQUESTS: usize = 1_024;

/// How long calls in flight may take after the client has closed our stdin.
const FINISH_WITHIN: Duration = Duration::from_secs(2);

struct Door {
    gateway: Arc<Gateway>,
    sessions: Sessions,
    session: Mutex<Option<Session>>,
    running: Mutex<HashMap<Raw, CancellationToken>>,
    outbox: mpsc::Sender<Vec<u8>>,
    places: Arc<Semaphore>,
}

/// Serves one client on a pair of streams until it closes its end.
pub async fn serve(
    gateway: Arc<Gateway>,
    mut input: impl AsyncRead + Unpin,
    output: impl AsyncWrite + Unpin + Send + 'static,
) -> Result<(), String> {
    let (outbox, messages) = mpsc::channel(OUTBOX);
    let tasks = TaskTracker::new();
    let writer = tasks.spawn(write_all(output, messages));
    let sessions = Sessions::new(gateway.key().clone());
    let door = Arc::new(Door {
        gateway,
        sessions,
        session: Mutex::default(),
        running: Mutex::default(),
        outbox,
        places: Arc::new(Semaphore::new(REQUESTS)),
    });
    let calls = TaskTracker::new();
    let mut lines = Lines::new(MAX_LINE);
    loop {
        loop {
            match lines.next_line() {
                Ok(None) => break,
                Ok(Some(line)) => door.take(&line, &calls).await,
                Err(_) => {
                    let error = Error::TooLarge {
                        what: "line",
                        limit: MAX_LINE,
                    };
                    door.say(encode::plain_error(None, Era::Modern, &error, None))
                        .await;
                    // Where the next message would begin cannot be told any more.
                    return Err(error.to_string());
                }
            }
        }
        lines.buffer().reserve(16 * 1024);
        match input.read_buf(lines.buffer()).await {
            Ok(0) => break,
            Ok(_) => {}
            Err(error) => return Err(format!("stdin cannot be read: {error}")),
        }
    }
    calls.close();
    let _ = tokio::time::timeout(FINISH_WITHIN, calls.wait()).await;
    for (_, call) in lock(&door.running).drain() {
        call.cancel();
    }
    drop(door);
    let _ = tokio::time::timeout(FINISH_WITHIN, writer).await;
    Ok(())
}

async fn write_all(mut output: impl AsyncWrite + Unpin, mut messages: mpsc::Receiver<Vec<u8>>) {
    while let Some(message) = messages.recv().await {
        // A client that does not read any more will close stdin as well.
        if output.write_all(&message).await.is_err() || output.flush().await.is_err() {
            return;
        }
    }
}

impl Door {
    async fn say(&self, message: Vec<u8>) {
        // Without a writer there is no client.
        let _ = self.outbox.send(frame(message)).await;
    }

    async fn take(self: &Arc<Self>, line: &Bytes, calls: &TaskTracker) {
        let envelope = match Message::parse(line) {
            Ok(Message::Call(envelope)) => envelope,
            // Nothing was asked of the client.
            Ok(Message::Reply(_)) => return,
            Err(refusal) => {
                return self
                    .say(encode::plain_error(
                        refusal.id.as_ref(),
                        Era::Modern,
                        &refusal.error,
                        None,
                    ))
                    .await;
            }
        };
        let Some(id) = envelope.id.clone() else {
            return self.notified(&envelope);
        };
        // What follows an `initialize` may rely on its having been heard.
        let era = self.era(&envelope);
        if envelope.method == "initialize" && era == Era::Legacy {
            return self.settle(envelope, id, era).await;
        }
        let Ok(place) = Arc::clone(&self.places).acquire_owned().await else {
            return;
        };
        let door = Arc::clone(self);
        calls.spawn(async move {
            door.settle(envelope, id, era).await;
            drop(place);
        });
    }

    /// Answers a request, with its result or its error.
    async fn settle(&self, envelope: Envelope, id: Raw, era: Era) {
        if let Err(error) = self.answer(envelope, id.clone(), era).await {
            self.say(encode::plain_error(Some(&id), era, &error, None))
                .await;
        }
    }

    /// A request that says its revision, or asks for what only the modern era has, is modern.
    fn era(&self, envelope: &Envelope) -> Era {
        let is_modern =
            envelope.meta.get(meta::VERSION).is_some() || envelope.method == "server/discover";
        let in_session = lock(&self.session).is_some();
        match is_modern || (!in_session && envelope.method != "initialize") {
            true => Era::Modern,
            false => Era::Legacy,
        }
    }

    async fn answer(&self, envelope: Envelope, id: Raw, era: Era) -> Result<(), Error> {
        let caller = Caller::local();
        let terms = match era {
            Era::Modern => {
                let said = Modern::read(&envelope.meta)?;
                Terms::modern(&envelope, said, caller, Scope::All, "stdio")?
            }
            Era::Legacy => {
                let open = lock(&self.session).clone();
                let Some(session) = open else {
                    return self.initialize(&envelope, &id).await;
                };
                if let Some(answer) = self.sessions.answer(&session, &envelope, &id) {
                    self.say(answer?).await;
                    return Ok(());
                }
                self.sessions.terms(&session, caller, Scope::All, "stdio")
            }
        };
        match exchange::begin(&self.gateway, terms, envelope, id, None).await? {
            Work::Answered(message) => self.say(message).await,
            Work::Running(call) => self.run(*call).await,
        }
        Ok(())
    }

    async fn initialize(&self, envelope: &Envelope, id: &Raw) -> Result<(), Error> {
        self.gateway.started().await;
        let (session, result) =
            self.sessions
                .open(envelope, &Caller::local(), &Scope::All, &self.gateway)?;
        *lock(&self.session) = Some(session);
        self.say(write::result(
            id,
            |out| out.extend_from_slice(result.bytes()),
            result.bytes().len(),
        ))
        .await;
        Ok(())
    }

    async fn run(&self, mut call: Call) {
        let token = CancellationToken::new();
        let guard = std::mem::replace(&mut call.running.guard, token.drop_guard());
        lock(&self.running).insert(call.id.clone(), guard.disarm());
        let answer = loop {
            tokio::select! {
                biased;
                Some(event) = call.running.events.recv() => self.say(encode::notice(&event, call.token.as_ref())).await,
                answer = &mut call.running.answer => break answer,
            }
        };
        lock(&self.running).remove(&call.id);
        let answer =
            answer.unwrap_or_else(|_| Err(Error::Internal("the call was lost".to_owned())));
        // A cancelled request is never answered.
        if answer != Err(Error::Cancelled) {
            self.say(call.finish(answer)).await;
        }
    }

    fn notified(&self, envelope: &Envelope) {
        if envelope.method == "notifications/cancelled"
            && let Some(id) = envelope.params.raw("requestId")
            && let Some(call) = lock(&self.running).get(&id)
        {
            call.cancel();
        }
    }
}

fn lock<T>(mutex: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
