//! What a message of the gateway's must look like to a client of each revision: whatever else comes is refused.

use serde_json::{Map, Value};

use super::revision::Revision;

mod results;
#[cfg(test)]
mod tests;

pub use results::result;

/// What a message is, once its envelope was found in order.
#[derive(Debug, PartialEq)]
pub enum Kind {
    Request {
        id: Value,
        method: String,
        params: Value,
    },
    Notice {
        method: String,
        params: Value,
    },
    Answer {
        id: Value,
        result: Result<Value, Value>,
    },
}

/// Fails with these words unless something holds.
fn holds(condition: bool, complaint: impl FnOnce() -> String) -> Result<(), String> {
    match condition {
        true => Ok(()),
        false => Err(complaint()),
    }
}

/// Reads the envelope of JSON-RPC 2.0.
pub fn envelope(message: &Value) -> Result<Kind, String> {
    let members = message
        .as_object()
        .ok_or_else(|| format!("no object: {message}"))?;
    holds(message["jsonrpc"] == "2.0", || {
        format!("not JSON-RPC 2.0: {message}")
    })?;
    let has = |key: &str| members.contains_key(key);
    let only = |known: &[&str]| {
        let foreign = members.keys().find(|key| !known.contains(&key.as_str()));
        holds(foreign.is_none(), || format!("{foreign:?} in {message}"))
    };
    if let Some(method) = message["method"].as_str() {
        let params = members
            .get("params")
            .cloned()
            .unwrap_or_else(|| Value::Object(Map::new()));
        holds(params.is_object(), || {
            format!("params are no object: {message}")
        })?;
        only(&["jsonrpc", "id", "method", "params"])?;
        let method = method.to_owned();
        return match members.get("id") {
            Some(id) if is_id(id) => Ok(Kind::Request {
                id: id.clone(),
                method,
                params,
            }),
            Some(id) => Err(format!("the id {id} in {message}")),
            None => Ok(Kind::Notice { method, params }),
        };
    }
    let id = members.get("id").filter(|id| is_id(id));
    let id = id.ok_or_else(|| format!("no id in {message}"))?.clone();
    only(&["jsonrpc", "id", "result", "error"])?;
    holds(has("result") != has("error"), || {
        format!("not one of result and error: {message}")
    })?;
    match members.get("error") {
        None => Ok(Kind::Answer {
            id,
            result: Ok(message["result"].clone()),
        }),
        Some(error) => {
            self::error(error)?;
            Ok(Kind::Answer {
                id,
                result: Err(error.clone()),
            })
        }
    }
}

fn is_id(id: &Value) -> bool {
    id.is_string() || id.is_i64() || id.is_u64()
}

fn error(error: &Value) -> Result<(), String> {
    let known = ["code", "message", "data"];
    let members = error.as_object().into_iter().flatten();
    let mut foreign = members.filter(|(key, _)| !known.contains(&key.as_str()));
    holds(
        error["code"].is_i64() && error["message"].is_string() && foreign.next().is_none(),
        || format!("the error {error}"),
    )
}

/// A question to the client: a request of a server's own, or an entry of `inputRequests`.
pub fn question(
    revision: Revision,
    capabilities: &Value,
    method: &str,
    params: &Value,
) -> Result<(), String> {
    let wrong = |what: &str| Err(format!("{what}: {method} {params}"));
    let declared = |capability: &str| capabilities[capability].is_object();
    match method {
        "ping" if !revision.is_modern() => Ok(()),
        "roots/list" if !declared("roots") => wrong("roots were not declared"),
        "roots/list" => Ok(()),
        "sampling/createMessage" if !declared("sampling") => wrong("sampling was not declared"),
        "sampling/createMessage" => sampling(params).or_else(|what| wrong(&what)),
        "elicitation/create" if !declared("elicitation") => wrong("elicitation was not declared"),
        "elicitation/create" if params["mode"] == "url" => {
            let by_url = capabilities["elicitation"]["url"].is_object();
            holds(by_url, || "elicitation by URL was not declared".to_owned())
                .and_then(|()| page(revision, params))
                .or_else(|what| wrong(&what))
        }
        "elicitation/create" => form(params).or_else(|what| wrong(&what)),
        _ => wrong("no question of this revision"),
    }
}

fn sampling(params: &Value) -> Result<(), String> {
    let messages = params["messages"].as_array().into_iter().flatten();
    let mut malformed = messages
        .filter(|message| !message["role"].is_string() || !message["content"]["type"].is_string());
    holds(params["messages"].is_array(), || "no messages".to_owned())?;
    holds(malformed.next().is_none(), || {
        "a malformed message".to_owned()
    })?;
    holds(params["maxTokens"].is_number(), || {
        "no maxTokens".to_owned()
    })
}

fn form(params: &Value) -> Result<(), String> {
    let mode = &params["mode"];
    holds(mode.is_null() || mode == "form", || {
        format!("the mode {mode}")
    })?;
    holds(params["message"].is_string(), || "no message".to_owned())?;
    let schema = &params["requestedSchema"];
    holds(
        schema["type"] == "object" && schema["properties"].is_object(),
        || "no schema of an object".to_owned(),
    )
}

/// 2025-11-25 names the page, so that the server can say when it is done. 2026-07-28 has no such name; one that an older
/// server gave is an unknown member there.
fn page(revision: Revision, params: &Value) -> Result<(), String> {
    let is_text = |key: &str| params[key].is_string();
    holds(is_text("message") && is_text("url"), || {
        "no message and url".to_owned()
    })?;
    holds(is_text("elicitationId") || revision.is_modern(), || {
        "elicitationId is required at 2025-11-25".to_owned()
    })
}

/// A notification; `listening` is the id of the stream that it came on, if it is one of `subscriptions/listen`.
pub fn notice(
    revision: Revision,
    method: &str,
    params: &Value,
    listening: Option<u64>,
) -> Result<(), String> {
    let wrong = |what: &str| Err(format!("{what}: {method} {params}"));
    let tag = &params["_meta"]["io.modelcontextprotocol/subscriptionId"];
    match listening {
        Some(id) if *tag != id => return wrong("not tagged with the subscription"),
        None if !tag.is_null() => return wrong("tagged outside of a subscription"),
        _ => {}
    }
    let listens = listening.is_some() || !revision.is_modern();
    match method {
        "notifications/progress" | "notifications/message" if listening.is_some() => {
            wrong("not on a stream of changes")
        }
        "notifications/progress" => {
            let token = &params["progressToken"];
            match is_id(token) && params["progress"].is_number() {
                true => Ok(()),
                false => wrong("malformed"),
            }
        }
        "notifications/message" => match is_level(&params["level"]) && has(params, "data") {
            true => Ok(()),
            false => wrong("malformed"),
        },
        "notifications/tools/list_changed"
        | "notifications/prompts/list_changed"
        | "notifications/resources/list_changed"
            if listens =>
        {
            Ok(())
        }
        "notifications/resources/updated" if listens && params["uri"].is_string() => Ok(()),
        "notifications/elicitation/complete"
            if revision == Revision::V2025_11_25 && params["elicitationId"].is_string() =>
        {
            Ok(())
        }
        "notifications/subscriptions/acknowledged"
            if listening.is_some() && params["notifications"].is_object() =>
        {
            Ok(())
        }
        "notifications/tasks" if listening.is_some() => {
            results::task(params).or_else(|what| wrong(&what))
        }
        _ => wrong("no notification of this revision, or not here"),
    }
}

/// The severities, least first.
pub const LEVELS: [&str; 8] = [
    "debug",
    "info",
    "notice",
    "warning",
    "error",
    "critical",
    "alert",
    "emergency",
];

fn is_level(level: &Value) -> bool {
    LEVELS.iter().any(|known| level == known)
}

fn has(value: &Value, key: &str) -> bool {
    value.get(key).is_some()
}
