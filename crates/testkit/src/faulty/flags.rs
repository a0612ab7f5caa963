//! The faults that concern the process as a whole and are chosen on its command line.

use std::time::Duration;

/// How to call the program.
pub const USAGE: &str =
    "usage: faulty [--start-delay-ms N] [--die-at-start CODE] [--ignore-sigterm] [--ignore-eof]";

/// What is wrong from the start.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Flags {
    /// Wait so long before the first byte is read.
    pub start_delay: Duration,
    /// Complain on stderr and end with this code, without reading anything.
    pub die_at_start: Option<u8>,
    /// Stay alive on SIGTERM.
    pub ignore_sigterm: bool,
    /// Stay alive when stdin ends.
    pub ignore_eof: bool,
}

impl Flags {
    /// Reads the arguments after the program's name; `None` if they make no sense.
    pub fn read(arguments: impl IntoIterator<Item = String>) -> Option<Self> {
        let mut flags = Self::default();
        let mut arguments = arguments.into_iter();
        while let Some(flag) = arguments.next() {
            match flag.as_str() {
                "--start-delay-ms" => {
                    flags.start_delay = Duration::from_millis(arguments.next()?.parse().ok()?)
                }
                "--die-at-start" => flags.die_at_start = Some(arguments.next()?.parse().ok()?),
                "--ignore-sigterm" => flags.ignore_sigterm = true,
                "--ignore-eof" => flags.ignore_eof = true,
                _ => return None,
            }
        }
        Some(flags)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(line: &str) -> Option<Flags> {
        Flags::read(line.split_whitespace().map(str::to_owned))
    }

    #[test]
    fn every_flag_is_known_and_nothing_else() {
        let flags = read("--start-delay-ms 5 --die-at-start 3 --ignore-sigterm --ignore-eof")
            .expect("known flags");
        assert_eq!(flags.start_delay, Duration::from_millis(5));
        assert_eq!(flags.die_at_start, Some(3));
        assert!(flags.ignore_sigterm && flags.ignore_eof);
        for wrong in [
            "--die-at-start",
            "--die-at-start 256",
            "--start-delay-ms x",
            "--other",
        ] {
            assert_eq!(read(wrong), None, "{wrong}");
        }
    }
}
