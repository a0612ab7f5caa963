//! The tests of the Python SDK, with pytest in the environment that `setup` made.

use std::io::{BufRead as _, BufReader};
use std::process::{Command, Stdio};

use anyhow::Result;

use crate::place::Place;
use crate::run::not_started;
use crate::say::say;

/// How many tests held, did not, and were passed over.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub(crate) struct Tally {
    pub(crate) passed: usize,
    pub(crate) failed: usize,
    pub(crate) skipped: usize,
}

/// Runs them, and shows what they write.
pub(crate) fn sdk(place: &Place) -> Result<Tally> {
    let mut pytest = Command::new(place.venv().join("bin/python"));
    let words = "-m pytest -q --no-header -rs -p no:cacheprovider python/toolbus";
    pytest.args(words.split(' ')).current_dir(place.root());
    // Tests of files that run themselves start the worker that was built here, where one was.
    if let Ok(toolbus) = place.binary("debug", "toolbus") {
        pytest.env("TOOLBUS", toolbus);
    }
    let mut child = pytest
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .spawn()
        .map_err(|error| not_started(&pytest, &error))?;
    let mut tally = Tally::default();
    if let Some(stdout) = child.stdout.take() {
        for line in BufReader::new(stdout).lines() {
            let line = line?;
            if let Some(summed) = summary(&line) {
                tally = summed;
            }
            say(line);
        }
    }
    if !child.wait()?.success() || tally.passed == 0 {
        tally.failed = tally.failed.max(1);
    }
    Ok(tally)
}

/// The numbers in `2 failed, 115 passed, 1 skipped in 83.34s (0:01:23)`.
fn summary(line: &str) -> Option<Tally> {
    let (numbers, time) = line.split_once(" in ")?;
    if !time.split(' ').next()?.ends_with('s') {
        return None;
    }
    let mut tally = Tally::default();
    for number in numbers.split(", ") {
        let (value, what) = number.split_once(' ')?;
        let value = value.parse().ok()?;
        match what {
            "passed" => tally.passed = value,
            "failed" | "error" | "errors" => tally.failed += value,
            "skipped" => tally.skipped = value,
            _ => {}
        }
    }
    Some(tally)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn counts_what_pytest_prints() {
        let line = "2 failed, 115 passed, 3 skipped, 1 error in 83.34s (0:01:23)";
        let tally = Tally {
            passed: 115,
            failed: 3,
            skipped: 3,
        };
        assert_eq!(summary(line), Some(tally));
        assert_eq!(summary("tests in 3 files"), None);
        assert_eq!(summary("a line"), None);
    }
}
