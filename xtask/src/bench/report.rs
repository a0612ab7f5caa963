//! The numbers for a person: a table per cell on the terminal, and what became of the limits.

use super::machine::Machine;
use super::numbers::{ratio, whole};
use super::plan::{Cell, Era, Size, Target};
use super::rounds::Row;
use super::startup::Startup;
use super::title;
use crate::say::say;

/// Everything measured.
pub(super) struct Report {
    pub(super) machine: Machine,
    pub(super) rounds: usize,
    pub(super) seconds: u64,
    pub(super) startup: Option<Startup>,
    pub(super) rows: Vec<Row>,
}

/// One promise and what was measured.
pub(super) struct Limit {
    pub(super) what: String,
    pub(super) limit: &'static str,
    pub(super) measured: String,
    pub(super) held: bool,
}

/// The heads of the columns, in both tables; times in microseconds, memory in MiB.
pub(super) const COLUMNS: [&str; 12] = [
    "through",
    "calls/s",
    "p50",
    "p99",
    "p99.9",
    "CPU/call",
    "core used",
    "RSS",
    "upstream/call",
    "rate : direct",
    "rate : bare",
    "CPU : bare",
];

impl Report {
    /// An empty one.
    pub(super) fn new(machine: Machine, rounds: usize, seconds: u64) -> Self {
        Self {
            machine,
            rounds,
            seconds,
            startup: None,
            rows: Vec::new(),
        }
    }

    /// Prints one cell.
    pub(super) fn print(&self, cell: Cell, rows: &[Row]) {
        say(format_args!("\n{}", title(cell)));
        say(aligned(&COLUMNS.map(str::to_owned)));
        let others: Vec<&Row> = rows.iter().collect();
        for row in rows {
            say(aligned(&cells(row, &others)));
            for remark in &row.remarks {
                say(format_args!("    {}: {remark}", row.target.name()));
            }
        }
    }

    /// Prints what became of the limits.
    pub(super) fn print_summary(&self) {
        let limits = self.limits();
        if limits.is_empty() {
            return;
        }
        say("\nlimits");
        for Limit {
            what,
            limit,
            measured,
            held,
        } in limits
        {
            let verdict = if held { "held" } else { "NOT HELD" };
            say(format_args!(
                "{what:<62} {limit:>12} {measured:>12}  {verdict}"
            ));
        }
    }

    /// Whether any call failed or was repeated.
    pub(super) fn has_errors(&self) -> bool {
        self.rows.iter().any(|row| !row.remarks.is_empty())
    }

    /// The limits that the measured cells can answer.
    pub(super) fn limits(&self) -> Vec<Limit> {
        let mut limits = Vec::new();
        for era in Era::ALL {
            limits.extend(self.added_latency(era));
            limits.extend(self.cpu(era, Size::Small, 35.0, "< 35 us"));
            limits.extend(self.cpu(era, Size::Middle, 60.0, "< 60 us"));
            limits.extend(self.cpu_against_bare(era));
        }
        limits.extend(self.once());
        limits.extend(self.starts());
        limits
    }

    fn row(&self, era: Era, size: Size, connections: usize, target: Target) -> Option<&Row> {
        let cell = Cell {
            era,
            size,
            connections,
        };
        self.rows
            .iter()
            .find(|row| row.cell == cell && row.target == target)
    }

    fn added_latency(&self, era: Era) -> Option<Limit> {
        let p50 = |target| self.row(era, Size::Small, 1, target).map(|row| row.p50);
        let added = p50(Target::Gateway)? - p50(Target::Direct)?;
        Some(Limit {
            what: format!("added p50, {}, 200 B, 1 connection", era.name()),
            limit: "< 100 us",
            measured: format!("{added:.0} us"),
            held: added < 100.0,
        })
    }

    fn cpu(&self, era: Era, size: Size, most: f64, limit: &'static str) -> Option<Limit> {
        let cpu = self.row(era, size, 64, Target::Gateway)?.cpu;
        Some(Limit {
            what: format!(
                "CPU per call, {}, {}, 64 connections",
                era.name(),
                size.name()
            ),
            limit,
            measured: format!("{cpu:.1} us"),
            held: cpu < most,
        })
    }

    fn cpu_against_bare(&self, era: Era) -> Option<Limit> {
        let cpu = |target| self.row(era, Size::Small, 64, target).map(|row| row.cpu);
        let times = cpu(Target::Gateway)? / cpu(Target::Bare)?;
        Some(Limit {
            what: format!(
                "CPU per call over the bare proxy's, {}, 200 B, 64 (aim)",
                era.name()
            ),
            limit: "<= 1.25",
            measured: format!("{times:.2}"),
            held: times <= 1.25,
        })
    }

    fn once(&self) -> Option<Limit> {
        let through = self.rows.iter().filter(|row| row.target == Target::Gateway);
        let worst = through
            .map(|row| row.upstream)
            .max_by(|a, b| (a - 1.0).abs().total_cmp(&(b - 1.0).abs()))?;
        Some(Limit {
            what: "upstream requests per call, the worst cell".to_owned(),
            limit: "1.00",
            measured: format!("{worst:.2}"),
            held: (worst - 1.0).abs() < f64::EPSILON,
        })
    }

    fn starts(&self) -> Vec<Limit> {
        let Some(startup) = &self.startup else {
            return Vec::new();
        };
        let limit = |what: &str, limit, measured: f64, unit: &str, most| Limit {
            what: what.to_owned(),
            limit,
            measured: format!("{measured:.1} {unit}"),
            held: measured < most,
        };
        vec![
            limit(
                "idle memory, no servers",
                "< 25 MiB",
                startup.empty_mib,
                "MiB",
                25.0,
            ),
            limit(
                "idle memory, the echo server",
                "< 25 MiB",
                startup.echo_mib,
                "MiB",
                25.0,
            ),
            limit(
                "start to first answer, no servers",
                "< 100 ms",
                startup.empty_millis,
                "ms",
                100.0,
            ),
            limit(
                "start to first answered call, the echo server",
                "< 100 ms",
                startup.echo_millis,
                "ms",
                100.0,
            ),
        ]
    }
}

/// The columns of one row; `others` are the rows of the same cell.
pub(super) fn cells(row: &Row, others: &[&Row]) -> [String; COLUMNS.len()] {
    let other = |target| {
        others
            .iter()
            .find(|other| other.target == target && row.target != target)
    };
    let (direct, bare) = (other(Target::Direct), other(Target::Bare));
    let bare_cpu = bare
        .filter(|_| row.target == Target::Gateway)
        .map(|bare| bare.cpu);
    let bare_rate = bare
        .filter(|_| row.target == Target::Gateway)
        .map(|bare| bare.rate);
    [
        row.target.name().to_owned(),
        whole(row.rate),
        whole(row.p50),
        whole(row.p99),
        whole(row.p999),
        format!("{:.1}", row.cpu),
        format!("{:.0} %", row.cpu * row.rate / 1e4),
        format!("{:.1}", row.memory),
        format!("{:.2}", row.upstream),
        ratio(row.rate, direct.map(|direct| direct.rate)),
        ratio(row.rate, bare_rate),
        ratio(row.cpu, bare_cpu),
    ]
}

fn aligned(cells: &[String]) -> String {
    let (first, rest) = cells
        .split_first()
        .map_or(("", cells), |(first, rest)| (first.as_str(), rest));
    let rest: Vec<_> = rest
        .iter()
        .zip(&COLUMNS[1..])
        .map(|(cell, head)| format!("{cell:>width$}", width = head.len().max(9)))
        .collect();
    format!("{first:<11} {}", rest.join(" "))
}
