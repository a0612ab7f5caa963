//! How a request ends: its last frame.

use std::time::Duration;

use bytes::Bytes;
use toolbus_model::{Cause, Error, Outcome, Raw};
use toolbus_protocol::{Message, write};

use crate::fault;
use crate::frame::Frame;

/// When to come back to a worker that has no room: about as long as a call takes.
pub(super) const COME_BACK: Duration = Duration::from_millis(100);

/// The last frame of a request.
#[derive(Debug, Clone)]
pub(super) struct Terminal {
    pub(super) frame: Frame,
    /// The label of an error of ours, and the code.
    pub(super) error: Option<(Option<&'static str>, i64)>,
    /// The worker holds what a later request goes on with.
    pub(super) holds: bool,
    pub(super) body: Bytes,
}

impl Terminal {
    /// The response.
    pub(super) fn end(id: &Raw, outcome: &Outcome, holds: bool) -> Self {
        let object = outcome.object();
        let size = object.bytes().len();
        let body = write::result(id, |out| out.extend_from_slice(object.bytes()), size);
        Self {
            frame: Frame::End,
            error: None,
            holds,
            body: body.into(),
        }
    }

    /// The response, an error.
    pub(super) fn err(id: &Raw, error: &Error) -> Self {
        Self::failed(Frame::Err, id, error)
    }

    /// It was not run: no room, or not of the version that is wanted.
    pub(super) fn busy(id: &Raw, what: impl Into<String>) -> Self {
        let error = Error::Busy {
            what: what.into(),
            retry_after: COME_BACK,
        };
        Self::failed(Frame::Busy, id, &error)
    }

    /// It was not run: too late.
    pub(super) fn late(id: &Raw, what: impl Into<String>) -> Self {
        let error = Error::Unavailable(Cause::new(what).into());
        Self::failed(Frame::Late, id, &error)
    }

    fn failed(frame: Frame, id: &Raw, error: &Error) -> Self {
        let (body, label, code) = fault::encode(id, error);
        Self {
            frame,
            error: Some((label, code)),
            holds: false,
            body: body.into(),
        }
    }
}

/// The id in a request that is refused before it is read; `null` where there is none.
pub(super) fn id_of(body: &Bytes) -> Raw {
    let id = match Message::parse(body) {
        Ok(Message::Call(envelope)) => envelope.id,
        Ok(Message::Reply(reply)) => reply.id,
        Err(refusal) => refusal.id,
    };
    id.unwrap_or_else(nobody)
}

/// The id of what has none.
pub(super) fn nobody() -> Raw {
    Raw::of(&())
}
