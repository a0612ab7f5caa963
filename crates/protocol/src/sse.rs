//! Server-sent events (HTML Living Standard, 9.2): reading an upstream's stream, writing ours.

use std::time::Duration;

use bytes::{Buf, Bytes, BytesMut};

/// A comment that keeps a silent connection open.
pub const KEEP_ALIVE: &[u8] = b":\r\n\r\n";

/// One event.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Event {
    /// Its type; empty means `message`.
    pub name: String,
    /// Its data, lines joined by a newline.
    pub data: Bytes,
    /// Its id, where it has one.
    pub id: Option<String>,
}

/// An event larger than the limit.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct TooLong;

/// Cuts a stream of bytes into events.
#[derive(Debug)]
pub struct Reader {
    buffer: BytesMut,
    searched: usize,
    /// A carriage return ended the last line: a line feed right after it belongs to it.
    after_return: bool,
    started: bool,
    limit: usize,
    name: String,
    id: Option<String>,
    last_id: Option<String>,
    retry: Option<Duration>,
    data: BytesMut,
    has_data: bool,
}

impl Reader {
    /// Events of at most `limit` bytes.
    pub fn new(limit: usize) -> Self {
        Self {
            buffer: BytesMut::new(),
            searched: 0,
            after_return: false,
            started: false,
            limit,
            name: String::new(),
            id: None,
            last_id: None,
            retry: None,
            data: BytesMut::new(),
            has_data: false,
        }
    }

    /// From where to go on when the stream is lost: the id of the last whole event that had one, also of one without
    /// data.
    pub fn last_id(&self) -> Option<&str> {
        self.last_id.as_deref().filter(|id| !id.is_empty())
    }

    /// How long the server wants to be left alone before its stream is asked for again.
    pub fn retry(&self) -> Option<Duration> {
        self.retry
    }

    /// Takes more bytes.
    pub fn push(&mut self, bytes: &[u8]) {
        self.buffer.extend_from_slice(bytes);
    }

    /// The next whole event.
    pub fn next_event(&mut self) -> Result<Option<Event>, TooLong> {
        while let Some(line) = self.next_line() {
            if self.data.len() + line.len() > self.limit {
                return Err(TooLong);
            }
            if !line.is_empty() {
                self.field(&line);
                continue;
            }
            let name = std::mem::take(&mut self.name);
            let data = self.data.split().freeze();
            let id = self.id.take();
            if id.is_some() {
                self.last_id.clone_from(&id);
            }
            if std::mem::take(&mut self.has_data) {
                return Ok(Some(Event { name, data, id }));
            }
        }
        if self.buffer.len() + self.data.len() > self.limit {
            Err(TooLong)
        } else {
            Ok(None)
        }
    }

    fn next_line(&mut self) -> Option<Bytes> {
        if self.after_return && !self.buffer.is_empty() {
            self.after_return = false;
            if self.buffer[0] == b'\n' {
                self.buffer.advance(1);
            }
        }
        let Some(at) = memchr::memchr2(b'\n', b'\r', &self.buffer[self.searched..]) else {
            self.searched = self.buffer.len();
            return None;
        };
        let end = self.searched + at;
        self.after_return = self.buffer[end] == b'\r';
        let mut line = self.buffer.split_to(end + 1).freeze();
        self.searched = 0;
        line.truncate(end);
        if !std::mem::replace(&mut self.started, true) && line.starts_with(b"\xef\xbb\xbf") {
            line.advance(3);
        }
        Some(line)
    }

    fn field(&mut self, line: &Bytes) {
        let colon = memchr::memchr(b':', line).unwrap_or(line.len());
        let value = line.get(colon + 1..).unwrap_or_default();
        let value = value.strip_prefix(b" ").unwrap_or(value);
        match &line[..colon] {
            b"data" => {
                if std::mem::replace(&mut self.has_data, true) {
                    self.data.extend_from_slice(b"\n");
                }
                self.data.extend_from_slice(value);
            }
            b"event" => self.name = String::from_utf8_lossy(value).into_owned(),
            b"id" if !value.contains(&0) => {
                self.id = Some(String::from_utf8_lossy(value).into_owned())
            }
            b"retry" if !value.is_empty() && value.iter().all(u8::is_ascii_digit) => {
                let millis = std::str::from_utf8(value)
                    .ok()
                    .and_then(|ms| ms.parse().ok());
                self.retry = millis.map(Duration::from_millis).or(self.retry);
            }
            _ => {}
        }
    }
}

/// Writes a message as one event. Line breaks between tokens become lines of data.
pub fn event(message: &[u8]) -> Vec<u8> {
    named("message", None, message)
}

/// One event of this name, with an id where its stream can be taken up again.
pub fn named(name: &str, id: Option<&str>, data: &[u8]) -> Vec<u8> {
    let mut out = Vec::with_capacity(data.len() + name.len() + id.map_or(0, str::len) + 32);
    if let Some(id) = id {
        out.extend_from_slice(b"id: ");
        out.extend_from_slice(id.as_bytes());
        out.push(b'\n');
    }
    out.extend_from_slice(b"event: ");
    out.extend_from_slice(name.as_bytes());
    out.extend_from_slice(b"\ndata: ");
    for byte in data {
        match byte {
            b'\n' => out.extend_from_slice(b"\ndata: "),
            b'\r' => out.push(b' '),
            byte => out.push(*byte),
        }
    }
    out.extend_from_slice(b"\n\n");
    out
}

/// An event without data, from which a stream can be taken up again after `retry` milliseconds (SEP-1699).
pub fn priming(id: &str, retry: u64) -> Vec<u8> {
    format!("id: {id}\nretry: {retry}\ndata: \n\n").into_bytes()
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn read(text: &[u8], chunk: usize) -> Result<Vec<Event>, TooLong> {
        let (mut reader, mut events) = (Reader::new(1000), Vec::new());
        for bytes in text.chunks(chunk) {
            reader.push(bytes);
            while let Some(event) = reader.next_event()? {
                events.push(event);
            }
        }
        Ok(events)
    }

    #[test]
    fn streams_are_read_in_all_three_line_endings() {
        let text = "\u{feff}: hello\nevent: endpoint\ndata: /a\n\nid: 7\r\ndata:x\r\ndata: y\r\n\r\ndata: z\r\rretry: 5\n\ndata: cut";
        let expected = [
            ("endpoint", "/a", None),
            ("", "x\ny", Some("7")),
            ("", "z", None),
        ];
        for chunk in 1..text.len() {
            let events = read(text.as_bytes(), chunk).expect("short");
            let seen: Vec<_> = events
                .iter()
                .map(|e| {
                    (
                        e.name.as_str(),
                        std::str::from_utf8(&e.data).expect("text"),
                        e.id.as_deref(),
                    )
                })
                .collect();
            assert_eq!(seen, expected, "in chunks of {chunk}");
        }
    }

    #[test]
    fn where_to_go_on_is_known_from_whole_events_only() {
        let mut reader = Reader::new(1000);
        reader
            .push(b"id: a\nretry: 500\ndata:\n\nretry: soon\ndata: x\n\nid: b\n\nid: c\ndata: cut");
        let mut seen = Vec::new();
        while let Some(event) = reader.next_event().expect("short") {
            seen.push((event.id.clone(), reader.last_id().map(str::to_owned)));
        }
        let a = || Some("a".to_owned());
        assert_eq!(seen, [(a(), a()), (None, a())]);
        assert_eq!(reader.last_id(), Some("b"));
        assert_eq!(reader.retry(), Some(Duration::from_millis(500)));
        reader.push(b"\n\nid:\n\n");
        while reader.next_event().expect("short").is_some() {}
        assert_eq!(reader.last_id(), None, "an empty id takes it back");
    }

    #[test]
    fn an_endless_event_is_refused() {
        assert_eq!(
            read(&[b"data: ".as_slice(), &[b'x'; 2000]].concat(), 100),
            Err(TooLong)
        );
        assert_eq!(
            read(&b"data: aaaaaaaaaaaaaaaaaaaaaaa\n".repeat(100), 100),
            Err(TooLong)
        );
    }

    proptest! {
        #[test]
        fn what_is_written_is_read(message in "[a-z\n{}:\" ]{1,80}", chunk in 1_usize..20) {
            let events = read(&event(message.as_bytes()), chunk).expect("short");
            prop_assert_eq!(events.len(), 1);
            prop_assert_eq!(&events[0].data[..], message.as_bytes());
        }

        #[test]
        fn reading_never_panics(bytes in prop::collection::vec(any::<u8>(), 0..300), chunk in 1_usize..20) {
            let _ = read(&bytes, chunk);
        }
    }
}
