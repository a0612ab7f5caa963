//! A modern client that listens, as a thread that notes what it is told.

use std::io::{BufRead, BufReader, Write};
use std::net::{Shutdown, TcpStream};
use std::sync::mpsc::{Receiver, sync_channel};
use std::time::{Duration, Instant};

use serde_json::{Value, json};

use super::{Gateway, PATIENCE, modern_request};

/// Messages that wait for a test to look at them.
const KEPT: usize = 1_000;

/// A `subscriptions/listen` that is open.
pub struct Listener {
    stream: TcpStream,
    messages: Receiver<Value>,
    /// What the acknowledgment named.
    pub honoured: Value,
}

impl Listener {
    /// Listens, once it is acknowledged.
    pub fn open(gateway: &Gateway, wanted: Value) -> Self {
        Self::open_as(gateway, &json!({}), wanted)
    }

    /// [`Listener::open`] for a client of these capabilities.
    pub fn open_as(gateway: &Gateway, capabilities: &Value, wanted: Value) -> Self {
        let mut stream = gateway.connect();
        let meta = json!({ "io.modelcontextprotocol/clientCapabilities": capabilities });
        let params = json!({ "notifications": wanted, "_meta": meta });
        stream
            .write_all(&modern_request("/mcp", "subscriptions/listen", params))
            .expect("sent");
        let (sender, messages) = sync_channel(KEPT);
        let reader = BufReader::new(stream.try_clone().expect("a second handle"));
        std::thread::spawn(move || {
            for line in reader.lines().map_while(Result::ok) {
                let message = line.strip_prefix("data: ").map(serde_json::from_str);
                if let Some(Ok(message)) = message
                    && sender.send(message).is_err()
                {
                    return;
                }
            }
        });
        let mut listener = Self {
            stream,
            messages,
            honoured: Value::Null,
        };
        let first = listener.next(PATIENCE).expect("an acknowledgment");
        assert_eq!(
            first["method"], "notifications/subscriptions/acknowledged",
            "{first}"
        );
        listener.honoured = first["params"]["notifications"].clone();
        listener
    }

    /// The next message, if one comes in time.
    pub fn next(&self, within: Duration) -> Option<Value> {
        self.messages.recv_timeout(within).ok()
    }

    /// Waits for a notice of this method and, where it has one, URI; others are passed over.
    pub fn expect(&self, method: &str, uri: Option<&str>, within: Duration) -> Value {
        let until = Instant::now() + within;
        let mut seen = Vec::new();
        loop {
            let left = until.saturating_duration_since(Instant::now());
            let Some(message) = self.next(left) else {
                panic!("no {method} {uri:?} within {within:?}, but {seen:?}");
            };
            let is_it = message["method"] == method && message["params"]["uri"].as_str() == uri;
            if is_it {
                return message;
            }
            seen.push(message);
        }
    }

    /// Everything that comes within this time.
    pub fn all(&self, within: Duration) -> Vec<Value> {
        let until = Instant::now() + within;
        let next = || self.next(until.saturating_duration_since(Instant::now()));
        std::iter::from_fn(next).collect()
    }
}

impl Drop for Listener {
    fn drop(&mut self) {
        let _ = self.stream.shutdown(Shutdown::Both);
    }
}
