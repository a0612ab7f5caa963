//! Many servers at once: how many are started at the same time, and how soon callers see what they have.

use std::time::{Duration, Instant};

use anyhow::{Result, bail};
use serde_json::json;

use super::client::Connection;
use super::kernel::{self, Process};
use super::report::Report;
use super::requests::Endpoint;
use super::rig::Ground;
use crate::gateway::begin;
use crate::server::Server;

const PART: &str = "storm";

/// How long each server takes to start: those that start at the same time can be seen.
const DELAY: Duration = Duration::from_millis(200);

/// How long it may take until everything is listed.
const PATIENCE: Duration = Duration::from_secs(60);

/// What is expected of starts, as far as this build bounds them.
struct Expected {
    /// Most servers that are started at the same time.
    at_once: Option<usize>,
    /// At a second start the lists are known from before, and no server runs.
    remembered: bool,
}

const EXPECTED: Expected = Expected {
    at_once: None,
    remembered: false,
};

pub(super) async fn run(ground: &Ground<'_>, short: bool, report: &mut Report) -> Result<()> {
    let count = if short { 10 } else { 50 };
    let delay = DELAY.as_millis().to_string();
    let arguments = ["--start-delay-ms", &delay];
    let servers = (1..=count).map(|n| ground.child(&format!("s{n}"), "faulty", &arguments));
    let servers = servers.collect::<Result<Vec<_>>>()?.concat();

    let begun = Instant::now();
    let gateway = begin(ground.command("toolbus")?, "", &servers, &ground.scratch)?;
    listed(&gateway, count).await?;
    let what = format!("{count} servers listed, at a cold start");
    report.note(PART, &what, format!("{:.1?}", begun.elapsed()));
    let peak = at_once(&children(&gateway));
    match EXPECTED.at_once {
        Some(most) => report.hold(PART, "starts at once", peak, most, peak <= most),
        None => report.note(PART, "starts at once", peak),
    }
    gateway.stop()?;

    let begun = Instant::now();
    let gateway = begin(ground.command("toolbus")?, "", &servers, &ground.scratch)?;
    listed(&gateway, count).await?;
    let (took, running) = (begun.elapsed(), children(&gateway).len());
    let what = format!("{count} servers listed, at a second start");
    if EXPECTED.remembered {
        let bound = Duration::from_millis(500);
        report.hold(
            PART,
            &what,
            format!("{took:.1?}"),
            format!("{bound:?}"),
            took < bound,
        );
        report.hold(PART, "processes started for it", running, "0", running == 0);
    } else {
        report.note(PART, &what, format!("{took:.1?}"));
        report.note(PART, "processes started for it", running);
    }
    gateway.stop()?;
    let left = kernel::settled(
        PATIENCE,
        || Ok(kernel::marked(&ground.mark())),
        Vec::is_empty,
    )
    .await?;
    report.hold(
        PART,
        "processes left after the gateway's end",
        left.len(),
        "0",
        left.is_empty(),
    );
    Ok(())
}

/// Waits until the tools of so many servers are listed.
async fn listed(gateway: &Server, count: usize) -> Result<()> {
    let endpoint = Endpoint::of(gateway)?;
    let mut connection = Connection::open(endpoint.address).await?;
    let begun = Instant::now();
    loop {
        let request = endpoint.modern(1, "tools/list", None, json!({}))?;
        let result = connection.exchange(&request).await?.result()?;
        let tools = result["tools"].as_array().map_or(&[][..], Vec::as_slice);
        let names = tools.iter().filter_map(|tool| tool["name"].as_str());
        // The first to hold the name has it plain, the others have their own before it.
        let seen = names
            .filter(|name| *name == "count" || name.ends_with("_count"))
            .count();
        if seen == count {
            return Ok(());
        }
        if begun.elapsed() > PATIENCE {
            bail!("after {PATIENCE:?} the tools of {seen} servers are listed");
        }
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}

fn children(gateway: &Server) -> Vec<Process> {
    let mut processes = kernel::descendants(gateway.pid());
    processes.retain(|process| process.name == "faulty");
    processes
}

/// Most of these processes that began within the time that each needs to start.
fn at_once(processes: &[Process]) -> usize {
    let begins = |process: &Process| {
        let within = process.started..process.started + DELAY;
        processes
            .iter()
            .filter(|other| within.contains(&other.started))
            .count()
    };
    processes.iter().map(begins).max().unwrap_or(0)
}
