//! The machine, as far as it bears on the numbers, and without its name.

use std::fs;
use std::process::Command;
use std::thread;
use std::time::Duration;

use anyhow::Result;

use super::process::Pins;
use crate::run::capture;
use crate::say::complain;

/// Above this many cores at work while we do nothing, something else is running.
const BUSY: f64 = 0.1;

/// How long we look whether something else is running.
const LOOK: Duration = Duration::from_secs(1);

/// What the reader must know to compare.
pub(super) struct Machine {
    lines: Vec<String>,
    /// Cores at work while we did nothing.
    others: f64,
}

impl Machine {
    /// Reads it from the kernel, and looks for a second whether something else is running.
    pub(super) fn describe(pins: &Pins) -> Result<Self> {
        let before = busy_ticks();
        thread::sleep(LOOK);
        let others = (busy_ticks() - before) / rustix::param::clock_ticks_per_second() as f64;
        Ok(Self {
            lines: vec![hardware(), software()?, pins.describe()],
            others,
        })
    }

    /// The description, a line each.
    pub(super) fn lines(&self) -> &[String] {
        &self.lines
    }

    /// What else ran when the measurement began, where it was much.
    pub(super) fn busy(&self) -> Option<String> {
        (self.others > BUSY).then(|| {
            format!("The machine was busy before the first round ({:.1} cores): these numbers are too high.", self.others)
        })
    }

    /// Tells at once, when there is still time to stop.
    pub(super) fn warn_if_busy(&self) {
        if let Some(warning) = self.busy() {
            complain(format_args!("warning: {warning}"));
        }
    }
}

fn hardware() -> String {
    let (processor, memory) = (read("/proc/cpuinfo"), read("/proc/meminfo"));
    let model = value(&processor, "model name").unwrap_or("an unnamed processor");
    let cores = thread::available_parallelism().map_or(1, usize::from);
    let kib = value(&memory, "MemTotal").and_then(|text| text.split(' ').next()?.parse().ok());
    let gib = kib.unwrap_or(0.0) / 1024.0 / 1024.0;
    let is_guest = value(&processor, "flags").is_some_and(|flags| flags.contains(" hypervisor"));
    let guest = if is_guest {
        ", in a virtual machine"
    } else {
        ""
    };
    format!("{model}, {cores} cores, {gib:.0} GiB{guest}")
}

fn software() -> Result<String> {
    let release = read("/proc/sys/kernel/osrelease");
    // What follows the number is the name that its builder gave it.
    let kernel = release.trim().split(['-', '+']).next().unwrap_or_default();
    let system = read("/etc/os-release");
    let mut lines = system.lines();
    let system = lines.find_map(|line| line.strip_prefix("PRETTY_NAME="));
    let system = system.unwrap_or("an unnamed system").trim_matches('"');
    let rustc = capture(Command::new("rustc").arg("--version"))?;
    let rustc = rustc.split(' ').take(2).collect::<Vec<_>>().join(" ");
    Ok(format!(
        "Linux {kernel}, {system}, {rustc}, release profile"
    ))
}

/// Processor time that was not idle so far, over all cores, in clock ticks.
fn busy_ticks() -> f64 {
    let stat = read("/proc/stat");
    let ticks = stat
        .lines()
        .next()
        .unwrap_or_default()
        .split_whitespace()
        .skip(1);
    let ticks: Vec<f64> = ticks.filter_map(|text| text.parse().ok()).collect();
    // Fields 4 and 5 are idle and waiting for a disk; 9 and 10 are in 1 and 2 already.
    let busy = ticks
        .iter()
        .enumerate()
        .filter(|(place, _)| ![3, 4, 8, 9].contains(place));
    busy.map(|(_, ticks)| ticks).sum()
}

fn read(path: &str) -> String {
    fs::read_to_string(path).unwrap_or_default()
}

/// The value of the first `name : value` line.
fn value<'a>(text: &'a str, name: &str) -> Option<&'a str> {
    let mut pairs = text.lines().filter_map(|line| line.split_once(':'));
    pairs
        .find(|(key, _)| key.trim() == name)
        .map(|(_, value)| value.trim())
}
