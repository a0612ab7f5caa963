//! Many servers at once: how many are started at the same time, and how soon callers see what they have, the first time
//! and the next.

use std::thread::available_parallelism;
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

/// Fewest starts at once that are allowed, however few processors there are.
const AT_LEAST: usize = 4;

/// How soon lists must be there that are known from an earlier run.
const AT_ONCE: Duration = Duration::from_millis(500);

/// The kernel tells the time of a start in steps of ten milliseconds.
const STEPS: Duration = Duration::from_millis(20);

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
    let most = available_parallelism()?.get().max(AT_LEAST);
    report.hold(PART, "starts at once", peak, most, peak <= most);
    gateway.stop()?;

    let begun = Instant::now();
    let gateway = begin(ground.command("toolbus")?, "", &servers, &ground.scratch)?;
    listed(&gateway, count).await?;
    let (took, running) = (begun.elapsed(), children(&gateway).len());
    let what = format!("{count} servers listed, at a second start");
    report.hold(
        PART,
        &what,
        format!("{took:.1?}"),
        format!("{AT_ONCE:?}"),
        took < AT_ONCE,
    );
    report.hold(PART, "processes started for it", running, "0", running == 0);
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
        let within = process.started..process.started + DELAY - STEPS;
        processes
            .iter()
            .filter(|other| within.contains(&other.started))
            .count()
    };
    processes.iter().map(begins).max().unwrap_or(0)
}
