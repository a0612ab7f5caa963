//! The calls that Python is at: what it may ask about one, and what it tells of it.

use std::collections::HashMap;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use bytes::Bytes;
use tokio::sync::oneshot;
use toolbus_model::json::Edit;
use toolbus_model::{Call, Event, EventKind, Line, LogLevel, Object, Raw, Request};
use toolbus_protocol::meta;

/// How a call ended, as Python says it.
#[derive(Debug)]
pub(crate) struct Answer {
    /// One of the constants; anything else is a fault of ours.
    pub(crate) kind: u8,
    /// JSON.
    pub(crate) text: Bytes,
}

impl Answer {
    /// A result of `tools/call`, which may be a question.
    pub(crate) const RESULT: u8 = 0;
    /// An error of JSON-RPC.
    pub(crate) const ERROR: u8 = 1;
    /// The coroutine was cancelled, and ended so.
    pub(crate) const CANCELLED: u8 = 2;
    /// Its event loop was given up.
    pub(crate) const LOST: u8 = 3;

    fn lost() -> Self {
        Self {
            kind: Self::LOST,
            text: Bytes::new(),
        }
    }
}

/// One call, as long as Python is at it. That may be longer than its caller waits.
#[derive(Debug)]
pub(crate) struct Entry {
    pub(crate) id: u64,
    /// The event loop that it is on.
    door: u64,
    line: Line,
    /// What the caller's client can do, and which log lines it wants.
    capabilities: Raw,
    log_level: Option<LogLevel>,
    request: Request,
    /// Nobody waits for it any more.
    abandoned: AtomicBool,
    answer: Mutex<Option<oneshot::Sender<Answer>>>,
}

impl Entry {
    pub(crate) fn is_abandoned(&self) -> bool {
        self.abandoned.load(Ordering::Relaxed)
    }

    pub(crate) fn abandon(&self) {
        self.abandoned.store(true, Ordering::Relaxed);
    }

    /// All of `params`. Its `_meta` says what the caller's client can do and wants, which for one of an older revision only
    /// its session knows. Progress is always wanted, as a sign of life.
    pub(crate) fn params(&self) -> Vec<u8> {
        let level = self.log_level.map(|level| format!("{:?}", level.as_str()));
        let id = self.id.to_string();
        let edits = [
            (meta::CAPABILITIES, Edit::Put(self.capabilities.bytes())),
            (
                meta::LOG_LEVEL,
                level
                    .as_deref()
                    .map_or(Edit::Drop, |level| Edit::Put(level.as_bytes())),
            ),
            (meta::PROGRESS, Edit::Put(id.as_bytes())),
        ];
        let mut about = Vec::with_capacity(self.request.meta.bytes().len() + 256);
        self.request.meta.rewrite(&edits, &mut about);
        let mut params = Vec::with_capacity(self.request.params.bytes().len() + about.len());
        let whole = [("_meta", Edit::Put(&about))];
        self.request.params.rewrite(&whole, &mut params);
        params
    }

    /// A retry with the caller's answers.
    pub(crate) fn is_retry(&self) -> bool {
        self.request.params.get("requestState").is_some()
    }

    fn end(&self, answer: Answer) {
        let mut sender = self.answer.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(sender) = sender.take() {
            // Whoever waited may be gone.
            let _ = sender.send(answer);
        }
    }

    fn tell(&self, kind: EventKind, params: &[u8]) {
        if let Ok(params) = Object::parse(Bytes::copy_from_slice(params)) {
            self.line.tell(Event { kind, params });
        }
    }
}

/// All calls of this process. It is as large as the queues and pools of its servers let it become.
#[derive(Debug, Default)]
pub(crate) struct Calls {
    next: AtomicU64,
    entries: Mutex<HashMap<u64, Arc<Entry>>>,
}

impl Calls {
    /// Takes a call in; what it ends with comes through the receiver.
    pub(crate) fn open(
        &self,
        door: u64,
        request: Request,
        call: &Call,
    ) -> (Arc<Entry>, oneshot::Receiver<Answer>) {
        let (sender, receiver) = oneshot::channel();
        let entry = Arc::new(Entry {
            id: self.next.fetch_add(1, Ordering::Relaxed) + 1,
            door,
            line: call.line().clone(),
            capabilities: call.seed.capabilities.clone(),
            log_level: call.seed.log_level,
            request,
            abandoned: AtomicBool::new(false),
            answer: Mutex::new(Some(sender)),
        });
        self.lock().insert(entry.id, Arc::clone(&entry));
        (entry, receiver)
    }

    pub(crate) fn get(&self, id: u64) -> Option<Arc<Entry>> {
        self.lock().get(&id).cloned()
    }

    /// A notice on the way. What is told of a call that is over is lost.
    pub(crate) fn tell(&self, id: u64, kind: EventKind, params: &[u8]) {
        if let Some(entry) = self.get(id) {
            entry.tell(kind, params);
        }
    }

    /// The call is over, and Python knows it no more.
    pub(crate) fn end(&self, id: u64, answer: Answer) {
        let entry = self.lock().remove(&id);
        if let Some(entry) = entry {
            entry.end(answer);
        }
    }

    /// Forgets a call that never begins.
    pub(crate) fn forget(&self, id: u64) {
        self.lock().remove(&id);
    }

    /// All calls on this loop are over: nothing runs there any more.
    pub(crate) fn lose(&self, door: u64) {
        let mut entries = self.lock();
        let lost: Vec<_> = entries.extract_if(|_, entry| entry.door == door).collect();
        drop(entries);
        for (_, entry) in lost {
            entry.abandon();
            entry.end(Answer::lost());
        }
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, HashMap<u64, Arc<Entry>>> {
        self.entries.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
