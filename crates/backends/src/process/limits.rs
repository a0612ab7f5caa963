//! What a child, and everything it starts, may use; and which of it was too much.

use std::fmt;
use std::path::PathBuf;
use std::time::Duration;

use rustix::process::{Resource, Rlimit, getrlimit};

/// Limits of a child. `None` turns one off.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Limits {
    /// Memory in bytes: what one process may ask for (`RLIMIT_DATA`), and what all of them have together.
    pub memory: Option<u64>,
    /// Addresses of one process in bytes (`RLIMIT_AS`), which counts what was only reserved too.
    pub address_space: Option<u64>,
    /// Time on a processor: of one process (`RLIMIT_CPU`), and of all of them together. Whole seconds.
    pub cpu: Option<Duration>,
    /// The largest file that one process may write, in bytes (`RLIMIT_FSIZE`).
    pub file_size: Option<u64>,
    /// Descriptors of one process (`RLIMIT_NOFILE`).
    pub open_files: Option<u64>,
    /// Processes at once, the child itself included.
    pub processes: Option<u64>,
}

/// What a child is confined to.
#[derive(Debug, Clone, Default, PartialEq)]
pub(crate) struct Confined {
    /// What it may use.
    pub(crate) limits: Limits,
    /// A folder that is removed with all that is in it when nothing of the child is left.
    pub(crate) folder: Option<PathBuf>,
}

/// A limit for which the warden ended a child and all it had started.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Exceeded {
    /// They were too many.
    Processes,
    /// They had too much memory together.
    Memory,
    /// They had used too much time on a processor together.
    Cpu,
}

impl Exceeded {
    const NAMES: [(&'static str, Self); 3] = [
        ("processes", Self::Processes),
        ("memory", Self::Memory),
        ("cpu", Self::Cpu),
    ];

    /// The limit of this name.
    pub(super) fn parse(name: &str) -> Option<Self> {
        let known = Self::NAMES.iter().find(|(known, _)| *known == name);
        known.map(|(_, limit)| *limit)
    }
}

impl fmt::Display for Exceeded {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(Self::NAMES[*self as usize].0)
    }
}

impl Limits {
    /// The limits by the names that a warden is told them.
    pub(crate) fn named(&self) -> [(&'static str, Option<u64>); 6] {
        [
            ("memory", self.memory),
            ("address_space", self.address_space),
            ("cpu", self.cpu.map(|cpu| cpu.as_secs().max(1))),
            ("file_size", self.file_size),
            ("open_files", self.open_files),
            ("processes", self.processes),
        ]
    }

    /// Takes the limit of this name; false where there is none.
    pub(super) fn put(&mut self, name: &str, value: u64) -> bool {
        match name {
            "memory" => self.memory = Some(value),
            "address_space" => self.address_space = Some(value),
            "cpu" => self.cpu = Some(Duration::from_secs(value)),
            "file_size" => self.file_size = Some(value),
            "open_files" => self.open_files = Some(value),
            "processes" => self.processes = Some(value),
            _ => return false,
        }
        true
    }

    /// Something is counted over all processes, which only the warden can do.
    pub(super) fn are_counted(&self) -> bool {
        self.memory.is_some() || self.cpu.is_some() || self.processes.is_some()
    }

    /// What the kernel is to hold each process to. `RLIMIT_NPROC` is not among it: it counts all processes of the user, on
    /// whoever's behalf, and does not hold for root.
    pub(super) fn of_kernel(&self) -> Vec<(Resource, Rlimit)> {
        let same = |limit: Option<u64>| limit.map(|limit| (limit, limit));
        // A second after SIGXCPU, which can be caught, comes SIGKILL.
        let cpu = self.cpu.map(|cpu| cpu.as_secs().max(1));
        let wanted = [
            (Resource::Data, same(self.memory)),
            (Resource::As, same(self.address_space)),
            (Resource::Cpu, cpu.map(|seconds| (seconds, seconds + 1))),
            (Resource::Fsize, same(self.file_size)),
            (Resource::Nofile, same(self.open_files)),
        ];
        let wanted = wanted
            .into_iter()
            .filter_map(|(what, limit)| Some((what, limit?)));
        wanted
            .map(|(what, (soft, hard))| (what, lowered(what, soft, hard)))
            .collect()
    }
}

/// No more than we have: raising a limit is not allowed to everybody.
fn lowered(what: Resource, soft: u64, hard: u64) -> Rlimit {
    let most = getrlimit(what).maximum.unwrap_or(u64::MAX);
    Rlimit {
        current: Some(soft.min(most)),
        maximum: Some(hard.min(most)),
    }
}
