//! The suite's scenarios for clients, with the gateway as the client: it stands between the suite's server and the driver.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Mutex, PoisonError};
use std::thread;

use anyhow::{Context as _, Result};

use super::expected::Expected;
use super::report::{self, Tally, Verdict};
use super::suite::{Leg, ScenarioResult, Status, Suite};
use crate::place::Place;

/// What these runs are called in the list of expected failures.
const ROUTE: &str = "client";

/// Scenarios that run at once. They mostly wait for processes to start; more of them would disturb those that look
/// at the time.
const AT_ONCE: usize = 2;

/// Scenarios of authorization: the gateway is no OAuth client yet.
const LATER: &str = "auth/";

/// One requirement set.
pub(super) fn one_set(place: &Place, revision: &str, expected: &Expected) -> Result<Tally> {
    let suite = Suite::new(place, revision, Leg::Client)?;
    let results = run(place, &suite, revision)?;
    let verdicts = Verdict::all(ROUTE, &results, expected.of(revision, ROUTE), warnings);
    report::print(revision, "the gateway as the client", &verdicts);
    Ok(Tally::of(&verdicts))
}

/// A warning counts as a failure, as in the suite itself: there is no other run to compare with.
fn warnings(result: &ScenarioResult) -> Vec<String> {
    let warned = result.checks.iter();
    warned
        .filter(|check| check.status == Status::Warning)
        .map(|check| format!("{}: a warning is not accepted", check.id))
        .collect()
}

fn run(place: &Place, suite: &Suite, revision: &str) -> Result<Vec<ScenarioResult>> {
    let toolbus = place.binary("debug", "toolbus")?;
    let xtask = std::env::current_exe().context("this program has no path")?;
    let scratch = place.scratch(&format!("conformance-{revision}-{ROUTE}"))?;
    let (xtask, toolbus, folder) = (xtask.display(), toolbus.display(), scratch.display());
    let client = format!("{xtask} conformance-client --toolbus {toolbus} --scratch {folder}");
    let scenarios: Vec<_> = suite
        .scenarios()
        .iter()
        .filter(|scenario| !scenario.name.starts_with(LATER))
        .collect();
    let (next, results) = (AtomicUsize::new(0), Mutex::new(BTreeMap::new()));
    thread::scope(|scope| {
        for _ in 0..AT_ONCE {
            scope.spawn(|| {
                loop {
                    let number = next.fetch_add(1, Ordering::Relaxed);
                    let Some(scenario) = scenarios.get(number) else {
                        break;
                    };
                    let result = suite.run_client(scenario, &client, &scratch);
                    let mut results = results.lock().unwrap_or_else(PoisonError::into_inner);
                    results.insert(number, result);
                }
            });
        }
    });
    let results = results.into_inner().unwrap_or_else(PoisonError::into_inner);
    results.into_values().collect()
}
