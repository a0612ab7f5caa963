//! What a stream of an older revision carries, kept so that a client that breaks off can take it up again
//! (2025-11-25, basic/transports, "Resumability and redelivery").

use std::collections::{HashMap, VecDeque};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use bytes::Bytes;
use futures_util::StreamExt as _;
use futures_util::stream::{self, BoxStream};
use tokio::sync::watch;
use tokio::time::{Instant, timeout};
use toolbus_model::Revision;
use toolbus_protocol::sse;
use uuid::Uuid;

use crate::stream::KEEP_ALIVE;

/// Messages of one stream that are kept. Notices beyond it push out the oldest ones, which are advice.
const MAX_EVENTS: usize = 512;

/// Bytes of notices of one stream that are kept.
const MAX_BYTES: usize = 1024 * 1024;

/// How long an ended stream is kept for a client that lost its connection in the last moment.
const LINGER: Duration = Duration::from_secs(60);

/// Bytes and number of ended streams that are kept, together; the oldest go first.
const LINGERING: (usize, usize) = (32 * 1024 * 1024, 4_096);

/// How long a client waits before it takes a stream up again, in milliseconds.
const RETRY: u64 = 500;

/// One stream.
#[derive(Debug)]
pub(crate) struct Tape {
    id: String,
    /// The session that may read it.
    session: String,
    /// The client expects a first event to resume from, and an explanation of closings.
    primes: bool,
    state: Mutex<State>,
    moved: watch::Sender<()>,
}

#[derive(Debug)]
struct State {
    events: VecDeque<Event>,
    next: u64,
    /// Of all advice.
    bytes: usize,
    ended: bool,
    noticed: bool,
    /// The last event that a reader took.
    taken: u64,
    /// Who reads now; earlier readers have lost their turn.
    reader: u64,
    unread_since: Option<Instant>,
}

#[derive(Debug)]
struct Event {
    at: u64,
    message: Bytes,
    /// A response or a question. Everything else is advice.
    owed: bool,
}

/// What [`Tape::settled`] found.
pub(crate) enum Settled {
    /// All there was, and no notice among it.
    Ended(Vec<Bytes>),
    /// A stream is needed.
    Open,
}

impl Tape {
    /// How the ids of a call's events begin, and those of what belongs to no call.
    pub(crate) const CALL: &str = "c";
    pub(crate) const FEED: &str = "f";

    fn new(kind: &str, session: &str, revision: Revision) -> Self {
        Self {
            id: format!("{kind}{}", Uuid::now_v7().simple()),
            session: session.to_owned(),
            primes: revision >= Revision::V2025_11_25,
            state: Mutex::new(State {
                events: VecDeque::new(),
                next: 1,
                bytes: 0,
                ended: false,
                noticed: false,
                taken: 0,
                reader: 0,
                unread_since: Some(Instant::now()),
            }),
            moved: watch::Sender::new(()),
        }
    }

    /// Adds a message. Responses and questions are `owed`; everything else is advice.
    pub(crate) fn say(&self, message: Vec<u8>, owed: bool) {
        let mut state = self.lock();
        if state.ended {
            return;
        }
        let at = state.next;
        state.next += 1;
        state.noticed |= !owed;
        state.bytes += if owed { 0 } else { message.len() };
        state.events.push_back(Event {
            at,
            message: message.into(),
            owed,
        });
        state.trim();
        drop(state);
        self.moved.send_replace(());
    }

    /// Nothing more comes.
    pub(crate) fn end(&self) {
        self.lock().ended = true;
        self.moved.send_replace(());
    }

    /// Closes the connection under the stream, which goes on: its client comes back after a while.
    pub(crate) fn pause(&self) {
        let mut state = self.lock();
        state.noticed = true;
        if self.primes {
            state.reader += 1;
        }
        drop(state);
        self.moved.send_replace(());
    }

    /// Nobody has read it for so long.
    pub(crate) fn is_unread_for(&self, time: Duration) -> bool {
        let since = self.lock().unread_since;
        since.is_some_and(|since| since.elapsed() >= time)
    }

    /// Waits until the stream has ended without a notice, or must be shown as a stream.
    pub(crate) async fn settled(&self) -> Settled {
        let mut moved = self.moved.subscribe();
        let settled = async {
            loop {
                {
                    let state = self.lock();
                    if state.noticed {
                        return Settled::Open;
                    }
                    if state.ended {
                        let all = state.events.iter().map(|event| event.message.clone());
                        return Settled::Ended(all.collect());
                    }
                }
                if moved.changed().await.is_err() {
                    return Settled::Open;
                }
            }
        };
        timeout(KEEP_ALIVE, settled).await.unwrap_or(Settled::Open)
    }

    /// The stream from the event after `after` on, or from where the last reader was, as server-sent events. Takes the
    /// turn of any earlier reader.
    pub(crate) fn read(self: &Arc<Self>, after: Option<u64>) -> BoxStream<'static, Bytes> {
        let (turn, after) = {
            let mut state = self.lock();
            state.reader += 1;
            state.unread_since = None;
            (state.reader, after.unwrap_or(state.taken))
        };
        let reader = Reader {
            tape: Arc::clone(self),
            moved: self.moved.subscribe(),
            turn,
            at: after,
        };
        let first = self
            .primes
            .then(|| Bytes::from(sse::priming(&self.event_id(after), RETRY)));
        let rest = stream::unfold(reader, |mut reader| async move {
            let event = reader.next().await?;
            Some((event, reader))
        });
        stream::iter(first).chain(rest).boxed()
    }

    fn event_id(&self, at: u64) -> String {
        format!("{}-{at}", self.id)
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    /// Old advice makes room.
    fn trim(&mut self) {
        while self.events.len() > MAX_EVENTS || self.bytes > MAX_BYTES {
            let Some(oldest) = self.events.iter().position(|event| !event.owed) else {
                return;
            };
            if let Some(event) = self.events.remove(oldest) {
                self.bytes -= event.message.len();
            }
        }
    }
}

struct Reader {
    tape: Arc<Tape>,
    moved: watch::Receiver<()>,
    turn: u64,
    at: u64,
}

enum Step {
    Event(Bytes),
    Wait,
    Over,
}

impl Reader {
    async fn next(&mut self) -> Option<Bytes> {
        loop {
            match self.step() {
                Step::Event(event) => return Some(event),
                Step::Over => return None,
                Step::Wait => match timeout(KEEP_ALIVE, self.moved.changed()).await {
                    Ok(Ok(())) => {}
                    Ok(Err(_)) => return None,
                    Err(_) => return Some(Bytes::from_static(sse::KEEP_ALIVE)),
                },
            }
        }
    }

    fn step(&mut self) -> Step {
        let mut state = self.tape.lock();
        if state.reader != self.turn {
            return Step::Over;
        }
        let ahead = state.events.partition_point(|event| event.at <= self.at);
        match state.events.get(ahead) {
            Some(event) => {
                self.at = event.at;
                let id = self.tape.event_id(event.at);
                let text = sse::named("message", Some(&id), &event.message);
                state.taken = state.taken.max(self.at);
                Step::Event(text.into())
            }
            None if state.ended => Step::Over,
            None => Step::Wait,
        }
    }
}

impl Drop for Reader {
    fn drop(&mut self) {
        let mut state = self.tape.lock();
        if state.reader == self.turn {
            state.unread_since = Some(Instant::now());
        }
    }
}

/// The streams that can be taken up again.
#[derive(Debug, Default)]
pub(crate) struct Tapes(Mutex<Shelf>);

#[derive(Debug, Default)]
struct Shelf {
    tapes: HashMap<String, Arc<Tape>>,
    /// Ended ones, oldest first: when they ended, which, and how large.
    ended: VecDeque<(Instant, String, usize)>,
    bytes: usize,
}

impl Tapes {
    /// A new stream of a session.
    pub(crate) fn start(&self, kind: &str, session: &str, revision: Revision) -> Arc<Tape> {
        let tape = Arc::new(Tape::new(kind, session, revision));
        let mut shelf = self.lock();
        shelf.clear_out();
        shelf.tapes.insert(tape.id.clone(), Arc::clone(&tape));
        tape
    }

    /// Nothing more comes on a stream; it is kept for a while.
    pub(crate) fn end(&self, tape: &Tape) {
        tape.end();
        let size = tape
            .lock()
            .events
            .iter()
            .map(|event| event.message.len())
            .sum();
        let mut shelf = self.lock();
        shelf
            .ended
            .push_back((Instant::now(), tape.id.clone(), size));
        shelf.bytes += size;
        shelf.clear_out();
    }

    /// Takes a stream away at once.
    pub(crate) fn discard(&self, tape: &Tape) {
        tape.end();
        self.lock().tapes.remove(&tape.id);
    }

    /// The stream that this event id belongs to, where the session may read it, and the event's place in it.
    pub(crate) fn find(&self, session: &str, event: &str) -> Option<(Arc<Tape>, u64)> {
        let (id, at) = event.rsplit_once('-')?;
        let tape = self.lock().tapes.get(id).cloned()?;
        (tape.session == session).then_some((tape, at.parse().ok()?))
    }

    fn lock(&self) -> MutexGuard<'_, Shelf> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Shelf {
    fn clear_out(&mut self) {
        while let Some((ended, id, size)) = self.ended.front()
            && (ended.elapsed() > LINGER
                || self.bytes > LINGERING.0
                || self.ended.len() > LINGERING.1)
        {
            self.bytes -= size;
            self.tapes.remove(id);
            self.ended.pop_front();
        }
    }
}

#[cfg(test)]
mod tests;
