//! One cell, measured: a check that each lane answers rightly, then rounds of load on all lanes in turns.

use std::thread;
use std::time::Duration;

use anyhow::{Context as _, Result};

use super::load::{self, Load};
use super::message::Message;
use super::numbers::median;
use super::plan::{Cell, Target};
use super::process::{cpu_time, resident_mib};
use super::rig::{Lane, Rig};
use crate::http::Connection;

/// Calls one after the other, before the load: they are counted exactly, and they open the way upstream.
const CHECKS: u64 = 20;

/// So that what one lane still has to put away does not weigh on the next.
const PAUSE: Duration = Duration::from_millis(100);

/// The medians of one lane in one cell.
pub(super) struct Row {
    pub(super) cell: Cell,
    pub(super) target: Target,
    /// Answers a second.
    pub(super) rate: f64,
    /// Latencies in microseconds.
    pub(super) p50: f64,
    pub(super) p99: f64,
    pub(super) p999: f64,
    /// Processor time of the process under test for one call, in microseconds.
    pub(super) cpu: f64,
    /// Its memory after the load, in MiB.
    pub(super) memory: f64,
    /// Requests that reached the upstream for one call, of any method.
    pub(super) upstream: f64,
    /// What went wrong, empty where nothing did.
    pub(super) remarks: Vec<String>,
}

/// One round on one lane.
struct Sample {
    load: Load,
    cpu: Duration,
    memory: f64,
    remark: Option<String>,
}

/// Measures one cell on every lane.
pub(super) fn measure(rig: &Rig, cell: Cell, rounds: usize, seconds: u64) -> Result<Vec<Row>> {
    let mut checked = Vec::new();
    for lane in rig.lanes() {
        let message = Message::new(cell, rig.url(lane), lane.session(cell))?;
        let upstream = check(rig, lane, &message)
            .with_context(|| format!("{}: {}", lane.target.name(), super::title(cell)))?;
        checked.push((lane, message, upstream, Vec::new()));
    }
    let lanes = checked.len();
    for round in 0..rounds {
        for turn in 0..lanes {
            // Each round begins with another lane, so that none is always the first.
            let (lane, message, _, samples) = &mut checked[(turn + round) % lanes];
            samples.push(sample(rig, lane, message, cell.connections, seconds)?);
            thread::sleep(PAUSE);
        }
    }
    let rows = checked.into_iter();
    Ok(rows
        .map(|(lane, _, upstream, samples)| row(cell, lane.target, upstream, samples))
        .collect())
}

/// Calls a few times and answers how many requests reached the upstream for one call.
fn check(rig: &Rig, lane: &Lane, message: &Message) -> Result<f64> {
    let mut connection = Connection::open(rig.url(lane))?;
    rig.reset_counts()?;
    for id in 0..CHECKS {
        message.check(&mut connection, id)?;
    }
    let (_, total) = rig.counts()?;
    Ok(total as f64 / CHECKS as f64)
}

fn sample(
    rig: &Rig,
    lane: &Lane,
    message: &Message,
    connections: usize,
    seconds: u64,
) -> Result<Sample> {
    rig.place_upstream(lane)?;
    rig.reset_counts()?;
    let pid = rig.pid(lane);
    let before = cpu_time(pid)?;
    let load = load::run(
        &rig.pins,
        rig.url(lane),
        message.template(),
        connections,
        seconds,
        &rig.scratch,
    )?;
    let cpu = cpu_time(pid)?.saturating_sub(before);
    let (reached, _) = rig.counts()?;
    let remark = remark(&load, reached, connections as u64);
    let memory = resident_mib(pid)?;
    Ok(Sample {
        load,
        cpu,
        memory,
        remark,
    })
}

/// What is wrong with a round: calls that failed, or that the upstream saw more or less often than once.
fn remark(load: &Load, reached: u64, connections: u64) -> Option<String> {
    let Load {
        requests,
        broken,
        refused,
        ..
    } = load;
    if broken + refused > 0 {
        return Some(format!(
            "{broken} calls broke and {refused} were refused, of {requests}"
        ));
    }
    // The generator hangs up on calls under way when its time is over: they reached the upstream, but are not counted.
    let once = *requests..=requests + connections;
    (!once.contains(&reached))
        .then(|| format!("{reached} calls reached the upstream for {requests} answered"))
}

fn row(cell: Cell, target: Target, upstream: f64, samples: Vec<Sample>) -> Row {
    let of = |number: fn(&Sample) -> f64| median(samples.iter().map(number).collect());
    Row {
        cell,
        target,
        rate: of(|sample| sample.load.requests as f64 * 1e6 / sample.load.micros.max(1) as f64),
        p50: of(|sample| sample.load.p50 as f64),
        p99: of(|sample| sample.load.p99 as f64),
        p999: of(|sample| sample.load.p999 as f64),
        cpu: of(|sample| sample.cpu.as_secs_f64() * 1e6 / sample.load.requests.max(1) as f64),
        memory: of(|sample| sample.memory),
        upstream,
        remarks: samples
            .into_iter()
            .filter_map(|sample| sample.remark)
            .collect(),
    }
}
