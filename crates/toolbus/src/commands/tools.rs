//! `toolbus tools`: what there is to call.

use std::path::PathBuf;

use clap::Args;
use serde_json::{Value, json};
use toolbus_model::{Health, Object, Offer};

use super::Failed;
use super::servers::{self, Where};
use crate::say;

/// How much of a description is shown on its line.
const SHOWN: usize = 100;

#[derive(Debug, Args)]
pub(super) struct Arguments {
    /// A toolbus.toml, an MCP client's JSON file, or a folder that holds one.
    #[arg(value_name = "FILE|FOLDER", conflicts_with = "url")]
    path: Option<PathBuf>,
    /// Print the whole definitions as JSON.
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    place: Where,
}

pub(super) async fn run(arguments: Arguments) -> Result<(), Failed> {
    let opened = match arguments.place.url {
        Some(_) => servers::remote(&arguments.place, "/mcp").await?,
        None => servers::local(arguments.path.as_ref(), None).await?,
    };
    let gateway = &opened.gateway;
    let offers = gateway.offers();
    let is_remote = arguments.place.url.is_some();
    if arguments.json {
        let all: Vec<Value> = offers
            .iter()
            .flat_map(|(name, offer)| definitions(name.as_str(), offer))
            .collect();
        say::out(serde_json::to_string_pretty(&all).unwrap_or_default());
    } else {
        for (name, offer) in &offers {
            for tool in &offer.tools {
                let full = if is_remote {
                    tool.key.to_string()
                } else {
                    format!("{name}.{}", tool.key)
                };
                say::out(line(&full, &tool.definition));
            }
        }
    }
    let mut failed = false;
    // A mesh that nobody asked for need not be there.
    if let Some(problem) = opened.mesh_problem().filter(|_| opened.wants_mesh) {
        say::err(format!("toolbus: mesh: {problem}"));
        failed = true;
    }
    for (name, offer) in &offers {
        if let Health::Down(error) = &offer.health {
            say::err(format!("toolbus: {name}: {error}"));
            failed = true;
        }
    }
    gateway.close().await;
    if failed {
        Err(Failed::Reported)
    } else {
        Ok(())
    }
}

fn definitions(server: &str, offer: &Offer) -> Vec<Value> {
    let definition =
        |tool: &toolbus_model::Item| tool.definition.to_raw().read().unwrap_or(Value::Null);
    offer
        .tools
        .iter()
        .map(|tool| json!({"server": server, "tool": definition(tool)}))
        .collect()
}

fn line(name: &str, definition: &Object) -> String {
    let description = definition.str("description").unwrap_or_default();
    let first = description.trim().lines().next().unwrap_or_default();
    let short: String = first.chars().take(SHOWN).collect();
    let more = if short.len() < first.len() { "…" } else { "" };
    format!("{name:<32} {short}{more}").trim_end().to_owned()
}
