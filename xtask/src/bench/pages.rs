//! `docs/benchmarks.md`: the part between two marks is written anew, what people wrote around it stays.

use std::fmt::Write as _;
use std::fs;
use std::path::Path;
use std::process::Command;

use anyhow::Result;

use super::plan::{Era, Size};
use super::report::{COLUMNS, Report, cells};
use super::rounds::Row;
use crate::marks::Marks;
use crate::run::capture;

const MARKS: Marks = Marks {
    begin: "<!-- measured: written by cargo xtask bench -->",
    end: "<!-- end of what was measured -->",
};

/// What stands around the numbers while nobody wrote anything else.
const AROUND: &str = include_str!("../../bench/page.md");

impl Report {
    /// Writes the page.
    pub(super) fn write(&self, path: &Path) -> Result<()> {
        let page = fs::read_to_string(path).unwrap_or_else(|_| AROUND.to_owned());
        MARKS.replace_in(path, &page, &self.page()?)
    }

    fn page(&self) -> Result<String> {
        let mut page = String::new();
        let date = capture(Command::new("date").arg("+%Y-%m-%d"))?;
        writeln!(
            page,
            "Measured on {}, rounds a cell: {}, seconds a round: {}\n",
            date.trim(),
            self.rounds,
            self.seconds
        )?;
        for line in self.machine.lines() {
            writeln!(page, "- {line}")?;
        }
        if let Some(busy) = self.machine.busy() {
            writeln!(page, "\n**{busy}**")?;
        }
        self.write_limits(&mut page)?;
        for era in Era::ALL {
            for size in Size::ALL {
                self.write_table(&mut page, era, size)?;
            }
        }
        Ok(page)
    }

    fn write_limits(&self, page: &mut String) -> Result<()> {
        writeln!(page, "\n## The limits we hold ourselves to\n")?;
        writeln!(
            page,
            "| what | limit | measured | held |\n|---|---|---|---|"
        )?;
        for limit in self.limits() {
            let held = if limit.held { "yes" } else { "**no**" };
            writeln!(
                page,
                "| {} | {} | {} | {held} |",
                limit.what, limit.limit, limit.measured
            )?;
        }
        Ok(())
    }

    fn write_table(&self, page: &mut String, era: Era, size: Size) -> Result<()> {
        writeln!(page, "\n## {}, {}\n", size.name(), era.revision())?;
        writeln!(page, "| connections | {} |", COLUMNS.join(" | "))?;
        writeln!(page, "|{}", "---|".repeat(COLUMNS.len() + 1))?;
        let rows = self
            .rows
            .iter()
            .filter(|row| row.cell.era == era && row.cell.size == size);
        let rows: Vec<&Row> = rows.collect();
        for same in rows.chunk_by(|a, b| a.cell == b.cell) {
            for row in same {
                writeln!(
                    page,
                    "| {} | {} |",
                    row.cell.connections,
                    cells(row, same).join(" | ")
                )?;
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::{AROUND, MARKS};

    #[test]
    fn keeps_what_stands_around() {
        let written = MARKS.replace(AROUND, "new").unwrap();
        assert!(written.starts_with("# Benchmarks") && written.contains("new"));
    }
}
