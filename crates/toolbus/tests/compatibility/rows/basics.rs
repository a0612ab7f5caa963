//! Rows about what is listed, called and read.

use serde_json::{Value, json};

use super::{Got, both, holds};
use crate::peer::{Client, Revision};
use crate::support::upstream::Era;

/// The entry of a list with this name.
pub(super) fn entry(
    client: &mut Client,
    method: &str,
    key: &str,
    member: &str,
    name: &str,
) -> Result<Option<Value>, String> {
    let list = client.get(method, json!({}))?;
    let entries = list[key].as_array().into_iter().flatten();
    let mut found = entries.filter(|entry| entry[member] == name);
    Ok(found.next().cloned())
}

fn needed(entry: Option<Value>, what: &str) -> Result<Value, String> {
    entry.ok_or_else(|| format!("{what} is not listed"))
}

pub(super) fn tools(client: &mut Client, _: Era) -> Result<Got, String> {
    let echo = needed(
        entry(client, "tools/list", "tools", "name", "echo")?,
        "echo",
    )?;
    holds(echo["description"].is_string(), || format!("{echo}"))?;
    let said = client.text_of("echo", json!({ "message": "Grüße" }))?;
    holds(said == "Grüße", || format!("echo said {said:?}"))?;
    let failed = client.get("tools/call", json!({ "name": "test_error_handling" }))?;
    holds(failed["isError"] == true, || {
        format!("no failure of the tool: {failed}")
    })?;
    let unknown = client.ask("tools/call", json!({ "name": "test_nothing" }))?;
    holds(
        unknown.as_ref().is_err_and(|error| error["code"] == -32602),
        || format!("an unknown tool: {unknown:?}"),
    )?;
    Ok(Got::All)
}

pub(super) fn structured_object(client: &mut Client, server: Era) -> Result<Got, String> {
    let result = client.call("echo", json!({ "message": "x" }))?;
    holds(result["content"][0]["text"] == "x", || {
        format!("no text: {result}")
    })?;
    if !both(client, server, Revision::has_structure) {
        return Ok(Got::Instead("as text"));
    }
    let echo = needed(
        entry(client, "tools/list", "tools", "name", "echo")?,
        "echo",
    )?;
    holds(echo["outputSchema"]["required"] == json!(["echo"]), || {
        format!("no schema of the output: {echo}")
    })?;
    holds(
        result["structuredContent"] == json!({ "echo": "x" }),
        || format!("no structured content: {result}"),
    )?;
    Ok(Got::All)
}

pub(super) fn structured_list(client: &mut Client, server: Era) -> Result<Got, String> {
    let result = client.call("test_structured_list", json!({}))?;
    holds(result["content"][0]["text"] == "[1,2,3]", || {
        format!("no text: {result}")
    })?;
    let structured = &result["structuredContent"];
    match both(client, server, Revision::is_modern) {
        true => {
            holds(*structured == json!([1, 2, 3]), || {
                format!("no structured content: {result}")
            })?;
            Ok(Got::All)
        }
        false => Ok(Got::Instead("as text")),
    }
}

pub(super) fn prompts(client: &mut Client, _: Era) -> Result<Got, String> {
    let name = "test_prompt_with_arguments";
    let prompt = needed(
        entry(client, "prompts/list", "prompts", "name", name)?,
        name,
    )?;
    holds(prompt["arguments"][1]["name"] == "arg2", || {
        format!("{prompt}")
    })?;
    let arguments = json!({ "arg1": "one", "arg2": "two" });
    let got = client.get(
        "prompts/get",
        json!({ "name": name, "arguments": arguments }),
    )?;
    let text = got["messages"][0]["content"]["text"].as_str();
    holds(text.is_some_and(|text| text.contains("arg2='two'")), || {
        format!("{got}")
    })?;
    Ok(Got::All)
}

pub(super) fn resources(client: &mut Client, _: Era) -> Result<Got, String> {
    for (uri, member) in [
        ("test://static-text", "text"),
        ("test://static-binary", "blob"),
    ] {
        needed(
            entry(client, "resources/list", "resources", "uri", uri)?,
            uri,
        )?;
        let read = client.get("resources/read", json!({ "uri": uri }))?;
        let contents = &read["contents"][0];
        holds(
            contents[member].is_string() && contents["uri"] == uri,
            || format!("{read}"),
        )?;
    }
    Ok(Got::All)
}

pub(super) fn unknown_resource(client: &mut Client, _: Era) -> Result<Got, String> {
    let uri = "test://template/";
    let code = match client.revision().is_modern() {
        true => -32602,
        false => -32002,
    };
    let read = client.ask("resources/read", json!({ "uri": uri }))?;
    let fits = |error: &Value| error["code"] == code && error["data"]["uri"] == uri;
    holds(read.as_ref().is_err_and(fits), || {
        format!("not {code} with the URI, but {read:?}")
    })?;
    Ok(Got::All)
}

pub(super) fn templates(client: &mut Client, _: Era) -> Result<Got, String> {
    let template = "test://template/{id}/data";
    let (method, key) = ("resources/templates/list", "resourceTemplates");
    needed(
        entry(client, method, key, "uriTemplate", template)?,
        template,
    )?;
    let read = client.get(
        "resources/read",
        json!({ "uri": "test://template/42/data" }),
    )?;
    let text = read["contents"][0]["text"].as_str();
    holds(
        text.is_some_and(|text| text.contains("Data for ID: 42")),
        || format!("{read}"),
    )?;
    Ok(Got::All)
}

pub(super) fn completion(client: &mut Client, _: Era) -> Result<Got, String> {
    let prompt = json!({ "type": "ref/prompt", "name": "test_prompt_with_arguments" });
    let template = json!({ "type": "ref/resource", "uri": "test://template/{id}/data" });
    for (reference, argument, typed, expected) in [
        (prompt, "arg1", "par", json!(["paris", "park", "party"])),
        (template, "id", "12", json!(["123", "124"])),
    ] {
        let params = json!({ "ref": reference, "argument": { "name": argument, "value": typed } });
        let completed = client.get("completion/complete", params)?;
        holds(completed["completion"]["values"] == expected, || {
            format!("{completed}")
        })?;
    }
    Ok(Got::All)
}

/// A method of no revision reaches the one server that there is.
pub(super) fn extension(client: &mut Client, _: Era) -> Result<Got, String> {
    let result = client.get("toolbus-test/echo", json!({ "word": "x" }))?;
    holds(result["echo"]["word"] == "x", || format!("{result}"))?;
    Ok(Got::All)
}

/// The client's own rules see to it that every result has the hints of its revision, or none.
pub(super) fn cache_hints(client: &mut Client, server: Era) -> Result<Got, String> {
    client.get("tools/list", json!({}))?;
    let read = client.get("resources/read", json!({ "uri": "test://static-text" }))?;
    if !client.revision().is_modern() {
        return Ok(Got::Instead("left out"));
    }
    client.get("server/discover", json!({}))?;
    if !server.is_modern() {
        return Ok(Got::Instead("the gateway's own"));
    }
    holds(
        read["ttlMs"] == 60_000 && read["cacheScope"] == "public",
        || format!("not the server's hints: {read}"),
    )?;
    Ok(Got::All)
}
