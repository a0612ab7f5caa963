//! `toolbus call`: one call, its result on stdout.

use std::io::Read as _;
use std::path::{Path, PathBuf};

use bytes::Bytes;
use clap::Args;
use serde_json::{Map, Value};
use toolbus_gateway::{Gateway, Scope, Step};
use toolbus_model::json::{Edit, write_string};
use toolbus_model::{
    CallSeed, Caller, EventKind, Health, LogLevel, Method, Object, Outcome, Raw, Request, Revision,
    Trace,
};

use super::Failed;
use super::servers::{self, Where};
use crate::say;

#[derive(Debug, Args)]
#[command(after_help = "\
Arguments are name=value. The tool's schema decides whether a value is text or JSON; name=@file takes a file's
content, name=@- stdin. A single `-` reads the whole arguments object from stdin.

Examples:
  toolbus call math.add a=1 b=2
  toolbus call mcp.json files.write path=notes.txt content=@notes.txt
  echo '{\"a\": 1, \"b\": 2}' | toolbus call math.add - --json")]
pub(super) struct Arguments {
    /// Optionally a configuration, then SERVER.TOOL, then its arguments.
    #[arg(value_name = "[FILE] SERVER.TOOL [NAME=VALUE]", required = true)]
    words: Vec<String>,
    /// Print the whole result as JSON.
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    place: Where,
}

/// The words of the command line, sorted out.
struct Wanted {
    path: Option<PathBuf>,
    server: String,
    tool: String,
    arguments: Vec<String>,
}

pub(super) async fn run(arguments: Arguments) -> Result<(), Failed> {
    let wanted = sort_out(&arguments.words)?;
    let (opened, server) = match arguments.place.url {
        Some(_) => {
            let path = format!("/servers/{}/mcp", wanted.server);
            (
                servers::remote(&arguments.place, &path).await?,
                servers::REMOTE,
            )
        }
        None => (
            servers::local(wanted.path.as_ref(), Some(&wanted.server)).await?,
            wanted.server.as_str(),
        ),
    };
    let done = call(&opened.gateway, server, &wanted, arguments.json).await;
    opened.gateway.close().await;
    done
}

/// The first word is a configuration where it exists and something follows that can be SERVER.TOOL.
fn sort_out(words: &[String]) -> Result<Wanted, Failed> {
    let is_config =
        |word: &str| Path::new(word).exists() || word.ends_with(".toml") || word.ends_with(".json");
    let (path, rest) = match words {
        [first, rest @ ..]
            if rest.first().is_some_and(|next| !next.contains('=')) && is_config(first) =>
        {
            (Some(PathBuf::from(first)), rest)
        }
        all => (None, all),
    };
    let name = &rest[0];
    let (server, tool) = name
        .split_once('.')
        .filter(|(server, tool)| !server.is_empty() && !tool.is_empty())
        .ok_or_else(|| {
            Failed::Usage(format!(
                "{name:?} is not SERVER.TOOL; `toolbus tools` lists them"
            ))
        })?;
    Ok(Wanted {
        path,
        server: server.to_owned(),
        tool: tool.to_owned(),
        arguments: rest[1..].to_vec(),
    })
}

async fn call(
    gateway: &std::sync::Arc<Gateway>,
    server: &str,
    wanted: &Wanted,
    as_json: bool,
) -> Result<(), Failed> {
    let offers = gateway.offers().into_iter();
    let mut own = offers.filter(|(name, _)| name.as_str() == server);
    let offer = own.next().map(|(_, offer)| offer);
    let tool = offer
        .as_ref()
        .and_then(|offer| offer.tools.iter().find(|tool| *tool.key == *wanted.tool));
    let Some(tool) = tool else {
        if let Some(Health::Down(error)) = offer.as_ref().map(|offer| &offer.health) {
            return Err(Failed::NoOutcome(format!("{}: {error}", wanted.server)));
        }
        let known: Vec<_> = offer
            .iter()
            .flat_map(|offer| &offer.tools)
            .map(|tool| &*tool.key)
            .collect();
        return Err(Failed::Usage(format!(
            "{} has no tool {:?}; it has: {}",
            wanted.server,
            wanted.tool,
            known.join(", ")
        )));
    };
    let arguments = read_arguments(&wanted.arguments, &tool.definition)?;
    let mut name = Vec::new();
    // Under an alias it is known here by that.
    let shown = tool.definition.str("name").map(|name| name.as_ref().into());
    let shown: std::sync::Arc<str> = shown.unwrap_or_else(|| std::sync::Arc::clone(&tool.key));
    write_string(&shown, &mut name);
    let params = Object::empty().edited(&[
        ("name", Edit::Put(&name)),
        ("arguments", Edit::Put(arguments.bytes())),
    ]);
    let request = Request {
        method: Method::ToolsCall,
        target: Some(shown),
        params,
        meta: Object::empty(),
    };
    let scope = Scope::One(toolbus_model::ServerName::parse(server).map_err(Failed::Usage)?);
    let mut running = gateway.call(scope, request, seed());
    let answer = loop {
        match running.next().await {
            Step::Notice(event) => tell(event.kind, &event.params),
            Step::Answer(answer) => break answer,
        }
    };
    let outcome = answer.map_err(|error| {
        Failed::NoOutcome(format!("{}.{}: {error}", wanted.server, wanted.tool))
    })?;
    show(&outcome, as_json)
}

fn seed() -> CallSeed {
    CallSeed {
        caller: Caller::local(),
        revision: Revision::V2026_07_28,
        door: "command",
        capabilities: Object::empty().to_raw(),
        client: None,
        log_level: Some(LogLevel::Info),
        progress_token: Some(Raw::of("command")),
        trace: Trace::default(),
    }
}

/// Notices go to stderr, so that stdout holds the result alone.
fn tell(kind: EventKind, params: &Object) {
    let text = |member| {
        params
            .get(member)
            .map(|raw| String::from_utf8_lossy(raw).into_owned())
    };
    match kind {
        EventKind::Progress => {
            let total = text("total")
                .map(|total| format!(" of {total}"))
                .unwrap_or_default();
            let message = params.str("message").unwrap_or_default();
            say::err(
                format!("{}{total} {message}", text("progress").unwrap_or_default()).trim_end(),
            );
        }
        EventKind::Log => say::err(params.str("data").map_or_else(
            || text("data").unwrap_or_default(),
            |text| text.into_owned(),
        )),
        EventKind::ElicitationComplete | EventKind::Paused => {}
    }
}

fn show(outcome: &Outcome, as_json: bool) -> Result<(), Failed> {
    let result = outcome.object();
    if as_json {
        say::out(String::from_utf8_lossy(result.bytes()));
    } else {
        let value: Value = result.to_raw().read().unwrap_or_default();
        for block in value["content"].as_array().into_iter().flatten() {
            match (block["type"].as_str(), block["text"].as_str()) {
                (Some("text"), Some(text)) => say::out(text),
                (kind, _) => say::out(format!(
                    "[{}; use --json to see it]",
                    kind.unwrap_or("content")
                )),
            }
        }
        if value["content"].as_array().is_none_or(Vec::is_empty)
            && !value["structuredContent"].is_null()
        {
            say::out(value["structuredContent"].to_string());
        }
        if !matches!(outcome, Outcome::Complete(_)) {
            return Err(Failed::NoOutcome(
                "the tool asks for input, which this command cannot give".to_owned(),
            ));
        }
    }
    if outcome.is_tool_error() {
        Err(Failed::Reported)
    } else {
        Ok(())
    }
}

/// Arguments as the tool's schema wants them.
fn read_arguments(words: &[String], definition: &Object) -> Result<Raw, Failed> {
    if let [only] = words
        && only == "-"
    {
        let text = Bytes::from(read_stdin()?);
        let object = Object::parse(text)
            .map_err(|error| Failed::Usage(format!("stdin is not an arguments object: {error}")))?;
        return Ok(object.to_raw());
    }
    let definition: Value = definition.to_raw().read().unwrap_or_default();
    let properties = &definition["inputSchema"]["properties"];
    let mut arguments = Map::new();
    for word in words {
        let Some((name, value)) = word.split_once('=') else {
            return Err(Failed::Usage(format!("{word:?} is not NAME=VALUE")));
        };
        let text = match value.strip_prefix('@') {
            Some("-") => String::from_utf8_lossy(&read_stdin()?).into_owned(),
            Some(path) => std::fs::read_to_string(path)
                .map_err(|error| Failed::Usage(format!("{name}: {path}: {error}")))?,
            None => value.to_owned(),
        };
        let is_text = properties[name]["type"] == "string";
        let parsed = if is_text {
            None
        } else {
            serde_json::from_str(&text).ok()
        };
        arguments.insert(name.to_owned(), parsed.unwrap_or(Value::String(text)));
    }
    Ok(Raw::of(&Value::Object(arguments)))
}

fn read_stdin() -> Result<Vec<u8>, Failed> {
    let mut bytes = Vec::new();
    let read = std::io::stdin().lock().read_to_end(&mut bytes);
    read.map_err(|error| Failed::Usage(format!("stdin cannot be read: {error}")))?;
    Ok(bytes)
}
