//! What became of each scenario, as a table and as numbers.

use std::collections::BTreeSet;

use super::suite::{Check, ScenarioResult};
use crate::say::say;

/// How many scenarios ended how.
#[derive(Clone, Copy, Default)]
pub(crate) struct Tally {
    pub(crate) passed: usize,
    pub(crate) failed: usize,
    pub(crate) expected: usize,
}

impl Tally {
    pub(super) fn of(verdicts: &[Verdict]) -> Self {
        let count = |ending: Ending| {
            verdicts
                .iter()
                .filter(|verdict| verdict.ending == ending)
                .count()
        };
        Self {
            passed: count(Ending::Passed),
            failed: count(Ending::Failed) + count(Ending::PassedButListed),
            expected: count(Ending::FailedAsListed),
        }
    }

    pub(super) fn add(&mut self, other: Self) {
        self.passed += other.passed;
        self.failed += other.failed;
        self.expected += other.expected;
    }
}

#[derive(Clone, Copy, Debug, PartialEq)]
enum Ending {
    Passed,
    Failed,
    FailedAsListed,
    PassedButListed,
}

/// One line of the table.
pub(super) struct Verdict {
    name: String,
    required: bool,
    passed: usize,
    failed: usize,
    ending: Ending,
    reasons: Vec<String>,
}

impl Verdict {
    /// Judges every result; a listed name that no scenario has is a failure too.
    pub(super) fn all(results: &[ScenarioResult], listed: &BTreeSet<String>) -> Vec<Self> {
        let mut verdicts: Vec<_> = results
            .iter()
            .map(|result| Self::new(result, listed.contains(&result.name)))
            .collect();
        let unknown = listed
            .iter()
            .filter(|name| results.iter().all(|result| result.name != **name));
        verdicts.extend(unknown.map(|name| {
            Self::failure(
                name,
                "listed in xtask/expected-failures.yml, but the suite has no such scenario",
            )
        }));
        verdicts
    }

    /// The failure of a server to end when asked to.
    pub(super) fn of_the_end(error: &anyhow::Error) -> Self {
        Self::failure("(end of the servers)", &error.to_string())
    }

    fn failure(name: &str, reason: &str) -> Self {
        Self {
            name: name.to_owned(),
            required: true,
            passed: 0,
            failed: 1,
            ending: Ending::Failed,
            reasons: vec![reason.to_owned()],
        }
    }

    fn new(result: &ScenarioResult, listed: bool) -> Self {
        let count = |status: &str| {
            result
                .checks
                .iter()
                .filter(|check| check.status == status)
                .count()
        };
        let (passed, failed) = (count("SUCCESS"), count("FAILURE"));
        // A scenario of skipped checks only has shown nothing: a gateway that lost the capability looks like that.
        let good = failed == 0 && passed > 0;
        Self {
            name: result.name.clone(),
            required: result.required,
            passed,
            failed,
            ending: match (good, listed) {
                (true, false) => Ending::Passed,
                (false, false) => Ending::Failed,
                (false, true) => Ending::FailedAsListed,
                (true, true) => Ending::PassedButListed,
            },
            reasons: reasons(&result.checks),
        }
    }

    fn remark(&self) -> &'static str {
        match self.ending {
            Ending::Passed => "passed",
            Ending::Failed => "FAILED",
            Ending::FailedAsListed => "failed, as expected",
            Ending::PassedButListed => {
                "PASSED, though listed: take it off xtask/expected-failures.yml"
            }
        }
    }
}

/// What the checks that did not succeed have to say.
fn reasons(checks: &[Check]) -> Vec<String> {
    if checks.is_empty() {
        return vec!["no result: the scenario did not run".to_owned()];
    }
    let said = checks.iter().filter(|check| check.status != "SUCCESS");
    let reasons = said.filter_map(|check| {
        let reason = check.error.as_ref().or(check.details.message.as_ref())?;
        Some(format!(
            "{} {}: {reason}",
            check.status.to_lowercase(),
            check.id
        ))
    });
    reasons.collect()
}

/// Prints the table of one requirement set.
pub(super) fn print(revision: &str, route: &str, verdicts: &[Verdict]) {
    say(format_args!(
        "\nRequirements {revision}, {}",
        describe(route)
    ));
    say(format_args!(
        "{:<50} {:<8} {:>6} {:>6}  ",
        "scenario", "required", "passed", "failed"
    ));
    for verdict in verdicts {
        let required = if verdict.required { "yes" } else { "no" };
        say(format_args!(
            "{:<50} {:<8} {:>6} {:>6}  {}",
            verdict.name,
            required,
            verdict.passed,
            verdict.failed,
            verdict.remark()
        ));
        if verdict.ending == Ending::Failed {
            for reason in &verdict.reasons {
                say(format_args!("    {reason}"));
            }
        }
    }
}

fn describe(route: &str) -> &'static str {
    match route {
        "direct" => "at the fixture itself",
        "http" => "through the gateway, the fixture on HTTP",
        _ => "through the gateway, the fixture on stdio",
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::{Ending, Tally, Verdict};
    use crate::conformance::suite::{Check, Details, ScenarioResult};

    fn result(name: &str, statuses: &[&str]) -> ScenarioResult {
        let check = |status: &&str| Check {
            id: "check".to_owned(),
            status: (*status).to_owned(),
            error: None,
            details: Details::default(),
        };
        ScenarioResult {
            name: name.to_owned(),
            required: true,
            checks: statuses.iter().map(check).collect(),
        }
    }

    #[test]
    fn the_list_can_only_shrink() {
        let results = [
            result("good", &["SUCCESS", "INFO"]),
            result("bad", &["SUCCESS", "FAILURE"]),
            result("bad-listed", &["FAILURE"]),
            result("good-listed", &["SUCCESS", "WARNING"]),
            result("skipped", &["SKIPPED"]),
            result("absent", &[]),
        ];
        let listed = ["bad-listed", "good-listed", "gone"].map(str::to_owned);
        let verdicts = Verdict::all(&results, &BTreeSet::from(listed));
        let endings: Vec<_> = verdicts.iter().map(|verdict| verdict.ending).collect();
        let expected = [
            Ending::Passed,
            Ending::Failed,
            Ending::FailedAsListed,
            Ending::PassedButListed,
            Ending::Failed,
            Ending::Failed,
            Ending::Failed,
        ];
        assert_eq!(endings, expected);
        let tally = Tally::of(&verdicts);
        assert_eq!((tally.passed, tally.failed, tally.expected), (1, 5, 1));
    }
}
