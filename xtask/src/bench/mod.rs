//! Measures what the gateway adds to a call: the same load directly, through a bare proxy and through the gateway, in turns.

mod load;
mod machine;
mod mesh;
mod message;
mod numbers;
mod pages;
mod plan;
pub(crate) mod process;
mod python;
mod report;
mod rig;
mod rounds;
mod startup;

use anyhow::{Result, bail};
use clap::Args;

use crate::place::Place;
use machine::Machine;
use plan::{Cell, Target};
use process::Pins;
use report::Report;
use rig::Rig;
use startup::Startup;

/// How to measure.
#[derive(Args)]
pub(crate) struct Options {
    /// One short round of the most telling cells, in about a minute; writes no file
    #[arg(long)]
    quick: bool,
    /// Only the cells that match, such as `modern/200B/64`, `legacy` or `16KiB/1`; writes no file
    #[arg(long)]
    filter: Option<String>,
    /// Only these, of `direct`, `bare` and `gateway`; fewer than all write no file
    #[arg(long, value_delimiter = ',', default_value = "direct,bare,gateway")]
    targets: Vec<Target>,
    /// Rounds a cell; the medians count
    #[arg(long, default_value_t = 3)]
    rounds: usize,
    /// Seconds a round
    #[arg(long, default_value_t = 2)]
    seconds: u64,
    /// Measure the mesh instead: calls over NATS beside plain NATS requests
    #[arg(long, conflicts_with_all = ["filter", "targets"])]
    mesh: bool,
    /// Measure Python instead: one tool in each way that it can be served
    #[arg(long, conflicts_with_all = ["filter", "targets", "mesh"])]
    python: bool,
    /// Embedded Python too, which is a build of its own
    #[arg(long, requires = "python")]
    embedded: bool,
    /// Write what was measured of Python into docs/benchmarks.md
    #[arg(long, requires = "python")]
    write: bool,
    /// Leave it to the system which core runs what
    #[arg(long)]
    no_pin: bool,
}

impl Options {
    fn rounds(&self) -> (usize, u64) {
        if self.quick {
            (1, 1)
        } else {
            (self.rounds, self.seconds)
        }
    }

    fn is_whole(&self) -> bool {
        !self.quick && self.filter.is_none() && self.targets.len() == Target::ALL.len()
    }
}

/// Measures, prints, and writes `docs/benchmarks.md` when everything was measured.
pub(crate) fn bench(place: &Place, options: &Options) -> Result<()> {
    if options.mesh {
        load::is_there()?;
        let (rounds, seconds) = options.rounds();
        return mesh::bench(place, rounds, seconds, !options.quick);
    }
    if options.python {
        let (rounds, seconds) = options.rounds();
        let runs = mesh::Runs { rounds, seconds };
        return python::bench(place, runs, options.embedded, options.write);
    }
    let cells = plan::cells(options.quick, options.filter.as_deref());
    let (count, seconds) = options.rounds();
    if cells.is_empty() || count == 0 || seconds == 0 {
        bail!(
            "nothing to measure: give a filter such as modern/200B/64, and at least one round of one second"
        );
    }
    load::is_there()?;
    rig::build(place, &options.targets)?;
    let pins = Pins::choose(options.no_pin);
    let machine = Machine::describe(&pins)?;
    machine.warn_if_busy();
    let mut report = Report::new(machine, count, seconds);
    if options.targets.contains(&Target::Gateway) {
        report.startup = Some(Startup::measure(place)?);
    }
    // New servers for each table: memory does not shrink to what the next one needs, and audit files grow.
    for table in cells.chunk_by(|a, b| (a.era, a.size) == (b.era, b.size)) {
        let rig = Rig::start(place, &options.targets, pins)?;
        for cell in table {
            let rows = rounds::measure(&rig, *cell, count, seconds)?;
            report.print(*cell, &rows);
            report.rows.extend(rows);
        }
        rig.stop()?;
    }
    place.scratch("bench")?;
    report.print_summary();
    if report.has_errors() {
        bail!("calls failed or were repeated, see the remarks above: these numbers do not count");
    }
    if options.is_whole() {
        report.write(&place.root().join("docs/benchmarks.md"))?;
    }
    Ok(())
}

/// How the tables and errors call this cell.
fn title(cell: Cell) -> String {
    format!(
        "{} {} at {} connections",
        cell.era.name(),
        cell.size.name(),
        cell.connections
    )
}
