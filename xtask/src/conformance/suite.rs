//! The conformance suite as a command: which scenarios a revision asks for, and what each of its checks answered.

use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use anyhow::{Context as _, Result, bail};
use serde::Deserialize;

use crate::place::Place;
use crate::run::{capture, not_started};

/// How long a client may take for one scenario, in milliseconds: none has more to do than some calls.
const CLIENT_WITHIN_MS: &str = "20000";

/// Which side of the protocol is under test.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) enum Leg {
    Server,
    Client,
}

impl Leg {
    fn name(self) -> &'static str {
        match self {
            Self::Server => "server",
            Self::Client => "client",
        }
    }

    /// What stands before a scenario's name in the name of its folder.
    fn prefix(self) -> &'static str {
        match self {
            Self::Server => "server-",
            Self::Client => "",
        }
    }
}

/// The suite, for one requirement set and one side.
pub(super) struct Suite {
    node: PathBuf,
    program: PathBuf,
    revision: String,
    leg: Leg,
    scenarios: Vec<Scenario>,
}

#[derive(Clone, Debug, PartialEq)]
pub(super) struct Scenario {
    pub(super) name: String,
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
    pub(super) status: Status,
    #[serde(rename = "errorMessage")]
    pub(super) error: Option<String>,
    #[serde(default)]
    pub(super) details: Details,
}

impl Check {
    /// What it says about itself, where it says anything.
    pub(super) fn reason(&self) -> Option<&str> {
        self.error.as_deref().or(self.details.message.as_deref())
    }
}

/// How a check ended, the worst first.
#[derive(Clone, Copy, Debug, Deserialize, PartialEq, Eq, PartialOrd, Ord)]
#[serde(rename_all = "UPPERCASE")]
pub(super) enum Status {
    Failure,
    Warning,
    Skipped,
    Info,
    Success,
}

impl Status {
    pub(super) fn name(self) -> &'static str {
        match self {
            Self::Failure => "failure",
            Self::Warning => "warning",
            Self::Skipped => "skipped",
            Self::Info => "info",
            Self::Success => "success",
        }
    }
}

/// What a check adds, of which only a word to the reader matters here.
#[derive(Default, Deserialize)]
pub(super) struct Details {
    pub(super) message: Option<String>,
}

impl Suite {
    /// Asks the suite which scenarios this revision's requirements hold for this side.
    pub(super) fn new(place: &Place, revision: &str, leg: Leg) -> Result<Self> {
        let (node, program) = (place.tool("node"), place.tool("conformance"));
        let mut list = Command::new(&node);
        list.arg(&program).arg("list");
        list.args([&format!("--{}", leg.name()), "--requirements", revision]);
        let scenarios = scenarios(&capture(&mut list)?, leg);
        if scenarios.is_empty() {
            bail!(
                "the suite lists no {} scenario for {revision}: its output has changed, see `scenarios` in {}",
                leg.name(),
                file!()
            );
        }
        Ok(Self {
            node,
            program,
            revision: revision.to_owned(),
            leg,
            scenarios,
        })
    }

    /// The scenarios that are to run.
    pub(super) fn scenarios(&self) -> &[Scenario] {
        &self.scenarios
    }

    /// Runs every scenario at the server of this URL.
    pub(super) fn run_at(&self, url: &str, scratch: &Path) -> Result<Vec<ScenarioResult>> {
        let mut suite = self.command();
        suite.args(["server", "--url", url, "--requirements", &self.revision]);
        quietly(&mut suite, scratch, "suite")?;
        let folders = folders(scratch)?;
        let results = self.scenarios.iter();
        results.map(|each| self.result(each, &folders)).collect()
    }

    /// Runs one scenario with this command as the client, to which the suite adds the URL of its server.
    pub(super) fn run_client(
        &self,
        scenario: &Scenario,
        client: &str,
        scratch: &Path,
    ) -> Result<ScenarioResult> {
        let mut suite = self.command();
        suite.args(["client", "--command", client]);
        suite.args(["--scenario", &scenario.name]);
        suite.args(["--spec-version", &self.revision]);
        suite.args(["--timeout", CLIENT_WITHIN_MS]);
        quietly(&mut suite, scratch, &scenario.name)?;
        self.result(scenario, &folders(scratch)?)
    }

    fn command(&self) -> Command {
        let mut command = Command::new(&self.node);
        command.arg(&self.program);
        command
    }

    /// The checks in the folder of this scenario, which is called by its name and the time; without a folder there are none.
    fn result(&self, scenario: &Scenario, folders: &[PathBuf]) -> Result<ScenarioResult> {
        let prefix = format!("{}{}-", self.leg.prefix(), scenario.name);
        let is_ours = |path: &&PathBuf| {
            let name = path.file_name().unwrap_or_default().to_string_lossy();
            // One name may begin another: what follows ours is the time, which begins with a year.
            name.strip_prefix(&prefix)
                .is_some_and(|rest| rest.starts_with("20"))
        };
        let checks = match folders.iter().find(is_ours) {
            Some(folder) => read_checks(&folder.join("checks.json"))?,
            None => Vec::new(),
        };
        Ok(ScenarioResult {
            name: scenario.name.clone(),
            required: scenario.required,
            checks,
        })
    }
}

/// Runs the suite with its results and what it writes in this folder.
fn quietly(suite: &mut Command, scratch: &Path, name: &str) -> Result<()> {
    let output = File::create(scratch.join(format!("{name}.log")))?;
    suite.arg("--output-dir").arg(scratch.join("results"));
    suite
        .stdin(Stdio::null())
        .stdout(output.try_clone()?)
        .stderr(output);
    // Its exit status says that something failed, which the checks say better.
    suite.status().map_err(|error| not_started(suite, &error))?;
    Ok(())
}

fn folders(scratch: &Path) -> Result<Vec<PathBuf>> {
    let entries = fs::read_dir(scratch.join("results")).with_context(|| {
        let folder = scratch.display();
        format!("the suite wrote no results: see its log in {folder}")
    })?;
    entries.map(|entry| Ok(entry?.path())).collect()
}

fn read_checks(file: &Path) -> Result<Vec<Check>> {
    // A scenario that broke off has a folder and no checks.
    let Ok(text) = fs::read_to_string(file) else {
        return Ok(Vec::new());
    };
    serde_json::from_str(&text).with_context(|| format!("cannot parse {}", file.display()))
}

/// Reads `conformance list`: indented names, required ones first, then those that are never scored.
fn scenarios(list: &str, leg: Leg) -> Vec<Scenario> {
    let mark = format!(" [{}]", leg.name());
    let heading = match leg {
        Leg::Server => "Server scenarios",
        Leg::Client => "Client scenarios",
    };
    let (mut required, mut ours) = (true, false);
    let mut found = Vec::new();
    for line in list.lines() {
        if line.starts_with("Server scenarios") || line.starts_with("Client scenarios") {
            ours = line.starts_with(heading);
        } else if line.contains("never scored") {
            (required, ours) = (false, false);
        }
        let Some(name) = line.trim_start().strip_prefix("- ") else {
            continue;
        };
        let name = match name.strip_suffix(&mark) {
            Some(name) => name,
            None if ours => name,
            None => continue,
        };
        found.push(Scenario {
            name: name.trim().to_owned(),
            required,
        });
    }
    found
}

#[cfg(test)]
mod tests {
    use super::{Leg, scenarios};

    const LIST: &str = "Required for 2026-07-28 (69 scenarios, frozen):\n\n\
        Server scenarios (test against a server):\n  - tools-list\n  - caching\n\n\
        Client scenarios (test against a client):\n  - initialize\n\n\
        Run and reported, but never scored:\n  extension (2):\n    - auth/dpop [client]\n    - tasks-lifecycle [server]\n";

    fn listed(leg: Leg) -> Vec<(String, bool)> {
        let found = scenarios(LIST, leg).into_iter();
        found.map(|s| (s.name, s.required)).collect()
    }

    #[test]
    fn reads_the_list_of_the_suite() {
        let owned = |(name, required): (&str, bool)| (name.to_owned(), required);
        let server = [
            ("tools-list", true),
            ("caching", true),
            ("tasks-lifecycle", false),
        ];
        assert_eq!(listed(Leg::Server), server.map(owned));
        let client = [("initialize", true), ("auth/dpop", false)];
        assert_eq!(listed(Leg::Client), client.map(owned));
    }
}
