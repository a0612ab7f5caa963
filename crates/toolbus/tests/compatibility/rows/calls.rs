//! Rows about what happens while a call runs.

use std::thread::sleep;
use std::time::{Duration, Instant};

use serde_json::{Value, json};

use super::{Got, both, holds, revision};
use crate::peer::shape::LEVELS;
use crate::peer::{Client, Revision};
use crate::support::upstream::Era;

/// How long something may take that is looked for again and again.
const PATIENCE: Duration = Duration::from_secs(30);

/// Looks again and again until something is there.
fn wait<T>(what: &str, mut look: impl FnMut() -> Result<Option<T>, String>) -> Result<T, String> {
    let until = Instant::now() + PATIENCE;
    while Instant::now() < until {
        if let Some(found) = look()? {
            return Ok(found);
        }
        sleep(Duration::from_millis(20));
    }
    Err(format!("in vain: {what}"))
}

pub(super) fn progress(client: &mut Client, _: Era) -> Result<Got, String> {
    let meta = json!({ "progressToken": "mine" });
    let params = json!({ "name": "test_tool_with_progress", "_meta": meta });
    client.get("tools/call", params)?;
    let steps = client.noticed("notifications/progress");
    let steps: Vec<_> = steps.iter().map(|step| step["progress"].as_f64()).collect();
    holds(steps == [Some(0.0), Some(50.0), Some(100.0)], || {
        format!("the progress {steps:?}")
    })?;
    Ok(Got::All)
}

pub(super) fn logging(client: &mut Client, _: Era) -> Result<Got, String> {
    for (level, expected) in [
        ("warning", vec!["warning", "error"]),
        ("debug", vec!["debug", "info", "warning", "error"]),
    ] {
        match client.revision().is_modern() {
            true => client.log_level = Some(level),
            false => drop(client.get("logging/setLevel", json!({ "level": level }))?),
        }
        let levels = levels_of_a_call(client)?;
        holds(levels == expected, || {
            format!("at level {level} the messages {levels:?}")
        })?;
    }
    if client.revision().is_modern() {
        client.log_level = None;
        let levels = levels_of_a_call(client)?;
        holds(levels.is_empty(), || {
            format!("unasked the messages {levels:?}")
        })?;
    }
    Ok(Got::All)
}

fn levels_of_a_call(client: &mut Client) -> Result<Vec<&'static str>, String> {
    client.call("test_logging_tool", json!({}))?;
    let messages = client.noticed("notifications/message");
    let levels = messages.iter().map(|message| {
        let level = LEVELS.iter().find(|level| message["level"] == **level);
        level.copied().unwrap_or_default()
    });
    Ok(levels.collect())
}

fn cancelled(client: &mut Client) -> Result<u64, String> {
    let text = client.text_of("test_counts", json!({}))?;
    let counts: Value = serde_json::from_str(&text).map_err(|error| error.to_string())?;
    counts["cancelled"].as_u64().ok_or(text)
}

pub(super) fn cancellation(client: &mut Client, _: Era) -> Result<Got, String> {
    let before = cancelled(client)?;
    let meta = json!({ "progressToken": "wait" });
    let id = client.begin("tools/call", json!({ "name": "test_wait", "_meta": meta }))?;
    client.notice("notifications/progress")?;
    client.cancel(id)?;
    wait("the server is told", || {
        Ok((cancelled(client)? > before).then_some(()))
    })?;
    Ok(Got::All)
}

/// Up to 2025-11-25 a server may close the stream of a call and have its client come back for the answer.
pub(super) fn resumption(client: &mut Client, server: Era) -> Result<Got, String> {
    let before = client.resumptions();
    let text = client.text_of("test_reconnection", json!({}))?;
    holds(text.contains("survived"), || text)?;
    match (
        revision(server).has_priming(),
        client.resumptions() > before,
    ) {
        (false, _) => Ok(Got::Instead("not in the server's revision")),
        (_, true) => Ok(Got::All),
        (_, false) => Ok(Got::Instead("answered in one piece")),
    }
}

pub(super) fn ping(client: &mut Client, _: Era) -> Result<Got, String> {
    let pong = client.ask("ping", json!({}))?;
    if client.revision().is_modern() {
        let refused = pong.as_ref().is_err_and(|error| error["code"] == -32601);
        holds(refused, || format!("{pong:?}"))?;
        return Ok(Got::Instead("not in this revision"));
    }
    holds(pong == Ok(json!({})), || format!("{pong:?}"))?;
    Ok(Got::All)
}

pub(super) fn ping_by_the_server(client: &mut Client, server: Era) -> Result<Got, String> {
    client.questions();
    let text = client.text_of("test_ping_client", json!({}))?;
    if server == Era::Modern {
        return Ok(Got::Instead("not in the server's revision"));
    }
    holds(text == "The client answered a ping", || text)?;
    let reached = client
        .questions()
        .iter()
        .any(|(method, _)| method == "ping");
    Ok(match reached {
        true => Got::All,
        false => Got::Instead("the gateway answers"),
    })
}

pub(super) fn tasks(client: &mut Client, server: Era) -> Result<Got, String> {
    if both(client, server, Revision::is_modern) {
        follow(client)?;
        answer(client)?;
        stop(client)?;
        return Ok(Got::All);
    }
    let text = client.text_of("slow_compute", json!({ "seconds": 0.1 }))?;
    holds(text.starts_with("Slept for"), || text)?;
    if both(client, server, Revision::has_forms) {
        let text = client.text_of("confirm_delete", json!({ "filename": "old" }))?;
        holds(text == "Deleted old", || text)?;
    }
    if server == Era::Modern {
        let refused = client.ask("tools/call", json!({ "name": "failing_job" }))?;
        holds(
            refused.as_ref().is_err_and(|error| error["code"] == -32021),
            || format!("a tool that insists on a task: {refused:?}"),
        )?;
    }
    Ok(Got::Instead("runs to its end within the call"))
}

/// Starts a task and returns its id.
fn start(client: &mut Client, tool: &str, arguments: Value) -> Result<String, String> {
    let created = client.call(tool, arguments)?;
    let id = created["taskId"].as_str();
    id.map(str::to_owned)
        .ok_or_else(|| format!("no task: {created}"))
}

/// Asks after a task until it has this status.
fn until(client: &mut Client, id: &str, status: &str) -> Result<Value, String> {
    wait(&format!("the task is {status}"), || {
        let task = client.get("tasks/get", json!({ "taskId": id }))?;
        Ok((task["status"] == status).then_some(task))
    })
}

fn follow(client: &mut Client) -> Result<(), String> {
    let id = start(client, "slow_compute", json!({ "seconds": 0.3 }))?;
    let filter = json!({ "notifications": { "taskIds": [id] } });
    let listening = client.begin("subscriptions/listen", filter)?;
    let granted = client.notice("notifications/subscriptions/acknowledged")?;
    holds(granted["notifications"]["taskIds"] == json!([id]), || {
        format!("not subscribed: {granted}")
    })?;
    let told = client.notice("notifications/tasks")?;
    holds(told["taskId"] == id.as_str(), || {
        format!("of another task: {told}")
    })?;
    client.cancel(listening)?;
    let task = until(client, &id, "completed")?;
    let text = task["result"]["content"][0]["text"].as_str();
    holds(
        text.is_some_and(|text| text.starts_with("Slept for")),
        || format!("{task}"),
    )
}

fn answer(client: &mut Client) -> Result<(), String> {
    let id = start(client, "confirm_delete", json!({ "filename": "old" }))?;
    let task = until(client, &id, "input_required")?;
    let keys = task["inputRequests"].as_object().into_iter().flatten();
    let yes = json!({ "action": "accept", "content": { "confirm": true } });
    let answers: Value = keys.map(|(key, _)| (key.clone(), yes.clone())).collect();
    client.get(
        "tasks/update",
        json!({ "taskId": id, "inputResponses": answers }),
    )?;
    let task = until(client, &id, "completed")?;
    holds(
        task["result"]["content"][0]["text"] == "Deleted old",
        || format!("{task}"),
    )
}

fn stop(client: &mut Client) -> Result<(), String> {
    let id = start(client, "slow_compute", json!({ "seconds": 3600 }))?;
    client.get("tasks/cancel", json!({ "taskId": id }))?;
    until(client, &id, "cancelled").map(drop)
}
