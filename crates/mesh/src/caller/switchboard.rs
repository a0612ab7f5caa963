//! The reply multiplexer: one wildcard subscription for all calls of this gateway.
//!
//! What comes in goes to its call's own bounded queue, and never waits: a reader that is slow or stands still holds up
//! nobody. Notices may be lost there, what decides a call is not.

use std::collections::{HashMap, VecDeque};
use std::hash::{BuildHasher, RandomState};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Poll, Waker};

use tokio::time::{Duration, Instant};

use crate::bus::{Denied, Message, Subscription};
use crate::frame::{Frame, WINDOW, header};

/// Notices that wait for one call's reader; further ones are lost. As many as wait in a call's line.
const NOTICES: usize = 64;

/// Chunks that wait: a worker may have [`WINDOW`] under way, and a call that was dispatched again two workers.
const CHUNKS: usize = 2 * WINDOW as usize;

/// Everything else that waits. Each attempt brings a claim, an answer to its go, and one end.
const OTHERS: usize = 256;

/// Locks, so that callers and the reader seldom meet.
const SHARDS: usize = 16;

/// Where a message to a call came from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Origin {
    /// From the request of this attempt.
    Request(u32),
    /// From the word to go of this attempt.
    Go(u32),
    /// From the question whether the worker of this attempt is there.
    Knock(u32),
}

/// What a call hears.
#[derive(Debug)]
pub(crate) enum Heard {
    /// A frame, not read yet.
    Frame(Message),
    /// What was said to a worker on its control subject was answered.
    Told(u32, Message),
    /// Nobody got the message.
    Nobody(Origin),
    /// The server does not permit to publish to this subject.
    Denied(String),
    /// The worker sends more than it may.
    Overrun,
}

/// What waits for one call.
#[derive(Debug, Default)]
struct Queue {
    heard: VecDeque<Heard>,
    notices: usize,
    chunks: usize,
    others: usize,
    is_overrun: bool,
    /// Hashes of the subjects that were published to.
    subjects: Vec<u64>,
    waker: Option<Waker>,
}

/// A call's place.
#[derive(Debug, Default)]
struct Slot {
    queue: Mutex<Queue>,
    /// When anything was last heard, in milliseconds after the board's start; 0 for never.
    last_sign: AtomicU64,
}

/// The reply multiplexer.
#[derive(Debug)]
pub(crate) struct Switchboard {
    inbox: String,
    opened: Instant,
    next: AtomicU64,
    shards: [Mutex<HashMap<u64, Arc<Slot>>>; SHARDS],
    hasher: RandomState,
}

/// A call's place for as long as this is held.
#[derive(Debug)]
pub(crate) struct Ticket<'a> {
    board: &'a Switchboard,
    token: u64,
    slot: Arc<Slot>,
}

impl Switchboard {
    /// A multiplexer of what comes in below `inbox`.
    pub(crate) fn new(inbox: String) -> Self {
        Self {
            inbox,
            opened: Instant::now(),
            next: AtomicU64::new(1),
            shards: Default::default(),
            hasher: RandomState::new(),
        }
    }

    /// The subject of all replies.
    pub(crate) fn pattern(&self) -> String {
        format!("{}.*", self.inbox)
    }

    /// A place for a call.
    pub(crate) fn open(&self) -> Ticket<'_> {
        let token = self.next.fetch_add(1, Ordering::Relaxed);
        let slot = Arc::<Slot>::default();
        self.shard(token).insert(token, Arc::clone(&slot));
        Ticket {
            board: self,
            token,
            slot,
        }
    }

    /// Hands on what comes in, until nothing does any more. What is for nobody goes to `stray`.
    pub(crate) async fn read(&self, mut replies: Subscription, stray: impl Fn(&Message)) {
        while let Some(message) = replies.next().await {
            if let Some(message) = self.deliver(message) {
                stray(&message);
            }
        }
    }

    /// Hands on one message; gives back one whose call is over.
    pub(crate) fn deliver(&self, message: Message) -> Option<Message> {
        let last = message.subject.rsplit('.').next().unwrap_or_default();
        let (token, origin) = parse(last)?;
        let slot = self.shard(token).get(&token).cloned();
        let Some(slot) = slot else {
            return Some(message);
        };
        let now = self.now();
        slot.take(message, origin, now);
        None
    }

    /// Tells the calls that published to this subject.
    pub(crate) fn deny(&self, denied: &Denied) {
        let hash = self.hasher.hash_one(&denied.subject);
        for shard in &self.shards {
            for slot in lock(shard).values() {
                let mut queue = lock(&slot.queue);
                if queue.subjects.contains(&hash) {
                    queue.put(Heard::Denied(denied.subject.clone()));
                }
            }
        }
    }

    /// Calls that have a place.
    #[cfg(test)]
    pub(crate) fn len(&self) -> usize {
        self.shards.iter().map(|shard| lock(shard).len()).sum()
    }

    fn shard(&self, token: u64) -> MutexGuard<'_, HashMap<u64, Arc<Slot>>> {
        // The remainder fits.
        lock(&self.shards[(token % SHARDS as u64) as usize])
    }

    fn now(&self) -> u64 {
        let elapsed = self.opened.elapsed().as_millis();
        u64::try_from(elapsed).unwrap_or(u64::MAX).max(1)
    }
}

impl Ticket<'_> {
    /// Where replies to a request of this attempt go.
    pub(crate) fn reply(&self, attempt: u32) -> String {
        self.subject(Origin::Request(attempt))
    }

    /// Where the answer to a go goes.
    pub(crate) fn go(&self, attempt: u32) -> String {
        self.subject(Origin::Go(attempt))
    }

    /// Where the answer to a knock goes.
    pub(crate) fn knock(&self, attempt: u32) -> String {
        self.subject(Origin::Knock(attempt))
    }

    /// Remembers that the call publishes to this subject.
    pub(crate) fn publishes(&self, subject: &str) {
        let hash = self.board.hasher.hash_one(subject);
        let mut queue = lock(&self.slot.queue);
        if !queue.subjects.contains(&hash) {
            queue.subjects.push(hash);
        }
    }

    /// The next that is heard.
    pub(crate) async fn next(&self) -> Heard {
        std::future::poll_fn(|context| {
            let mut queue = lock(&self.slot.queue);
            match queue.take() {
                Some(heard) => Poll::Ready(heard),
                None => {
                    match &mut queue.waker {
                        Some(waker) => waker.clone_from(context.waker()),
                        waker => *waker = Some(context.waker().clone()),
                    }
                    Poll::Pending
                }
            }
        })
        .await
    }

    /// When anything was last heard.
    pub(crate) fn last_sign(&self) -> Option<Instant> {
        let last = self.slot.last_sign.load(Ordering::Relaxed);
        (last > 0).then(|| self.board.opened + Duration::from_millis(last))
    }

    fn subject(&self, origin: Origin) -> String {
        let mut subject = String::with_capacity(self.board.inbox.len() + 20);
        subject.push_str(&self.board.inbox);
        subject.push('.');
        base36(self.token, &mut subject);
        match origin {
            Origin::Request(1) => {}
            Origin::Request(attempt) => subject.push_str(&format!("-{attempt}")),
            Origin::Go(attempt) => subject.push_str(&format!("-g{attempt}")),
            Origin::Knock(attempt) => subject.push_str(&format!("-k{attempt}")),
        }
        subject
    }
}

impl Drop for Ticket<'_> {
    fn drop(&mut self) {
        self.board.shard(self.token).remove(&self.token);
    }
}

impl Slot {
    fn take(&self, message: Message, origin: Origin, now: u64) {
        let heard = match origin {
            origin if message.no_responders => Heard::Nobody(origin),
            Origin::Go(attempt) => Heard::Told(attempt, message),
            // The worker is there. Of the call it says nothing.
            Origin::Knock(_) => return,
            Origin::Request(_) => {
                self.last_sign.store(now, Ordering::Relaxed);
                Heard::Frame(message)
            }
        };
        // A sign of life is enough; nobody has to read it.
        if heard.frame() != Some(Frame::KeepAlive) {
            lock(&self.queue).put(heard);
        }
    }
}

impl Heard {
    /// The kind of an unread frame.
    fn frame(&self) -> Option<Frame> {
        let Self::Frame(message) = self else {
            return None;
        };
        message.headers.get(header::FRAME).and_then(Frame::parse)
    }
}

impl Queue {
    fn put(&mut self, heard: Heard) {
        let kind = heard.frame();
        let (count, most) = self.room(kind);
        if *count >= most {
            match kind {
                Some(Frame::Msg) => return,
                _ if std::mem::replace(&mut self.is_overrun, true) => return,
                _ => self.heard.push_back(Heard::Overrun),
            }
        } else {
            *count += 1;
            self.heard.push_back(heard);
        }
        if let Some(waker) = self.waker.take() {
            waker.wake();
        }
    }

    fn take(&mut self) -> Option<Heard> {
        let heard = self.heard.pop_front()?;
        if !matches!(heard, Heard::Overrun) {
            *self.room(heard.frame()).0 -= 1;
        }
        Some(heard)
    }

    fn room(&mut self, kind: Option<Frame>) -> (&mut usize, usize) {
        match kind {
            Some(Frame::Msg) => (&mut self.notices, NOTICES),
            Some(Frame::Chunk) => (&mut self.chunks, CHUNKS),
            _ => (&mut self.others, OTHERS),
        }
    }
}

/// A call's number and where the reply came from: `1z`, `1z-2` for the second attempt, `1z-g2` for the go to it, `1z-k2`
/// for the knock.
fn parse(last: &str) -> Option<(u64, Origin)> {
    let Some((token, rest)) = last.split_once('-') else {
        return number(last).map(|token| (token, Origin::Request(1)));
    };
    let origin = match rest.as_bytes().first()? {
        b'g' => Origin::Go(rest[1..].parse().ok()?),
        b'k' => Origin::Knock(rest[1..].parse().ok()?),
        _ => Origin::Request(rest.parse().ok()?),
    };
    number(token).map(|token| (token, origin))
}

fn number(token: &str) -> Option<u64> {
    u64::from_str_radix(token, 36).ok()
}

fn base36(mut number: u64, out: &mut String) {
    let mut digits = [0_u8; 13];
    let mut at = digits.len();
    loop {
        at -= 1;
        digits[at] = b"0123456789abcdefghijklmnopqrstuvwxyz"[(number % 36) as usize];
        number /= 36;
        if number == 0 {
            break;
        }
    }
    out.extend(digits[at..].iter().map(|digit| char::from(*digit)));
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests;
