//! `toolbus workers`: who serves on the mesh.

use std::collections::BTreeMap;
use std::path::PathBuf;

use clap::{Args, Subcommand};
use serde_json::json;
use toolbus_mesh::caller::{Member, Roster};

use super::{Failed, load};
use crate::broker::{self, Purpose};
use crate::config::{ServerKind, Urls};
use crate::say;

/// How many of a worker's servers are named on its line.
const SHOWN: usize = 4;

#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  toolbus workers                       who serves what, and how busy everyone is
  toolbus workers show 4f0c22a91b7e     all that one of them serves
  toolbus workers drain 4f0c22a91b7e    it takes nothing new, finishes what it has, and ends")]
pub(super) struct Arguments {
    #[command(subcommand)]
    action: Option<Action>,
    #[command(flatten)]
    place: Place,
}

#[derive(Debug, Args)]
struct Place {
    /// The configuration whose [mesh] is asked. Without it ./toolbus.toml, where there is one.
    #[arg(long, global = true, value_name = "FILE|FOLDER")]
    config: Option<PathBuf>,
    /// The NATS server, in place of that of the configuration.
    #[arg(long, global = true, value_name = "URL")]
    nats: Option<String>,
    /// Print JSON.
    #[arg(long, global = true)]
    json: bool,
}

#[derive(Debug, Subcommand)]
enum Action {
    /// List all workers. It waits for their next heartbeats, up to 5 s.
    List,
    /// Show what one worker serves.
    Show {
        /// Its id, or the beginning of it.
        id: String,
    },
    /// Have one worker take nothing new, finish what it has, and end.
    Drain {
        /// Its id, or the beginning of it.
        id: String,
    },
}

pub(super) async fn run(arguments: Arguments) -> Result<(), Failed> {
    let (_, config) = load(arguments.place.config.as_deref())?;
    let mut mesh = config.mesh;
    if let Some(url) = arguments.place.nats {
        mesh.url = Some(Urls::One(url));
        mesh.server = ServerKind::Auto;
    }
    let subjects = mesh.subjects().map_err(Failed::Usage)?;
    let opened = broker::open(&mesh, Purpose::Ask).await;
    let (bus, description) = opened.map_err(Failed::NoOutcome)?;
    let roster = Roster::new(&bus, &subjects);
    let all = roster.all().await;
    let all = all.map_err(|error| Failed::NoOutcome(format!("{description}: {error}")))?;
    let as_json = arguments.place.json;
    match arguments.action.unwrap_or(Action::List) {
        Action::List => list(&all, as_json, &description),
        Action::Show { id } => show(&find(&all, &id)?, &all, as_json),
        Action::Drain { id } => {
            let id = find(&all, &id)?;
            let drained = roster.drain(&id).await;
            drained.map_err(|error| Failed::NoOutcome(error.to_string()))?;
            say::out(format!("{id} drains"));
        }
    }
    bus.close().await;
    Ok(())
}

/// The one worker whose id begins like this.
fn find(all: &BTreeMap<String, Member>, start: &str) -> Result<String, Failed> {
    let mut fitting = all.keys().filter(|id| id.starts_with(start));
    match (fitting.next(), fitting.next()) {
        (Some(id), None) => Ok(id.clone()),
        (None, _) => Err(Failed::Usage(format!(
            "no worker's id begins with {start:?}; `toolbus workers` lists them"
        ))),
        (Some(one), Some(other)) => Err(Failed::Usage(format!(
            "{start:?} begins the ids of several workers, such as {one} and {other}"
        ))),
    }
}

fn list(all: &BTreeMap<String, Member>, as_json: bool, description: &str) {
    if as_json {
        let all: Vec<_> = all
            .iter()
            .map(|(id, member)| as_value(id, member))
            .collect();
        say::out(serde_json::to_string_pretty(&all).unwrap_or_default());
        return;
    }
    if all.is_empty() {
        say::err(format!(
            "no workers on the mesh ({description}); start one with `toolbus worker`"
        ));
        return;
    }
    say::out(format!(
        "{:<14} {:<14} {:>6}  {}",
        "ID", "STATE", "CALLS", "SERVERS"
    ));
    for (id, member) in all {
        say::out(format!(
            "{id:<14} {:<14} {:>6}  {}",
            state(member),
            calls(member),
            servers(member)
        ));
    }
}

fn state(member: &Member) -> &'static str {
    match &member.beat {
        None => "not heard of",
        Some(beat) if beat.draining => "draining",
        Some(_) => "up",
    }
}

fn calls(member: &Member) -> String {
    let beat = member.beat.as_ref();
    beat.map_or("?".to_owned(), |beat| {
        format!("{}/{}", beat.in_flight, beat.capacity)
    })
}

fn servers(member: &Member) -> String {
    let all = &member.record.servers;
    let named = all
        .iter()
        .take(SHOWN)
        .map(|(name, served)| format!("{name} ({} tools)", served.tools.len()));
    let named = named.collect::<Vec<_>>().join(", ");
    match all.len().saturating_sub(SHOWN) {
        0 => named,
        more => format!("{named} and {more} more"),
    }
}

fn show(id: &str, all: &BTreeMap<String, Member>, as_json: bool) {
    let Some(member) = all.get(id) else { return };
    if as_json {
        say::out(serde_json::to_string_pretty(&as_value(id, member)).unwrap_or_default());
        return;
    }
    say::out(format!(
        "{id}: {}, {} calls, version {}",
        state(member),
        calls(member),
        member.record.version
    ));
    for (server, served) in &member.record.servers {
        let stateful = if served.stateful {
            ", keeps state for each caller"
        } else {
            ""
        };
        say::out(format!("{server} ({}{stateful})", served.digest));
        for (tool, digest) in &served.tools {
            say::out(format!("  {server}.{tool} ({digest})"));
        }
    }
}

fn as_value(id: &str, member: &Member) -> serde_json::Value {
    json!({"id": id, "state": state(member), "record": member.record, "heartbeat": member.beat})
}
