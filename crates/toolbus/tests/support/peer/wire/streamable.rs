//! Streamable HTTP: one endpoint, to which each message is a POST.

use std::collections::HashMap;
use std::net::{Shutdown, SocketAddr, TcpStream};
use std::sync::mpsc::SyncSender;
use std::sync::{Arc, Mutex, PoisonError};
use std::thread;
use std::time::Duration;

use super::super::http::{self, Reply};
use super::super::raw::by_key;
use super::super::revision::Revision;
use super::follower::Follower;
use super::{Arrival, Origin, said};

/// One endpoint, to which each message is a POST.
pub struct Streamable {
    endpoint: Endpoint,
    /// Connections of requests under way, so that they can be hung up.
    open: Arc<Mutex<HashMap<u64, TcpStream>>>,
}

#[derive(Clone)]
struct Endpoint {
    address: SocketAddr,
    path: String,
    revision: Revision,
    session: Option<String>,
    arrivals: SyncSender<Arrival>,
}

impl Streamable {
    pub(super) fn new(
        address: SocketAddr,
        path: &str,
        revision: Revision,
        arrivals: SyncSender<Arrival>,
    ) -> Self {
        let endpoint = Endpoint {
            address,
            path: path.to_owned(),
            revision,
            session: None,
            arrivals,
        };
        Self {
            endpoint,
            open: Arc::default(),
        }
    }

    pub(super) fn tell(&self, text: &str) -> Result<(), String> {
        self.endpoint.tell(text)
    }

    pub(super) fn open_session(&mut self, text: &str) -> Result<String, String> {
        self.endpoint.open_session(text)
    }

    pub(super) fn listen(&self) -> Result<(), String> {
        let endpoint = self.endpoint.clone();
        let reply = endpoint.get(None)?;
        thread::spawn(move || endpoint.read(reply, Origin::Standalone));
        Ok(())
    }

    pub(super) fn resume(&self, origin: Origin, last: String, pause: Duration) {
        let endpoint = self.endpoint.clone();
        thread::spawn(move || {
            thread::sleep(pause);
            match endpoint.get(Some(&last)) {
                Ok(reply) => endpoint.read(reply, origin),
                Err(trouble) => endpoint.arrive(Arrival::Trouble(trouble)),
            }
        });
    }

    pub(super) fn hang_up(&mut self, id: u64) {
        if let Some(stream) = lock(&self.open).remove(&id) {
            let _ = stream.shutdown(Shutdown::Both);
        }
    }

    pub(super) fn request(&mut self, id: u64, text: &str) -> Result<(), String> {
        let endpoint = self.endpoint.clone();
        let stream = http::connect(endpoint.address).map_err(said)?;
        let ours = stream.try_clone().map_err(said)?;
        lock(&self.open).insert(id, ours);
        let (request, open) = (endpoint.post(text), Arc::clone(&self.open));
        thread::spawn(move || {
            match http::exchange(stream, &request) {
                Ok(reply) => endpoint.read(reply, Origin::Call(id)),
                Err(_) if !lock(&open).contains_key(&id) => {} // we hung up
                Err(error) => endpoint.arrive(Arrival::Trouble(said(error))),
            }
            lock(&open).remove(&id);
        });
        Ok(())
    }
}

impl Endpoint {
    /// The bytes of a POST, with the headers that belong to this message.
    fn post(&self, text: &str) -> Vec<u8> {
        // Nothing more of it is parsed: it may hold what does not fit into a tree of values.
        let message = by_key(text);
        let word = |text: &String| serde_json::from_str::<String>(text).ok();
        let method = message.get("method").and_then(word).unwrap_or_default();
        let params = message.get("params").map(|params| by_key(params));
        let params = params.unwrap_or_default();
        let name = ["name", "uri", "taskId"];
        let name = name.iter().find_map(|key| params.get(*key).and_then(word));
        let mut headers = vec![
            ("content-type", "application/json"),
            ("accept", "application/json, text/event-stream"),
        ];
        headers.extend(self.of_session());
        if self.revision.is_modern() {
            headers.push(("mcp-method", &method));
            headers.extend(name.as_deref().map(|name| ("mcp-name", name)));
        }
        http::request("POST", &self.path, &headers, text.as_bytes())
    }

    fn of_session(&self) -> Vec<(&str, &str)> {
        let mut headers = Vec::new();
        if let Some(session) = &self.session {
            headers.push(("mcp-session-id", session.as_str()));
        }
        // The header came with 2025-06-18, and `initialize` has none.
        let names = self.revision.is_modern() || self.session.is_some();
        if names && self.revision >= Revision::V2025_06_18 {
            headers.push(("mcp-protocol-version", self.revision.name()));
        }
        headers
    }

    fn open_session(&mut self, text: &str) -> Result<String, String> {
        let stream = http::connect(self.address).map_err(said)?;
        let reply = http::exchange(stream, &self.post(text)).map_err(said)?;
        let id = reply.header("mcp-session-id").map(str::to_owned);
        let is_good =
            |id: &String| !id.is_empty() && id.bytes().all(|byte| byte.is_ascii_graphic());
        if reply.status != 200 || !id.as_ref().is_some_and(is_good) {
            let status = reply.status;
            return Err(format!("initialize: status {status}, session {id:?}"));
        }
        self.session = id;
        let (is_stream, mut reply) = (reply.is_stream(), reply);
        if !is_stream {
            return String::from_utf8(reply.body().map_err(said)?).map_err(|e| e.to_string());
        }
        while let Some(event) = reply.event().map_err(said)? {
            if let Some(data) = event.data.filter(|data| !data.is_empty()) {
                return Ok(data);
            }
        }
        Err("initialize was not answered".to_owned())
    }

    fn get(&self, last: Option<&str>) -> Result<Reply, String> {
        let stream = http::connect(self.address).map_err(said)?;
        let mut headers = vec![("accept", "text/event-stream")];
        headers.extend(self.of_session());
        headers.extend(last.map(|last| ("last-event-id", last)));
        let request = http::request("GET", &self.path, &headers, b"");
        let reply = http::exchange(stream, &request).map_err(said)?;
        match (reply.status, reply.is_stream()) {
            (200, true) => Ok(reply),
            (status, _) => Err(format!("GET was answered with {status}")),
        }
    }

    fn tell(&self, text: &str) -> Result<(), String> {
        let stream = http::connect(self.address).map_err(said)?;
        let reply = http::exchange(stream, &self.post(text)).map_err(said)?;
        match (reply.status, reply.body().map_err(said)?.is_empty()) {
            (202, true) => Ok(()),
            (status, _) => Err(format!("not accepted but answered with {status}: {text}")),
        }
    }

    fn read(&self, mut reply: Reply, origin: Origin) {
        if reply.is_stream() {
            return Follower::new(origin, self.revision, &self.arrivals).follow(&mut reply);
        }
        let status = reply.status;
        let json = reply.header("content-type") == Some("application/json");
        let body = reply.body().map_err(said).and_then(|body| {
            let text = String::from_utf8(body).map_err(|error| error.to_string())?;
            let fits = json && (200..500).contains(&status) && status != 202;
            fits.then_some(text)
                .ok_or_else(|| format!("answered with {status}"))
        });
        self.arrive(match body {
            Ok(text) => Arrival::Message(origin, text),
            Err(trouble) => Arrival::Trouble(trouble),
        });
    }

    fn arrive(&self, arrival: Arrival) {
        // Nobody waits any more.
        let _ = self.arrivals.send(arrival);
    }
}

impl Drop for Streamable {
    fn drop(&mut self) {
        for (_, stream) in lock(&self.open).drain() {
            let _ = stream.shutdown(Shutdown::Both);
        }
    }
}

fn lock<T>(mutex: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
