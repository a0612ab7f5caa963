//! The ways to a gateway: Streamable HTTP, HTTP+SSE, stdio. What comes back ends up in one queue, with where it came from.

use std::collections::HashMap;
use std::io::{BufRead, BufReader, Write};
use std::net::{Shutdown, SocketAddr, TcpStream};
use std::process::{Child, ChildStdin, Command, Stdio};
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread;
use std::time::Duration;

use super::http::{self, Event, Reply};
use super::raw::by_key;
use super::revision::Revision;

/// Messages that wait to be looked at; a reader that finds no room waits.
const QUEUE: usize = 1024;

/// Where a message came from.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Origin {
    /// The answer to the POST of this request.
    Call(u64),
    /// The stream of a session that belongs to no request.
    Standalone,
    /// The one channel of stdio and of HTTP+SSE.
    Shared,
}

/// What a reader found.
#[derive(Debug)]
pub enum Arrival {
    Message(Origin, String),
    /// The stream ended. With an event's id it can be taken up again, after so long a pause.
    Ended(Origin, Option<(String, Duration)>),
    /// What no revision allows.
    Trouble(String),
}

/// A way to the gateway.
pub enum Wire {
    Streamable(Streamable),
    Sse(Sse),
    Stdio(Stdin),
}

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

/// HTTP+SSE of 2024-11-05: a stream from the gateway, and the place to POST to that its first event named.
pub struct Sse {
    address: SocketAddr,
    path: String,
    stream: TcpStream,
}

/// `toolbus stdio`.
pub struct Stdin {
    child: Child,
    input: Option<ChildStdin>,
}

/// The queue of what arrives.
pub fn queue() -> (SyncSender<Arrival>, Receiver<Arrival>) {
    sync_channel(QUEUE)
}

impl Wire {
    pub fn streamable(
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
        Self::Streamable(Streamable {
            endpoint,
            open: Arc::default(),
        })
    }

    pub fn sse(address: SocketAddr, arrivals: SyncSender<Arrival>) -> Result<Self, String> {
        let stream = http::connect(address).map_err(said)?;
        let ours = stream.try_clone().map_err(said)?;
        let request = http::request("GET", "/sse", &[("accept", "text/event-stream")], b"");
        let mut reply = http::exchange(stream, &request).map_err(said)?;
        if reply.status != 200 || !reply.is_stream() {
            return Err(format!("GET /sse was answered with {}", reply.status));
        }
        let first = reply.event().map_err(said)?;
        let path = match first {
            Some(Event {
                name: Some(name),
                data: Some(path),
                ..
            }) if name == "endpoint" && path.starts_with('/') => path,
            first => return Err(format!("no endpoint first, but {first:?}")),
        };
        thread::spawn(move || {
            let mut follower = Follower::new(Origin::Shared, Revision::V2024_11_05, &arrivals);
            follower.follow(&mut reply);
        });
        Ok(Self::Sse(Sse {
            address,
            path,
            stream: ours,
        }))
    }

    pub fn stdio(mut command: Command, arrivals: SyncSender<Arrival>) -> Result<Self, String> {
        command.stdin(Stdio::piped()).stdout(Stdio::piped());
        let mut child = command.spawn().map_err(said)?;
        let (input, output) = (child.stdin.take(), child.stdout.take());
        thread::spawn(move || {
            let lines = output.map(|output| BufReader::new(output).lines());
            for line in lines.into_iter().flatten().map_while(Result::ok) {
                if arrivals
                    .send(Arrival::Message(Origin::Shared, line))
                    .is_err()
                {
                    return;
                }
            }
            let _ = arrivals.send(Arrival::Ended(Origin::Shared, None));
        });
        Ok(Self::Stdio(Stdin { child, input }))
    }

    /// Sends a request; its answer arrives.
    pub fn request(&mut self, id: u64, text: &str) -> Result<(), String> {
        match self {
            Self::Streamable(wire) => wire.request(id, text),
            Self::Sse(wire) => wire.post(text),
            Self::Stdio(wire) => wire.line(text),
        }
    }

    /// Sends a notification or an answer, which is accepted without one.
    pub fn tell(&mut self, text: &str) -> Result<(), String> {
        match self {
            Self::Streamable(wire) => wire.endpoint.tell(text),
            Self::Sse(wire) => wire.post(text),
            Self::Stdio(wire) => wire.line(text),
        }
    }

    /// Opens a session with `initialize`, and returns the answer.
    pub fn open_session(&mut self, text: &str) -> Result<Option<String>, String> {
        match self {
            Self::Streamable(wire) => wire.endpoint.open_session(text).map(Some),
            Self::Sse(_) | Self::Stdio(_) => Ok(None),
        }
    }

    /// Opens the stream of a session that belongs to no request, where there is such a thing.
    pub fn listen(&mut self) -> Result<(), String> {
        match self {
            Self::Streamable(wire) => {
                let endpoint = wire.endpoint.clone();
                let reply = endpoint.get(None)?;
                thread::spawn(move || endpoint.read(reply, Origin::Standalone));
                Ok(())
            }
            Self::Sse(_) | Self::Stdio(_) => Ok(()),
        }
    }

    /// Takes up a stream again that broke off.
    pub fn resume(&mut self, origin: Origin, last: String, pause: Duration) {
        if let Self::Streamable(wire) = self {
            let endpoint = wire.endpoint.clone();
            thread::spawn(move || {
                thread::sleep(pause);
                match endpoint.get(Some(&last)) {
                    Ok(reply) => endpoint.read(reply, origin),
                    Err(trouble) => endpoint.arrive(Arrival::Trouble(trouble)),
                }
            });
        }
    }

    /// Closes the connection of a request, which is how a client of 2026-07-28 cancels over HTTP. `false`: this wire has none.
    pub fn hang_up(&mut self, id: u64) -> bool {
        let Self::Streamable(wire) = self else {
            return false;
        };
        if let Some(stream) = lock(&wire.open).remove(&id) {
            let _ = stream.shutdown(Shutdown::Both);
        }
        true
    }
}

impl Streamable {
    fn request(&mut self, id: u64, text: &str) -> Result<(), String> {
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

/// Reads one event stream to its end, by the rules of a revision.
struct Follower<'a> {
    origin: Origin,
    revision: Revision,
    arrivals: &'a SyncSender<Arrival>,
    last: Option<String>,
    pause: Duration,
}

impl<'a> Follower<'a> {
    fn new(origin: Origin, revision: Revision, arrivals: &'a SyncSender<Arrival>) -> Self {
        Self {
            origin,
            revision,
            arrivals,
            last: None,
            pause: Duration::ZERO,
        }
    }

    fn follow(&mut self, reply: &mut Reply) {
        // A stream that breaks off ends like one that is closed: what is missing then tells.
        while let Ok(Some(event)) = reply.event() {
            let arrival = match self.take(event) {
                Ok(Some(text)) => Arrival::Message(self.origin, text),
                Ok(None) => continue,
                Err(trouble) => Arrival::Trouble(trouble),
            };
            if self.arrivals.send(arrival).is_err() {
                return;
            }
        }
        let place = self.last.take().map(|last| (last, self.pause));
        let _ = self.arrivals.send(Arrival::Ended(self.origin, place));
    }

    fn take(&mut self, event: Event) -> Result<Option<String>, String> {
        let wrong = |what: &str| Err(format!("{what}: {event:?}"));
        if event.name.as_deref().is_some_and(|name| name != "message") {
            return wrong("an event of another name");
        }
        if self.revision.is_modern() && event.id.is_some() {
            return wrong("2026-07-28 has no ids of events");
        }
        if let Some(retry) = event.retry {
            self.pause = Duration::from_millis(retry);
        }
        if let Some(id) = &event.id {
            self.last = Some(id.clone());
        }
        match event.data.as_deref() {
            None | Some("") if self.revision.has_priming() && event.id.is_some() => Ok(None),
            None | Some("") => wrong("an event without a message"),
            Some(_) => Ok(event.data),
        }
    }
}

impl Sse {
    fn post(&self, text: &str) -> Result<(), String> {
        let stream = http::connect(self.address).map_err(said)?;
        let headers = [("content-type", "application/json")];
        let request = http::request("POST", &self.path, &headers, text.as_bytes());
        let reply = http::exchange(stream, &request).map_err(said)?;
        match reply.status {
            202 => Ok(()),
            status => Err(format!("not accepted but answered with {status}: {text}")),
        }
    }
}

impl Stdin {
    fn line(&mut self, text: &str) -> Result<(), String> {
        let input = self.input.as_mut().ok_or("stdin is closed")?;
        // A line end may stand between the tokens of a message, but not where a line is a message.
        let line = text.replace(['\n', '\r'], " ");
        writeln!(input, "{line}").map_err(said)?;
        input.flush().map_err(said)
    }
}

impl Drop for Stdin {
    fn drop(&mut self) {
        // The end of its input ends the gateway, and what it started with it.
        self.input = None;
        let _ = self.child.wait();
    }
}

impl Drop for Sse {
    fn drop(&mut self) {
        let _ = self.stream.shutdown(Shutdown::Both);
    }
}

impl Drop for Streamable {
    fn drop(&mut self) {
        for (_, stream) in lock(&self.open).drain() {
            let _ = stream.shutdown(Shutdown::Both);
        }
    }
}

fn said(error: std::io::Error) -> String {
    error.to_string()
}

fn lock<T>(mutex: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
