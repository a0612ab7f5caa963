//! What became of each scenario, as a table and as numbers.

use std::collections::BTreeSet;

use super::suite::{Check, ScenarioResult, Status};
use crate::say::say;

/// Scenarios that the suite skips whatever the server does: this one listens elsewhere than SEP-2663 says.
const SKIPPED_BY_THE_SUITE: [&str; 1] = ["tasks-status-notifications"];

/// How many scenarios ended how.
#[derive(Clone, Copy, Default)]
pub(crate) struct Tally {
    pub(crate) passed: usize,
    pub(crate) failed: usize,
    pub(crate) expected: usize,
    pub(crate) skipped: usize,
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
            skipped: count(Ending::Skipped),
        }
    }

    pub(super) fn add(&mut self, other: Self) {
        self.passed += other.passed;
        self.failed += other.failed;
        self.expected += other.expected;
        self.skipped += other.skipped;
    }
}

#[derive(Clone, Copy, Debug, PartialEq)]
enum Ending {
    Passed,
    Failed,
    FailedAsListed,
    PassedButListed,
    Skipped,
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
    /// Judges every result, with what each lost on its way; a listed name that no scenario has is a failure too.
    pub(super) fn all(
        results: &[ScenarioResult],
        listed: &BTreeSet<String>,
        lost: impl Fn(&ScenarioResult) -> Vec<String>,
    ) -> Vec<Self> {
        let mut verdicts: Vec<_> = results
            .iter()
            .map(|result| Self::new(result, listed.contains(&result.name), lost(result)))
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

    fn new(result: &ScenarioResult, listed: bool, lost: Vec<String>) -> Self {
        let count = |status: Status| {
            let checks = result.checks.iter();
            checks.filter(|check| check.status == status).count()
        };
        let (passed, failed) = (count(Status::Success), count(Status::Failure));
        let skipped = count(Status::Skipped);
        let is_skipped = skipped > 0
            && skipped == result.checks.len()
            && SKIPPED_BY_THE_SUITE.contains(&result.name.as_str());
        // A scenario of skipped checks only has shown nothing: a gateway that lost the capability looks like that.
        let good = failed == 0 && passed > 0 && lost.is_empty();
        let ending = match (good, listed) {
            (false, false) if is_skipped && lost.is_empty() => Ending::Skipped,
            (true, false) => Ending::Passed,
            (false, false) => Ending::Failed,
            (false, true) => Ending::FailedAsListed,
            (true, true) => Ending::PassedButListed,
        };
        let mut reasons = reasons(&result.checks);
        reasons.extend(lost);
        Self {
            name: result.name.clone(),
            required: result.required,
            passed,
            failed,
            ending,
            reasons,
        }
    }

    fn remark(&self) -> &'static str {
        match self.ending {
            Ending::Passed => "passed",
            Ending::Failed => "FAILED",
            Ending::FailedAsListed => "failed, as expected",
            Ending::Skipped => "skipped by the suite itself",
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
    let said = checks
        .iter()
        .filter(|check| check.status != Status::Success);
    let reasons = said.filter_map(|check| {
        let (status, id) = (check.status.name(), &check.id);
        Some(format!("{status} {id}: {}", check.reason()?))
    });
    reasons.collect()
}

/// Prints the table of one requirement set.
pub(super) fn print(revision: &str, what: &str, verdicts: &[Verdict]) {
    say(format_args!("\nRequirements {revision}, {what}"));
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
        if matches!(verdict.ending, Ending::Failed | Ending::FailedAsListed) {
            for reason in &verdict.reasons {
                say(format_args!("    {reason}"));
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::{Ending, Tally, Verdict};
    use crate::conformance::suite::Status::{Failure, Info, Skipped, Success, Warning};
    use crate::conformance::suite::{Check, Details, ScenarioResult, Status};

    fn result(name: &str, statuses: &[Status]) -> ScenarioResult {
        let check = |status: &Status| Check {
            id: "check".to_owned(),
            status: *status,
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
            result("good", &[Success, Info]),
            result("bad", &[Success, Failure]),
            result("bad-listed", &[Failure]),
            result("good-listed", &[Success, Warning]),
            result("skipped", &[Skipped]),
            result("tasks-status-notifications", &[Skipped]),
            result("absent", &[]),
            result("lossy", &[Success]),
            result("lossy-listed", &[Success]),
        ];
        let listed = ["bad-listed", "good-listed", "lossy-listed", "gone"].map(str::to_owned);
        let lost = |result: &ScenarioResult| match result.name.starts_with("lossy") {
            true => vec!["check: success directly, missing here".to_owned()],
            false => Vec::new(),
        };
        let verdicts = Verdict::all(&results, &BTreeSet::from(listed), lost);
        let endings: Vec<_> = verdicts.iter().map(|verdict| verdict.ending).collect();
        let expected = [
            Ending::Passed,
            Ending::Failed,
            Ending::FailedAsListed,
            Ending::PassedButListed,
            Ending::Failed,
            Ending::Skipped,
            Ending::Failed,
            Ending::Failed,
            Ending::FailedAsListed,
            Ending::Failed,
        ];
        assert_eq!(endings, expected);
        let tally = Tally::of(&verdicts);
        let counted = (tally.passed, tally.failed, tally.expected, tally.skipped);
        assert_eq!(counted, (1, 6, 2, 1));
    }
}
