//! Frames on their way out, and above all the last one of each request: it goes once there is a connection, inline, in
//! chunks, or by the object store.

use std::time::Duration;

use bytes::Bytes;
use tokio::time::{Instant, sleep, timeout};
use toolbus_model::{CallId, Error};

use super::Shared;
use super::calls::{Running, State};
use super::terminal::{Terminal, id_of};
use crate::bus::{Link, Message, NotSent};
use crate::frame::{CHUNK, Frame, HEADROOM, LARGEST_IN_CHUNKS, Reply, header};

/// How long a result is kept that cannot be sent: as long as a server's restart may reasonably take. A gateway has long
/// called the outcome unknown then.
const KEPT_WITHIN: Duration = Duration::from_secs(30);

/// How long a chunk waits for a credit.
const CREDIT_WITHIN: Duration = Duration::from_secs(15);

/// How long the object store may take for a result.
const STORE_WITHIN: Duration = Duration::from_secs(30);

/// How soon a connection that takes no more is tried again.
const FULL: Duration = Duration::from_millis(5);

/// What the last frame says besides its terminal.
#[derive(Debug, Default)]
struct Manner {
    chunks: Option<u32>,
    object: Option<String>,
}

impl Shared {
    /// Sends the last frame of a call.
    pub(super) async fn deliver(&self, running: &Running, mut terminal: Terminal) {
        let mut manner = Manner::default();
        if terminal.body.len() > self.room() {
            let body = std::mem::take(&mut terminal.body);
            match self.deliver_large(running, &body).await {
                Ok(large) => manner = large,
                Err(why) => {
                    let what = format!(
                        "the call has run, but its result of {} bytes could not be brought to its caller: {why}",
                        body.len()
                    );
                    terminal = Terminal::err(&id_of(&body), &Error::Internal(what));
                }
            }
        }
        self.finish(running, terminal, manner).await;
    }

    /// What a message may hold.
    fn room(&self) -> usize {
        self.bus.max_payload().saturating_sub(HEADROOM)
    }

    /// A large body: in chunks, and where that fails, or it is too large for that, by the object store.
    async fn deliver_large(&self, running: &Running, body: &Bytes) -> Result<Manner, String> {
        if body.len() <= LARGEST_IN_CHUNKS
            && let Some(chunks) = self.send_chunks(running, body).await
        {
            return Ok(Manner {
                chunks: Some(chunks),
                ..Manner::default()
            });
        }
        if running.stopped().is_some() {
            return Err("it was cancelled".to_owned());
        }
        let object = format!("{}.{}", running.id, running.state().attempt);
        let storing = async {
            let store = self.objects().await?;
            store.put(&object, body.clone()).await
        };
        match timeout(STORE_WITHIN, storing).await {
            Ok(Ok(())) => Ok(Manner {
                object: Some(object),
                ..Manner::default()
            }),
            Ok(Err(error)) => Err(error.to_string()),
            Err(_) => Err("the object store took too long".to_owned()),
        }
    }

    /// Sends a body in chunks: how many. `None` where they came to nothing: no credit came, or the connection was another
    /// one in between, so that some may be lost.
    async fn send_chunks(&self, running: &Running, body: &Bytes) -> Option<u32> {
        let connection = self.connection()?;
        let size = CHUNK.min(self.room());
        let mut seq = 0;
        for start in (0..body.len()).step_by(size) {
            let credit = timeout(CREDIT_WITHIN, running.credits.acquire());
            let credit = running.cancel.run_until_cancelled(credit).await?;
            credit.ok()?.ok()?.forget();
            let chunk = body.slice(start..body.len().min(start + size));
            self.send_chunk(running, seq, &chunk, connection).await?;
            seq += 1;
        }
        Some(seq)
    }

    async fn send_chunk(
        &self,
        running: &Running,
        seq: u32,
        chunk: &Bytes,
        connection: u64,
    ) -> Option<()> {
        let until = Instant::now() + CREDIT_WITHIN;
        while Instant::now() < until {
            if self.connection() != Some(connection) {
                return None;
            }
            let reply = Reply {
                seq: Some(seq),
                body: chunk.clone(),
                ..Reply::new(Frame::Chunk, &self.id)
            };
            let sent = self.send(&running.state(), reply);
            match sent {
                Ok(()) => return Some(()),
                Err(NotSent::Full) => sleep(FULL).await,
                Err(_) => return None,
            }
        }
        None
    }

    /// Sends the last frame, once there is a way for it.
    async fn finish(&self, running: &Running, mut terminal: Terminal, manner: Manner) {
        let mut until = None;
        loop {
            let sent = self.try_finish(running, &terminal, &manner);
            match sent {
                Ok(()) => return,
                Err(NotSent::Subject(why)) => {
                    return tracing::warn!(call = %running.id, "a call cannot be answered: {why}");
                }
                Err(NotSent::TooLarge(limit)) => {
                    // Told as what it is; a message of this size always goes.
                    let error = Error::Internal(format!(
                        "the call has run, but the mesh does not take its result: it is larger than {limit} bytes"
                    ));
                    terminal = Terminal::err(&id_of(&terminal.body), &error);
                }
                Err(NotSent::Full | NotSent::Disconnected) => {}
            }
            let until = *until.get_or_insert_with(|| Instant::now() + KEPT_WITHIN);
            let left = until.saturating_duration_since(Instant::now());
            if left.is_zero() || !self.way_back(left, &sent).await {
                running.state().end();
                return tracing::warn!(call = %running.id, "a call's result could not be sent within {} s", KEPT_WITHIN.as_secs());
            }
        }
    }

    fn try_finish(
        &self,
        running: &Running,
        terminal: &Terminal,
        manner: &Manner,
    ) -> Result<(), NotSent> {
        let mut state = running.state();
        let reply = Reply {
            seq: manner.chunks,
            object: manner.object.clone(),
            holds: terminal.holds,
            ..self.last(terminal)
        };
        let sent = self.send_with(&state, reply, terminal.error.map(|(_, code)| code));
        if sent.is_ok() {
            state.end();
        }
        sent
    }

    fn last(&self, terminal: &Terminal) -> Reply {
        let label = terminal.error.and_then(|(label, _)| label);
        Reply {
            error: label.map(str::to_owned),
            body: terminal.body.clone(),
            ..Reply::new(terminal.frame, &self.id)
        }
    }

    /// Waits until it may be better than when this was not sent; false when that took too long.
    async fn way_back(&self, left: Duration, sent: &Result<(), NotSent>) -> bool {
        if *sent != Err(NotSent::Disconnected) {
            sleep(FULL.min(left)).await;
            return true;
        }
        let mut link = self.bus.link();
        let up = link.wait_for(|link| matches!(link, Link::Up(_)));
        let is_up = matches!(timeout(left, up).await, Ok(Ok(_)));
        // Where the connection is up in name alone, this must not turn round and round.
        sleep(FULL).await;
        is_up
    }

    /// The number of the connection; `None` while there is none.
    fn connection(&self) -> Option<u64> {
        match &*self.bus.link().borrow() {
            Link::Up(number) => Some(*number),
            Link::Down(_) => None,
        }
    }

    /// Ends a request that was never begun.
    pub(super) fn answer(&self, to: &str, attempt: u32, terminal: Terminal) {
        let code = terminal.error.map(|(_, code)| code);
        let reply = Reply {
            attempt,
            ..self.last(&terminal)
        };
        if let Err(why) = self.send_to(to, reply, code) {
            tracing::debug!("a refusal was not sent: {why}");
        }
    }

    /// A plain reply, without headers.
    pub(super) fn answer_plain(&self, to: &str, payload: Bytes) {
        let message = Message {
            subject: to.to_owned(),
            payload,
            ..Message::default()
        };
        if let Err(why) = self.bus.send(message) {
            tracing::debug!("a reply was not sent: {why}");
        }
    }

    /// A sign of life. It names its call, so that a gateway where nobody waits for it any more can say so. With `heard`
    /// the server says there when nobody hears it.
    pub(super) fn sign(&self, id: CallId, state: &State, frame: Frame, heard: Option<String>) {
        let reply = Reply {
            attempt: state.attempt,
            ..Reply::new(frame, &self.id)
        };
        let mut headers = reply.headers();
        headers.put(header::CALL, id.to_string());
        // The next one follows.
        let _ = self.bus.send(Message {
            subject: state.reply.clone(),
            reply: heard,
            headers,
            ..Message::default()
        });
    }

    /// A notification of a call; false where there was no way for it.
    pub(super) fn message(&self, running: &Running, body: Vec<u8>) -> bool {
        if body.len() > self.room() {
            return false;
        }
        let reply = Reply {
            body: body.into(),
            ..Reply::new(Frame::Msg, &self.id)
        };
        self.send(&running.state(), reply).is_ok()
    }

    fn send(&self, state: &State, reply: Reply) -> Result<(), NotSent> {
        self.send_with(state, reply, None)
    }

    fn send_with(&self, state: &State, reply: Reply, code: Option<i64>) -> Result<(), NotSent> {
        let reply = Reply {
            attempt: state.attempt,
            ..reply
        };
        self.send_to(&state.reply, reply, code)
    }

    fn send_to(&self, to: &str, reply: Reply, code: Option<i64>) -> Result<(), NotSent> {
        let mut headers = reply.headers();
        if let Some(code) = code {
            let text = reply.error.unwrap_or_else(|| "error".to_owned());
            headers.put(header::SERVICE_ERROR, text);
            headers.put(header::SERVICE_ERROR_CODE, code.to_string());
        }
        self.bus.send(Message {
            subject: to.to_owned(),
            reply: None,
            headers,
            payload: reply.body,
            no_responders: false,
        })
    }
}
