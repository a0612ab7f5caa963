//! Small and strict clients of every revision: they answer what they are asked, and refuse whatever a gateway must not send.
#![allow(
    dead_code,
    unreachable_pub,
    reason = "each test file uses its own part"
)]

mod hearing;
pub mod http;
pub mod raw;
pub mod revision;
pub mod shape;
#[cfg(test)]
mod tests;
pub mod wire;

use std::collections::{BTreeMap, BTreeSet};
use std::net::SocketAddr;
use std::process::Command;
use std::sync::mpsc::Receiver;
use std::time::{Duration, Instant};

use serde_json::{Value, json};

pub use revision::Revision;
use wire::{Arrival, Origin, Wire};

/// How long the gateway may take for anything; what takes longer is missing.
const PATIENCE: Duration = Duration::from_secs(30);

/// Rounds of questions within one request.
const ROUNDS: usize = 6;

/// A client of one revision, on one way to the gateway.
pub struct Client {
    revision: Revision,
    capabilities: Value,
    wire: Wire,
    arrivals: Receiver<Arrival>,
    last: u64,
    running: BTreeMap<u64, Running>,
    answers: BTreeMap<u64, Answer>,
    notices: Vec<(String, Value)>,
    asked: Vec<(String, Value)>,
    question_ids: BTreeSet<String>,
    resumed: usize,
    /// What to say to elicitations: the action.
    pub action: &'static str,
    /// The error with which to refuse every question, which only revisions with sessions can.
    pub refusal: Option<&'static str>,
    /// A member of `_meta` for the next requests.
    pub log_level: Option<&'static str>,
}

/// A request whose answer is still to come.
struct Running {
    method: String,
    progress: Option<f64>,
    token: Option<Value>,
}

/// The answer to a request: result or error, and the text that it came in.
#[derive(Clone, Debug)]
pub struct Answer {
    pub outcome: Result<Value, Value>,
    pub text: String,
}

/// How to reach a gateway.
pub enum Way {
    /// A path of Streamable HTTP.
    Http(SocketAddr, String),
    /// HTTP+SSE of 2024-11-05.
    Sse(SocketAddr),
    Stdio(Command),
}

impl Client {
    /// Connects with these capabilities, and opens a session where the revision has them.
    pub fn connect(way: Way, revision: Revision, capabilities: Value) -> Result<Self, String> {
        let (sender, arrivals) = wire::queue();
        let wire = match way {
            Way::Http(address, path) => Wire::streamable(address, &path, revision, sender),
            Way::Sse(address) => Wire::sse(address, sender)?,
            Way::Stdio(command) => Wire::stdio(command, sender)?,
        };
        let mut client = Self {
            revision,
            capabilities,
            wire,
            arrivals,
            last: 0,
            running: BTreeMap::new(),
            answers: BTreeMap::new(),
            notices: Vec::new(),
            asked: Vec::new(),
            question_ids: BTreeSet::new(),
            resumed: 0,
            action: "accept",
            refusal: None,
            log_level: None,
        };
        if !revision.is_modern() {
            client.initialize()?;
        }
        Ok(client)
    }

    pub fn revision(&self) -> Revision {
        self.revision
    }

    fn initialize(&mut self) -> Result<(), String> {
        let params = json!({
            "protocolVersion": self.revision.name(),
            "capabilities": self.capabilities,
            "clientInfo": { "name": "peer", "version": "1" },
        });
        let text = self.next_request("initialize", params).to_string();
        match self.wire.open_session(&text)? {
            Some(answer) => self.take(Origin::Call(self.last), answer)?,
            None => self.wire.request(self.last, &text)?,
        }
        let result = self.answer(self.last)?.outcome;
        let result = result.map_err(|error| format!("initialize failed: {error}"))?;
        if result["protocolVersion"] != self.revision.name() {
            let wanted = self.revision.name();
            return Err(format!(
                "a session of another revision than {wanted}: {result}"
            ));
        }
        self.notify("notifications/initialized", json!({}))?;
        self.wire.listen()
    }

    /// Sends a notification.
    pub fn notify(&mut self, method: &str, params: Value) -> Result<(), String> {
        let message = json!({ "jsonrpc": "2.0", "method": method, "params": params });
        self.wire.tell(&message.to_string())
    }

    /// The next request, and its place among those that run.
    fn next_request(&mut self, method: &str, mut params: Value) -> Value {
        self.last += 1;
        if self.revision.is_modern() {
            let meta = &mut params["_meta"];
            meta["io.modelcontextprotocol/protocolVersion"] = self.revision.name().into();
            meta["io.modelcontextprotocol/clientCapabilities"] = self.capabilities.clone();
            meta["io.modelcontextprotocol/clientInfo"] = json!({ "name": "peer", "version": "1" });
            if let Some(level) = self.log_level {
                meta["io.modelcontextprotocol/logLevel"] = level.into();
            }
        }
        let running = Running {
            method: method.to_owned(),
            progress: None,
            token: params["_meta"].get("progressToken").cloned(),
        };
        self.running.insert(self.last, running);
        json!({ "jsonrpc": "2.0", "id": self.last, "method": method, "params": params })
    }

    /// Sends a request and returns its id; the answer is waited for with [`Client::answer`].
    pub fn begin(&mut self, method: &str, params: Value) -> Result<u64, String> {
        let text = self.next_request(method, params).to_string();
        self.wire.request(self.last, &text)?;
        Ok(self.last)
    }

    /// Sends a request whose text stands there as it is, with an id of the sender's.
    pub fn begin_text(&mut self, id: u64, method: &str, text: &str) -> Result<(), String> {
        let running = Running {
            method: method.to_owned(),
            progress: None,
            token: None,
        };
        self.running.insert(id, running);
        self.wire.request(id, text)
    }

    /// Waits for the answer to a request.
    pub fn answer(&mut self, id: u64) -> Result<Answer, String> {
        let until = Instant::now() + PATIENCE;
        while !self.answers.contains_key(&id) {
            self.pump(until)
                .map_err(|what| format!("while waiting for the answer: {what}"))?;
        }
        Ok(self.answers.remove(&id).expect("it is there"))
    }

    /// Sends a request, answers what it asks for, and returns what it came to: its result or its error.
    pub fn ask(&mut self, method: &str, params: Value) -> Result<Result<Value, Value>, String> {
        let id = self.begin(method, params.clone())?;
        let mut outcome = self.answer(id)?.outcome;
        for _ in 0..ROUNDS {
            let Ok(result) = &outcome else {
                return Ok(outcome);
            };
            if result["resultType"] != "input_required" {
                return Ok(outcome);
            }
            let mut retry = params.clone();
            retry["inputResponses"] = self.responses(&result["inputRequests"]);
            if let Some(state) = result.get("requestState") {
                retry["requestState"] = state.clone();
            }
            let id = self.begin(method, retry)?;
            outcome = self.answer(id)?.outcome;
        }
        Err(format!("{method} asks and asks"))
    }

    /// [`Client::ask`] for what must not fail.
    pub fn get(&mut self, method: &str, params: Value) -> Result<Value, String> {
        let outcome = self.ask(method, params)?;
        outcome.map_err(|error| format!("{method} failed: {error}"))
    }

    /// Calls a tool that must not fail, and returns its result.
    pub fn call(&mut self, tool: &str, arguments: Value) -> Result<Value, String> {
        let params = json!({ "name": tool, "arguments": arguments });
        let result = self.get("tools/call", params)?;
        match result["isError"] == true {
            true => Err(format!("{tool} failed: {result}")),
            false => Ok(result),
        }
    }

    /// Calls a tool and returns the text of its first block.
    pub fn text_of(&mut self, tool: &str, arguments: Value) -> Result<String, String> {
        let result = self.call(tool, arguments)?;
        let text = result["content"][0]["text"].as_str();
        text.map(str::to_owned)
            .ok_or_else(|| format!("no text first: {result}"))
    }

    /// Stops a request in the way of its revision and wire.
    pub fn cancel(&mut self, id: u64) -> Result<(), String> {
        self.running.remove(&id);
        if self.revision.is_modern() && self.wire.hang_up(id) {
            return Ok(());
        }
        let params = json!({ "requestId": id, "reason": "enough" });
        self.notify("notifications/cancelled", params)
    }

    /// Leaves a request without a word: its connection is closed, where it has one of its own.
    pub fn leave(&mut self, id: u64) -> bool {
        self.running.remove(&id);
        self.wire.hang_up(id)
    }

    /// The questions that came since the last look: method and params.
    pub fn questions(&mut self) -> Vec<(String, Value)> {
        std::mem::take(&mut self.asked)
    }

    /// The notifications of this kind that came since the last look.
    pub fn noticed(&mut self, method: &str) -> Vec<Value> {
        let notices = self.notices.iter();
        let found = notices.filter(|(known, _)| known == method);
        let found = found.map(|(_, params)| params.clone()).collect();
        self.notices.retain(|(known, _)| known != method);
        found
    }

    /// Waits for a notification of this kind.
    pub fn notice(&mut self, method: &str) -> Result<Value, String> {
        let until = Instant::now() + PATIENCE;
        loop {
            let place = self.notices.iter().position(|(known, _)| known == method);
            if let Some(place) = place {
                return Ok(self.notices.remove(place).1);
            }
            self.pump(until)
                .map_err(|what| format!("while waiting for {method}: {what}"))?;
        }
    }

    /// How often a stream that broke off was taken up again.
    pub fn resumptions(&self) -> usize {
        self.resumed
    }
}
