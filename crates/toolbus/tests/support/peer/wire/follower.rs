//! Reads one event stream to its end, by the rules of a revision.

use std::sync::mpsc::SyncSender;
use std::time::Duration;

use super::super::http::{Event, Reply};
use super::super::revision::Revision;
use super::{Arrival, Origin};

/// Reads one event stream to its end, by the rules of a revision.
pub(super) struct Follower<'a> {
    origin: Origin,
    revision: Revision,
    arrivals: &'a SyncSender<Arrival>,
    last: Option<String>,
    pause: Duration,
}

impl<'a> Follower<'a> {
    pub(super) fn new(
        origin: Origin,
        revision: Revision,
        arrivals: &'a SyncSender<Arrival>,
    ) -> Self {
        Self {
            origin,
            revision,
            arrivals,
            last: None,
            pause: Duration::ZERO,
        }
    }

    pub(super) fn follow(&mut self, reply: &mut Reply) {
        // A stream that breaks off ends like one that is closed: what is missing then tells.
        while let Ok(Some(event)) = reply.event() {
            let arrival = match self.take(event) {
                Ok(Some(text)) => Arrival::Message(self.origin, text),
                Ok(None) => continue,
                Err(trouble) => Arrival::Trouble(trouble),
            };
            if self.arrivals.send(arrival).is_err() {
                return;
            }
        }
        let place = self.last.take().map(|last| (last, self.pause));
        let _ = self.arrivals.send(Arrival::Ended(self.origin, place));
    }

    fn take(&mut self, event: Event) -> Result<Option<String>, String> {
        let wrong = |what: &str| Err(format!("{what}: {event:?}"));
        if event.name.as_deref().is_some_and(|name| name != "message") {
            return wrong("an event of another name");
        }
        if self.revision.is_modern() && event.id.is_some() {
            return wrong("2026-07-28 has no ids of events");
        }
        if let Some(retry) = event.retry {
            self.pause = Duration::from_millis(retry);
        }
        if let Some(id) = &event.id {
            self.last = Some(id.clone());
        }
        match event.data.as_deref() {
            None | Some("") if self.revision.has_priming() && event.id.is_some() => Ok(None),
            None | Some("") => wrong("an event without a message"),
            Some(_) => Ok(event.data),
        }
    }
}
