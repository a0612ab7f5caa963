//! A response body of a few pieces that are sent as they lie, so that a large message is echoed without being copied.

use std::collections::VecDeque;
use std::convert::Infallible;
use std::pin::Pin;
use std::task::{Context, Poll};

use bytes::{Bytes, BytesMut};
use hyper::body::{Body, Frame, SizeHint};

/// Below this many bytes one copy is cheaper than three writes.
const COPY_BELOW: usize = 16 * 1024;

/// The pieces of one body, in order.
#[derive(Debug, Default)]
pub struct Parts {
    waiting: VecDeque<Bytes>,
}

impl Parts {
    /// A body of these pieces; small ones are joined.
    #[must_use]
    pub fn new<const N: usize>(pieces: [Bytes; N]) -> Self {
        let length = pieces.iter().map(Bytes::len).sum();
        if length > COPY_BELOW {
            let waiting = pieces.into_iter().filter(|piece| !piece.is_empty());
            return Self {
                waiting: waiting.collect(),
            };
        }
        let mut joined = BytesMut::with_capacity(length);
        for piece in &pieces {
            joined.extend_from_slice(piece);
        }
        Self::from(joined.freeze())
    }

    /// All pieces in one.
    #[must_use]
    pub fn to_bytes(&self) -> Bytes {
        let pieces: Vec<&[u8]> = self.waiting.iter().map(AsRef::as_ref).collect();
        Bytes::from(pieces.concat())
    }
}

impl From<Bytes> for Parts {
    fn from(whole: Bytes) -> Self {
        Self {
            waiting: VecDeque::from([whole]),
        }
    }
}

impl Body for Parts {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        _: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        Poll::Ready(self.waiting.pop_front().map(|piece| Ok(Frame::data(piece))))
    }

    fn is_end_stream(&self) -> bool {
        self.waiting.is_empty()
    }

    fn size_hint(&self) -> SizeHint {
        SizeHint::with_exact(self.waiting.iter().map(|piece| piece.len() as u64).sum())
    }
}
