//! Rows about what a server tells by itself.

use serde_json::{Value, json};

use super::basics::entry;
use super::{Got, holds};
use crate::peer::Client;
use crate::support::upstream::Era;

const WATCHED: &str = "test://watched-resource";

/// Listens, in the way of 2026-07-28; older clients hear of lists unasked.
fn listen(client: &mut Client, filter: Value) -> Result<Option<u64>, String> {
    if !client.revision().is_modern() {
        return Ok(None);
    }
    let params = json!({ "notifications": filter });
    let id = client.begin("subscriptions/listen", params)?;
    let granted = client.notice("notifications/subscriptions/acknowledged")?;
    holds(granted["notifications"] == filter, || {
        format!("asked for {filter}, granted {granted}")
    })?;
    Ok(Some(id))
}

fn stop(client: &mut Client, listening: Option<u64>) -> Result<(), String> {
    listening.map_or(Ok(()), |id| client.cancel(id))
}

pub(super) fn resource(client: &mut Client, _: Era) -> Result<Got, String> {
    let listening = listen(client, json!({ "resourceSubscriptions": [WATCHED] }))?;
    if listening.is_none() {
        client.get("resources/subscribe", json!({ "uri": WATCHED }))?;
    }
    // What was not asked for must not come.
    let other = json!({ "uri": "test://static-text" });
    client.call("test_touch_resource", other)?;
    client.call("test_touch_resource", json!({ "uri": WATCHED }))?;
    let told = client.notice("notifications/resources/updated")?;
    holds(told["uri"] == WATCHED, || format!("told of {told}"))?;
    match listening {
        Some(id) => client.cancel(id)?,
        None => drop(client.get("resources/unsubscribe", json!({ "uri": WATCHED }))?),
    }
    Ok(Got::All)
}

/// A list: the tool that changes it, its method, its key, what names an entry, and the entry that comes and goes.
const LISTS: [(&str, &str, &str, &str, &str); 3] = [
    (
        "test_trigger_tool_change",
        "tools",
        "tools",
        "name",
        "test_dynamic_tool",
    ),
    (
        "test_trigger_prompt_change",
        "prompts",
        "prompts",
        "name",
        "test_dynamic_prompt",
    ),
    (
        "test_trigger_resource_change",
        "resources",
        "resources",
        "uri",
        "test://dynamic-resource",
    ),
];

pub(super) fn lists(client: &mut Client, _: Era) -> Result<Got, String> {
    let flags = [
        "toolsListChanged",
        "promptsListChanged",
        "resourcesListChanged",
    ];
    let filter: Value = flags
        .iter()
        .map(|flag| ((*flag).to_owned(), json!(true)))
        .collect();
    let listening = listen(client, filter)?;
    for (trigger, kind, key, member, name) in LISTS {
        let changed = format!("notifications/{kind}/list_changed");
        for comes in [true, false] {
            client.noticed(&changed);
            client.call(trigger, json!({}))?;
            client.notice(&changed)?;
            let listed = entry(client, &format!("{kind}/list"), key, member, name)?;
            holds(listed.is_some() == comes, || {
                format!("after {changed} the list has {name}: {}", listed.is_some())
            })?;
        }
    }
    stop(client, listening)?;
    Ok(Got::All)
}
