//! What the echo upstream answers to one JSON-RPC message, in both eras, without parsing more than it must.

use std::borrow::Cow;

use bytes::Bytes;
use http::StatusCode;
use serde::Deserialize;
use serde_json::value::RawValue;

use super::counts::Counts;
use super::parts::Parts;

/// The newest revision with `initialize`, which every request for one is answered with.
const LEGACY: &str = "2025-11-25";

const DISCOVER: &str = r#""supportedVersions":["2026-07-28","2025-11-25"],"capabilities":{"tools":{}},"ttlMs":3600000,"cacheScope":"public","_meta":{"io.modelcontextprotocol/serverInfo":{"name":"echo-upstream","version":"1"}}"#;

const TOOLS: &str = r#""tools":[{"name":"echo","description":"Sends the message back.","inputSchema":{"type":"object","properties":{"message":{"type":"string"}},"required":["message"]}}]"#;

/// An answer: its HTTP status, and the body for anything but a notification.
#[derive(Debug)]
pub struct Answer {
    /// The HTTP status.
    pub status: StatusCode,
    /// The JSON-RPC response; empty for a notification.
    pub body: Parts,
    /// Whether this began a legacy session.
    pub begins_session: bool,
}

/// One JSON-RPC message, as far as it matters here.
#[derive(Deserialize)]
struct Envelope<'a> {
    #[serde(borrow)]
    method: Cow<'a, str>,
    #[serde(borrow)]
    id: Option<&'a RawValue>,
    #[serde(borrow, default)]
    params: Params<'a>,
}

#[derive(Deserialize, Default)]
struct Params<'a> {
    #[serde(borrow)]
    name: Option<Cow<'a, str>>,
    #[serde(borrow, default)]
    arguments: Arguments<'a>,
    #[serde(borrow, rename = "_meta", default)]
    meta: Meta<'a>,
}

#[derive(Deserialize, Default)]
struct Arguments<'a> {
    #[serde(borrow)]
    message: Option<&'a RawValue>,
}

#[derive(Deserialize, Default)]
struct Meta<'a> {
    #[serde(borrow, rename = "io.modelcontextprotocol/protocolVersion")]
    version: Option<&'a RawValue>,
}

/// Reads one message, counts it and answers it.
#[must_use]
pub fn answer(body: &Bytes, counts: &Counts) -> Answer {
    let Ok(envelope) = serde_json::from_slice::<Envelope<'_>>(body) else {
        counts.add("unreadable");
        let error =
            r#"{"jsonrpc":"2.0","error":{"code":-32700,"message":"not a JSON-RPC request"}}"#;
        return plain(StatusCode::BAD_REQUEST, error);
    };
    counts.add(&envelope.method);
    let Some(id) = envelope.id else {
        return plain(StatusCode::ACCEPTED, "");
    };
    let era = Era::of(&envelope);
    match &*envelope.method {
        "tools/call" => call(body, id, &envelope.params, era),
        "tools/list" => result(id, era, TOOLS, r#","ttlMs":3600000,"cacheScope":"public""#),
        "server/discover" if era == Era::Modern => result(id, era, DISCOVER, ""),
        "initialize" if era == Era::Legacy => initialize(id),
        "ping" if era == Era::Legacy => result(id, era, "", ""),
        method => error(
            id,
            era.not_found(),
            -32601,
            &format!("no method {method:?}"),
        ),
    }
}

#[derive(Clone, Copy, PartialEq)]
enum Era {
    Legacy,
    Modern,
}

impl Era {
    fn of(envelope: &Envelope<'_>) -> Self {
        match envelope.params.meta.version {
            Some(_) => Self::Modern,
            None => Self::Legacy,
        }
    }

    fn not_found(self) -> StatusCode {
        match self {
            Self::Legacy => StatusCode::OK,
            Self::Modern => StatusCode::NOT_FOUND,
        }
    }

    fn result_type(self) -> &'static str {
        match self {
            Self::Legacy => "",
            Self::Modern => r#""resultType":"complete","#,
        }
    }
}

/// Sends the message back, as the bytes that came.
fn call(body: &Bytes, id: &RawValue, params: &Params<'_>, era: Era) -> Answer {
    let name = params.name.as_deref().unwrap_or_default();
    if name != "echo" {
        return error(id, StatusCode::OK, -32602, &format!("no tool {name:?}"));
    }
    let message = params
        .arguments
        .message
        .filter(|raw| raw.get().starts_with('"'));
    let Some(message) = message else {
        let failure =
            r#""content":[{"type":"text","text":"message must be a string"}],"isError":true"#;
        return result(id, era, failure, "");
    };
    let (id, kind) = (id.get(), era.result_type());
    let opening = format!(
        r#"{{"jsonrpc":"2.0","id":{id},"result":{{{kind}"content":[{{"type":"text","text":"#
    );
    Answer {
        status: StatusCode::OK,
        body: Parts::new([
            Bytes::from(opening),
            body.slice_ref(message.get().as_bytes()),
            Bytes::from_static(b"}]}}"),
        ]),
        begins_session: false,
    }
}

fn initialize(id: &RawValue) -> Answer {
    let members = format!(
        r#""protocolVersion":"{LEGACY}","capabilities":{{"tools":{{}}}},"serverInfo":{{"name":"echo-upstream","version":"1"}}"#
    );
    Answer {
        begins_session: true,
        ..result(id, Era::Legacy, &members, "")
    }
}

/// A result of these members; `modern` ones follow where the era knows them.
fn result(id: &RawValue, era: Era, members: &str, modern: &str) -> Answer {
    let (id, kind) = (id.get(), era.result_type());
    let modern = if era == Era::Modern { modern } else { "" };
    let text = format!(r#"{{"jsonrpc":"2.0","id":{id},"result":{{{kind}{members}{modern}}}}}"#);
    plain(StatusCode::OK, &text)
}

fn error(id: &RawValue, status: StatusCode, code: i32, message: &str) -> Answer {
    let message = serde_json::Value::from(message);
    let id = id.get();
    let text =
        format!(r#"{{"jsonrpc":"2.0","id":{id},"error":{{"code":{code},"message":{message}}}}}"#);
    plain(status, &text)
}

fn plain(status: StatusCode, text: &str) -> Answer {
    Answer {
        status,
        body: Parts::from(Bytes::copy_from_slice(text.as_bytes())),
        begins_session: false,
    }
}

#[cfg(test)]
mod tests;
