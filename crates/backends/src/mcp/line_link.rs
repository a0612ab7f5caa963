//! Messages as lines on a pair of byte streams: what a child process and a Unix socket have in common.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use bytes::Bytes;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::sync::{mpsc, watch};
use tokio::time::sleep;
use tokio_util::sync::{CancellationToken, DropGuard};
use toolbus_model::{Cause, Error, Object};
use toolbus_protocol::Message;
use toolbus_protocol::lines::{Lines, frame};

use super::ear::Ear;
use super::lock;
use super::news::News;
use super::outgoing::{MAX_MESSAGE, Outgoing};
use super::waiting::Waiting;
use crate::process::Tail;

/// Messages waiting for a server that does not read. More callers wait in their own calls.
const OUTBOX: usize = 64;

/// Lines in a row that are no messages, after which a server is taken for broken. A tool that prints now and then is not.
const MAX_GARBAGE: usize = 1_000;

/// How long a server may take to end after its input closed, as the specification asks it to.
pub(super) const CLOSE_WITHIN: Duration = Duration::from_secs(2);

/// Messages on their way to a server.
pub(super) type Letters = mpsc::Receiver<Letter>;

/// A server that is spoken to in lines.
#[derive(Debug)]
pub(super) struct LineLink {
    /// The command or the address, as shown in errors.
    address: Arc<str>,
    /// How the server is while nothing is known of an end.
    alive: &'static str,
    outbox: mpsc::Sender<Letter>,
    /// Bytes written to the server.
    written: AtomicU64,
    waiting: Waiting,
    news: Arc<News>,
    garbage: Mutex<Garbage>,
    /// The last words of a child.
    pub(super) stderr: Tail,
    closing: CancellationToken,
    ended: watch::Sender<Option<Cause>>,
}

/// A message on its way to the server, with its id where it is a request.
#[derive(Debug)]
pub(super) struct Letter {
    id: Option<u64>,
    bytes: Vec<u8>,
}

#[derive(Debug, Default)]
struct Garbage {
    lines: usize,
    in_a_row: usize,
    last: String,
}

impl LineLink {
    /// A link whose streams are still to be served, with [`LineLink::write_all`] and [`LineLink::read_all`].
    pub(super) fn new(
        address: Arc<str>,
        alive: &'static str,
        news: &Arc<News>,
    ) -> (Arc<Self>, Letters) {
        let (outbox, letters) = mpsc::channel(OUTBOX);
        let link = Self {
            address,
            alive,
            outbox,
            written: AtomicU64::new(0),
            waiting: Waiting::default(),
            news: Arc::clone(news),
            garbage: Mutex::default(),
            stderr: Tail::default(),
            closing: CancellationToken::new(),
            ended: watch::Sender::new(None),
        };
        (Arc::new(link), letters)
    }

    /// The command or the address, as shown in errors.
    pub(super) fn address(&self) -> Arc<str> {
        Arc::clone(&self.address)
    }

    /// Sends a request and waits for its answer.
    pub(super) async fn exchange(&self, outgoing: Outgoing) -> Result<Object, Error> {
        let ear = outgoing.ear.clone();
        let mut wait = self.waiting.enter(outgoing.id, outgoing.ear);
        // Whoever is in the table before the end is told of it; who comes later has to look.
        if self.has_ended() {
            return Err(Error::Unavailable(
                self.cause("the server has ended").into(),
            ));
        }
        self.post(Some(outgoing.id), outgoing.body).await?;
        if let Some(ear @ Ear::Questions(_)) = &ear {
            self.waiting
                .hear_early(ear)
                .into_iter()
                .for_each(|reply| self.reply(reply));
        }
        wait.answer().await.unwrap_or_else(|| {
            Err(Error::OutcomeUnknown(
                self.cause("the server ended in mid-call").into(),
            ))
        })
    }

    /// From now on questions are kept for the first call.
    pub(super) fn hold_questions(&self) {
        self.waiting.hold_questions();
    }

    /// Sends a notification, or a response.
    pub(super) async fn send(&self, body: Vec<u8>) -> Result<(), Error> {
        self.post(None, body).await
    }

    async fn post(&self, id: Option<u64>, body: Vec<u8>) -> Result<(), Error> {
        let gone = |_| Error::Unavailable(self.cause("the server has ended").into());
        self.outbox
            .send(Letter {
                id,
                bytes: frame(body),
            })
            .await
            .map_err(gone)
    }

    /// Writes what is sent, until the server takes no more or the link is closed.
    pub(super) async fn write_all(
        &self,
        mut stream: impl AsyncWrite + Unpin,
        mut letters: Letters,
    ) {
        while let Some(Some(letter)) = self.closing.run_until_cancelled(letters.recv()).await {
            let mut rest = &letter.bytes[..];
            let ends_at = self.written.load(Ordering::Relaxed) + rest.len() as u64;
            if let Some(id) = letter.id {
                self.waiting.written(id, ends_at);
            }
            while !rest.is_empty() {
                // A server that has closed its input is noticed where it is read.
                let Some(Ok(count)) = self.closing.run_until_cancelled(stream.write(rest)).await
                else {
                    return;
                };
                self.written.fetch_add(count as u64, Ordering::Relaxed);
                rest = &rest[count..];
            }
        }
    }

    /// Ends the server when dropped: whoever opens a connection may be gone before it is open.
    pub(super) fn guard(&self) -> DropGuard {
        self.closing.clone().drop_guard()
    }

    pub(super) fn has_ended(&self) -> bool {
        self.closing.is_cancelled() || self.ended.borrow().is_some()
    }

    /// Waits for the server's end.
    pub(super) async fn ended(&self) -> Cause {
        let mut ended = self.ended.subscribe();
        let cause = ended
            .wait_for(Option::is_some)
            .await
            .ok()
            .and_then(|cause| cause.clone());
        cause.unwrap_or_default()
    }

    /// Closes the server's input and waits for it to end; one that does not is ended.
    pub(super) async fn close(&self) {
        self.closing.cancel();
        self.ended().await;
    }

    /// The server's state, for an error that says `what`.
    pub(super) fn cause(&self, what: &str) -> Cause {
        if let Some(cause) = &*self.ended.borrow() {
            return cause.clone();
        }
        Cause {
            what: what.to_owned(),
            command: Some(self.address()),
            status: Some(self.with_garbage(self.alive)),
            stderr: self.stderr.text(),
            remedy: None,
        }
    }

    fn with_garbage(&self, status: &str) -> String {
        let garbage = lock(&self.garbage);
        match garbage.lines {
            0 => status.to_owned(),
            n => format!(
                "{status}, {n} lines on its stdout were no MCP messages, the last: {:?}",
                garbage.last
            ),
        }
    }

    /// Reads until the server's output ends; says why where it has to be ended.
    pub(super) async fn read_all(&self, mut stream: impl AsyncRead + Unpin) -> Option<String> {
        let mut lines = Lines::new(MAX_MESSAGE);
        let overdue = async {
            self.closing.cancelled().await;
            sleep(CLOSE_WITHIN).await;
        };
        tokio::pin!(overdue);
        loop {
            lines.buffer().reserve(16 * 1024);
            tokio::select! {
                read = stream.read_buf(lines.buffer()) => match read {
                    Ok(0) | Err(_) => return None,
                    Ok(_) => {}
                },
                () = &mut overdue => return Some("the server did not end when its input was closed".to_owned()),
            }
            if let Err(what) = self.take_lines(&mut lines) {
                return Some(what);
            }
        }
    }

    fn take_lines(&self, lines: &mut Lines) -> Result<(), String> {
        loop {
            match lines.next_line() {
                Ok(Some(line)) => self.take(&line)?,
                Ok(None) => return Ok(()),
                Err(_) => {
                    return Err(format!(
                        "the server wrote a line of more than {MAX_MESSAGE} bytes"
                    ));
                }
            }
        }
    }

    fn take(&self, line: &Bytes) -> Result<(), String> {
        match Message::parse(line) {
            Ok(message) => {
                lock(&self.garbage).in_a_row = 0;
                match message {
                    Message::Reply(reply) => self.waiting.answered(reply),
                    Message::Call(said) => {
                        if let Some(reply) = self.waiting.told(&said, None, &self.news) {
                            self.reply(reply);
                        }
                    }
                }
                Ok(())
            }
            Err(_) => self.note_garbage(line),
        }
    }

    fn note_garbage(&self, line: &Bytes) -> Result<(), String> {
        let mut garbage = lock(&self.garbage);
        garbage.lines += 1;
        garbage.in_a_row += 1;
        garbage.last = String::from_utf8_lossy(line).chars().take(120).collect();
        tracing::debug!(
            command = &*self.address,
            line = garbage.last,
            "a line on stdout is no MCP message"
        );
        if garbage.in_a_row < MAX_GARBAGE {
            return Ok(());
        }
        Err(format!(
            "the server wrote {MAX_GARBAGE} lines in a row that are no MCP messages"
        ))
    }

    fn reply(&self, reply: Vec<u8>) {
        // A full outbox belongs to a server that does not read; it will miss this answer too.
        let _ = self.outbox.try_send(Letter {
            id: None,
            bytes: frame(reply),
        });
    }

    /// Everyone who waits learns what happened. A request of which the server has not read all cannot have run.
    pub(super) fn bury(&self, what: String, status: &str, unread: u64) {
        let cause = Cause {
            what,
            command: Some(self.address()),
            status: Some(self.with_garbage(status)),
            stderr: self.stderr.text(),
            remedy: None,
        };
        tracing::info!(%cause, "a server is gone");
        self.closing.cancel();
        self.ended.send_replace(Some(cause.clone()));
        let read = self.written.load(Ordering::Relaxed).saturating_sub(unread);
        self.waiting.fail(|ends_at| match ends_at {
            Some(ends_at) if ends_at <= read => Error::OutcomeUnknown(cause.clone().into()),
            _ => Error::Unavailable(cause.clone().into()),
        });
    }
}
