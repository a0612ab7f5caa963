//! What a result must look like to a client of each revision.

use serde_json::Value;

use super::super::revision::Revision;
use super::{has, holds};

/// What only 2026-07-28 has in a result, and the gateway leaves out for older clients.
const MODERN_MEMBERS: [&str; 5] = [
    "resultType",
    "ttlMs",
    "cacheScope",
    "inputRequests",
    "requestState",
];

/// Judges the result of a request of this method.
pub fn result(
    revision: Revision,
    capabilities: &Value,
    method: &str,
    result: &Value,
) -> Result<(), String> {
    let judged = match revision.is_modern() {
        true => modern(revision, capabilities, method, result),
        false => legacy(revision, method, result),
    };
    judged.map_err(|what| format!("{what}: {method} answered {result}"))
}

fn modern(
    revision: Revision,
    capabilities: &Value,
    method: &str,
    result: &Value,
) -> Result<(), String> {
    let asks = matches!(method, "tools/call" | "prompts/get" | "resources/read");
    let can_follow_tasks = capabilities["extensions"]["io.modelcontextprotocol/tasks"].is_object();
    match result["resultType"].as_str() {
        Some("complete") => {
            hints(method, result)?;
            content(revision, method, result)
        }
        Some("input_required") if asks => questions(revision, capabilities, result),
        Some("task") if method == "tools/call" && can_follow_tasks => task(result),
        _ => Err("a resultType that does not belong here".to_owned()),
    }
}

/// Caching hints stand on what can be cached, and nowhere else.
fn hints(method: &str, result: &Value) -> Result<(), String> {
    let cacheable = matches!(
        method,
        "server/discover"
            | "tools/list"
            | "prompts/list"
            | "resources/list"
            | "resources/templates/list"
            | "resources/read"
    );
    let scope = &result["cacheScope"];
    let hinted = result["ttlMs"].is_u64() && (scope == "public" || scope == "private");
    holds(hinted == cacheable, || {
        "ttlMs and cacheScope belong to what can be cached".to_owned()
    })
}

fn questions(revision: Revision, capabilities: &Value, result: &Value) -> Result<(), String> {
    let requests = result["inputRequests"].as_object();
    holds(requests.is_some() || has(result, "requestState"), || {
        "neither a question nor a state".to_owned()
    })?;
    holds(!has(result, "ttlMs") && !has(result, "cacheScope"), || {
        "a question is not cacheable".to_owned()
    })?;
    let state = result.get("requestState");
    holds(state.is_none_or(Value::is_string), || {
        "a state that is no text".to_owned()
    })?;
    for (key, request) in requests.into_iter().flatten() {
        let method = request["method"].as_str().unwrap_or_default();
        super::question(revision, capabilities, method, &request["params"])
            .map_err(|what| format!("inputRequests.{key}: {what}"))?;
    }
    Ok(())
}

/// The state of a task, as it stands in a result and in a notification.
pub fn task(task: &Value) -> Result<(), String> {
    let texts = ["taskId", "status", "createdAt", "lastUpdatedAt"];
    let missing = texts.iter().find(|key| !task[**key].is_string());
    holds(missing.is_none(), || format!("a task without {missing:?}"))?;
    let lifetime = &task["ttlMs"];
    holds(lifetime.is_u64() || has(task, "ttlMs"), || {
        "a task without ttlMs".to_owned()
    })
}

fn legacy(revision: Revision, method: &str, result: &Value) -> Result<(), String> {
    let modern = MODERN_MEMBERS.iter().find(|key| has(result, key));
    holds(modern.is_none(), || {
        format!("{modern:?} is not of this revision")
    })?;
    content(revision, method, result)
}

fn content(revision: Revision, method: &str, result: &Value) -> Result<(), String> {
    let list = |key: &str| {
        let entries = result[key].as_array();
        entries.ok_or_else(|| format!("no {key}"))
    };
    let all = |key: &str, wanted: &[&str]| {
        let is_whole = |entry: &Value| wanted.iter().all(|member| entry[*member].is_string());
        let broken = list(key)?.iter().find(|entry| !is_whole(entry));
        holds(broken.is_none(), || format!("{broken:?} in {key}"))
    };
    match method {
        "tools/list" => list("tools")?
            .iter()
            .try_for_each(|entry| tool(revision, entry)),
        "prompts/list" => all("prompts", &["name"]),
        "resources/list" => all("resources", &["uri", "name"]),
        "resources/templates/list" => all("resourceTemplates", &["uriTemplate", "name"]),
        "resources/read" => {
            all("contents", &["uri"])?;
            let one = |entry: &Value| entry["text"].is_string() != entry["blob"].is_string();
            let broken = list("contents")?.iter().find(|entry| !one(entry));
            holds(broken.is_none(), || {
                format!("neither text nor blob: {broken:?}")
            })
        }
        "prompts/get" => list("messages")?.iter().try_for_each(|message| {
            holds(message["role"].is_string(), || "no role".to_owned())?;
            block(revision, &message["content"])
        }),
        "completion/complete" => {
            let values = result["completion"]["values"].as_array();
            holds(values.is_some_and(|values| values.len() <= 100), || {
                "no completion of at most 100 values".to_owned()
            })
        }
        "tools/call" => {
            let structured = result.get("structuredContent");
            let fits = structured.is_none_or(|it| revision.is_modern() || it.is_object());
            holds(fits, || "structured content that is no object".to_owned())?;
            list("content")?
                .iter()
                .try_for_each(|it| block(revision, it))
        }
        _ => Ok(()),
    }
}

fn tool(revision: Revision, tool: &Value) -> Result<(), String> {
    let is_object = |schema: &Value| schema["type"] == "object";
    holds(
        tool["name"].is_string() && is_object(&tool["inputSchema"]),
        || format!("the tool {tool}"),
    )?;
    let output = tool.get("outputSchema");
    holds(
        output.is_none_or(|it| revision.is_modern() || is_object(it)),
        || format!("an output that is no object, in {tool}"),
    )
}

fn block(revision: Revision, block: &Value) -> Result<(), String> {
    let is_known = match block["type"].as_str() {
        Some("text") => block["text"].is_string(),
        Some("image") => block["data"].is_string() && block["mimeType"].is_string(),
        Some("audio") => revision >= Revision::V2025_03_26 && block["data"].is_string(),
        Some("resource") => block["resource"]["uri"].is_string(),
        Some("resource_link") => revision.has_structure() && block["uri"].is_string(),
        _ => false,
    };
    holds(is_known, || {
        format!("the content {block} is not of {}", revision.name())
    })
}
