//! What the gateway bears, seen on the real binary: children that come and go by the thousand, sessions and streams by
//! the ten thousand, clients that do not read or write, and more calls than there is room for.

mod children;
pub(crate) mod client;
mod full;
pub(crate) mod kernel;
mod load;
mod mesh;
mod pulse;
mod report;
pub(crate) mod requests;
mod rig;
mod saturation;
mod slow;
mod storm;
mod unread;

use std::time::Instant;

use anyhow::{Context as _, Result, bail};
use clap::{Args, ValueEnum};
use rustix::process::{Resource, getrlimit, setrlimit};
use tokio::runtime::Builder;

use crate::place::{Place, cargo};
use crate::run::run;
use crate::say::say;
use report::Report;
use rig::Ground;

/// Descriptors that the clients of the largest part need, and as many again for the gateway, which inherits the limit.
const DESCRIPTORS: u64 = 16_000;

/// What to do.
#[derive(Args)]
pub(crate) struct Options {
    /// Only these parts
    #[arg(long = "part", value_delimiter = ',')]
    parts: Vec<Part>,
    /// A slice of each part with the debug build, in less than a minute
    #[arg(long)]
    short: bool,
    /// All of it, with the debug build: numbers of no worth, but the same bounds
    #[arg(long)]
    debug: bool,
}

/// One thing that is borne.
#[derive(Clone, Copy, Debug, PartialEq, ValueEnum)]
enum Part {
    /// Starts and ends of a child, in every way there is to end
    Children,
    /// Many servers at once, at a cold start
    Storm,
    /// Idle sessions and open streams, and an update for all of them
    Load,
    /// Clients that write byte by byte, or do not read
    Slow,
    /// More calls than there is room for
    Saturation,
    /// Calls over the mesh that nobody waits for
    Mesh,
}

impl Options {
    /// What CI runs.
    pub(crate) fn short() -> Self {
        Self {
            parts: Vec::new(),
            short: true,
            debug: false,
        }
    }
}

/// Runs the parts, prints what was measured, and fails where something was not borne.
pub(crate) fn soak(place: &Place, options: &Options) -> Result<Report> {
    let debug = options.short || options.debug;
    let profile = if debug { "debug" } else { "release" };
    build(place, debug)?;
    raise_descriptors()?;
    let parts = match options.parts.as_slice() {
        [] => Part::value_variants(),
        parts => parts,
    };
    let runtime = Builder::new_current_thread().enable_all().build()?;
    let mut report = Report::default();
    for part in parts {
        let name = part
            .to_possible_value()
            .map(|value| value.get_name().to_owned());
        let name = name.unwrap_or_default();
        let begun = Instant::now();
        let ground = Ground {
            place,
            profile,
            scratch: place.scratch(&format!("soak-{name}"))?,
        };
        let run = async {
            match part {
                Part::Children => children::run(&ground, options.short, &mut report).await,
                Part::Storm => storm::run(&ground, options.short, &mut report).await,
                Part::Load => load::run(&ground, options.short, &mut report).await,
                Part::Slow => slow::run(&ground, options.short, &mut report).await,
                Part::Saturation => saturation::run(&ground, options.short, &mut report).await,
                Part::Mesh => mesh::run(&ground, options.short, &mut report).await,
            }
        };
        runtime
            .block_on(run)
            .with_context(|| format!("soak {name}"))?;
        say(format_args!(
            "{name}: {:.1} s",
            begun.elapsed().as_secs_f64()
        ));
    }
    if parts.len() > 1 {
        say("");
        report.print();
    }
    report.write(&place.lasting("soak")?.join("report.md"))?;
    Ok(report)
}

/// The same, as a chore of its own.
pub(crate) fn chore(place: &Place, options: &Options) -> Result<()> {
    match soak(place, options)?.broken() {
        0 => Ok(()),
        broken => bail!("{broken} bounds were not held, each marked above"),
    }
}

fn build(place: &Place, debug: bool) -> Result<()> {
    let mut build = cargo();
    build.args([
        "build",
        "--quiet",
        "-p",
        "toolbus",
        "-p",
        "toolbus-testkit",
        "--bins",
    ]);
    if !debug {
        build.arg("--release");
    }
    say("building");
    run(build.current_dir(place.root()))
}

fn raise_descriptors() -> Result<()> {
    let mut limit = getrlimit(Resource::Nofile);
    if limit.maximum.is_some_and(|maximum| maximum < DESCRIPTORS) {
        bail!(
            "the system lets us open {:?} files; {DESCRIPTORS} are needed",
            limit.maximum
        );
    }
    limit.current = limit.maximum;
    setrlimit(Resource::Nofile, limit).context("the limit of open files cannot be raised")
}
