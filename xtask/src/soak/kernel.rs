//! What the kernel says of a gateway and its children: descriptors, memory, processes alive, ended and left behind.

use std::fs;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result};

/// Names everything that a soak starts, in the environment of each process.
pub(crate) const MARK: &str = "TOOLBUS_SOAK";

/// A process as `/proc/PID/stat` tells it.
#[derive(Debug, Clone)]
pub(crate) struct Process {
    pub(crate) pid: u32,
    pub(crate) name: String,
    pub(crate) parent: u32,
    state: String,
    /// Since the machine's start.
    pub(crate) started: Duration,
}

impl Process {
    fn read(pid: u32) -> Option<Self> {
        let stat = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
        // The name, in brackets, may hold anything: the rest begins behind the last bracket, with field 3.
        let (before, rest) = stat.rsplit_once(')')?;
        let fields: Vec<&str> = rest.split_whitespace().collect();
        let ticks: u64 = fields.get(22 - 3)?.parse().ok()?;
        Some(Self {
            pid,
            name: before.split_once('(')?.1.to_owned(),
            state: (*fields.first()?).to_owned(),
            parent: fields.get(1)?.parse().ok()?,
            started: Duration::from_millis(ticks * 1000 / rustix::param::clock_ticks_per_second()),
        })
    }

    /// It has ended, and nobody has asked how.
    pub(crate) fn is_zombie(&self) -> bool {
        self.state == "Z"
    }
}

/// Every process there is.
fn all() -> Vec<Process> {
    let entries = fs::read_dir("/proc").into_iter().flatten().flatten();
    let pids = entries.filter_map(|entry| entry.file_name().to_str()?.parse().ok());
    pids.filter_map(Process::read).collect()
}

/// Whatever descends from this process, itself not.
pub(crate) fn descendants(pid: u32) -> Vec<Process> {
    let all = all();
    let mut found: Vec<Process> = Vec::new();
    let mut parents = vec![pid];
    while let Some(parent) = parents.pop() {
        let children = all.iter().filter(|process| process.parent == parent);
        for child in children {
            parents.push(child.pid);
            found.push(child.clone());
        }
    }
    found
}

/// Processes with this mark in their environment, whoever they descend from.
pub(crate) fn marked(mark: &str) -> Vec<Process> {
    let line = format!("{MARK}={mark}");
    let has_mark = |process: &Process| {
        let environment = fs::read(format!("/proc/{}/environ", process.pid)).unwrap_or_default();
        environment
            .split(|byte| *byte == 0)
            .any(|variable| variable == line.as_bytes())
    };
    all().into_iter().filter(has_mark).collect()
}

/// Open descriptors of a process.
pub(crate) fn descriptors(pid: u32) -> Result<usize> {
    let path = format!("/proc/{pid}/fd");
    let entries = fs::read_dir(&path).with_context(|| format!("{path}: has the process ended?"))?;
    Ok(entries.count())
}

/// Looks until `is` says yes; the last thing seen where it never does.
pub(crate) async fn settled<T>(
    within: Duration,
    mut look: impl FnMut() -> Result<T>,
    is: impl Fn(&T) -> bool,
) -> Result<T> {
    let begun = Instant::now();
    loop {
        let seen = look()?;
        if is(&seen) || begun.elapsed() > within {
            return Ok(seen);
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn finds_its_own_child() {
        let mut child = std::process::Command::new("sleep")
            .arg("60")
            .env(MARK, "kernel-test")
            .spawn()
            .unwrap();
        let pid = child.id();
        let is_it = |process: &Process| process.pid == pid;
        assert!(descendants(std::process::id()).iter().any(is_it));
        // Until it has become `sleep`, its environment is ours.
        let begun = Instant::now();
        while !marked("kernel-test").iter().any(is_it) {
            assert!(begun.elapsed() < Duration::from_secs(10));
        }
        child.kill().unwrap();
        let is_zombie = || {
            let found = descendants(std::process::id());
            found
                .iter()
                .any(|process| is_it(process) && process.is_zombie())
        };
        while !is_zombie() {
            assert!(begun.elapsed() < Duration::from_secs(10));
        }
        child.wait().unwrap();
        assert!(descriptors(std::process::id()).unwrap() > 2);
    }
}
