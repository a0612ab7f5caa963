//! The load generator, wrk, and what it measured.

use std::path::Path;
use std::process::Command;

use anyhow::{Context as _, Result};
use serde::Deserialize;

use super::process::Pins;
use crate::run::{capture, not_started};

/// Ours, compiled in, so that it is the one that belongs to this code.
const SCRIPT: &str = include_str!("../../bench/load.lua");

/// What one run of wrk printed; times are microseconds.
#[derive(Deserialize)]
pub(super) struct Load {
    /// Calls answered.
    pub(super) requests: u64,
    /// How long it took.
    pub(super) micros: u64,
    pub(super) p50: u64,
    pub(super) p99: u64,
    pub(super) p999: u64,
    /// Connections that failed, and answers that did not come.
    pub(super) broken: u64,
    /// Answers with an HTTP status other than 2xx or 3xx.
    pub(super) refused: u64,
}

/// An error with the remedy where wrk is missing.
pub(super) fn is_there() -> Result<()> {
    let mut wrk = Command::new("wrk");
    // It answers its version and the exit status of a mistake.
    wrk.arg("-v")
        .output()
        .map_err(|error| not_started(&wrk, &error))?;
    Ok(())
}

/// Sends this request from so many connections for so many seconds.
pub(super) fn run(
    pins: &Pins,
    url: &str,
    template: &str,
    connections: usize,
    seconds: u64,
    scratch: &Path,
) -> Result<Load> {
    let (script, request) = (scratch.join("load.lua"), scratch.join("request.http"));
    std::fs::write(&script, SCRIPT)?;
    std::fs::write(&request, template)?;
    let mut wrk = pins.generator("wrk".as_ref());
    // One thread: it has one core, and hands out ids without asking another.
    wrk.args(["--threads", "1", "--timeout", "30s"]);
    wrk.arg("--connections").arg(connections.to_string());
    wrk.arg("--duration").arg(format!("{seconds}s"));
    wrk.arg("--script")
        .arg(&script)
        .arg(url)
        .arg("--")
        .arg(&request);
    let printed = capture(&mut wrk)?;
    let line = printed.lines().rev().find(|line| line.starts_with('{'));
    let line = line.with_context(|| format!("wrk printed no measurement:\n{printed}"))?;
    serde_json::from_str(line).with_context(|| format!("cannot read what wrk measured: {line}"))
}
