//! Runs the MCP conformance suite through the gateway and at the fixture itself, and compares the two check by check.

mod clients;
mod compare;
pub(crate) mod driver;
mod expected;
mod report;
mod rig;
mod suite;

use std::thread;

use anyhow::{Result, anyhow};
use clap::{Args, ValueEnum};

use crate::place::Place;
use crate::say::say;
use expected::Expected;
use report::{Tally, Verdict};
use suite::{Leg, ScenarioResult, Suite};

/// What to run.
#[derive(Args, Clone, Copy)]
pub(crate) struct Options {
    /// Run the suite at the fixture only, with no gateway between
    #[arg(long, conflicts_with_all = ["upstream", "clients"])]
    direct: bool,
    /// How the gateway reaches the fixture; in every way if not given
    #[arg(long, conflicts_with = "clients")]
    upstream: Option<Upstream>,
    /// Run the suite's scenarios for clients, with the gateway as the client
    #[arg(long)]
    clients: bool,
    /// The revision whose required scenarios run
    #[arg(long, default_value = "all")]
    requirements: Requirements,
}

impl Options {
    /// Every scenario for servers, in every way.
    pub(crate) const SERVERS: Self = Self {
        direct: false,
        upstream: None,
        clients: false,
        requirements: Requirements::All,
    };
    /// Every scenario for clients.
    pub(crate) const CLIENTS: Self = Self {
        clients: true,
        ..Self::SERVERS
    };

    /// What stands before the fixture in each run; the one without a gateway is what the others are compared with.
    fn routes(self) -> Vec<Route> {
        match (self.direct, self.upstream) {
            (true, _) => vec![Route::Direct],
            (false, Some(upstream)) => vec![Route::Direct, Route::Through(upstream)],
            (false, None) => vec![
                Route::Direct,
                Route::Through(Upstream::Http),
                Route::Through(Upstream::Stdio),
                Route::Through(Upstream::Mesh),
                Route::Through(Upstream::Runner),
            ],
        }
    }
}

#[derive(Clone, Copy, PartialEq, ValueEnum)]
enum Upstream {
    Http,
    Stdio,
    /// A worker serves it, and the gateway has the mesh only.
    Mesh,
    /// Another one, in Python, behind a tool runner.
    Runner,
}

#[derive(Clone, Copy, PartialEq, ValueEnum)]
enum Requirements {
    #[value(name = "2025-11-25")]
    Legacy,
    #[value(name = "2026-07-28")]
    Modern,
    All,
}

impl Requirements {
    fn revisions(self) -> &'static [&'static str] {
        match self {
            Self::Legacy => &["2025-11-25"],
            Self::Modern => &["2026-07-28"],
            Self::All => &["2025-11-25", "2026-07-28"],
        }
    }
}

/// What stands before the fixture.
#[derive(Clone, Copy, PartialEq)]
enum Route {
    Direct,
    Through(Upstream),
}

impl Route {
    /// The name in the list of expected failures.
    fn name(self) -> &'static str {
        match self {
            Self::Direct => "direct",
            Self::Through(Upstream::Http) => "http",
            Self::Through(Upstream::Stdio) => "stdio",
            Self::Through(Upstream::Mesh) => "mesh",
            Self::Through(Upstream::Runner) => "runner",
        }
    }

    fn description(self) -> &'static str {
        match self {
            Self::Direct => "at the fixture itself",
            Self::Through(Upstream::Http) => "through the gateway, the fixture on HTTP",
            Self::Through(Upstream::Stdio) => "through the gateway, the fixture on stdio",
            Self::Through(Upstream::Mesh) => {
                "through gateway and mesh, the fixture served by a worker"
            }
            Self::Through(Upstream::Runner) => {
                "through the gateway, a Python module behind a tool runner"
            }
        }
    }
}

/// Runs the suite and prints a table per requirement set and route; what failed without being expected, lost a check
/// that holds directly, or passed in spite of being listed, is in the answer.
pub(crate) fn conformance(place: &Place, options: &Options) -> Result<Tally> {
    let expected = Expected::read(&place.root().join("xtask/expected-failures.yml"))?;
    rig::build(place)?;
    let mut total = Tally::default();
    for revision in options.requirements.revisions() {
        total.add(match options.clients {
            true => clients::one_set(place, revision, &expected)?,
            false => one_set(place, &options.routes(), revision, &expected)?,
        });
    }
    say(format_args!(
        "conformance: {} passed, {} failed, {} expected, {} skipped",
        total.passed, total.failed, total.expected, total.skipped
    ));
    Ok(total)
}

/// One requirement set over every route at once: most of a run is spent waiting.
fn one_set(place: &Place, routes: &[Route], revision: &str, expected: &Expected) -> Result<Tally> {
    let suite = Suite::new(place, revision, Leg::Server)?;
    let runs = thread::scope(|scope| {
        let started: Vec<_> = routes
            .iter()
            .map(|route| scope.spawn(|| one_run(place, &suite, revision, *route)))
            .collect();
        let ended = started.into_iter().map(|run| run.join());
        ended
            .map(|run| run.unwrap_or_else(|_| Err(anyhow!("a run of the suite panicked"))))
            .collect::<Result<Vec<_>>>()
    })?;
    let mut total = Tally::default();
    // The first route is the direct one.
    let direct = runs.first().map_or(&[][..], |run| &run.results);
    for (route, run) in routes.iter().zip(&runs) {
        let listed = expected.of(revision, route.name());
        let mut verdicts = Verdict::all(route.name(), &run.results, listed, |result| {
            let same = direct.iter().find(|other| other.name == result.name);
            same.map_or_else(Vec::new, |other| {
                compare::losses(&other.checks, &result.checks)
            })
        });
        if let Err(error) = &run.clean_end {
            verdicts.push(Verdict::of_the_end(error));
        }
        report::print(revision, route.description(), &verdicts);
        total.add(Tally::of(&verdicts));
    }
    Ok(total)
}

/// What came of the suite on one route.
struct Run {
    results: Vec<ScenarioResult>,
    clean_end: Result<()>,
}

/// One requirement set on one route at servers of its own, so that no run sees what another left behind.
fn one_run(place: &Place, suite: &Suite, revision: &str, route: Route) -> Result<Run> {
    let scratch = place.scratch(&format!("conformance-{revision}-{}", route.name()))?;
    let rig = rig::start(place, route, &scratch)?;
    let results = suite.run_at(rig.url(), &scratch)?;
    Ok(Run {
        results,
        clean_end: rig.stop(),
    })
}
