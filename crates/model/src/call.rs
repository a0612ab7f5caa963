//! One call on its way: who asked, what they can take, how long they wait, and the line back to them.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, OnceLock};
use std::task::{Context, Poll};
use std::time::Duration;

use tokio::sync::mpsc;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use crate::{CallId, Caller, Era, Object, Raw, Revision};

/// How many notices wait for a slow reader before new ones are dropped. They are advice; the result never waits here.
const EVENT_QUEUE: usize = 64;

/// A notice about a call, for its caller.
#[derive(Debug, Clone, PartialEq)]
pub struct Event {
    /// Which notice.
    pub kind: EventKind,
    /// Its parameters as the back end sent them.
    pub params: Object,
}

/// The notices that belong to a call.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum EventKind {
    /// How far it is.
    Progress,
    /// A log line.
    Log,
    /// An elicitation by URL has come to its end (`notifications/elicitation/complete`, up to 2025-11-25).
    ElicitationComplete,
    /// The server closed the call's stream and asks to be waited for (SEP-1699). A caller of that revision is asked the same.
    Paused,
}

/// MCP's log levels, lowest first.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
#[expect(missing_docs, reason = "the names are the levels of RFC 5424")]
pub enum LogLevel {
    Debug,
    Info,
    Notice,
    Warning,
    Error,
    Critical,
    Alert,
    Emergency,
}

impl LogLevel {
    const NAMES: [(&'static str, Self); 8] = [
        ("debug", Self::Debug),
        ("info", Self::Info),
        ("notice", Self::Notice),
        ("warning", Self::Warning),
        ("error", Self::Error),
        ("critical", Self::Critical),
        ("alert", Self::Alert),
        ("emergency", Self::Emergency),
    ];

    /// The level of this name.
    pub fn parse(name: &str) -> Option<Self> {
        Self::NAMES
            .iter()
            .find(|(known, _)| *known == name)
            .map(|(_, level)| *level)
    }

    /// The level's name.
    pub fn as_str(self) -> &'static str {
        Self::NAMES[self as usize].0
    }
}

/// W3C trace context as it came, and as it goes on.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Trace {
    /// `traceparent`, checked for its form.
    pub parent: Option<String>,
    /// `tracestate`, untouched.
    pub state: Option<String>,
    /// `baggage`, untouched.
    pub baggage: Option<String>,
}

/// What a door knows of a call before the gateway takes it.
#[derive(Debug, Clone)]
pub struct CallSeed {
    /// Who asks.
    pub caller: Caller,
    /// The revision the caller speaks.
    pub revision: Revision,
    /// The door it came through, for the record.
    pub door: &'static str,
    /// The client's capabilities for this request, as declared.
    pub capabilities: Raw,
    /// The client's description of itself.
    pub client: Option<Raw>,
    /// The lowest level of log lines the caller wants; none without.
    pub log_level: Option<LogLevel>,
    /// The caller's own token for progress; without one it wants none.
    pub progress_token: Option<Raw>,
    /// Where the call stands in the caller's trace.
    pub trace: Trace,
}

/// One call on its way.
#[derive(Debug)]
pub struct Call {
    /// Its id.
    pub id: CallId,
    /// What the door knew.
    pub seed: CallSeed,
    /// When it was taken.
    pub started: Instant,
    deadline: OnceLock<Instant>,
    cancel: CancellationToken,
    line: Line,
}

/// The line back to a call's caller. Cheap to clone; a reader that serves many calls keeps one of each.
#[derive(Debug, Clone)]
pub struct Line {
    /// Only for callers who asked for notices: most do not, and a channel costs more than the rest of a call's setup.
    events: Option<mpsc::Sender<Box<Event>>>,
    log_level: Option<LogLevel>,
    wants_progress: bool,
    /// Some notices are for callers of sessions alone.
    is_legacy: bool,
    started: Instant,
    signs: Arc<Signs>,
}

/// What is remembered of a call's notices.
#[derive(Debug)]
struct Signs {
    /// Milliseconds after the call's start of the last sign of life.
    last: AtomicU64,
    /// The progress told last, as the bits of a number.
    progress: AtomicU64,
}

impl Default for Signs {
    fn default() -> Self {
        Self {
            last: AtomicU64::default(),
            progress: AtomicU64::new(f64::NEG_INFINITY.to_bits()),
        }
    }
}

impl Signs {
    /// Progress must increase with each notice (2026-07-28, basic/patterns/progress).
    fn is_ahead(&self, params: &Object) -> bool {
        let told = params
            .raw("progress")
            .and_then(|told| told.read::<f64>().ok());
        told.is_some_and(|told| {
            let ahead = |known| (told > f64::from_bits(known)).then_some(told.to_bits());
            let (store, load) = (Ordering::Relaxed, Ordering::Relaxed);
            self.progress.fetch_update(store, load, ahead).is_ok()
        })
    }
}

/// The notices of a call, on the caller's side.
#[derive(Debug)]
pub struct Events(Option<mpsc::Receiver<Box<Event>>>);

/// The caller's end of a call: its notices, and the way to stop it.
#[derive(Debug)]
pub struct CallEnd {
    /// The call's id.
    pub id: CallId,
    /// Notices, until the call has ended.
    pub events: Events,
    /// Cancels the call.
    pub cancel: CancellationToken,
}

impl Call {
    /// Takes a call: its two ends. `cancel` stops it.
    pub fn begin(seed: CallSeed, cancel: CancellationToken) -> (Arc<Self>, CallEnd) {
        Self::begin_as(CallId::new(), seed, cancel)
    }

    /// [`Call::begin`] of a call that has an id already, from where it was taken first.
    pub fn begin_as(id: CallId, seed: CallSeed, cancel: CancellationToken) -> (Arc<Self>, CallEnd) {
        let wanted = seed.progress_token.is_some() || seed.log_level.is_some();
        let (events, receiver) = wanted.then(|| mpsc::channel(EVENT_QUEUE)).unzip();
        let end = CallEnd {
            id,
            events: Events(receiver),
            cancel: cancel.clone(),
        };
        let started = Instant::now();
        let line = Line {
            events,
            log_level: seed.log_level,
            wants_progress: seed.progress_token.is_some(),
            is_legacy: seed.revision.era() == Era::Legacy,
            started,
            signs: Arc::default(),
        };
        (
            Arc::new(Self {
                id,
                seed,
                started,
                deadline: OnceLock::new(),
                cancel,
                line,
            }),
            end,
        )
    }

    /// The line back to the caller.
    pub fn line(&self) -> &Line {
        &self.line
    }

    /// When the back end last gave a sign of life.
    pub fn last_sign(&self) -> Instant {
        self.started + Duration::from_millis(self.line.signs.last.load(Ordering::Relaxed))
    }

    /// When its time is up, whatever it does; none where it has no such limit.
    pub fn deadline(&self) -> Option<Instant> {
        self.deadline.get().copied()
    }

    /// Says when its time is up. The first word counts.
    pub fn ends_by(&self, deadline: Instant) {
        let _ = self.deadline.set(deadline);
    }

    /// Completes when the call is to be stopped.
    pub async fn cancelled(&self) {
        self.cancel.cancelled().await;
    }

    /// Stops the call.
    pub fn cancel(&self) {
        self.cancel.cancel();
    }

    /// The call is to be stopped.
    pub fn is_cancelled(&self) -> bool {
        self.cancel.is_cancelled()
    }
}

impl Line {
    /// Tells the caller something, if the caller asked for such notices. Lost when the caller reads too slowly, and
    /// that is meant: notices are advice. Progress that does not increase is lost as well. Each one starts the idle
    /// limit anew.
    pub fn tell(&self, event: Event) {
        let elapsed = u64::try_from(self.started.elapsed().as_millis()).unwrap_or(u64::MAX);
        self.signs.last.store(elapsed, Ordering::Relaxed);
        let wanted = match event.kind {
            EventKind::Progress => self.wants_progress && self.signs.is_ahead(&event.params),
            EventKind::Log => {
                let level = event
                    .params
                    .str("level")
                    .and_then(|name| LogLevel::parse(&name));
                self.log_level
                    .is_some_and(|lowest| level.unwrap_or(LogLevel::Info) >= lowest)
            }
            EventKind::ElicitationComplete | EventKind::Paused => self.is_legacy,
        };
        if let (true, Some(events)) = (wanted, &self.events) {
            let _ = events.try_send(Box::new(event));
        }
    }
}

impl Events {
    /// The next notice; `None` when the call has ended. A caller who asked for none waits for ever.
    pub async fn recv(&mut self) -> Option<Event> {
        std::future::poll_fn(|context| self.poll_recv(context)).await
    }

    /// [`Events::recv`] as a poll.
    pub fn poll_recv(&mut self, context: &mut Context<'_>) -> Poll<Option<Event>> {
        let events = self.0.as_mut();
        events.map_or(Poll::Pending, |events| {
            events
                .poll_recv(context)
                .map(|event| event.map(|event| *event))
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::CallSeed;

    fn told(progress: &[&str]) -> Vec<String> {
        let seed = CallSeed {
            caller: Caller::local(),
            revision: Revision::V2026_07_28,
            door: "test",
            capabilities: Object::empty().to_raw(),
            client: None,
            log_level: None,
            progress_token: Some(Raw::of("mine")),
            trace: Trace::default(),
        };
        let (call, mut end) = Call::begin(seed, CancellationToken::new());
        for value in progress {
            let params = format!("{{\"progress\":{value}}}");
            let params = Object::parse(params.into()).expect("JSON");
            let kind = EventKind::Progress;
            call.line().tell(Event { kind, params });
        }
        drop(call);
        let mut seen = Vec::new();
        let mut context = Context::from_waker(std::task::Waker::noop());
        while let Poll::Ready(Some(event)) = end.events.poll_recv(&mut context) {
            let value = event.params.get("progress").unwrap_or_default();
            seen.push(String::from_utf8_lossy(value).into_owned());
        }
        seen
    }

    #[test]
    fn progress_only_increases() {
        let all = ["-1", "0", "0", "0.5", "1e0", "1", "0.9", "2"];
        assert_eq!(told(&all), ["-1", "0", "0.5", "1e0", "2"]);
        assert_eq!(told(&["\"1\"", "null", "1"]), ["1"]);
    }
}
