//! Streams cut into lines, and bodies gathered from pieces: how the network cuts them changes nothing.

use bytes::Bytes;
use toolbus_protocol::gather::Gather;
use toolbus_protocol::lines::{Lines, TooLong, frame};

use crate::{byte, pattern, pieces};

pub(crate) fn lines(mut data: &[u8]) {
    let limit = usize::from(byte(&mut data)) * 4;
    let pattern = pattern(&mut data);
    let expected = plain_lines(data, limit);
    for chunks in [pattern, u64::MAX, 0] {
        assert_eq!(read_lines(pieces(data, chunks), limit), expected);
    }
    let framed = frame(data.to_vec());
    let words = |text: &[u8]| -> Vec<Bytes> {
        let words = text.split(|byte| matches!(byte, b' ' | b'\n' | b'\r'));
        words
            .map(Bytes::copy_from_slice)
            .filter(|word| !word.is_empty())
            .collect()
    };
    assert_eq!(words(&framed), words(data));
    let (found, _) = plain_lines(&framed, framed.len());
    assert!(found.len() <= 1, "a message is one line");
}

type Found = (Vec<Bytes>, Result<(), TooLong>);

fn read_lines<'a>(pieces: impl Iterator<Item = &'a [u8]>, limit: usize) -> Found {
    let (mut lines, mut found) = (Lines::new(limit), Vec::new());
    for piece in pieces {
        lines.buffer().extend_from_slice(piece);
        loop {
            match lines.next_line() {
                Ok(Some(line)) => found.push(line),
                Ok(None) => break,
                Err(TooLong) => return (found, Err(TooLong)),
            }
        }
    }
    (found, Ok(()))
}

/// The same, with everything at hand.
fn plain_lines(stream: &[u8], limit: usize) -> Found {
    let mut found = Vec::new();
    let mut lines = stream.split(|byte| *byte == b'\n').peekable();
    while let Some(line) = lines.next() {
        if line.len() > limit {
            return (found, Err(TooLong));
        }
        let line_itself = line.strip_suffix(b"\r").unwrap_or(line);
        let is_whole = lines.peek().is_some();
        if is_whole && !line_itself.iter().all(u8::is_ascii_whitespace) {
            found.push(Bytes::copy_from_slice(line_itself));
        }
    }
    (found, Ok(()))
}

pub(crate) fn gather(mut data: &[u8]) {
    let limit = usize::from(byte(&mut data)) * 4;
    let pattern = pattern(&mut data);
    for chunks in [pattern, u64::MAX, 0] {
        let mut gather = Gather::new(limit);
        let mut pushed = 0;
        for piece in pieces(data, chunks) {
            let fits = gather.push(Bytes::copy_from_slice(piece)).is_ok();
            assert_eq!(fits, pushed + piece.len() <= limit);
            if !fits {
                break;
            }
            pushed += piece.len();
        }
        assert_eq!(gather.finish(), data[..pushed]);
    }
}
