//! Requests of both eras, as bytes.

use std::net::SocketAddr;

use anyhow::{Context as _, Result};
use serde_json::{Value, json};

use crate::http::request;
use crate::server::Server;

pub(crate) const ACCEPT: (&str, &str) = ("Accept", "application/json, text/event-stream");
const CONTENT: (&str, &str) = ("Content-Type", "application/json");

/// An MCP endpoint.
#[derive(Clone)]
pub(crate) struct Endpoint {
    url: String,
    pub(crate) address: SocketAddr,
}

impl Endpoint {
    /// All servers of this gateway.
    pub(crate) fn of(gateway: &Server) -> Result<Self> {
        let url = gateway.url().to_owned();
        let authority = url.split('/').nth(2).and_then(|text| text.parse().ok());
        let address = authority.with_context(|| format!("{url} names no address"))?;
        Ok(Self { url, address })
    }

    /// A call of a tool, 2026-07-28.
    pub(crate) fn call(&self, id: u64, tool: &str, arguments: &Value) -> Result<Vec<u8>> {
        self.modern(
            id,
            "tools/call",
            Some(tool),
            json!({"name": tool, "arguments": arguments}),
        )
    }

    /// A request of 2026-07-28.
    pub(crate) fn modern(
        &self,
        id: u64,
        method: &str,
        name: Option<&str>,
        mut params: Value,
    ) -> Result<Vec<u8>> {
        params["_meta"] = json!({
            "io.modelcontextprotocol/protocolVersion": "2026-07-28",
            "io.modelcontextprotocol/clientCapabilities": {},
        });
        let body = json!({"jsonrpc": "2.0", "id": id, "method": method, "params": params});
        let mut headers = vec![
            ACCEPT,
            CONTENT,
            ("MCP-Protocol-Version", "2026-07-28"),
            ("Mcp-Method", method),
        ];
        headers.extend(name.map(|name| ("Mcp-Name", name)));
        Ok(request("POST", &self.url, &headers, &body.to_string())?.into_bytes())
    }

    /// `initialize` of 2025-11-25.
    pub(crate) fn initialize(&self) -> Result<Vec<u8>> {
        let params = json!({
            "protocolVersion": "2025-11-25",
            "capabilities": {},
            "clientInfo": {"name": "soak", "version": "1"},
        });
        let body = json!({"jsonrpc": "2.0", "id": 1, "method": "initialize", "params": params});
        Ok(request("POST", &self.url, &[ACCEPT, CONTENT], &body.to_string())?.into_bytes())
    }

    /// A request in a session of 2025-11-25.
    pub(crate) fn legacy(
        &self,
        session: &str,
        id: u64,
        method: &str,
        params: &Value,
    ) -> Result<Vec<u8>> {
        let body = json!({"jsonrpc": "2.0", "id": id, "method": method, "params": params});
        let headers = [&in_session(session)[..], &[CONTENT]].concat();
        Ok(request("POST", &self.url, &headers, &body.to_string())?.into_bytes())
    }

    /// The stream of a session, on which the server speaks of itself.
    pub(crate) fn stream(&self, session: &str) -> Result<Vec<u8>> {
        Ok(request("GET", &self.url, &in_session(session), "")?.into_bytes())
    }
}

fn in_session(session: &str) -> [(&str, &str); 3] {
    [
        ACCEPT,
        ("MCP-Protocol-Version", "2025-11-25"),
        ("Mcp-Session-Id", session),
    ]
}
