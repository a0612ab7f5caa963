//! What Python takes while it is called: the memory of its processes, pages that they share divided among them.

use std::fs;
use std::path::Path;

use crate::soak::kernel::descendants;

/// The processes of one moment.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Memory {
    pub(super) processes: usize,
    mib: f64,
}

impl Memory {
    /// The Python that descends from this process, and itself where it is Python. None of it is an empty moment.
    pub(super) fn of_python(root: u32) -> Self {
        let family = descendants(root).into_iter().map(|process| process.pid);
        let python = family.chain([root]).filter(|pid| is_python(*pid));
        Self::of(python)
    }

    /// These processes, as far as they are still there.
    pub(super) fn of(pids: impl IntoIterator<Item = u32>) -> Self {
        let each = pids.into_iter().filter_map(proportional_mib);
        each.fold(Self::default(), |all, mib| Self {
            processes: all.processes + 1,
            mib: all.mib + mib,
        })
    }

    /// The larger one of two moments.
    pub(super) fn most(self, other: Self) -> Self {
        if other.mib > self.mib { other } else { self }
    }

    /// MiB of a process, in the mean.
    pub(super) fn each(&self) -> f64 {
        self.mib / self.processes.max(1) as f64
    }
}

fn is_python(pid: u32) -> bool {
    let program = fs::read_link(format!("/proc/{pid}/exe")).unwrap_or_default();
    let name = program.file_name().unwrap_or_default();
    Path::new(name).to_string_lossy().starts_with("python")
}

/// Its memory in MiB. None where it has ended meanwhile.
fn proportional_mib(pid: u32) -> Option<f64> {
    let text = fs::read_to_string(format!("/proc/{pid}/smaps_rollup")).ok()?;
    let line = text.lines().find_map(|line| line.strip_prefix("Pss:"))?;
    let kib: f64 = line.split_whitespace().next()?.parse().ok()?;
    Some(kib / 1024.0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_process_has_memory_and_is_no_python() {
        let own = std::process::id();
        let memory = Memory::of([own]);
        assert!(memory.processes == 1 && memory.each() > 0.5, "{memory:?}");
        assert!(!is_python(own));
        let none = Memory::default();
        assert!(none.each().abs() < 1e-9 && none.most(memory).processes == 1);
    }
}
