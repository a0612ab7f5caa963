//! What the suite starts as its client: `toolbus stdio` before the suite's server, and a thin client that does what
//! each scenario asks for, so that it is the gateway that is judged.

mod answers;
mod client;

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result, anyhow, bail};
use clap::Args;
use serde_json::{Value, json};

use client::Client;

/// What the suite passes, after what our own runner put before it.
#[derive(Args)]
pub(crate) struct Options {
    /// The program under test
    #[arg(long)]
    toolbus: PathBuf,
    /// Where configuration, state and log of each scenario go
    #[arg(long)]
    scratch: PathBuf,
    /// The suite's server
    url: String,
}

/// Does what the scenario in the environment asks for.
pub(crate) fn drive(options: &Options) -> Result<()> {
    let scenario = variable("MCP_CONFORMANCE_SCENARIO")?;
    let version = variable("MCP_CONFORMANCE_PROTOCOL_VERSION")?;
    let folder = options.scratch.join("clients").join(&scenario);
    let config = configure(&folder, &options.url)?;
    let mut client = Client::start(&options.toolbus, &config, &folder, &version)?;
    play(&mut client, &scenario)?;
    client.stop()
}

fn variable(name: &str) -> Result<String> {
    std::env::var(name).with_context(|| format!("the suite sets {name}"))
}

/// A configuration whose only server is the suite's.
fn configure(folder: &Path, url: &str) -> Result<PathBuf> {
    fs::create_dir_all(folder)?;
    let (config, audit) = (folder.join("toolbus.toml"), folder.join("audit.jsonl"));
    let text = format!("[audit]\nfile = {audit:?}\n\n[servers.suite.http]\nurl = {url:?}\n");
    fs::write(&config, text)?;
    Ok(config)
}

fn play(client: &mut Client, scenario: &str) -> Result<()> {
    let listing = client.ask("tools/list", json!({}))?;
    let tools = listing["tools"].as_array().cloned().unwrap_or_default();
    match scenario {
        // To be connected, and to have listed, is all of it.
        "initialize" | "request-metadata" | "json-schema-ref-no-deref" => Ok(()),
        "http-custom-headers" => from_context(client),
        "json-schema-2020-12-preservation" => echo_schema(client, &tools),
        "sep-2322-client-request-state" => rounds(client),
        "http-standard-headers" => {
            every_tool(client, &tools)?;
            every_resource_and_prompt(client)
        }
        _ => every_tool(client, &tools),
    }
}

fn call(client: &mut Client, name: &str, arguments: &Value) -> Result<Value> {
    let params = json!({ "name": name, "arguments": arguments });
    client.finish("tools/call", params)
}

/// Calls all that the gateway lists, with arguments made from each schema.
fn every_tool(client: &mut Client, tools: &[Value]) -> Result<()> {
    if tools.is_empty() {
        bail!("the gateway lists no tools");
    }
    for tool in tools {
        let name = tool["name"].as_str().unwrap_or_default();
        call(client, name, &answers::arguments(&tool["inputSchema"]))?;
    }
    Ok(())
}

fn every_resource_and_prompt(client: &mut Client) -> Result<()> {
    let listing = client.ask("resources/list", json!({}))?;
    for resource in listing["resources"].as_array().into_iter().flatten() {
        client.finish("resources/read", json!({ "uri": resource["uri"] }))?;
    }
    let listing = client.ask("prompts/list", json!({}))?;
    for prompt in listing["prompts"].as_array().into_iter().flatten() {
        client.finish("prompts/get", json!({ "name": prompt["name"] }))?;
    }
    Ok(())
}

/// The calls that the scenario itself names.
fn from_context(client: &mut Client) -> Result<()> {
    let context: Value = serde_json::from_str(&variable("MCP_CONFORMANCE_CONTEXT")?)?;
    for wanted in context["toolCalls"].as_array().into_iter().flatten() {
        let name = wanted["name"].as_str().unwrap_or_default();
        call(client, name, &wanted["arguments"])?;
    }
    Ok(())
}

/// Sends the schema of one tool, as the gateway lists it, to the other.
fn echo_schema(client: &mut Client, tools: &[Value]) -> Result<()> {
    let rich = tools
        .iter()
        .find(|tool| tool["name"] == "json_schema_2020_12_tool");
    let rich = rich.ok_or_else(|| anyhow!("the gateway does not list the tool with the schema"))?;
    let arguments = json!({ "schema": rich["inputSchema"] });
    call(client, "json_schema_echo", &arguments).map(drop)
}

/// Multi Round-Trip Requests: another call comes between the two rounds of the first.
fn rounds(client: &mut Client) -> Result<()> {
    let params = json!({ "name": "test_mrtr_echo_state", "arguments": {} });
    let first = client.ask("tools/call", params.clone())?;
    if first["resultType"] != "input_required" {
        bail!("the gateway passed no question on: {first}");
    }
    call(client, "test_mrtr_unrelated", &json!({}))?;
    client.go_on("tools/call", params, first)?;
    for name in ["test_mrtr_no_state", "test_mrtr_no_result_type"] {
        call(client, name, &json!({}))?;
    }
    Ok(())
}
