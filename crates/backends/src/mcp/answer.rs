//! An answer that comes as an event stream, across the connections that it takes.

use http::StatusCode;
use toolbus_model::{Era, Error, Event, EventKind, Object, Revision};
use toolbus_protocol::Message;

use super::client::{Failure, too_large};
use super::ear::Ear;
use super::events::{Ended, Events};
use super::http::{HttpLink, answers};
use super::resume::{Attempts, Place};

/// Which request is to be answered, and who hears what is said meanwhile.
pub(super) struct Awaited {
    pub(super) id: u64,
    pub(super) revision: Revision,
    pub(super) ear: Option<Ear>,
}

impl HttpLink {
    /// Reads until the answer is there, also when the stream ends before it and goes on in another.
    pub(super) async fn read_answer(
        &self,
        mut events: Events,
        awaited: &Awaited,
    ) -> Result<Object, Error> {
        let (mut place, mut attempts, mut paused) = (Place::default(), Attempts::default(), false);
        loop {
            let ended = match self.find_answer(&mut events, awaited).await {
                Ok(answer) => return answer,
                Err(ended) => ended,
            };
            place.advance(events.place());
            let error = match &ended {
                Ended::TooLarge => return Err(too_large()),
                Ended::Lost(why) => self.client().lost(why),
                Ended::Closed => {
                    let what = "the server closed its stream without an answer";
                    Error::OutcomeUnknown(self.cause(what).into())
                }
            };
            // Streams of 2026-07-28 cannot be resumed.
            if awaited.revision.era() == Era::Modern || place.last_id.is_none() {
                return Err(error);
            }
            if matches!(ended, Ended::Closed) && !std::mem::replace(&mut paused, true) {
                tell_paused(awaited.ear.as_ref());
            }
            let rest = self.come_back(awaited.revision, &place, &mut attempts);
            events = rest.await.ok_or(error)?;
        }
    }

    /// Waits as long as the server wants, and asks for the rest of a stream. Nothing when it is not to be had.
    async fn come_back(
        &self,
        revision: Revision,
        place: &Place,
        attempts: &mut Attempts,
    ) -> Option<Events> {
        while let Some(failures) = attempts.take() {
            tokio::time::sleep(place.pause(failures)).await;
            let request = self.get(revision, place);
            match self.client().stream(request, self.is_session()).await {
                Ok(events) => {
                    attempts.worked();
                    return Some(events);
                }
                Err(failure) if is_final(&failure) => return None,
                Err(_) => attempts.failed(),
            }
        }
        None
    }

    async fn find_answer(
        &self,
        events: &mut Events,
        awaited: &Awaited,
    ) -> Result<Result<Object, Error>, Ended> {
        loop {
            let event = events.next().await?;
            match Message::parse(&event.data) {
                Ok(Message::Reply(reply)) if answers(reply.id.as_ref(), awaited.id) => {
                    return Ok(reply.result);
                }
                Ok(Message::Call(said)) => {
                    self.told(&said, awaited.revision, awaited.ear.as_ref())
                        .await;
                }
                // Events without data, such as those that only carry an id to resume from.
                _ => {}
            }
        }
    }
}

/// The server knows neither the stream nor the session any more, or its streams cannot be resumed at all.
fn is_final(failure: &Failure) -> bool {
    let status = failure.status;
    status
        .is_some_and(|status| !status.is_server_error() && status != StatusCode::TOO_MANY_REQUESTS)
}

fn tell_paused(ear: Option<&Ear>) {
    if let Some(ear) = ear {
        ear.tell(Event {
            kind: EventKind::Paused,
            params: Object::empty(),
        });
    }
}
