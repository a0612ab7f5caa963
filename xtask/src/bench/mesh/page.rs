//! The tables of the mesh, on the terminal and in `docs/benchmarks.md`, in a part of their own there.

use std::fmt::Write as _;
use std::fs;
use std::path::Path;
use std::process::Command;

use anyhow::{Context as _, Result};

use super::super::machine::Machine;
use super::Runs;
use crate::run::capture;
use crate::say::say;

const BEGIN: &str = "<!-- the mesh: written by cargo xtask bench --mesh -->";
const END: &str = "<!-- end of the mesh -->";

/// A table, and what was promised about it.
pub(super) struct Table {
    title: String,
    columns: Vec<String>,
    rows: Vec<Vec<String>>,
    limits: Vec<[String; 4]>,
}

impl Table {
    pub(super) fn new(title: &str, columns: &[&str]) -> Self {
        Self {
            title: title.to_owned(),
            columns: columns.iter().map(|&column| column.to_owned()).collect(),
            rows: Vec::new(),
            limits: Vec::new(),
        }
    }

    pub(super) fn row(&mut self, cells: &[String]) {
        self.rows.push(cells.to_vec());
    }

    pub(super) fn limit(&mut self, what: &str, limit: &str, measured: String, held: bool) {
        let held = if held { "yes" } else { "**no**" };
        self.limits
            .push([what.to_owned(), limit.to_owned(), measured, held.to_owned()]);
    }

    /// As Markdown.
    pub(super) fn text(&self) -> String {
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

/// Writes the tables into their part of the page.
pub(super) fn write(path: &Path, machine: &Machine, runs: Runs, tables: &[Table]) -> Result<()> {
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
    let page =
        fs::read_to_string(path).with_context(|| format!("cannot read {}", path.display()))?;
    let page = replace_between(&page, &inner).with_context(|| {
        format!(
            "{} has lost its two marks, {BEGIN} and {END}",
            path.display()
        )
    })?;
    fs::write(path, page).with_context(|| format!("cannot write {}", path.display()))?;
    say(format_args!("wrote {}", path.display()));
    Ok(())
}

fn replace_between(page: &str, inner: &str) -> Option<String> {
    let (before, rest) = page.split_once(BEGIN)?;
    let (_, after) = rest.split_once(END)?;
    Some(format!("{before}{BEGIN}\n\n{inner}\n{END}{after}"))
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
        let page = replace_between(&format!("x\n{BEGIN}\n{END}\ny"), &text).unwrap();
        assert!(page.starts_with("x\n") && page.ends_with("\ny") && page.contains("### Calls"));
        let real = include_str!("../../../../docs/benchmarks.md");
        assert!(
            replace_between(real, "new").is_some(),
            "the page has its marks"
        );
    }
}
