//! Whether calls over the mesh run once and end once, whatever happens to workers and broker: a run of faults that a seed
//! decides, and a count of what became of each call.

pub(crate) mod broker;
mod callers;
mod faults;
mod mesh;
mod outcome;
mod page;
mod plan;
pub(crate) mod process;
mod random;
mod verdict;

use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use anyhow::{Context as _, Result, bail};
use clap::Args;
use tokio::runtime::Builder;
use tokio::time::timeout;

use crate::place::{Place, cargo};
use crate::run::run;
use crate::say::say;
use crate::soak::kernel;
use crate::soak::requests::Endpoint;
use callers::{Call, Shared};
use faults::Window;
use mesh::Mesh;
use page::Run;
use plan::{Kind, Plan};
use verdict::Verdict;

/// How the mesh looks.
const WORKERS: usize = 3;
const GATEWAYS: usize = 2;

/// How often each kind of fault comes at least in a run that is counted in calls.
const EACH: usize = 8;

/// How long callers may take to get their last answers: as long as one of them waits for one.
const LAST_ANSWERS: Duration = Duration::from_secs(70);

/// A run that takes longer than this hangs. The longest takes some minutes.
const LONGEST: Duration = Duration::from_secs(45 * 60);

/// What to do.
#[derive(Args)]
pub(crate) struct Options {
    /// Decides which faults come when; the time of day where it is not given
    #[arg(long)]
    seed: Option<u64>,
    /// How many calls at least
    #[arg(long, default_value_t = 200_000)]
    calls: u64,
    /// End after so many seconds instead, however many calls and faults there were
    #[arg(long)]
    seconds: Option<u64>,
    /// Callers at once
    #[arg(long, default_value_t = 64)]
    callers: usize,
    /// Use the debug build
    #[arg(long)]
    debug: bool,
    /// Write the table into docs/reliability.md
    #[arg(long)]
    write: bool,
}

impl Options {
    /// What CI runs.
    pub(crate) fn slice() -> Self {
        Self {
            seed: None,
            calls: 0,
            seconds: Some(20),
            callers: 64,
            debug: true,
            write: false,
        }
    }
}

/// How many rules held, and how many did not.
#[derive(Clone, Copy)]
pub(crate) struct Tally {
    pub(crate) passed: usize,
    pub(crate) failed: usize,
}

/// Runs, as a chore of its own.
pub(crate) fn chore(place: &Place, options: &Options) -> Result<()> {
    match chaos(place, options)?.failed {
        0 => Ok(()),
        broken => bail!("{broken} rules were broken, the first cases of each are above"),
    }
}

/// Runs and prints the table.
pub(crate) fn chaos(place: &Place, options: &Options) -> Result<Tally> {
    let profile = if options.debug { "debug" } else { "release" };
    build(place, options.debug)?;
    let seed = options.seed.unwrap_or_else(time_of_day);
    say(format_args!("chaos with --seed {seed}"));
    let runtime = Builder::new_current_thread().enable_all().build()?;
    let run = runtime.block_on(async {
        tokio::select! {
            run = timeout(LONGEST, whole(place, options, seed, profile)) => run.context("the run hangs")?,
            _ = tokio::signal::ctrl_c() => bail!("interrupted"),
        }
    })?;
    run.print()?;
    if options.write {
        run.write(&place.root().join("docs/reliability.md"))?;
    }
    let broken = |rule: &verdict::Rule| rule.broken > 0;
    let failed = run
        .verdict
        .rules()
        .iter()
        .filter(|(_, rule)| broken(rule))
        .count();
    Ok(Tally {
        passed: run.verdict.rules().len() - failed,
        failed,
    })
}

async fn whole(place: &Place, options: &Options, seed: u64, profile: &'static str) -> Result<Run> {
    let mesh = Mesh::start(place, profile, (WORKERS, GATEWAYS)).await?;
    let endpoints = mesh.gateways.iter().map(Endpoint::of);
    let endpoints = endpoints.collect::<Result<Vec<_>>>()?;
    let shared = Shared::new(seed);
    let mut callers = callers::begin(&shared, &endpoints, options.callers);
    for worker in 0..WORKERS {
        mesh.serves(worker).await?;
    }
    let windows = break_things(&mesh, options, &shared).await?;
    shared.enough();
    let mut calls = Vec::new();
    let last_answers = async {
        while let Some(made) = callers.join_next().await {
            calls.extend(made??);
        }
        Ok::<_, anyhow::Error>(())
    };
    timeout(LAST_ANSWERS, last_answers)
        .await
        .context("callers still wait for answers")??;
    let seconds = shared.epoch.elapsed().as_secs_f64();
    let (audits, ledgers): (Vec<_>, Vec<_>) = (
        (0..GATEWAYS).map(|gateway| mesh.audit(gateway)).collect(),
        (0..WORKERS).map(|worker| mesh.ledger(worker)).collect(),
    );
    let mark = mesh.mark();
    mesh.stop().await?;
    let nobody = kernel::settled(
        Duration::from_secs(10),
        || Ok(kernel::marked(&mark)),
        Vec::is_empty,
    );
    if let [left, ..] = nobody.await?.as_slice() {
        bail!("process {} ({}) was left behind", left.pid, left.name);
    }
    let verdict = judge(&calls, &ledgers, &audits, &windows)?;
    Ok(Run {
        seed,
        profile,
        seconds,
        callers: options.callers,
        gateways: GATEWAYS,
        workers: WORKERS,
        faults: windows.iter().map(|window| window.kind).collect(),
        verdict,
    })
}

/// Fault after fault, until there were enough of them and of calls, or the time is over.
async fn break_things(
    mesh: &Mesh<'_>,
    options: &Options,
    shared: &Arc<Shared>,
) -> Result<Vec<Window>> {
    let mut windows: Vec<Window> = Vec::new();
    for fault in Plan::new(shared.seed(), WORKERS) {
        let enough = match options.seconds {
            Some(seconds) => shared.epoch.elapsed() >= Duration::from_secs(seconds),
            None => {
                let count = |kind| windows.iter().filter(|window| window.kind == kind).count();
                let faults = Kind::ALL.into_iter().all(|kind| count(kind) >= EACH);
                faults && shared.made() >= options.calls
            }
        };
        if enough {
            break;
        }
        mesh.gateways_serve()?;
        let what = match fault.kind {
            Kind::KillBroker => "KillBroker".to_owned(),
            kind => format!("{kind:?} {}", fault.worker),
        };
        let window = faults::inflict(mesh, &fault, shared)
            .await
            .with_context(|| what.clone())?;
        say(format_args!(
            "{:>6.1} s  {what}, felt for {:.1} s; {} calls so far",
            window.from.as_secs_f64(),
            (window.until - window.from).as_secs_f64(),
            shared.made()
        ));
        windows.push(window);
    }
    Ok(windows)
}

fn judge(
    calls: &[Call],
    ledgers: &[std::path::PathBuf],
    audits: &[std::path::PathBuf],
    windows: &[Window],
) -> Result<Verdict> {
    let executions = verdict::executions(ledgers)?;
    let records = audits.iter().map(|audit| verdict::records(audit));
    let records = records.collect::<Result<Vec<_>>>()?;
    Ok(Verdict::of(calls, &executions, &records, windows))
}

fn build(place: &Place, debug: bool) -> Result<()> {
    let mut build = cargo();
    build.args(["build", "--quiet", "-p", "toolbus", "--bin", "toolbus"]);
    build.args(["-p", "toolbus-testkit", "--bin", "ledger"]);
    if !debug {
        build.arg("--release");
    }
    say("building");
    run(build.current_dir(place.root()))
}

/// A seed that nobody chose.
fn time_of_day() -> u64 {
    let now = SystemTime::now().duration_since(UNIX_EPOCH);
    now.map_or(0, |now| now.as_secs())
}
