//! `toolbus doctor`: every server started once, and what is wrong with which.

use std::path::PathBuf;
use std::time::Instant;

use clap::Args;
use toolbus_model::{Health, Offer};

use super::Failed;
use super::servers::{self, Where};
use crate::say;

/// How many of its last lines on stderr are shown of a server that is down.
const LAST_LINES: usize = 12;

#[derive(Debug, Args)]
pub(super) struct Arguments {
    /// A toolbus.toml, an MCP client's JSON file, or a folder that holds one.
    #[arg(value_name = "FILE|FOLDER", conflicts_with = "url")]
    path: Option<PathBuf>,
    #[command(flatten)]
    place: Where,
}

pub(super) async fn run(arguments: Arguments) -> Result<(), Failed> {
    let started = Instant::now();
    let opened = match arguments.place.url {
        Some(_) => servers::remote(&arguments.place, "/mcp").await?,
        None => servers::local(arguments.path.as_ref(), None).await?,
    };
    let gateway = &opened.gateway;
    let offers = gateway.offers();
    let mut failed = 0;
    match (opened.mesh(), opened.mesh_problem()) {
        (Some(mesh), _) => say::out(format!("ok    mesh: {mesh}")),
        (None, Some(problem)) if opened.wants_mesh => {
            failed += 1;
            say::out(format!("FAIL  mesh: {problem}"));
        }
        (None, _) => {}
    }
    if offers.is_empty() {
        say::out(
            "no servers are configured; add [servers.NAME.stdio] or [servers.NAME.http] to toolbus.toml",
        );
    }
    for (name, offer) in &offers {
        if let Some(trouble) = &offer.trouble {
            failed += 1;
            say::out(format!("FAIL  {name}: {trouble}"));
        }
        match &offer.health {
            Health::Up | Health::Resting => say::out(format!("ok    {name}: {}", summary(offer))),
            Health::Starting => {
                failed += 1;
                say::out(format!(
                    "FAIL  {name}: it has not answered within {} s",
                    started.elapsed().as_secs()
                ));
            }
            Health::Down(error) => {
                failed += 1;
                say::out(format!("FAIL  {name}: {}", explain(error)));
            }
        }
    }
    gateway.close().await;
    if failed == 0 {
        Ok(())
    } else {
        Err(Failed::Reported)
    }
}

fn summary(offer: &Offer) -> String {
    let who = offer
        .info
        .as_ref()
        .and_then(|info| info.read::<serde_json::Value>().ok())
        .unwrap_or_default();
    let who = match (who["name"].as_str(), who["version"].as_str()) {
        (Some(name), Some(version)) if !version.is_empty() => format!("{name} {version}, "),
        (Some(name), _) => format!("{name}, "),
        _ => String::new(),
    };
    // What is no MCP server speaks no revision of it.
    let spoken = offer.revision.map(|revision| format!("MCP {revision}, "));
    format!(
        "{who}{}{} tools, {} prompts, {} resources",
        spoken.unwrap_or_default(),
        offer.tools.len(),
        offer.prompts.len(),
        offer.resources.len() + offer.templates.len()
    )
}

fn explain(error: &toolbus_model::Error) -> String {
    let Some(cause) = error.cause() else {
        return error.to_string();
    };
    let mut text = cause.what.clone();
    let mut add = |label: &str, value: &str| text.push_str(&format!("\n      {label:<8} {value}"));
    if let Some(command) = &cause.command {
        add("asked", command);
    }
    if let Some(status) = &cause.status {
        add("ended", status);
    }
    if let Some(stderr) = &cause.stderr {
        let lines: Vec<_> = stderr.lines().collect();
        add(
            "stderr",
            &lines[lines.len().saturating_sub(LAST_LINES)..].join("\n               "),
        );
    }
    add(
        "remedy",
        cause.remedy.as_deref().unwrap_or(
            "run the command by hand; what it needs (variables, files) must be set in its section",
        ),
    );
    text
}
