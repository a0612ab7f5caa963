//! The last words of a child: a bounded end of what it wrote to stderr.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, PoisonError};

/// How much is kept: enough for the longest stack trace.
const KEPT: usize = 64 * 1024;

/// The last 64 KiB of a stream.
#[derive(Debug, Clone, Default)]
pub struct Tail(Arc<Mutex<VecDeque<u8>>>);

impl Tail {
    /// Adds bytes; the oldest make room.
    pub fn push(&self, bytes: &[u8]) {
        let mut kept = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        kept.extend(&bytes[bytes.len().saturating_sub(KEPT)..]);
        let surplus = kept.len().saturating_sub(KEPT);
        kept.drain(..surplus);
    }

    /// What is kept, where there is anything.
    pub fn text(&self) -> Option<String> {
        let mut kept = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let text = String::from_utf8_lossy(kept.make_contiguous())
            .trim()
            .to_owned();
        (!text.is_empty()).then_some(text)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_end_is_kept() {
        let tail = Tail::default();
        assert_eq!(tail.text(), None);
        tail.push(&[b'a'; KEPT]);
        tail.push(b"the end\n");
        let text = tail.text().expect("text");
        assert!(text.ends_with("aaathe end") && text.len() <= KEPT);
        tail.push(&vec![b'b'; 3 * KEPT]);
        assert_eq!(tail.text().expect("text").len(), KEPT);
    }
}
