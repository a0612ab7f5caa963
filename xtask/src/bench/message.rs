//! The one request of a cell, as bytes: the same for the check before and for the load.

use anyhow::{Context as _, Result, bail};
use serde_json::Value;

use super::plan::{Cell, Era, Size};
use crate::http::{self, Answer, Connection};

/// Stands for the id, which the load fills in: `xtask/bench/load.lua` knows it too.
const MARK: &str = "@@@@@@@@";

/// What both eras ask of every POST.
const COMMON: [(&str, &str); 2] = [
    ("Content-Type", "application/json"),
    ("Accept", "application/json, text/event-stream"),
];

/// A `tools/call` of `echo`, but for its id.
pub(super) struct Message {
    era: Era,
    text: String,
    request: String,
}

impl Message {
    /// For this cell at this URL; `session` is what a legacy server gave out, if it did.
    pub(super) fn new(cell: Cell, url: &str, session: Option<&str>) -> Result<Self> {
        let text = text(cell.size);
        let message = Value::from(text.as_str());
        let params = format!(r#""name":"echo","arguments":{{"message":{message}}}"#);
        let body = body(cell.era, MARK, "tools/call", &params);
        let mut headers = headers(cell.era, "tools/call");
        match cell.era {
            Era::Modern => headers.push(("Mcp-Name", "echo")),
            Era::Legacy => headers.extend(session.map(|id| ("Mcp-Session-Id", id))),
        }
        Ok(Self {
            era: cell.era,
            text,
            request: http::request("POST", url, &headers, &body)?,
        })
    }

    /// The request with the mark in the place of its id.
    pub(super) fn template(&self) -> &str {
        &self.request
    }

    /// Calls once, and makes sure that the answer is the right one.
    pub(super) fn check(&self, connection: &mut Connection, id: u64) -> Result<()> {
        let id = 20_000_000 + id;
        let request = self.request.replace(MARK, &id.to_string());
        let answer = connection.exchange(request.as_bytes())?;
        let reply = result_of(&answer)?;
        let result = &reply["result"];
        let is_typed = self.era == Era::Legacy || result["resultType"] == "complete";
        let is_right =
            reply["id"] == id && result["content"][0]["text"] == self.text.as_str() && is_typed;
        if !is_right {
            let begin: String = answer.text().chars().take(300).collect();
            bail!("the answer is not what was sent: {begin}");
        }
        Ok(())
    }
}

/// Does the handshake of the legacy era and answers the session id, if there is one.
pub(super) fn begin_session(url: &str) -> Result<Option<String>> {
    let mut connection = Connection::open(url)?;
    let client = r#""protocolVersion":"2025-11-25","capabilities":{},"clientInfo":{"name":"bench","version":"1"}"#;
    let initialize = body(Era::Legacy, "1", "initialize", client);
    let request = http::request("POST", url, &COMMON, &initialize)?;
    let answer = connection.exchange(request.as_bytes())?;
    result_of(&answer).context("initialize failed")?;
    let session = answer.header("mcp-session-id").map(str::to_owned);
    let mut headers = headers(Era::Legacy, "");
    headers.extend(session.as_deref().map(|id| ("Mcp-Session-Id", id)));
    let initialized = r#"{"jsonrpc":"2.0","method":"notifications/initialized"}"#;
    let request = http::request("POST", url, &headers, initialized)?;
    let answer = connection.exchange(request.as_bytes())?;
    if answer.status != 202 {
        bail!(
            "notifications/initialized was answered with {}: {}",
            answer.status,
            answer.text()
        );
    }
    Ok(session)
}

/// Asks a server what it is: the cheapest request of the modern era.
pub(super) fn discover(url: &str) -> Result<String> {
    let body = body(Era::Modern, "1", "server/discover", "");
    http::request("POST", url, &headers(Era::Modern, "server/discover"), &body)
}

/// The answer as JSON, which holds a result.
pub(super) fn result_of(answer: &Answer) -> Result<Value> {
    let begin = || answer.text().chars().take(300).collect::<String>();
    if answer.status != 200 || !answer.is_json() {
        bail!(
            "HTTP {} {}: {}",
            answer.status,
            answer.header("content-type").unwrap_or("without a type"),
            begin()
        );
    }
    let reply: Value =
        serde_json::from_slice(&answer.body).with_context(|| format!("no JSON: {}", begin()))?;
    if reply.get("result").is_none() {
        bail!("no result: {}", begin());
    }
    Ok(reply)
}

fn headers(era: Era, method: &'static str) -> Vec<(&'static str, &'static str)> {
    let mut headers = COMMON.to_vec();
    headers.push(("MCP-Protocol-Version", era.revision()));
    if era == Era::Modern {
        headers.push(("Mcp-Method", method));
    }
    headers
}

fn body(era: Era, id: &str, method: &str, params: &str) -> String {
    let comma = if params.is_empty() { "" } else { "," };
    let meta = match era {
        Era::Legacy => String::new(),
        Era::Modern => format!(
            r#"{comma}"_meta":{{"io.modelcontextprotocol/protocolVersion":"2026-07-28","io.modelcontextprotocol/clientInfo":{{"name":"bench","version":"1"}},"io.modelcontextprotocol/clientCapabilities":{{}}}}"#
        ),
    };
    format!(r#"{{"jsonrpc":"2.0","id":{id},"method":"{method}","params":{{{params}{meta}}}}}"#)
}

/// Prose of this length as JSON writes it, with a quote and a line end in every line as prose has them.
pub(super) fn text(size: Size) -> String {
    const LINE: &str = "She said \"the quick brown fox\" and went over the lazy dog, 27 times.\n";
    const ESCAPES: usize = 3;
    let lines = size.bytes() / (LINE.len() + ESCAPES);
    let rest = size.bytes() % (LINE.len() + ESCAPES);
    LINE.repeat(lines) + &"x".repeat(rest)
}

#[cfg(test)]
mod tests {
    use serde_json::Value;

    use super::{Message, text};
    use crate::bench::plan::{Cell, Era, Size};

    #[test]
    fn the_text_is_as_long_as_its_size_says() {
        for size in Size::ALL {
            let json = Value::from(text(size)).to_string();
            assert_eq!(json.len() - 2, size.bytes());
        }
    }

    #[test]
    fn a_request_names_its_length_and_its_routing_headers() {
        for era in Era::ALL {
            let cell = Cell {
                era,
                size: Size::Small,
                connections: 1,
            };
            let message = Message::new(cell, "http://127.0.0.1:9/mcp", Some("abc")).unwrap();
            let (head, body) = message.template().split_once("\r\n\r\n").unwrap();
            assert!(head.contains(&format!("Content-Length: {}", body.len())));
            assert_eq!(head.contains("Mcp-Name: echo"), era == Era::Modern);
            assert_eq!(head.contains("Mcp-Session-Id: abc"), era == Era::Legacy);
            let body: Value = serde_json::from_str(&body.replace(super::MARK, "1")).unwrap();
            assert_eq!(body["params"].get("_meta").is_some(), era == Era::Modern);
        }
    }
}
