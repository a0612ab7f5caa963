//! Everything that CI runs, one step after the other, each timed; the last line adds it all up.

mod embedded;
mod unit;

use std::time::{Duration, Instant};

use anyhow::{Result, bail};

use crate::chaos::{self, chaos};
use crate::conformance::{Options, conformance};
use crate::place::{Place, cargo};
use crate::run::run;
use crate::say::say;
use crate::soak::{self, soak};
use crate::{clients, python, setup, tidy};

/// What a step counted.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
struct Count {
    passed: usize,
    failed: usize,
    ignored: usize,
    /// Of those that passed, how many did so only at the second try.
    unsteady: usize,
}

impl Count {
    const ONE_PASSED: Self = Self::of(1, 0, 0);
    const ONE_FAILED: Self = Self::of(0, 1, 0);

    const fn of(passed: usize, failed: usize, ignored: usize) -> Self {
        Self {
            passed,
            failed,
            ignored,
            unsteady: 0,
        }
    }

    fn add(&mut self, other: Self) {
        self.passed += other.passed;
        self.failed += other.failed;
        self.ignored += other.ignored;
        self.unsteady += other.unsteady;
    }
}

type Step = (&'static str, fn(&Place) -> Result<Count>);

const STEPS: [Step; 12] = [
    ("setup", |place| {
        setup::setup(place).map(|()| Count::ONE_PASSED)
    }),
    ("format", |place| checked(place, "fmt --all --check")),
    ("clippy", |place| {
        checked(
            place,
            "clippy --quiet --workspace --exclude toolbus-embedded --all-targets -- -D warnings",
        )
    }),
    ("tests", unit::tests),
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
    ("Python inside", embedded::tests),
];

/// Steps that talk to processes, whose failure is worth a second look. One that passes then is named for what it is:
/// unsteady, which is a fault to be found, though none of this change.
const REPEATED: [&str; 7] = [
    "setup",
    "conformance, servers",
    "conformance, clients",
    "Python SDK",
    "real clients",
    "soak, a slice of each part",
    "chaos, a slice",
];

/// Runs every step, also after one that failed, and prints the sum.
pub(crate) fn test(place: &Place) -> Result<()> {
    let mut lines = Vec::new();
    let mut total = Count::default();
    for (name, step) in STEPS {
        say(format_args!("\n== {name}"));
        let begun = Instant::now();
        let mut count = tried(step, place);
        if count.failed > 0 && REPEATED.contains(&name) {
            say(format_args!("\n== {name}, once more"));
            let failed = count.failed;
            count = tried(step, place);
            count.unsteady = if count.failed == 0 { failed } else { 0 };
        }
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

fn tried(step: fn(&Place) -> Result<Count>, place: &Place) -> Count {
    step(place).unwrap_or_else(|error| {
        say(format_args!("error: {error:#}"));
        Count::ONE_FAILED
    })
}

fn summary(name: &str, time: Duration, count: Count) -> String {
    let seconds = time.as_secs_f64();
    let ignored = match count.ignored {
        0 => String::new(),
        ignored => format!(", {ignored} ignored"),
    };
    let unsteady = match count.unsteady {
        0 => String::new(),
        unsteady => format!(", {unsteady} only at the second try"),
    };
    let (passed, failed) = (count.passed, count.failed);
    format!("{name:<28} {seconds:>7.1} s   {passed} passed, {failed} failed{ignored}{unsteady}")
}

/// A cargo command that passes or fails as one.
fn checked(place: &Place, arguments: &str) -> Result<Count> {
    let mut cargo = cargo();
    cargo.args(arguments.split(' ')).current_dir(place.root());
    run(&mut cargo).map(|()| Count::ONE_PASSED)
}

fn tidiness(place: &Place) -> Result<Count> {
    let tally = tidy::tidy(place)?;
    Ok(Count::of(tally.passed, tally.failed, 0))
}

fn suite(place: &Place, options: &Options) -> Result<Count> {
    let tally = conformance(place, options)?;
    Ok(Count::of(tally.passed, tally.failed, tally.skipped))
}

fn slice(place: &Place) -> Result<Count> {
    let report = soak(place, &soak::Options::short())?;
    Ok(Count::of(report.held(), report.broken(), 0))
}

fn python_sdk(place: &Place) -> Result<Count> {
    let tally = python::sdk(place)?;
    Ok(Count::of(tally.passed, tally.failed, tally.skipped))
}

fn a_little_chaos(place: &Place) -> Result<Count> {
    let tally = chaos(place, &chaos::Options::slice())?;
    Ok(Count::of(tally.passed, tally.failed, 0))
}

fn real_clients(place: &Place) -> Result<Count> {
    let tally = clients::all(place)?;
    Ok(Count::of(tally.passed, tally.failed, 0))
}
