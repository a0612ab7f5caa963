//! The conformance suite as a command: which scenarios a revision asks for, and what each of its checks answered.

use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use anyhow::{Context as _, Result, bail};
use serde::Deserialize;

use crate::place::Place;
use crate::run::{capture, not_started};

/// The suite, for one requirement set.
pub(super) struct Suite {
    node: PathBuf,
    program: PathBuf,
    revision: String,
    scenarios: Vec<Scenario>,
}

#[derive(Clone, Debug, PartialEq)]
struct Scenario {
    name: String,
    required: bool,
}

/// What the checks of one scenario answered.
pub(super) struct ScenarioResult {
    pub(super) name: String,
    pub(super) required: bool,
    pub(super) checks: Vec<Check>,
}

/// One check, as the suite writes it to `checks.json`.
#[derive(Deserialize)]
pub(super) struct Check {
    pub(super) id: String,
    pub(super) status: String,
    #[serde(rename = "errorMessage")]
    pub(super) error: Option<String>,
    #[serde(default)]
    pub(super) details: Details,
}

/// What a check adds, of which only a word to the reader matters here.
#[derive(Default, Deserialize)]
pub(super) struct Details {
    pub(super) message: Option<String>,
}

impl Suite {
    /// Asks the suite which scenarios this revision's requirements hold.
    pub(super) fn new(place: &Place, revision: &str) -> Result<Self> {
        let (node, program) = (place.tool("node"), place.tool("conformance"));
        let mut list = Command::new(&node);
        list.arg(&program)
            .args(["list", "--server", "--requirements", revision]);
        let scenarios = scenarios(&capture(&mut list)?);
        if scenarios.is_empty() {
            bail!(
                "the suite lists no scenario for {revision}: its output has changed, see `scenarios` in {}",
                file!()
            );
        }
        Ok(Self {
            node,
            program,
            revision: revision.to_owned(),
            scenarios,
        })
    }

    /// Runs every scenario at this URL; one that left no result has no checks.
    pub(super) fn run(&self, url: &str, scratch: &Path) -> Result<Vec<ScenarioResult>> {
        let (results, log) = (scratch.join("results"), scratch.join("suite.log"));
        let output = File::create(&log)?;
        let mut suite = Command::new(&self.node);
        suite.arg(&self.program).args(["server", "--url", url]);
        suite
            .args(["--requirements", &self.revision, "--output-dir"])
            .arg(&results);
        suite
            .stdin(Stdio::null())
            .stdout(output.try_clone()?)
            .stderr(output);
        // Its exit status says that something failed, which the checks say better.
        suite
            .status()
            .map_err(|error| not_started(&suite, &error))?;
        let folders = folders(&results)
            .with_context(|| format!("the suite wrote no results: see {}", log.display()))?;
        self.scenarios
            .iter()
            .map(|scenario| result(scenario, &folders))
            .collect()
    }
}

/// Reads `conformance list`: indented names, required ones first, then those that are never scored.
fn scenarios(list: &str) -> Vec<Scenario> {
    let mut required = true;
    let mut server = false;
    let mut found = Vec::new();
    for line in list.lines() {
        if line.starts_with("Server scenarios") {
            server = true;
        } else if line.starts_with("Client scenarios") {
            server = false;
        } else if line.contains("never scored") {
            (required, server) = (false, false);
        }
        let Some(name) = line.trim_start().strip_prefix("- ") else {
            continue;
        };
        let name = match name.strip_suffix(" [server]") {
            Some(name) => name,
            None if server => name,
            None => continue,
        };
        found.push(Scenario {
            name: name.trim().to_owned(),
            required,
        });
    }
    found
}

fn folders(results: &Path) -> Result<Vec<PathBuf>> {
    let entries = fs::read_dir(results)?;
    entries.map(|entry| Ok(entry?.path())).collect()
}

/// The checks in the folder of this scenario, which is called `server-{name}-{time}`.
fn result(scenario: &Scenario, folders: &[PathBuf]) -> Result<ScenarioResult> {
    let prefix = format!("server-{}-", scenario.name);
    let is_ours = |path: &&PathBuf| {
        let name = path.file_name().unwrap_or_default().to_string_lossy();
        // One name may begin another: what follows ours is the time, which begins with a year.
        name.strip_prefix(&prefix)
            .is_some_and(|rest| rest.starts_with("20"))
    };
    let checks = match folders.iter().find(is_ours) {
        Some(folder) => {
            let file = folder.join("checks.json");
            let text = fs::read_to_string(&file)
                .with_context(|| format!("cannot read {}", file.display()))?;
            serde_json::from_str(&text)
                .with_context(|| format!("cannot parse {}", file.display()))?
        }
        None => Vec::new(),
    };
    Ok(ScenarioResult {
        name: scenario.name.clone(),
        required: scenario.required,
        checks,
    })
}

#[cfg(test)]
mod tests {
    use super::scenarios;

    #[test]
    fn reads_the_list_of_the_suite() {
        let list = "Required for 2026-07-28 (69 scenarios, frozen):\n\n\
            Server scenarios (test against a server):\n  - tools-list\n  - caching\n\n\
            Client scenarios (test against a client):\n  - initialize\n\n\
            Run and reported, but never scored:\n  extension (2):\n    - auth/dpop [client]\n    - tasks-lifecycle [server]\n";
        let found: Vec<_> = scenarios(list)
            .into_iter()
            .map(|s| (s.name, s.required))
            .collect();
        let expected = [
            ("tools-list", true),
            ("caching", true),
            ("tasks-lifecycle", false),
        ];
        assert_eq!(
            found,
            expected.map(|(name, required)| (name.to_owned(), required))
        );
    }
}
