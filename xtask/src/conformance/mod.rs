//! Runs the MCP conformance suite through the gateway, or at the fixture itself, and holds the list of known failures to its word.

mod expected;
mod report;
mod rig;
mod suite;

use anyhow::{Result, bail};
use clap::{Args, ValueEnum};

use crate::place::Place;
use crate::say::say;
use expected::Expected;
use report::{Tally, Verdict};
use suite::Suite;

/// What to run.
#[derive(Args, Clone, Copy)]
pub(crate) struct Options {
    /// Run the suite at the fixture, with no gateway between
    #[arg(long)]
    direct: bool,
    /// How the gateway reaches the fixture
    #[arg(long, default_value = "http")]
    upstream: Upstream,
    /// The revision whose required scenarios run
    #[arg(long, default_value = "all")]
    requirements: Requirements,
}

impl Options {
    /// Every requirement set through the gateway, over this kind of upstream.
    pub(crate) fn through(upstream: Upstream) -> Self {
        Self {
            direct: false,
            upstream,
            requirements: Requirements::All,
        }
    }
}

#[derive(Clone, Copy, PartialEq, ValueEnum)]
pub(crate) enum Upstream {
    Http,
    Stdio,
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

/// What stands before the fixture, as the list of expected failures calls it.
#[derive(Clone, Copy)]
enum Route {
    Direct,
    Through(Upstream),
}

impl Route {
    fn of(options: &Options) -> Result<Self> {
        match (options.direct, options.upstream) {
            (true, Upstream::Http) => Ok(Self::Direct),
            (true, Upstream::Stdio) => {
                bail!("the suite speaks HTTP only: --direct goes without --upstream stdio")
            }
            (false, upstream) => Ok(Self::Through(upstream)),
        }
    }

    fn name(self) -> &'static str {
        match self {
            Self::Direct => "direct",
            Self::Through(Upstream::Http) => "http",
            Self::Through(Upstream::Stdio) => "stdio",
        }
    }
}

/// Runs the suite and prints a table per requirement set; what failed without being expected, or passed in spite of it, is in the answer.
pub(crate) fn conformance(place: &Place, options: &Options) -> Result<Tally> {
    let route = Route::of(options)?;
    let expected = Expected::read(&place.root().join("xtask/expected-failures.yml"))?;
    rig::build(place, route)?;
    let mut total = Tally::default();
    for revision in options.requirements.revisions() {
        total.add(one_set(place, route, revision, &expected)?);
    }
    say(format_args!(
        "conformance: {} passed, {} failed, {} expected",
        total.passed, total.failed, total.expected
    ));
    Ok(total)
}

/// One requirement set at servers of its own, so that no set sees what another left behind.
fn one_set(place: &Place, route: Route, revision: &str, expected: &Expected) -> Result<Tally> {
    let scratch = place.scratch(&format!("conformance-{revision}-{}", route.name()))?;
    let suite = Suite::new(place, revision)?;
    let rig = rig::start(place, route, &scratch)?;
    let results = suite.run(rig.url(), &scratch)?;
    let clean_end = rig.stop();
    let listed = expected.of(revision, route.name());
    let mut verdicts = Verdict::all(&results, listed);
    if let Err(error) = clean_end {
        verdicts.push(Verdict::of_the_end(&error));
    }
    report::print(revision, route.name(), &verdicts);
    Ok(Tally::of(&verdicts))
}
