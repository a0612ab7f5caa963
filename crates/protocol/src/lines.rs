//! The stdio framing: one message per line, nothing else.

use bytes::{Bytes, BytesMut};

/// A line longer than the limit.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct TooLong;

/// Cuts a stream of bytes into lines.
#[derive(Debug)]
pub struct Lines {
    buffer: BytesMut,
    /// How much of the buffer is known to hold no newline.
    searched: usize,
    limit: usize,
}

impl Lines {
    /// Lines of at most `limit` bytes.
    pub fn new(limit: usize) -> Self {
        Self {
            buffer: BytesMut::with_capacity(8 * 1024),
            searched: 0,
            limit,
        }
    }

    /// Where the next bytes are to be read into.
    pub fn buffer(&mut self) -> &mut BytesMut {
        &mut self.buffer
    }

    /// The next whole line, without its end. Empty lines are passed over.
    pub fn next_line(&mut self) -> Result<Option<Bytes>, TooLong> {
        while let Some(at) = memchr::memchr(b'\n', &self.buffer[self.searched..]) {
            let end = self.searched + at;
            if end > self.limit {
                return Err(TooLong);
            }
            let mut line = self.buffer.split_to(end + 1);
            self.searched = 0;
            line.truncate(end);
            if line.last() == Some(&b'\r') {
                line.truncate(line.len() - 1);
            }
            if !line.iter().all(u8::is_ascii_whitespace) {
                return Ok(Some(line.freeze()));
            }
        }
        self.searched = self.buffer.len();
        if self.searched > self.limit {
            Err(TooLong)
        } else {
            Ok(None)
        }
    }
}

/// Makes `message` one line. Line breaks in JSON text can only be white space between tokens.
pub fn frame(mut message: Vec<u8>) -> Vec<u8> {
    for byte in message
        .iter_mut()
        .filter(|byte| matches!(byte, b'\n' | b'\r'))
    {
        *byte = b' ';
    }
    message.push(b'\n');
    message
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn cut(chunks: &[&[u8]], limit: usize) -> Result<Vec<Bytes>, TooLong> {
        let (mut lines, mut found) = (Lines::new(limit), Vec::new());
        for chunk in chunks {
            lines.buffer().extend_from_slice(chunk);
            while let Some(line) = lines.next_line()? {
                found.push(line);
            }
        }
        Ok(found)
    }

    #[test]
    fn lines_are_cut_wherever_the_chunks_end() {
        assert_eq!(
            cut(&[b"{\"a\"", b":1}\r", b"\n\n  \n{}\n{\"b"], 99),
            Ok(vec!["{\"a\":1}".into(), "{}".into()])
        );
        assert_eq!(cut(&[b"12345\n"], 5), Ok(vec!["12345".into()]));
        assert_eq!(cut(&[b"123456\n"], 5), Err(TooLong));
        assert_eq!(cut(&[b"123", b"456"], 5), Err(TooLong));
    }

    proptest! {
        #[test]
        fn framed_messages_come_back(texts in prop::collection::vec("[a-z{}\r\n ]{0,20}x", 0..8), at in 1_usize..7) {
            let framed: Vec<u8> = texts.iter().flat_map(|t| frame(t.clone().into_bytes())).collect();
            let chunks: Vec<&[u8]> = framed.chunks(at).collect();
            let found = cut(&chunks, 1000).expect("short lines");
            prop_assert_eq!(found.len(), texts.len());
        }
    }
}
