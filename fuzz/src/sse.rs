//! Event streams against a reading of the whole text: how the network cuts it changes nothing.

use std::time::Duration;

use bytes::Bytes;
use toolbus_protocol::sse::{Event, Reader, TooLong, event, named, priming};

use crate::{byte, pattern, pieces};

/// What a byte order mark may add to the first line while it has not arrived whole.
const MARK: &[u8] = b"\xef\xbb\xbf";

pub(crate) fn check(mut data: &[u8]) {
    let limit = usize::from(byte(&mut data)) * 4;
    let pattern = pattern(&mut data);
    let expected = plain(data);
    for chunks in [pattern, u64::MAX, 0] {
        assert_eq!(read(data, chunks, usize::MAX), (expected.clone(), Ok(())));
        let (events, end) = read(data, chunks, limit);
        assert!(expected.starts_with(&events), "a limit changes no event");
        assert!(events.iter().all(|event| event.data.len() <= limit));
        let longest = data.len();
        assert!(end.is_err() || events.len() == expected.len());
        assert!(end.is_ok() || longest > limit.saturating_sub(MARK.len()));
    }
    written(data, pattern);
    resumed(data, pattern);
}

fn read(stream: &[u8], chunks: u64, limit: usize) -> (Vec<Event>, Result<(), TooLong>) {
    let (mut reader, mut events) = (Reader::new(limit), Vec::new());
    for piece in pieces(stream, chunks) {
        reader.push(piece);
        loop {
            match reader.next_event() {
                Ok(Some(event)) => events.push(event),
                Ok(None) => break,
                Err(TooLong) => return (events, Err(TooLong)),
            }
        }
    }
    (events, Ok(()))
}

/// The events of a whole stream (HTML Living Standard, 9.2.6).
fn plain(stream: &[u8]) -> Vec<Event> {
    let (mut events, mut current, mut data) = (Vec::new(), Event::default(), None::<Vec<u8>>);
    for line in whole_lines(stream.strip_prefix(MARK).unwrap_or(stream)) {
        if line.is_empty() {
            let event = std::mem::take(&mut current);
            if let Some(data) = data.take() {
                let data = Bytes::from(data);
                events.push(Event { data, ..event });
            }
            continue;
        }
        let colon = line.iter().position(|byte| *byte == b':');
        let (name, value) = colon.map_or((line, &b""[..]), |at| (&line[..at], &line[at + 1..]));
        let value = value.strip_prefix(b" ").unwrap_or(value);
        let text = || String::from_utf8_lossy(value).into_owned();
        match name {
            b"event" => current.name = text(),
            b"id" if !value.contains(&0) => current.id = Some(text()),
            b"data" => {
                let before = data.take().map(|before| [&before[..], b"\n"].concat());
                data = Some([&before.unwrap_or_default(), value].concat());
            }
            _ => {}
        }
    }
    events
}

/// Lines with an end, which is `\n`, `\r` or both.
fn whole_lines(mut rest: &[u8]) -> Vec<&[u8]> {
    let mut lines = Vec::new();
    while let Some(end) = rest.iter().position(|byte| matches!(byte, b'\n' | b'\r')) {
        lines.push(&rest[..end]);
        let both = rest[end..].starts_with(b"\r\n");
        rest = &rest[end + 1 + usize::from(both)..];
    }
    lines
}

/// From where to go on does not depend on the pieces either, and only whole events count for it.
fn resumed(stream: &[u8], chunks: u64) {
    let mut reader = Reader::new(usize::MAX);
    for piece in pieces(stream, chunks) {
        reader.push(piece);
        while let Ok(Some(event)) = reader.next_event() {
            let empty = event.id.as_deref() == Some("");
            assert!(event.id.is_none() || empty || event.id.as_deref() == reader.last_id());
        }
    }
    let mut whole = Reader::new(usize::MAX);
    whole.push(stream);
    while let Ok(Some(_)) = whole.next_event() {}
    assert_eq!(reader.last_id(), whole.last_id());
    assert_eq!(reader.retry(), whole.retry());
    let ours = [
        &priming("c7-1", 500)[..],
        &named("message", Some("c7-2"), stream),
    ]
    .concat();
    let mut reader = Reader::new(usize::MAX);
    for piece in pieces(&ours, chunks) {
        reader.push(piece);
        while let Ok(Some(_)) = reader.next_event() {}
    }
    assert_eq!(reader.last_id(), Some("c7-2"));
    assert_eq!(reader.retry(), Some(Duration::from_millis(500)));
}

/// A message that we write is read as one event.
fn written(message: &[u8], chunks: u64) {
    let (events, end) = read(&event(message), chunks, usize::MAX);
    let [read] = &events[..] else {
        panic!("{events:?} {end:?}")
    };
    let expected: Vec<u8> = message
        .iter()
        .map(|byte| if *byte == b'\r' { b' ' } else { *byte })
        .collect();
    assert_eq!((&*read.name, &read.data[..]), ("message", &expected[..]));
}
