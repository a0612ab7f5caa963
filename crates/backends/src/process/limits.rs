//! What a child, and everything it starts, may use; and which of it was too much.

use std::fmt;
use std::time::Duration;

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
