//! Receipts on their way: to the stream where there is one, and else to a file, until there is.

use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use bytes::Bytes;
use tokio::sync::{mpsc, watch};
use tokio::time::{sleep, timeout};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use toolbus_model::Error;
use toolbus_protocol::capability::Receipt;

use super::Published;
use super::spool::{self, Spool};
use crate::bus::{Bus, Headers, Link, Message};

/// Receipts that wait to be sent, beyond those of the calls in flight.
const WAITING: usize = 16_384;

/// When calls are refused: what is in flight then still has room.
const FULL: usize = 4_096;

/// Receipts that are sent together, before the file is written anew.
const TOGETHER: usize = 256;

/// How long the stream may take for one.
const SENT_WITHIN: Duration = Duration::from_secs(5);

/// How often what lies in the file is tried again.
const AGAIN: Duration = Duration::from_secs(5);

/// When to come back where there is no room.
const RETRY: Duration = Duration::from_secs(5);

/// By this the stream knows a receipt that it has already.
const ID: &str = "Nats-Msg-Id";

/// What happens when the file is full.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum WhenFull {
    /// Calls are refused: a stream is to have every receipt.
    Refuse,
    /// The older half is dropped: nobody waits for them.
    DropOldest,
}

/// The stream on which receipts go, and under which subjects.
pub(super) type Stream = Option<(Arc<dyn Bus>, Published)>;

/// Takes receipts.
#[derive(Debug)]
pub struct Receipts {
    queue: mpsc::Sender<Receipt>,
    pub(super) stream: watch::Sender<Stream>,
    when_full: WhenFull,
    /// Bytes in the file.
    spooled: Arc<AtomicU64>,
    tasks: TaskTracker,
    closing: CancellationToken,
}

/// Where they go.
struct Sender {
    stream: watch::Receiver<Stream>,
    when_full: WhenFull,
    spool: Option<Spool>,
    spooled: Arc<AtomicU64>,
}

impl Receipts {
    /// Receipts go to a file in `folder`, until [`Receipts::connect`]. Must be called within a runtime.
    pub fn open(folder: Option<&Path>, when_full: WhenFull) -> Result<Arc<Self>, String> {
        let spool = folder.map(Spool::open).transpose();
        let spool = spool.map_err(|error| format!("receipts cannot be kept: {error}"))?;
        let spooled = Arc::new(AtomicU64::new(spool.as_ref().map_or(0, Spool::size)));
        let (queue, waiting) = mpsc::channel(WAITING);
        let stream = watch::Sender::new(None);
        let sender = Sender {
            stream: stream.subscribe(),
            when_full,
            spool,
            spooled: Arc::clone(&spooled),
        };
        let receipts = Arc::new(Self {
            stream,
            queue,
            when_full,
            spooled,
            tasks: TaskTracker::new(),
            closing: CancellationToken::new(),
        });
        receipts
            .tasks
            .spawn(sender.run(waiting, receipts.closing.clone()));
        Ok(receipts)
    }

    /// Receipts go to the stream of this bus from now on, those that were kept first.
    pub fn connect(&self, bus: Arc<dyn Bus>, published: Published) {
        if bus.is_lasting() {
            self.stream.send_replace(Some((bus, published)));
        }
    }

    /// There is room for the receipt of one more call.
    pub fn room(&self) -> Result<(), Error> {
        let is_full = self.queue.capacity() <= WAITING - FULL
            || self.when_full == WhenFull::Refuse
                && self.spooled.load(Ordering::Relaxed) >= spool::LARGEST;
        if !is_full {
            return Ok(());
        }
        Err(Error::Busy {
            what: "the receipts of earlier calls could not be sent, and no call goes without"
                .to_owned(),
            retry_after: RETRY,
        })
    }

    /// Takes a receipt.
    pub fn record(&self, receipt: Receipt) {
        if let Err(error) = self.queue.try_send(receipt) {
            // Only when more calls end at once than can be in flight.
            tracing::error!("a receipt was lost: {error}");
        }
    }

    /// Sends or keeps what still waits.
    pub async fn close(&self) {
        self.closing.cancel();
        self.tasks.close();
        self.tasks.wait().await;
    }
}

impl Sender {
    async fn run(mut self, mut waiting: mpsc::Receiver<Receipt>, closing: CancellationToken) {
        let mut batch = Vec::new();
        loop {
            tokio::select! {
                count = waiting.recv_many(&mut batch, TOGETHER) => {
                    if count == 0 {
                        return;
                    }
                    self.take(std::mem::take(&mut batch)).await;
                }
                () = sleep(AGAIN), if self.has_spooled() => self.send_spooled().await,
                () = closing.cancelled() => break,
            }
        }
        waiting.close();
        while waiting.recv_many(&mut batch, TOGETHER).await > 0 {
            self.take(std::mem::take(&mut batch)).await;
        }
    }

    fn has_spooled(&self) -> bool {
        self.stream.borrow().is_some() && self.spool.as_ref().is_some_and(|spool| !spool.is_empty())
    }

    /// Sends receipts, and keeps those that cannot be sent.
    async fn take(&mut self, receipts: Vec<Receipt>) {
        // What is kept already goes first, so that they come in their order.
        let sent = if self.has_spooled() {
            0
        } else {
            self.send(&receipts).await
        };
        let rest = &receipts[sent..];
        if rest.is_empty() {
            return;
        }
        match &mut self.spool {
            Some(spool) => {
                if self.when_full == WhenFull::DropOldest
                    && let Err(error) = spool.make_room().await
                {
                    tracing::error!(%error, "older receipts cannot be dropped");
                }
                if let Err(error) = spool.append(rest).await {
                    tracing::error!(%error, lost = rest.len(), "receipts cannot be kept");
                }
                self.spooled.store(spool.size(), Ordering::Relaxed);
            }
            None => tracing::error!(lost = rest.len(), "receipts can neither be sent nor kept"),
        }
    }

    /// Sends what lies in the file, as far as it goes.
    async fn send_spooled(&mut self) {
        let Some(spool) = &self.spool else { return };
        let mut rest = match spool.read().await {
            Ok(receipts) => receipts,
            Err(error) => return tracing::error!(%error, "kept receipts cannot be read"),
        };
        loop {
            let together = &rest[..rest.len().min(TOGETHER)];
            let (wanted, sent) = (together.len(), self.send(together).await);
            rest.drain(..sent);
            let Some(spool) = &mut self.spool else { return };
            if let Err(error) = spool.keep(&rest).await {
                return tracing::error!(%error, "kept receipts were sent, but stay in the file");
            }
            self.spooled.store(spool.size(), Ordering::Relaxed);
            if rest.is_empty() || sent < wanted {
                return;
            }
        }
    }

    /// Sends receipts in their order; how many the stream has.
    async fn send(&self, receipts: &[Receipt]) -> usize {
        let Some((bus, published)) = self.stream.borrow().clone() else {
            return 0;
        };
        for (sent, receipt) in receipts.iter().enumerate() {
            if !matches!(*bus.link().borrow(), Link::Up(_)) {
                return sent;
            }
            let mut headers = Headers::default();
            headers.put(ID, receipt.receipt_id.clone());
            let message = Message {
                subject: published.audit(),
                headers,
                payload: Bytes::from(serde_json::to_vec(receipt).unwrap_or_default()),
                ..Message::default()
            };
            let (stream, subject) = (published.audit_stream(), published.audit());
            let appended = timeout(SENT_WITHIN, bus.append(&stream, &subject, message)).await;
            match appended {
                Ok(Ok(())) => {}
                Ok(Err(error)) => {
                    tracing::debug!(%error, "a receipt was not sent");
                    return sent;
                }
                Err(_) => return sent,
            }
        }
        receipts.len()
    }
}
