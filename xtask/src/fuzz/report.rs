//! What libFuzzer wrote about a search, as numbers.

use std::path::PathBuf;

use anyhow::{Context as _, Result};

use crate::say::say;

/// How the search on one target went.
pub(super) struct Outcome {
    target: String,
    executions: u64,
    a_second: u64,
    /// Places of the code that were reached, of all that is compiled in.
    coverage: u64,
    /// Inputs kept because each reached something new.
    corpus: u64,
    pub(super) findings: Vec<PathBuf>,
}

impl Outcome {
    /// Reads libFuzzer's log.
    pub(super) fn read(target: String, log: &str, findings: Vec<PathBuf>) -> Result<Self> {
        let stat = |name: &str| {
            let line = log.lines().find_map(|line| line.strip_prefix(name));
            line.and_then(|rest| rest.trim_start_matches([':', ' ']).parse().ok())
        };
        let executions = stat("stat::number_of_executed_units")
            .with_context(|| format!("the fuzzer of {target} says nothing of its executions"))?;
        // The last of the lines such as `#8  NEW    cov: 10 ft: 12 corp: 5/26b ...`.
        let last = |name: &str| {
            let mut lines = log.lines().rev().filter(|line| line.starts_with('#'));
            let rest = lines.find_map(|line| line.split_once(name))?.1;
            let digits = rest
                .trim_start()
                .split(|c: char| !c.is_ascii_digit())
                .next();
            digits?.parse().ok()
        };
        Ok(Self {
            executions,
            a_second: stat("stat::average_exec_per_sec").unwrap_or(0),
            coverage: last("cov:").unwrap_or(0),
            corpus: last("corp:").unwrap_or(0),
            target,
            findings,
        })
    }
}

/// What the log says of the input that broke something.
pub(super) fn why(log: &str) -> String {
    let tells = |line: &&str| !line.starts_with(['#', '\t', ' ']) && !line.is_empty();
    let mut lines: Vec<&str> = log.lines().filter(tells).collect();
    let begin = lines
        .iter()
        .position(|line| line.contains("panicked") || line.contains("ERROR"));
    lines.drain(..begin.unwrap_or(lines.len().saturating_sub(8)));
    lines.truncate(8);
    lines.join("\n")
}

/// A table of how the searches went.
pub(super) fn print(outcomes: &[Outcome]) {
    say("target       executions   a second   coverage   corpus   findings");
    for one in outcomes {
        say(format_args!(
            "{:<10} {:>12} {:>10} {:>10} {:>8} {:>10}",
            one.target,
            one.executions,
            one.a_second,
            one.coverage,
            one.corpus,
            one.findings.len()
        ));
    }
}

#[cfg(test)]
mod tests {
    use super::{Outcome, why};

    const LOG: &str = "INFO: Seed: 1\n#2\tINITED cov: 12 ft: 13 corp: 1/1b exec/s: 0\n#99\tREDUCE cov: 120 ft: 13 corp: 50/1Kb lim: 4\n\
        thread '<unnamed>' panicked at a.rs:1:2:\nleft: 1\n==1== ERROR: libFuzzer: deadly signal\nstat::number_of_executed_units: 100\n\
        stat::average_exec_per_sec:     33\n";

    #[test]
    fn the_numbers_are_found() {
        let read = Outcome::read("json".to_owned(), LOG, Vec::new()).unwrap();
        assert_eq!(
            (read.executions, read.a_second, read.coverage, read.corpus),
            (100, 33, 120, 50)
        );
        assert!(Outcome::read("json".to_owned(), "nothing", Vec::new()).is_err());
    }

    #[test]
    fn the_reason_is_shown() {
        assert!(why(LOG).starts_with("thread '<unnamed>' panicked at a.rs:1:2:\nleft: 1\n"));
    }
}
