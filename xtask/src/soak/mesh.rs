//! Calls over the mesh that nobody waits for: the memory of both ends stays what it was.

use std::io::{BufRead as _, BufReader};
use std::process::Stdio;
use std::time::Instant;

use anyhow::{Context as _, Result, bail};

use super::report::Report;
use super::rig::Ground;
use crate::bench::process::resident_mib;
use crate::chaos::broker::Broker;
use crate::chaos::process::Process;
use crate::run::not_started;

const PART: &str = "mesh";

/// How much of the memory after the second tenth the last tenth may have more.
const GROWTH: f64 = 0.05;

/// What a slice may have more, in MiB: it ends while an allocator still gets its first pages, more of them on a machine that
/// is busy with other things. Two KiB left behind by each call would still show.
const SLACK: f64 = 32.0;

pub(super) async fn run(ground: &Ground<'_>, short: bool, report: &mut Report) -> Result<()> {
    let calls: usize = if short { 20_000 } else { 1_000_000 };
    let broker = Broker::start(ground.place, ground.scratch.clone(), ground.mark()).await?;
    let mut command = ground.command("mesh-bench")?;
    // A minute: far longer than anybody waits.
    command.args(["worker", &broker.url(), "slow", "60000"]);
    let worker = Process::start("worker", &mut command, &ground.scratch)?;
    let mut command = ground.command("mesh-bench")?;
    command.args(["leak", &broker.url(), "slow", &calls.to_string()]);
    command.stdin(Stdio::null()).stdout(Stdio::piped());
    let begun = Instant::now();
    let mut caller = command
        .spawn()
        .map_err(|error| not_started(&command, &error))?;
    let stdout = caller.stdout.take().context("no output")?;
    let (mut callers, mut workers) = (Vec::new(), Vec::new());
    for line in BufReader::new(stdout).lines() {
        line?;
        callers.push(resident_mib(caller.id()));
        workers.push(resident_mib(worker.pid()));
    }
    let status = caller.wait()?;
    if !status.success() || callers.len() != 10 {
        bail!(
            "the calls ended with {status} after {} tenths",
            callers.len()
        );
    }
    let what = format!("{calls} calls cancelled or timed out");
    report.note(PART, &what, format!("{:.1?}", begun.elapsed()));
    for (who, memory) in [("caller", callers), ("worker", workers)] {
        let memory = memory.into_iter().collect::<Result<Vec<_>>>()?;
        flat(report, who, &memory, short);
    }
    Ok(())
}

fn flat(report: &mut Report, who: &str, memory: &[f64], short: bool) {
    let (second, last) = (memory[1], memory[memory.len() - 1]);
    let slack = if short { SLACK } else { 0.0 };
    let bound = second * (1.0 + GROWTH) + slack;
    let what = format!("memory of the {who} from the second tenth to the last");
    report.hold(
        PART,
        &what,
        format!("{second:.1} -> {last:.1} MiB"),
        format!("{bound:.1} MiB"),
        last < bound,
    );
}
