//! One wildcard inbox for all replies: each question has a place in a table, and whatever comes is handed there.

use std::collections::HashMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use bytes::Bytes;
use tokio::sync::{OnceCell, broadcast, oneshot};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::bus::{Bus, BusError, Denied, Headers, Message, NotSent, Subscription};

/// Replies that wait to be handed over; each is handed over at once.
const WAITING: usize = 1_024;

/// What comes of a question.
#[derive(Debug)]
pub(super) enum Arrival {
    /// A reply.
    Reply(Bytes),
    /// Nobody got it.
    Nobody,
    /// The server does not let us ask.
    Denied,
}

/// The inbox.
#[derive(Debug)]
pub(super) struct Mailbox {
    bus: Arc<dyn Bus>,
    inbox: OnceCell<String>,
    table: Arc<Table>,
    next: AtomicU64,
    tasks: TaskTracker,
    closing: CancellationToken,
}

/// Who waits, by the last token of where to answer.
#[derive(Debug, Default)]
struct Table(Mutex<HashMap<String, Waiting>>);

#[derive(Debug)]
struct Waiting {
    subject: String,
    sender: oneshot::Sender<Arrival>,
}

/// A question that waits. Whoever drops it waits no longer.
#[derive(Debug)]
pub(super) struct Question {
    pub(super) arrival: oneshot::Receiver<Arrival>,
    key: String,
    table: Arc<Table>,
}

impl Mailbox {
    pub(super) fn new(bus: Arc<dyn Bus>) -> Arc<Self> {
        Arc::new(Self {
            bus,
            inbox: OnceCell::new(),
            table: Arc::default(),
            next: AtomicU64::new(0),
            tasks: TaskTracker::new(),
            closing: CancellationToken::new(),
        })
    }

    /// Opens the inbox, once.
    pub(super) async fn open(&self) -> Result<&str, BusError> {
        let open = async {
            let inbox = self.bus.inbox();
            let replies = self
                .bus
                .subscribe(&format!("{inbox}.*"), None, WAITING)
                .await?;
            let reading = read(replies, self.bus.denied(), Arc::clone(&self.table));
            let closing = self.closing.clone();
            self.tasks
                .spawn(async move { closing.run_until_cancelled(reading).await });
            Ok(inbox)
        };
        self.inbox
            .get_or_try_init(|| open)
            .await
            .map(String::as_str)
    }

    /// Asks; what comes of it is in the question.
    pub(super) fn ask(
        &self,
        inbox: &str,
        subject: &str,
        headers: Headers,
        payload: Bytes,
    ) -> Result<Question, NotSent> {
        let key = self.next.fetch_add(1, Ordering::Relaxed).to_string();
        let (sender, arrival) = oneshot::channel();
        let reply = format!("{inbox}.{key}");
        let subject = subject.to_owned();
        let waiting = Waiting {
            subject: subject.clone(),
            sender,
        };
        self.table.lock().insert(key.clone(), waiting);
        let question = Question {
            arrival,
            key,
            table: Arc::clone(&self.table),
        };
        self.bus.send(Message {
            subject,
            reply: Some(reply),
            headers,
            payload,
            ..Message::default()
        })?;
        Ok(question)
    }

    pub(super) async fn close(&self) {
        self.closing.cancel();
        self.tasks.close();
        self.tasks.wait().await;
    }
}

impl Table {
    fn lock(&self) -> std::sync::MutexGuard<'_, HashMap<String, Waiting>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn hand_over(&self, message: Message) {
        let key = message.subject.rsplit('.').next().unwrap_or_default();
        // Of more than one reply the first counts.
        if let Some(waiting) = self.lock().remove(key) {
            let arrival = if message.no_responders {
                Arrival::Nobody
            } else {
                Arrival::Reply(message.payload)
            };
            let _ = waiting.sender.send(arrival);
        }
    }

    /// All that were asked at a subject learn that it is not permitted.
    fn deny(&self, denied: &Denied) {
        let mut table = self.lock();
        let keys: Vec<String> = table
            .iter()
            .filter(|(_, waiting)| denied.is_publish && waiting.subject == denied.subject)
            .map(|(key, _)| key.clone())
            .collect();
        for key in keys {
            if let Some(waiting) = table.remove(&key) {
                let _ = waiting.sender.send(Arrival::Denied);
            }
        }
    }
}

impl Drop for Question {
    fn drop(&mut self) {
        self.table.lock().remove(&self.key);
    }
}

async fn read(
    mut replies: Subscription,
    mut denied: broadcast::Receiver<Denied>,
    table: Arc<Table>,
) {
    loop {
        tokio::select! {
            message = replies.next() => match message {
                Some(message) => table.hand_over(message),
                None => return,
            },
            said = denied.recv() => match said {
                Ok(said) => table.deny(&said),
                Err(broadcast::error::RecvError::Lagged(_)) => {}
                // The bus is closed, and says nothing more.
                Err(broadcast::error::RecvError::Closed) => return drain(replies, table).await,
            },
        }
    }
}

async fn drain(mut replies: Subscription, table: Arc<Table>) {
    while let Some(message) = replies.next().await {
        table.hand_over(message);
    }
}
