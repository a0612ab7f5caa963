//! What the ledger reads and answers: 2026-07-28, and the little of 2025-11-25 that a prober asks.

use std::borrow::Cow;
use std::time::Duration;

use serde::Deserialize;
use serde_json::value::RawValue;

use super::LONGEST;

/// The tools: one that must not run twice, one that may.
const TOOLS: &str = r#""tools":[{"name":"once","description":"Writes the id down and waits.","inputSchema":{"type":"object","properties":{"id":{"type":"string"},"ms":{"type":"integer"}},"required":["id"]},"annotations":{"readOnlyHint":false,"idempotentHint":false}},{"name":"again","description":"The same, but may be run again.","inputSchema":{"type":"object","properties":{"id":{"type":"string"},"ms":{"type":"integer"}},"required":["id"]},"annotations":{"readOnlyHint":true}}]"#;

const DISCOVER: &str = r#""supportedVersions":["2026-07-28"],"capabilities":{"tools":{}},"ttlMs":3600000,"cacheScope":"public","_meta":{"io.modelcontextprotocol/serverInfo":{"name":"ledger","version":"1"}}"#;

/// What a line asks for.
#[derive(Debug, PartialEq)]
pub(super) enum Asked {
    /// An answer that is known at once.
    Answer(String),
    /// To stop the request of this id.
    Cancel(String),
    /// An execution.
    Work(Work),
}

/// One execution.
#[derive(Debug, PartialEq)]
pub(super) struct Work {
    /// The request's id, as it came.
    pub(super) id: String,
    /// What is written down.
    pub(super) unique: String,
    /// How long it takes.
    pub(super) time: Duration,
}

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
#[serde(rename_all = "camelCase")]
struct Params<'a> {
    #[serde(borrow)]
    name: Option<Cow<'a, str>>,
    #[serde(borrow, default)]
    arguments: Arguments<'a>,
    #[serde(borrow)]
    request_id: Option<&'a RawValue>,
}

#[derive(Deserialize, Default)]
struct Arguments<'a> {
    #[serde(borrow)]
    id: Option<Cow<'a, str>>,
    #[serde(default)]
    ms: u64,
}

/// Reads a line; `None` where it asks for nothing.
pub(super) fn read(line: &[u8]) -> Option<Asked> {
    let envelope: Envelope<'_> = serde_json::from_slice(line).ok()?;
    let Some(id) = envelope.id else {
        let about = envelope.params.request_id?;
        let is_cancel = envelope.method == "notifications/cancelled";
        return is_cancel.then(|| Asked::Cancel(about.get().to_owned()));
    };
    let answer = match &*envelope.method {
        "tools/call" => return Some(call(id, envelope.params)),
        "tools/list" => result(
            id,
            &format!(r#"{TOOLS},"ttlMs":3600000,"cacheScope":"public""#),
        ),
        "server/discover" => result(id, DISCOVER),
        method => refuse(id, -32601, &format!("no method {method:?}")),
    };
    Some(Asked::Answer(answer))
}

fn call(id: &RawValue, params: Params<'_>) -> Asked {
    let known = matches!(params.name.as_deref(), Some("once" | "again"));
    match params.arguments.id {
        Some(unique) if known && !unique.contains('\n') => Asked::Work(Work {
            id: id.get().to_owned(),
            unique: unique.into_owned(),
            time: Duration::from_millis(params.arguments.ms).min(LONGEST),
        }),
        _ => Asked::Answer(refuse(
            id,
            -32602,
            "call once or again, with an id on one line",
        )),
    }
}

/// The answer to an execution: what was written down.
pub(super) fn done(work: &Work) -> String {
    let text = serde_json::Value::from(work.unique.as_str());
    let members = format!(r#""content":[{{"type":"text","text":{text}}}]"#);
    wrap(&work.id, &members)
}

fn result(id: &RawValue, members: &str) -> String {
    wrap(id.get(), members)
}

fn wrap(id: &str, members: &str) -> String {
    format!(r#"{{"jsonrpc":"2.0","id":{id},"result":{{"resultType":"complete",{members}}}}}"#)
}

fn refuse(id: &RawValue, code: i32, message: &str) -> String {
    let (id, message) = (id.get(), serde_json::Value::from(message));
    format!(r#"{{"jsonrpc":"2.0","id":{id},"error":{{"code":{code},"message":{message}}}}}"#)
}
