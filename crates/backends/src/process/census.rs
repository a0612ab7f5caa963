//! The warden's counts: which processes descend from it, and what they use together.

use std::collections::HashMap;
use std::fs;
use std::io;
use std::time::Duration;

use rustix::process::{Pid, getpid};

use super::limits::{Exceeded, Limits};

/// Ticks of a second in `/proc`: the same on every Linux that we run on, whatever its clock (`USER_HZ`).
const TICKS: u64 = 100;

/// What processes use together.
#[derive(Debug, Default)]
struct Use {
    processes: u64,
    pages: u64,
    ticks: u64,
}

/// The first limit that is exceeded by all that descends from this process.
pub(super) fn exceeded(limits: &Limits) -> Option<Exceeded> {
    let all = family();
    let mut total = Use::default();
    for pid in &all {
        total.add(*pid);
    }
    // What was reaped by now is counted at us.
    total.ticks += ticks("self", 15..17);
    let is_over = |count: u64, limit: Option<u64>| limit.is_some_and(|limit| count > limit);
    if is_over(total.processes, limits.processes) {
        return Some(Exceeded::Processes);
    }
    if limits.cpu.is_some_and(|cpu| used(total.ticks) > cpu) {
        return Some(Exceeded::Cpu);
    }
    let resident = total
        .pages
        .saturating_mul(rustix::param::page_size() as u64);
    // Pages that several have are counted for each of them there, so what is meant is only asked for then.
    let is_over = is_over(resident, limits.memory) && is_over(shares(&all), limits.memory);
    is_over.then_some(Exceeded::Memory)
}

/// A second of grace, as the kernel gives it to a single process: who keeps to its limit ends by its own signal.
fn used(ticks: u64) -> Duration {
    Duration::from_millis(ticks.saturating_mul(1000 / TICKS)).saturating_sub(Duration::from_secs(1))
}

impl Use {
    fn add(&mut self, pid: i32) {
        let name = pid.to_string();
        self.processes += 1;
        self.ticks += ticks(&name, 13..17);
        let statm = fs::read_to_string(format!("/proc/{name}/statm")).unwrap_or_default();
        let resident = statm.split(' ').nth(1).and_then(|pages| pages.parse().ok());
        self.pages += resident.unwrap_or(0);
    }
}

/// The sum of some fields of a process's `stat`, counted from 0.
fn ticks(process: &str, fields: std::ops::Range<usize>) -> u64 {
    let stat = fs::read_to_string(format!("/proc/{process}/stat")).unwrap_or_default();
    // `pid (name) state ...`, where the name may hold anything.
    let rest = stat.rsplit_once(") ").map_or("", |(_, rest)| rest);
    let fields = rest.split(' ').skip(fields.start - 2).take(fields.len());
    fields.filter_map(|field| field.parse::<u64>().ok()).sum()
}

/// Bytes that processes have, where each has its share of what it has in common with others. What is only mapped from
/// files is not among it: the kernel takes that away when it needs the room.
fn shares(processes: &[i32]) -> u64 {
    let share = |pid: &i32| {
        let text = fs::read_to_string(format!("/proc/{pid}/smaps_rollup")).ok()?;
        let own = kib(&text, "Pss_Anon:").zip(kib(&text, "Pss_Shmem:"));
        let own = own.map(|(anonymous, shared)| anonymous + shared);
        // Older kernels do not tell them apart.
        Some(own.or_else(|| kib(&text, "Pss:"))? * 1024)
    };
    processes.iter().filter_map(share).sum()
}

fn kib(text: &str, name: &str) -> Option<u64> {
    let line = text.lines().find_map(|line| line.strip_prefix(name))?;
    line.trim().strip_suffix(" kB")?.parse().ok()
}

/// All that descends from this process, by asking each for its children: as quick as they are few.
fn family() -> Vec<i32> {
    let mut found = children("self");
    let mut next = 0;
    while let Some(pid) = found.get(next) {
        let own = children(&pid.to_string());
        found.extend(own);
        next += 1;
    }
    found
}

/// The children of a process. They belong to the threads that started them.
fn children(process: &str) -> Vec<i32> {
    let Ok(threads) = fs::read_dir(format!("/proc/{process}/task")) else {
        return Vec::new();
    };
    let own = |thread: fs::DirEntry| fs::read_to_string(thread.path().join("children")).ok();
    let lists: Vec<_> = threads.flatten().filter_map(own).collect();
    let numbers = lists.iter().flat_map(|list| list.split_whitespace());
    numbers.filter_map(|number| number.parse().ok()).collect()
}

/// Every process that descends from this one, by looking at all there are: none can be missed that lived all the while.
pub(super) fn descendants() -> io::Result<Vec<Pid>> {
    let mut children: HashMap<i32, Vec<i32>> = HashMap::new();
    for entry in fs::read_dir("/proc")?.flatten() {
        let Some(pid) = entry
            .file_name()
            .to_str()
            .and_then(|name| name.parse().ok())
        else {
            continue;
        };
        // One that has just ended is none of ours any more.
        let Ok(stat) = fs::read_to_string(entry.path().join("stat")) else {
            continue;
        };
        // `pid (name) state ppid ...`, where the name may hold anything.
        let parent = stat
            .rsplit_once(") ")
            .and_then(|(_, rest)| rest.split(' ').nth(1)?.parse().ok());
        children.entry(parent.unwrap_or(0)).or_default().push(pid);
    }
    let mut found = Vec::new();
    let mut next = vec![getpid().as_raw_nonzero().get()];
    while let Some(parent) = next.pop() {
        let own = children.remove(&parent).unwrap_or_default();
        found.extend(own.iter().copied().filter_map(Pid::from_raw));
        next.extend(own);
    }
    Ok(found)
}
