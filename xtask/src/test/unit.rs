//! The tests of the workspace, as cargo runs them. Those that fail run once more by themselves.

use std::collections::BTreeSet;
use std::io::{BufRead as _, BufReader};
use std::process::{Command, Stdio};

use anyhow::Result;

use super::Count;
use crate::place::{Place, cargo};
use crate::run::not_started;
use crate::say::say;

/// More failures than this are no matter of luck.
const FEW: usize = 3;

/// All of the workspace but what has Python inside, which is a step of its own.
pub(super) const USUAL: [&str; 3] = ["--workspace", "--exclude", "toolbus-embedded"];

/// What a run of cargo said.
#[derive(Default)]
struct Told {
    count: Count,
    /// The names of tests that failed.
    failed: BTreeSet<String>,
    lists_failures: bool,
}

/// Runs all tests, and few failed ones again.
pub(super) fn tests(place: &Place) -> Result<Count> {
    twice(place, &USUAL, &|_| ())
}

/// [`tests`] of what is chosen, by a cargo that was prepared.
pub(super) fn twice(
    place: &Place,
    which: &[&str],
    prepare: &dyn Fn(&mut Command),
) -> Result<Count> {
    let cargo_test = |arguments: &[&str]| cargo_test(place, &[which, arguments].concat(), prepare);
    let told = cargo_test(&["--no-fail-fast"])?;
    let mut count = told.count;
    if (1..=FEW).contains(&count.failed) && !told.failed.is_empty() {
        say("\n== tests, once more those that failed");
        let mut again = vec!["--no-fail-fast", "--", "--exact"];
        again.extend(told.failed.iter().map(String::as_str));
        let second = cargo_test(&again)?.count;
        if second.failed == 0 && second.passed >= count.failed {
            count.passed += count.failed;
            count.unsteady = std::mem::take(&mut count.failed);
            told.failed.iter().for_each(|name| {
                say(format_args!(
                    "unsteady: {name} passed only at the second try"
                ))
            });
        }
    }
    Ok(count)
}

/// Runs tests of the workspace, shows what they write, and counts them.
fn cargo_test(place: &Place, arguments: &[&str], prepare: &dyn Fn(&mut Command)) -> Result<Told> {
    let mut test = cargo();
    test.args(["test", "--quiet"]).args(arguments);
    prepare(&mut test);
    test.current_dir(place.root()).stdout(Stdio::piped());
    let mut child = test.spawn().map_err(|error| not_started(&test, &error))?;
    let mut told = Told::default();
    if let Some(stdout) = child.stdout.take() {
        for line in BufReader::new(stdout).lines() {
            let line = line?;
            told.hear(&line);
            say(line);
        }
    }
    // What does not compile fails without a test that did.
    if !child.wait()?.success() && told.count.failed == 0 {
        told.count.failed = 1;
    }
    Ok(told)
}

impl Told {
    fn hear(&mut self, line: &str) {
        self.count.add(results_in(line));
        match line.strip_prefix("    ") {
            Some(name) if self.lists_failures && !name.starts_with(' ') => {
                self.failed.insert(name.to_owned());
            }
            _ => {
                self.lists_failures = line == "failures:" || self.lists_failures && line.is_empty()
            }
        }
    }
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn counts_what_cargo_test_prints() {
        let line = "test result: FAILED. 5 passed; 2 failed; 1 ignored; 0 measured; 0 filtered out; finished in 0.00s";
        assert_eq!(results_in(line), Count::of(5, 2, 1));
        assert_eq!(results_in("running 5 tests").passed, 0);
    }

    #[test]
    fn knows_the_tests_that_failed() {
        let mut told = Told::default();
        let printed = "\nrunning 2 tests\n.\na::one --- FAILED\n\nfailures:\n\n---- a::one stdout ----\n\nthread panicked\n    at here\n\n\
                       failures:\n    a::one\n\ntest result: FAILED. 1 passed; 1 failed; 0 ignored\n    later";
        printed.lines().for_each(|line| told.hear(line));
        assert_eq!(told.failed.iter().collect::<Vec<_>>(), ["a::one"]);
        assert_eq!(told.count, Count::of(1, 1, 0));
    }
}
