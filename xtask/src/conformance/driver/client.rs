//! A thin client on the gateway's stdio door, in the era that the scenario names.

use std::fs::File;
use std::io::{BufRead as _, BufReader, Write as _};
use std::path::Path;
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};

use anyhow::{Context as _, Result, anyhow, bail};
use serde_json::{Map, Value, json};

use super::answers;
use crate::run::not_started;

/// From this revision on a request says by itself who asks and what the client can do.
const MODERN: &str = "2026-07-28";

/// Rounds of questions within one request before it is given up: no scenario has more than one.
const ROUNDS: usize = 4;

/// The client and the gateway that it talks to.
pub(super) struct Client {
    gateway: Child,
    input: ChildStdin,
    output: BufReader<ChildStdout>,
    version: String,
    last: u64,
}

impl Client {
    /// Starts the gateway and, where the revision has sessions, opens one.
    pub(super) fn start(
        toolbus: &Path,
        config: &Path,
        folder: &Path,
        version: &str,
    ) -> Result<Self> {
        let mut command = Command::new(toolbus);
        command.arg("stdio").arg(config);
        command
            .env("XDG_STATE_HOME", folder)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(File::create(folder.join("toolbus.log"))?);
        let mut gateway = command
            .spawn()
            .map_err(|error| not_started(&command, &error))?;
        let input = gateway.stdin.take().context("a pipe to the gateway")?;
        let output = gateway.stdout.take().context("a pipe from the gateway")?;
        let mut client = Self {
            gateway,
            input,
            output: BufReader::new(output),
            version: version.to_owned(),
            last: 0,
        };
        if !client.is_modern() {
            client.initialize()?;
        }
        Ok(client)
    }

    fn is_modern(&self) -> bool {
        self.version.as_str() >= MODERN
    }

    fn initialize(&mut self) -> Result<()> {
        let params = json!({
            "protocolVersion": self.version,
            "capabilities": capabilities(),
            "clientInfo": { "name": "conformance", "version": "1" },
        });
        self.ask("initialize", params)?;
        self.say(&json!({ "jsonrpc": "2.0", "method": "notifications/initialized" }))
    }

    /// Sends one request and returns its result; questions of the gateway's on the way are answered.
    pub(super) fn ask(&mut self, method: &str, mut params: Value) -> Result<Value> {
        self.last += 1;
        let id = self.last;
        if self.is_modern() {
            params["_meta"] = json!({
                "io.modelcontextprotocol/protocolVersion": self.version,
                "io.modelcontextprotocol/clientCapabilities": capabilities(),
                "io.modelcontextprotocol/clientInfo": { "name": "conformance", "version": "1" },
            });
        }
        self.say(&json!({ "jsonrpc": "2.0", "id": id, "method": method, "params": params }))?;
        loop {
            let mut message = self.hear()?;
            if message["method"].is_string() {
                self.answer(&message)?;
            } else if message["id"] != id {
                bail!("an answer to nothing that was asked: {message}");
            } else if message["result"].is_object() {
                return Ok(message["result"].take());
            } else {
                bail!("{method} failed: {}", message["error"]);
            }
        }
    }

    /// Sends one request and goes on with it until its result is complete.
    pub(super) fn finish(&mut self, method: &str, params: Value) -> Result<Value> {
        let first = self.ask(method, params.clone())?;
        self.go_on(method, params, first)
    }

    /// Answers what a result asks for, until it asks for nothing more.
    pub(super) fn go_on(&mut self, method: &str, params: Value, first: Value) -> Result<Value> {
        let mut result = first;
        for _ in 0..ROUNDS {
            if result["resultType"] != "input_required" {
                return Ok(result);
            }
            let mut retry = params.clone();
            retry["inputResponses"] = Value::Object(responses(&result["inputRequests"])?);
            if let Some(state) = result.get("requestState") {
                retry["requestState"] = state.clone();
            }
            result = self.ask(method, retry)?;
        }
        bail!("{method} asks and asks: {result}")
    }

    /// Answers a request of the gateway's, which only the revisions with sessions allow; notifications pass.
    fn answer(&mut self, message: &Value) -> Result<()> {
        let Some(id) = message.get("id") else {
            return Ok(());
        };
        if self.is_modern() {
            bail!("a request to a client of {MODERN}: {message}");
        }
        let result = answered(&message["method"], &message["params"])?;
        self.say(&json!({ "jsonrpc": "2.0", "id": id, "result": result }))
    }

    fn say(&mut self, message: &Value) -> Result<()> {
        writeln!(self.input, "{message}").context("the gateway does not listen")?;
        self.input.flush().context("the gateway does not listen")
    }

    fn hear(&mut self) -> Result<Value> {
        let mut line = String::new();
        if self.output.read_line(&mut line)? == 0 {
            bail!("the gateway closed its stdout: its log lies beside its configuration");
        }
        serde_json::from_str(&line).with_context(|| format!("no message: {line}"))
    }

    /// Closes the gateway's stdin and waits for its end.
    pub(super) fn stop(mut self) -> Result<()> {
        drop(self.input);
        let status = self.gateway.wait()?;
        match status.success() {
            true => Ok(()),
            false => Err(anyhow!("the gateway ended with {status}")),
        }
    }
}

fn capabilities() -> Value {
    json!({ "elicitation": {}, "sampling": {}, "roots": {} })
}

fn responses(requests: &Value) -> Result<Map<String, Value>> {
    let requests = requests.as_object().into_iter().flatten();
    let answers = requests.map(|(key, request)| {
        let answer = answered(&request["method"], &request["params"])?;
        Ok((key.clone(), answer))
    });
    answers.collect()
}

fn answered(method: &Value, params: &Value) -> Result<Value> {
    let method = method.as_str().unwrap_or_default();
    answers::answer(method, params).ok_or_else(|| anyhow!("a question of no revision: {method}"))
}
