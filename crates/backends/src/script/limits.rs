//! Which limit ended a run, in words.

use std::fmt;
use std::time::Duration;

use super::spec::Limits;
use crate::process::Exceeded;

/// SIGXCPU and SIGXFSZ: the kernel's own words for two of its limits.
const XCPU: i32 = 24;
const XFSZ: i32 = 25;
const KILL: i32 = 9;

/// What a shell adds to the number of the signal that ended its command.
const OF_A_SHELL: i32 = 128;

/// What programs say that were refused memory.
const NO_MEMORY: [&str; 6] = [
    "MemoryError",
    "Cannot allocate memory",
    "cannot allocate memory",
    "out of memory",
    "std::bad_alloc",
    "memory allocation of",
];

/// Why a run did not end by itself.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Reason(String);

impl fmt::Display for Reason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// The warden ended it.
pub(super) fn of_warden(exceeded: Exceeded, limits: &Limits) -> Reason {
    let process = &limits.process;
    let why = match exceeded {
        Exceeded::Processes => format!(
            "the script and what it started were more than {} processes (limit `processes`)",
            process.processes.unwrap_or_default()
        ),
        Exceeded::Memory => format!(
            "the script and what it started had more than {} of memory (limit `memory`)",
            bytes(process.memory.unwrap_or_default())
        ),
        Exceeded::Cpu => cpu(limits),
    };
    Reason(format!("The script was ended: {why}."))
}

/// A signal ended it.
pub(super) fn of_signal(signal: i32, limits: &Limits) -> Reason {
    let why = match of_kernel(signal, limits) {
        Some(why) => why,
        None if signal == KILL => {
            "killed by signal 9 (SIGKILL), perhaps because the machine had no memory left"
                .to_owned()
        }
        None => format!("killed by signal {signal}{}", name(signal)),
    };
    Reason(format!("The script was ended: {why}."))
}

/// A shell tells by its status that a signal ended its command.
pub(super) fn of_exit(code: i32, limits: &Limits) -> Option<Reason> {
    of_kernel(code - OF_A_SHELL, limits).map(Reason)
}

fn of_kernel(signal: i32, limits: &Limits) -> Option<String> {
    match signal {
        XCPU if limits.process.cpu.is_some() => Some(cpu(limits)),
        XFSZ => limits.process.file_size.map(|limit| {
            let limit = bytes(limit);
            format!("the script wrote a file of more than {limit} (limit `file_size`)")
        }),
        _ => None,
    }
}

fn cpu(limits: &Limits) -> String {
    let limit = limits.process.cpu.unwrap_or_default();
    format!(
        "the script used more than {} of processor time (limit `cpu`)",
        seconds(limit)
    )
}

/// It ran for too long.
pub(super) fn of_time(limit: Duration) -> Reason {
    let limit = seconds(limit);
    Reason(format!(
        "The script was ended: it ran longer than {limit} (limit `timeout`)."
    ))
}

/// It said too much.
pub(super) fn of_output(limit: u64) -> Reason {
    let limit = bytes(limit);
    Reason(format!(
        "The script was ended: it wrote more than {limit} to stdout (limit `output`)."
    ))
}

/// What a program says of a limit at which the kernel refused it something.
pub(super) fn of_words(words: &str, limits: &Limits) -> Option<String> {
    let process = &limits.process;
    let says = |known: &[&str]| known.iter().any(|known| words.contains(known));
    let refused = |what: &str, limit: String, key: &str| {
        format!("(It was refused {what}: a process may have {limit}, limit `{key}`.)")
    };
    if says(&NO_MEMORY) {
        return match (process.memory, process.address_space) {
            (_, Some(limit)) if process.memory.is_none_or(|memory| limit <= memory) => {
                Some(refused("memory", bytes(limit), "address_space"))
            }
            (Some(limit), _) => Some(refused("memory", bytes(limit), "memory")),
            (None, _) => None,
        };
    }
    if says(&["Too many open files"]) {
        let limit = process.open_files?;
        return Some(refused("a file", format!("{limit} open"), "open_files"));
    }
    if says(&["File too large"]) {
        let limit = process.file_size?;
        let limit = format!("files of {}", bytes(limit));
        return Some(refused("room in a file", limit, "file_size"));
    }
    None
}

/// A size as it is configured, where it is a round one.
fn bytes(count: u64) -> String {
    for (shift, unit) in [(30, "GiB"), (20, "MiB"), (10, "KiB")] {
        if count > 0 && count.trailing_zeros() >= shift {
            return format!("{} {unit}", count >> shift);
        }
    }
    format!("{count} bytes")
}

fn seconds(span: Duration) -> String {
    format!("{} s", span.as_secs_f64())
}

fn name(signal: i32) -> &'static str {
    match signal {
        1 => " (SIGHUP)",
        2 => " (SIGINT)",
        3 => " (SIGQUIT)",
        4 => " (SIGILL)",
        6 => " (SIGABRT)",
        7 => " (SIGBUS)",
        8 => " (SIGFPE)",
        11 => " (SIGSEGV)",
        13 => " (SIGPIPE)",
        15 => " (SIGTERM)",
        24 => " (SIGXCPU)",
        25 => " (SIGXFSZ)",
        31 => " (SIGSYS)",
        _ => "",
    }
}
