//! Everything that CI runs, one step after the other, each timed; the last line adds it all up.

use std::io::{BufRead as _, BufReader};
use std::process::Stdio;
use std::time::{Duration, Instant};

use anyhow::{Result, bail};

use crate::chaos::{self, chaos};
use crate::conformance::{Options, conformance};
use crate::place::{Place, cargo};
use crate::run::{not_started, run};
use crate::say::say;
use crate::soak::{self, soak};
use crate::{clients, python, setup, tidy};

/// What a step counted.
#[derive(Clone, Copy, Default)]
struct Count {
    passed: usize,
    failed: usize,
    ignored: usize,
}

impl Count {
    const ONE_PASSED: Self = Self {
        passed: 1,
        failed: 0,
        ignored: 0,
    };
    const ONE_FAILED: Self = Self {
        passed: 0,
        failed: 1,
        ignored: 0,
    };

    fn add(&mut self, other: Self) {
        self.passed += other.passed;
        self.failed += other.failed;
        self.ignored += other.ignored;
    }
}

type Step = (&'static str, fn(&Place) -> Result<Count>);

const STEPS: [Step; 11] = [
    ("setup", |place| {
        setup::setup(place).map(|()| Count::ONE_PASSED)
    }),
    ("format", |place| checked(place, "fmt --all --check")),
    ("clippy", |place| {
        checked(
            place,
            "clippy --quiet --workspace --all-targets -- -D warnings",
        )
    }),
    ("tests", cargo_test),
    ("tidy", tidiness),
    ("conformance, servers", |place| {
        suite(place, &Options::SERVERS)
    }),
    ("conformance, clients", |place| {
        suite(place, &Options::CLIENTS)
    }),
    ("Python SDK", python_sdk),
    ("real clients", real_clients),
    ("soak, a slice of each part", slice),
    ("chaos, a slice", a_little_chaos),
];

/// Runs every step, also after one that failed, and prints the sum.
pub(crate) fn test(place: &Place) -> Result<()> {
    let mut lines = Vec::new();
    let mut total = Count::default();
    for (name, step) in STEPS {
        say(format_args!("\n== {name}"));
        let begun = Instant::now();
        let count = step(place).unwrap_or_else(|error| {
            say(format_args!("error: {error:#}"));
            Count::ONE_FAILED
        });
        total.add(count);
        lines.push(summary(name, begun.elapsed(), count));
    }
    say("");
    lines.iter().for_each(say);
    say(format_args!(
        "{} passed, {} failed",
        total.passed, total.failed
    ));
    match total.failed {
        0 => Ok(()),
        _ => bail!("not everything passed: the first `error` or `FAILED` above says what"),
    }
}

fn summary(name: &str, time: Duration, count: Count) -> String {
    let seconds = time.as_secs_f64();
    let ignored = match count.ignored {
        0 => String::new(),
        ignored => format!(", {ignored} ignored"),
    };
    let (passed, failed) = (count.passed, count.failed);
    format!("{name:<28} {seconds:>7.1} s   {passed} passed, {failed} failed{ignored}")
}

/// A cargo command that passes or fails as one.
fn checked(place: &Place, arguments: &str) -> Result<Count> {
    let mut cargo = cargo();
    cargo.args(arguments.split(' ')).current_dir(place.root());
    run(&mut cargo).map(|()| Count::ONE_PASSED)
}

/// Runs the tests of the workspace, shows what they write, and counts them.
fn cargo_test(place: &Place) -> Result<Count> {
    let mut test = cargo();
    test.args(["test", "--quiet", "--workspace", "--no-fail-fast"]);
    test.current_dir(place.root()).stdout(Stdio::piped());
    let mut child = test.spawn().map_err(|error| not_started(&test, &error))?;
    let mut count = Count::default();
    if let Some(stdout) = child.stdout.take() {
        for line in BufReader::new(stdout).lines() {
            let line = line?;
            count.add(results_in(&line));
            say(line);
        }
    }
    // What does not compile fails without a test that did.
    if !child.wait()?.success() && count.failed == 0 {
        count.failed = 1;
    }
    Ok(count)
}

/// The numbers in `test result: ok. 3 passed; 0 failed; 1 ignored; ...`.
fn results_in(line: &str) -> Count {
    let mut count = Count::default();
    let Some((_, numbers)) = line
        .strip_prefix("test result: ")
        .and_then(|rest| rest.split_once(". "))
    else {
        return count;
    };
    for number in numbers.split("; ") {
        let (value, what) = number.split_once(' ').unwrap_or_default();
        let value = value.parse().unwrap_or(0);
        match what {
            "passed" => count.passed = value,
            "failed" => count.failed = value,
            "ignored" => count.ignored = value,
            _ => {}
        }
    }
    count
}

fn tidiness(place: &Place) -> Result<Count> {
    let tally = tidy::tidy(place)?;
    Ok(Count {
        passed: tally.passed,
        failed: tally.failed,
        ignored: 0,
    })
}

fn suite(place: &Place, options: &Options) -> Result<Count> {
    let tally = conformance(place, options)?;
    Ok(Count {
        passed: tally.passed,
        failed: tally.failed,
        ignored: tally.skipped,
    })
}

fn slice(place: &Place) -> Result<Count> {
    let report = soak(place, &soak::Options::short())?;
    Ok(Count {
        passed: report.held(),
        failed: report.broken(),
        ignored: 0,
    })
}

fn python_sdk(place: &Place) -> Result<Count> {
    let tally = python::sdk(place)?;
    Ok(Count {
        passed: tally.passed,
        failed: tally.failed,
        ignored: tally.skipped,
    })
}

fn a_little_chaos(place: &Place) -> Result<Count> {
    let tally = chaos(place, &chaos::Options::slice())?;
    Ok(Count {
        passed: tally.passed,
        failed: tally.failed,
        ignored: 0,
    })
}

fn real_clients(place: &Place) -> Result<Count> {
    let tally = clients::all(place)?;
    Ok(Count {
        passed: tally.passed,
        failed: tally.failed,
        ignored: 0,
    })
}

#[cfg(test)]
mod tests {
    use super::results_in;

    #[test]
    fn counts_what_cargo_test_prints() {
        let line = "test result: FAILED. 5 passed; 2 failed; 1 ignored; 0 measured; 0 filtered out; finished in 0.00s";
        let count = results_in(line);
        assert_eq!((count.passed, count.failed, count.ignored), (5, 2, 1));
        assert_eq!(results_in("running 5 tests").passed, 0);
    }
}
