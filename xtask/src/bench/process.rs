//! What the kernel says of a process: its processor time, its memory, and the core it runs on.

use std::ffi::OsStr;
use std::fs;
use std::process::Command;
use std::time::Duration;

use anyhow::{Context as _, Result};

use crate::run::capture;
use crate::say::say;

/// Processor time that a process has used so far, in user and in kernel mode, all threads together.
pub(crate) fn cpu_time(pid: u32) -> Result<Duration> {
    let stat = read(pid, "stat")?;
    // The name, in brackets, may hold anything: the numbers begin behind the last bracket, with field 3.
    let fields = stat
        .rsplit_once(')')
        .map(|(_, rest)| rest.split_whitespace().collect::<Vec<_>>());
    let ticks = |field: usize| fields.as_ref()?.get(field - 3)?.parse::<u64>().ok();
    let used = ticks(14).zip(ticks(15)).map(|(user, system)| user + system);
    let used = used.with_context(|| format!("cannot read the processor time of process {pid}"))?;
    let a_second = rustix::param::clock_ticks_per_second();
    Ok(Duration::from_millis(used * 1000 / a_second))
}

/// Memory of a process that is in RAM, in MiB.
pub(crate) fn resident_mib(pid: u32) -> Result<f64> {
    let status = read(pid, "status")?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"));
    let kib = line.and_then(|line| line.split_whitespace().next()?.parse::<f64>().ok());
    Ok(kib.with_context(|| format!("cannot read the memory of process {pid}"))? / 1024.0)
}

fn read(pid: u32, what: &str) -> Result<String> {
    let path = format!("/proc/{pid}/{what}");
    fs::read_to_string(&path).with_context(|| format!("cannot read {path}: has the process ended?"))
}

/// Which core runs what; `None` where nothing is pinned.
#[derive(Clone, Copy)]
pub(super) struct Pins(Option<Cores>);

#[derive(Clone, Copy)]
struct Cores {
    under_test: usize,
    upstream: usize,
    generator: usize,
}

impl Pins {
    /// The process under test has core 0 for itself; generator and upstream have one each, or share one where there are two.
    pub(super) fn choose(off: bool) -> Self {
        let cores = std::thread::available_parallelism().map_or(1, usize::from);
        if off || cores < 2 {
            say("nothing is pinned to a core: expect numbers that vary");
            return Self(None);
        }
        Self(Some(Cores {
            under_test: 0,
            upstream: 1,
            generator: 2.min(cores - 1),
        }))
    }

    /// Nothing pinned.
    pub(super) fn none() -> Self {
        Self(None)
    }

    /// A command on the core of the process under test.
    pub(super) fn under_test(&self, program: &OsStr) -> Command {
        self.command(program, |cores| cores.under_test)
    }

    /// A command on the core of the upstream.
    pub(super) fn upstream(&self, program: &OsStr) -> Command {
        self.command(program, |cores| cores.upstream)
    }

    /// A command on the core of the load generator.
    pub(super) fn generator(&self, program: &OsStr) -> Command {
        self.command(program, |cores| cores.generator)
    }

    /// Moves a running process to the core of the process under test, or back to that of the upstream.
    pub(super) fn move_to_test(&self, pid: u32, test: bool) -> Result<()> {
        let Some(cores) = &self.0 else {
            return Ok(());
        };
        let core = if test {
            cores.under_test
        } else {
            cores.upstream
        };
        let mut taskset = Command::new("taskset");
        taskset.args(["--all-tasks", "--cpu-list", "--pid"]);
        capture(taskset.arg(core.to_string()).arg(pid.to_string()))?;
        Ok(())
    }

    /// What a reader of the numbers should know about it.
    pub(super) fn describe(&self) -> String {
        match &self.0 {
            None => "nothing pinned to a core".to_owned(),
            Some(cores) => format!(
                "process under test on core {}, upstream on core {}, load generator on core {}",
                cores.under_test, cores.upstream, cores.generator
            ),
        }
    }

    fn command(&self, program: &OsStr, core: impl Fn(&Cores) -> usize) -> Command {
        match &self.0 {
            None => Command::new(program),
            Some(cores) => {
                let mut taskset = Command::new("taskset");
                taskset
                    .arg("--cpu-list")
                    .arg(core(cores).to_string())
                    .arg(program);
                taskset
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::{cpu_time, resident_mib};

    #[test]
    fn reads_its_own_process() {
        let pid = std::process::id();
        assert!(cpu_time(pid).is_ok());
        assert!(resident_mib(pid).unwrap() > 0.5);
    }
}
