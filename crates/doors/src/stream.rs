//! Bodies of answers: whole, or an event stream that ends with the call's result.

use std::convert::Infallible;
use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use bytes::Bytes;
use futures_util::stream::BoxStream;
use http_body::{Frame, SizeHint};
use tokio::time::{Instant, Interval, interval_at};
use toolbus_gateway::Step;
use toolbus_model::Error;
use toolbus_protocol::sse;

use crate::encode;
use crate::exchange::Call;

/// After this long without a message a silent stream says that it is alive; most proxies give up after 30 to 60 s.
pub(crate) const KEEP_ALIVE: Duration = Duration::from_secs(15);

/// The body of an answer.
pub(crate) enum Body {
    /// Known as a whole.
    Whole(Option<Bytes>),
    /// A call's, as it comes.
    Events(Box<Events>),
    /// Any other stream of events.
    Stream(BoxStream<'static, Bytes>),
}

impl Body {
    pub(crate) fn of(bytes: impl Into<Bytes>) -> Self {
        Self::Whole(Some(bytes.into()))
    }

    pub(crate) fn empty() -> Self {
        Self::Whole(None)
    }
}

/// A call's notices and then its result, as server-sent events. Dropped early, it drops the call.
pub(crate) struct Events {
    call: Call,
    first: Option<Bytes>,
    silence: Interval,
    ended: bool,
}

impl Events {
    /// The stream of `call`, which begins with a notice that has come already.
    pub(crate) fn new(call: Call, first: Option<Vec<u8>>) -> Self {
        let first = Some(first.map_or_else(
            || Bytes::from_static(sse::KEEP_ALIVE),
            |message| sse::event(&message).into(),
        ));
        Self {
            call,
            first,
            silence: interval_at(Instant::now() + KEEP_ALIVE, KEEP_ALIVE),
            ended: false,
        }
    }

    fn poll_next(&mut self, context: &mut Context<'_>) -> Poll<Option<Bytes>> {
        if let Some(first) = self.first.take() {
            return Poll::Ready(Some(first));
        }
        if self.ended {
            return Poll::Ready(None);
        }
        if let Poll::Ready(step) = self.call.running.poll_next(context) {
            let message = match step {
                Step::Notice(event) => {
                    self.silence.reset();
                    encode::notice(&event, self.call.token.as_ref())
                }
                Step::Answer(answer) => {
                    self.ended = true;
                    self.call.finish(answer)
                }
            };
            return Poll::Ready(Some(sse::event(&message).into()));
        }
        ready!(self.silence.poll_tick(context));
        Poll::Ready(Some(Bytes::from_static(sse::KEEP_ALIVE)))
    }
}

impl http_body::Body for Body {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        let next = match self.get_mut() {
            Self::Whole(bytes) => Poll::Ready(bytes.take()),
            Self::Events(events) => events.poll_next(context),
            Self::Stream(stream) => stream.as_mut().poll_next(context),
        };
        next.map(|bytes| bytes.map(|bytes| Ok(Frame::data(bytes))))
    }

    fn is_end_stream(&self) -> bool {
        match self {
            Self::Whole(bytes) => bytes.is_none(),
            Self::Events(events) => events.ended,
            Self::Stream(_) => false,
        }
    }

    fn size_hint(&self) -> SizeHint {
        match self {
            Self::Whole(bytes) => {
                SizeHint::with_exact(bytes.as_ref().map_or(0, |bytes| bytes.len() as u64))
            }
            Self::Events(_) | Self::Stream(_) => SizeHint::default(),
        }
    }
}

impl Call {
    /// The response that ends the call.
    pub(crate) fn finish(&self, answer: Result<toolbus_model::Outcome, Error>) -> Vec<u8> {
        self.write(answer).unwrap_or_else(|error| {
            encode::plain_error(Some(&self.id), self.era, &error, Some(self.running.id))
        })
    }

    /// The response with the call's result, or the error as this caller knows it.
    pub(crate) fn write(
        &self,
        answer: Result<toolbus_model::Outcome, Error>,
    ) -> Result<Vec<u8>, Error> {
        let outcome = answer.map_err(|error| encode::translated(error, self.era, self.is_read))?;
        encode::outcome(&self.id, self.era, &outcome, self.is_read)
    }
}
