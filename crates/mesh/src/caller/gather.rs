//! A result that comes in chunks.

use bytes::{Bytes, BytesMut};

use crate::frame::{LARGEST_IN_CHUNKS, WINDOW};

/// The chunks of one attempt, in their order.
#[derive(Debug, Default)]
pub(super) struct Gather {
    bytes: BytesMut,
    next: u32,
    uncredited: u32,
}

impl Gather {
    /// Takes a chunk.
    pub(super) fn push(&mut self, seq: Option<u32>, body: &Bytes) -> Result<(), String> {
        if seq != Some(self.next) {
            let came = seq.map_or("one without a number".to_owned(), |seq| format!("{seq}"));
            return Err(format!("chunk {} was due and {came} came", self.next));
        }
        if self.bytes.len() + body.len() > LARGEST_IN_CHUNKS {
            return Err(format!(
                "its chunks are larger than {LARGEST_IN_CHUNKS} bytes"
            ));
        }
        self.bytes.extend_from_slice(body);
        self.next += 1;
        self.uncredited += 1;
        Ok(())
    }

    /// How many more chunks the worker is to be told of, if that is worth a message.
    pub(super) fn credit(&self) -> Option<u32> {
        (self.uncredited >= WINDOW / 2).then_some(self.uncredited)
    }

    /// The worker was told.
    pub(super) fn credited(&mut self) {
        self.uncredited = 0;
    }

    /// Something came.
    pub(super) fn has_begun(&self) -> bool {
        self.next > 0
    }

    /// The whole, of as many chunks as the worker says it sent.
    pub(super) fn whole(&mut self, count: Option<u32>) -> Result<Bytes, String> {
        if count != Some(self.next) {
            let said = count.map_or("none".to_owned(), |count| count.to_string());
            return Err(format!("{} chunks came and {said} were sent", self.next));
        }
        Ok(std::mem::take(&mut self.bytes).freeze())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn chunks_are_joined_in_their_order_and_credited() {
        let mut gather = Gather::default();
        let mut credits = 0;
        for seq in 0..20 {
            gather
                .push(Some(seq), &Bytes::from(vec![seq as u8; 3]))
                .expect("in order");
            if let Some(credit) = gather.credit() {
                credits += credit;
                gather.credited();
            }
        }
        assert_eq!(credits, 20);
        let whole = gather.whole(Some(20)).expect("all came");
        assert_eq!((whole.len(), whole[0], whole[59]), (60, 0, 19));
    }

    #[test]
    fn what_is_missing_doubled_or_too_large_is_an_error() {
        let chunk = Bytes::from_static(b"x");
        let mut gather = Gather::default();
        assert!(gather.push(Some(1), &chunk).is_err());
        assert!(gather.push(None, &chunk).is_err());
        gather.push(Some(0), &chunk).expect("the first");
        assert_eq!(
            gather.push(Some(0), &chunk),
            Err("chunk 1 was due and 0 came".to_owned())
        );
        assert_eq!(
            gather.whole(Some(2)),
            Err("1 chunks came and 2 were sent".to_owned())
        );
        let large = Bytes::from(vec![0; LARGEST_IN_CHUNKS]);
        assert!(gather.push(Some(1), &large).is_err());
    }
}
