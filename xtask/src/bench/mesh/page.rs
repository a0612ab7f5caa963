//! Tables of the mesh and the like, on the terminal and in `docs/benchmarks.md`, in a part of their own there.

use std::fmt::Write as _;
use std::path::Path;
use std::process::Command;

use anyhow::Result;

use super::super::machine::Machine;
use super::Runs;
use crate::marks::Marks;
use crate::run::capture;

/// The part of the mesh.
pub(super) const MARKS: Marks = Marks {
    begin: "<!-- the mesh: written by cargo xtask bench --mesh -->",
    end: "<!-- end of the mesh -->",
};

/// A table, and what was promised about it.
pub(in crate::bench) struct Table {
    title: String,
    columns: Vec<String>,
    rows: Vec<Vec<String>>,
    limits: Vec<[String; 4]>,
}

impl Table {
    pub(in crate::bench) fn new(title: &str, columns: &[&str]) -> Self {
        Self {
            title: title.to_owned(),
            columns: columns.iter().map(|&column| column.to_owned()).collect(),
            rows: Vec::new(),
            limits: Vec::new(),
        }
    }

    pub(in crate::bench) fn row(&mut self, cells: &[String]) {
        self.rows.push(cells.to_vec());
    }

    pub(in crate::bench) fn limit(
        &mut self,
        what: &str,
        limit: &str,
        measured: String,
        held: bool,
    ) {
        let held = if held { "yes" } else { "**no**" };
        self.limits
            .push([what.to_owned(), limit.to_owned(), measured, held.to_owned()]);
    }

    /// As Markdown.
    pub(in crate::bench) fn text(&self) -> String {
        let mut text = format!("### {}\n\n", self.title);
        lines(&mut text, &self.columns, &self.rows);
        if !self.limits.is_empty() {
            let columns = ["what", "limit", "measured", "held"].map(str::to_owned);
            let limits: Vec<_> = self.limits.iter().map(|limit| limit.to_vec()).collect();
            text.push('\n');
            lines(&mut text, &columns, &limits);
        }
        text
    }
}

fn lines(text: &mut String, columns: &[String], rows: &[Vec<String>]) {
    let mut line = |cells: &[String]| {
        text.push_str(&format!("| {} |\n", cells.join(" | ")));
    };
    line(columns);
    line(&vec!["---".to_owned(); columns.len()]);
    rows.iter().for_each(|row| line(row));
}

/// Writes the tables into a part of the page.
pub(in crate::bench) fn write(
    marks: &Marks,
    path: &Path,
    machine: &Machine,
    runs: Runs,
    tables: &[Table],
) -> Result<()> {
    let mut inner = String::new();
    let date = capture(Command::new("date").arg("+%Y-%m-%d"))?;
    writeln!(
        inner,
        "Measured on {}, rounds: {}, seconds a round: {}. Latencies in microseconds.\n",
        date.trim(),
        runs.rounds,
        runs.seconds
    )?;
    for line in machine.lines() {
        writeln!(inner, "- {line}")?;
    }
    if let Some(busy) = machine.busy() {
        writeln!(inner, "\n**{busy}**")?;
    }
    for table in tables {
        write!(inner, "\n{}", table.text())?;
    }
    marks.write(path, &inner)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_table_goes_between_its_marks() {
        let mut table = Table::new("Calls", &["a", "b"]);
        table.row(&["1".to_owned(), "2".to_owned()]);
        table.limit("a", "> 0", "1".to_owned(), true);
        let text = table.text();
        assert!(
            text.contains("| a | b |\n| --- | --- |\n| 1 | 2 |\n"),
            "{text}"
        );
        assert!(text.contains("| a | > 0 | 1 | yes |"), "{text}");
        let real = include_str!("../../../../docs/benchmarks.md");
        assert!(
            MARKS.replace(real, "new").is_some(),
            "the page has its marks"
        );
    }
}
