//! One event stream of a server: event by event, and from where to go on after its end.

use http::HeaderValue;
use http_body_util::BodyExt as _;
use hyper::body::Incoming;
use toolbus_protocol::sse;

use super::client::chain;
use super::outgoing::MAX_MESSAGE;
use super::resume::Place;

/// How a stream ended.
#[derive(Debug)]
pub(super) enum Ended {
    /// The server closed it.
    Closed,
    /// The connection broke, for this reason.
    Lost(String),
    /// It brought an event larger than we take.
    TooLarge,
}

/// An open stream.
#[derive(Debug)]
pub(super) struct Events {
    body: Incoming,
    reader: sse::Reader,
}

impl Events {
    pub(super) fn new(body: Incoming) -> Self {
        Self {
            body,
            reader: sse::Reader::new(MAX_MESSAGE),
        }
    }

    pub(super) async fn next(&mut self) -> Result<sse::Event, Ended> {
        loop {
            match self.reader.next_event() {
                Ok(Some(event)) => return Ok(event),
                Ok(None) => {}
                Err(sse::TooLong) => return Err(Ended::TooLarge),
            }
            match self.body.frame().await {
                None => return Err(Ended::Closed),
                Some(Err(error)) => return Err(Ended::Lost(chain(&error))),
                Some(Ok(frame)) => {
                    if let Ok(data) = frame.into_data() {
                        self.reader.push(&data);
                    }
                }
            }
        }
    }

    /// From where the stream goes on. An id that cannot stand in a header is none.
    pub(super) fn place(&self) -> Place {
        let id = self.reader.last_id();
        Place {
            last_id: id.and_then(|id| HeaderValue::from_bytes(id.as_bytes()).ok()),
            retry: self.reader.retry(),
        }
    }
}
