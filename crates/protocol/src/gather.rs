//! Bodies that arrive in pieces, gathered up to a limit. One that arrives whole is not copied.

use bytes::{Bytes, BytesMut};

/// More bytes than the limit.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct TooLarge;

/// What has arrived so far.
#[derive(Debug)]
pub struct Gather {
    first: Bytes,
    all: BytesMut,
    limit: usize,
}

impl Gather {
    /// Gathers at most `limit` bytes.
    pub fn new(limit: usize) -> Self {
        Self {
            first: Bytes::new(),
            all: BytesMut::new(),
            limit,
        }
    }

    /// Adds a piece.
    pub fn push(&mut self, piece: Bytes) -> Result<(), TooLarge> {
        if self.first.len().max(self.all.len()) + piece.len() > self.limit {
            return Err(TooLarge);
        }
        if self.first.is_empty() && self.all.is_empty() {
            self.first = piece;
            return Ok(());
        }
        if self.all.is_empty() {
            self.all.reserve(2 * (self.first.len() + piece.len()));
            self.all.extend_from_slice(&self.first);
            self.first = Bytes::new();
        }
        self.all.extend_from_slice(&piece);
        Ok(())
    }

    /// Everything that has arrived.
    pub fn finish(self) -> Bytes {
        if self.all.is_empty() {
            self.first
        } else {
            self.all.freeze()
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pieces_come_out_in_order_and_up_to_the_limit() {
        let mut gather = Gather::new(6);
        for piece in ["ab", "", "cd", "ef"] {
            gather.push(piece.into()).expect("fits");
        }
        assert_eq!(gather.push("g".into()), Err(TooLarge));
        assert_eq!(gather.finish(), "abcdef");
        assert_eq!(Gather::new(0).finish(), "");
    }
}
