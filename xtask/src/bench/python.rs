//! What a call of Python costs in each way that it can be served: the same tool, the same run, one table.

mod memory;
mod ways;

use anyhow::{Result, bail};

use super::machine::Machine;
use super::mesh::Runs;
use super::mesh::page::{self, Table};
use super::mesh::parts::{self, Load};
use super::numbers::{median, whole};
use super::process::Pins;
use crate::marks::Marks;
use crate::place::Place;
use crate::say::say;
use memory::Memory;
use ways::{Running, Way};

const MARKS: Marks = Marks {
    begin: "<!-- Python: written by cargo xtask bench --python -->",
    end: "<!-- end of Python -->",
};

/// One caller shows what a call takes, so many how many there can be.
const CALLERS: [usize; 2] = [1, 16];

const COLUMNS: [&str; 8] = [
    "callers",
    "through",
    "calls/s",
    "p50",
    "p99",
    "rate : bare process",
    "MiB a process",
    "processes",
];

/// What was measured of a way.
struct Measured {
    way: Way,
    /// For each of [`CALLERS`], in each round.
    loads: [Vec<Load>; CALLERS.len()],
    memory: Memory,
}

/// Measures, prints, and writes the table where `write` says so.
pub(super) fn bench(place: &Place, runs: Runs, embedded: bool, write: bool) -> Result<()> {
    if runs.rounds == 0 || runs.seconds == 0 {
        bail!("nothing to measure: give at least one round of one second");
    }
    parts::build(place)?;
    if embedded {
        ways::build_embedded(place)?;
    }
    let machine = Machine::describe(&Pins::none())?;
    machine.warn_if_busy();
    let ways = Way::ALL.into_iter();
    let ways = ways.filter(|way| embedded || *way != Way::Embedded);
    let mut all: Vec<_> = ways.map(Measured::none).collect();
    for _ in 0..runs.rounds {
        for measured in &mut all {
            measured.round(place, runs.seconds)?;
        }
    }
    let table = table(&all);
    say(table.text());
    if write {
        let page = place.root().join("docs/benchmarks.md");
        page::write(&MARKS, &page, &machine, runs, &[table])?;
    }
    Ok(())
}

impl Measured {
    fn none(way: Way) -> Self {
        Self {
            way,
            loads: Default::default(),
            memory: Memory::default(),
        }
    }

    /// Starts what serves, calls it, and stops it.
    fn round(&mut self, place: &Place, seconds: u64) -> Result<()> {
        say(format_args!("measuring: {}", self.way.name()));
        let running = Running::start(place, self.way)?;
        let seconds = self.way.seconds(seconds);
        for (callers, loads) in CALLERS.into_iter().zip(&mut self.loads) {
            let load = running.load(callers, seconds)?;
            loads.push(load);
        }
        let memory = running.memory(CALLERS[1], seconds.min(2))?;
        self.memory = self.memory.most(memory);
        running.stop()
    }

    fn median(&self, which: usize, get: fn(&Load) -> f64) -> f64 {
        median(self.loads[which].iter().map(get).collect())
    }

    fn rate(&self, which: usize) -> f64 {
        self.median(which, |load| load.rate)
    }
}

fn table(all: &[Measured]) -> Table {
    let mut table = Table::new("One tool, each way", &COLUMNS);
    for (which, callers) in CALLERS.into_iter().enumerate() {
        let bare = find(all, Way::Bare).map(|bare| bare.rate(which));
        for measured in all {
            let rate = measured.rate(which);
            let memory = &measured.memory;
            table.row(&[
                callers.to_string(),
                measured.way.name().to_owned(),
                short(rate),
                whole(measured.median(which, |load| load.p50)),
                whole(measured.median(which, |load| load.p99)),
                bare.filter(|bare| *bare > 0.0)
                    .map_or_else(|| "-".to_owned(), |bare| short(rate / bare)),
                format!("{:.1}", memory.each()),
                memory.processes.to_string(),
            ]);
        }
    }
    limits(&mut table, all);
    table
}

/// A number with a place behind the point where that says something: the ways are thousands apart.
fn short(value: f64) -> String {
    if value < 100.0 {
        format!("{value:.1}")
    } else {
        whole(value)
    }
}

fn limits(table: &mut Table, all: &[Measured]) {
    let rate = |way, which| find(all, way).map_or(0.0, |measured: &Measured| measured.rate(which));
    for (which, callers) in CALLERS.into_iter().enumerate() {
        for way in [Way::Fork, Way::Reuse] {
            let times = rate(way, which) / rate(Way::Cold, which);
            let what = format!("{} over cold, callers: {callers}", way.name());
            table.limit(&what, ">= 10", format!("{times:.1}"), times >= 10.0);
        }
    }
    let share = rate(Way::RoleUnix, 1) / rate(Way::DirectUnix, 1);
    let what = "runner behind the gateway over a Unix socket, of the runner alone, callers: 16";
    table.limit(what, ">= 0.90", format!("{share:.2}"), share >= 0.9);
    if find(all, Way::Embedded).is_some() {
        let others = all.iter().filter(|measured| measured.way != Way::Embedded);
        let fastest = others.map(|other| other.rate(1)).fold(0.0, f64::max);
        let times = rate(Way::Embedded, 1) / fastest;
        let what = "embedded over the fastest of the others, callers: 16";
        table.limit(what, "> 1", format!("{times:.2}"), times > 1.0);
    }
}

fn find(all: &[Measured], way: Way) -> Option<&Measured> {
    all.iter().find(|measured| measured.way == way)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(way: Way, rate: f64) -> Measured {
        let load = || Load {
            rate,
            ..Load::default()
        };
        Measured {
            loads: [vec![load()], vec![load()]],
            ..Measured::none(way)
        }
    }

    #[test]
    fn limits_are_held_against_what_was_measured() {
        let rates = [
            (Way::Bare, 50.0),
            (Way::Cold, 40.0),
            (Way::Fork, 399.0),
            (Way::Reuse, 400.0),
            (Way::DirectUnix, 1000.0),
            (Way::RoleUnix, 900.0),
            (Way::Embedded, 2000.0),
        ];
        let text = table(&rates.map(|(way, rate)| of(way, rate))).text();
        for expected in [
            "| script, warm, fork over cold, callers: 16 | >= 10 | 10.0 | **no** |",
            "| script, warm, reuse over cold, callers: 1 | >= 10 | 10.0 | yes |",
            "of the runner alone, callers: 16 | >= 0.90 | 0.90 | yes |",
            "| embedded over the fastest of the others, callers: 16 | > 1 | 2.00 | yes |",
        ] {
            assert!(text.contains(expected), "{expected}: {text}");
        }
    }

    #[test]
    fn the_page_has_its_marks() {
        let page = include_str!("../../../docs/benchmarks.md");
        assert!(MARKS.replace(page, "new").is_some());
    }
}
