//! What became of each scenario, as a table and as numbers.

use std::collections::BTreeSet;

use super::suite::{Check, ScenarioResult, Status};
use crate::say::say;

/// Scenarios in which nothing can be seen, on these routes or on all, and why.
const NOTHING_TO_SEE: [(&str, Option<&[&str]>, &str); 2] = [
    (
        "tasks-status-notifications",
        None,
        "skipped: the suite listens elsewhere than SEP-2663 says",
    ),
    (
        "server-sse-polling",
        // On the mesh a worker serves the same fixture on stdio.
        Some(&["stdio", "mesh"]),
        "skipped: a server on stdio has no stream to close",
    ),
];

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
        let count = |is_such: fn(Ending) -> bool| {
            let verdicts = verdicts.iter();
            verdicts.filter(|verdict| is_such(verdict.ending)).count()
        };
        Self {
            passed: count(|ending| ending == Ending::Passed),
            failed: count(|ending| matches!(ending, Ending::Failed | Ending::PassedButListed)),
            expected: count(|ending| ending == Ending::FailedAsListed),
            skipped: count(|ending| matches!(ending, Ending::Skipped(_))),
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
    Skipped(&'static str),
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
    /// Judges every result of a route, with what each lost on its way; a listed name that no scenario has is a failure too.
    pub(super) fn all(
        route: &str,
        results: &[ScenarioResult],
        listed: &BTreeSet<String>,
        lost: impl Fn(&ScenarioResult) -> Vec<String>,
    ) -> Vec<Self> {
        let mut verdicts: Vec<_> = results
            .iter()
            .map(|result| Self::new(route, result, listed.contains(&result.name), lost(result)))
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

    fn new(route: &str, result: &ScenarioResult, listed: bool, lost: Vec<String>) -> Self {
        let count = |status: Status| {
            let checks = result.checks.iter();
            checks.filter(|check| check.status == status).count()
        };
        let (passed, failed) = (count(Status::Success), count(Status::Failure));
        let is_quiet = passed + failed + count(Status::Warning) == 0 && !result.checks.is_empty();
        let excuse = NOTHING_TO_SEE.iter().find(|(name, only, _)| {
            *name == result.name && only.is_none_or(|only| only.contains(&route)) && is_quiet
        });
        // A scenario of skipped checks only has shown nothing: a gateway that lost the capability looks like that.
        let good = failed == 0 && passed > 0 && lost.is_empty();
        let ending = match (good, listed, excuse) {
            (false, false, Some((_, _, why))) => Ending::Skipped(why),
            (true, false, _) => Ending::Passed,
            (false, false, None) => Ending::Failed,
            (false, true, _) => Ending::FailedAsListed,
            (true, true, _) => Ending::PassedButListed,
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
            Ending::Skipped(why) => why,
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
            result("server-sse-polling", &[Info]),
            result("absent", &[]),
            result("lossy", &[Success]),
            result("lossy-listed", &[Success]),
        ];
        let listed = ["bad-listed", "good-listed", "lossy-listed", "gone"].map(str::to_owned);
        let lost = |result: &ScenarioResult| match result.name.starts_with("lossy") {
            true => vec!["check: success directly, missing here".to_owned()],
            false => Vec::new(),
        };
        let verdicts = Verdict::all("stdio", &results, &BTreeSet::from(listed), lost);
        let endings: Vec<_> = verdicts.iter().map(|verdict| verdict.ending).collect();
        let expected = [
            Ending::Passed,
            Ending::Failed,
            Ending::FailedAsListed,
            Ending::PassedButListed,
            Ending::Failed,
            Ending::Skipped(super::NOTHING_TO_SEE[0].2),
            Ending::Skipped(super::NOTHING_TO_SEE[1].2),
            Ending::Failed,
            Ending::Failed,
            Ending::FailedAsListed,
            Ending::Failed,
        ];
        assert_eq!(endings, expected);
        let tally = Tally::of(&verdicts);
        let counted = (tally.passed, tally.failed, tally.expected, tally.skipped);
        assert_eq!(counted, (1, 6, 2, 2));
        let loud = [result("server-sse-polling", &[Info, Failure])];
        let verdicts = Verdict::all("stdio", &loud, &BTreeSet::new(), |_| Vec::new());
        assert_eq!(Tally::of(&verdicts).failed, 1);
        let elsewhere = [result("server-sse-polling", &[Info])];
        let verdicts = Verdict::all("http", &elsewhere, &BTreeSet::new(), |_| Vec::new());
        assert_eq!(Tally::of(&verdicts).failed, 1);
    }
}
