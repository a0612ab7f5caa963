//! An event stream that is read while it is open.

use std::io::{BufRead, BufReader, Write};
use std::net::TcpStream;

use serde_json::Value;

use super::Gateway;

/// An open event stream.
pub struct Events {
    reader: BufReader<TcpStream>,
    pub status: u16,
}

/// One event.
#[derive(Debug, Default, Clone)]
pub struct Event {
    pub name: String,
    pub id: Option<String>,
    pub retry: Option<u64>,
    pub data: String,
}

impl Event {
    pub fn json(&self) -> Value {
        serde_json::from_str(&self.data).unwrap_or(Value::Null)
    }
}

impl Events {
    /// Sends a request and reads the head of its answer.
    pub fn open(gateway: &Gateway, request: &[u8]) -> Self {
        let mut stream = gateway.connect();
        stream.write_all(request).expect("sent");
        let mut reader = BufReader::new(stream);
        let mut line = String::new();
        reader.read_line(&mut line).expect("a status line");
        let status = line.split(' ').nth(1).and_then(|n| n.parse().ok());
        while line.trim() != "" {
            line.clear();
            reader.read_line(&mut line).expect("a header");
        }
        Self {
            reader,
            status: status.unwrap_or(0),
        }
    }

    /// A GET with these headers.
    pub fn get(gateway: &Gateway, path: &str, headers: &str) -> Self {
        let head = format!(
            "GET {path} HTTP/1.1\r\nhost: localhost\r\naccept: text/event-stream\r\n{headers}\r\n"
        );
        Self::open(gateway, head.as_bytes())
    }

    /// The next event that is no keep-alive; `None` at the stream's end.
    pub fn next(&mut self) -> Option<Event> {
        let mut event = Event::default();
        let mut fields = 0;
        loop {
            let line = self.line()?;
            let (field, value) = match line.split_once(':') {
                Some((field, value)) => (field, value.strip_prefix(' ').unwrap_or(value)),
                None if line.is_empty() && fields > 0 => return Some(event),
                None => continue,
            };
            fields += usize::from(!field.is_empty());
            match field {
                "event" => event.name = value.to_owned(),
                "id" => event.id = Some(value.to_owned()),
                "retry" => event.retry = value.parse().ok(),
                "data" => event.data.push_str(value),
                _ => {}
            }
        }
    }

    /// The next message.
    pub fn message(&mut self) -> Option<Value> {
        loop {
            let event = self.next()?;
            if !event.data.is_empty() {
                return Some(event.json());
            }
        }
    }

    /// One line of the body. Sizes of chunks stand on lines of their own, and no event is cut by them.
    fn line(&mut self) -> Option<String> {
        loop {
            let mut line = String::new();
            if self.reader.read_line(&mut line).ok()? == 0 {
                return None;
            }
            let line = line.trim_end_matches(['\r', '\n']);
            let is_size = !line.is_empty() && line.bytes().all(|byte| byte.is_ascii_hexdigit());
            if !is_size {
                return Some(line.to_owned());
            }
            if line == "0" {
                return None;
            }
        }
    }
}
