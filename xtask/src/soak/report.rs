//! What was measured, and whether the bounds held.

use std::fmt::Write as _;
use std::fs;
use std::path::Path;

use anyhow::{Context as _, Result};

use crate::say::say;

/// Everything that was measured.
#[derive(Default)]
pub(crate) struct Report(Vec<Row>);

struct Row {
    part: &'static str,
    what: String,
    measured: String,
    /// The bound, and whether it held.
    bound: Option<(String, bool)>,
}

impl Report {
    /// Something worth knowing that has no bound.
    pub(super) fn note(&mut self, part: &'static str, what: &str, measured: impl ToString) {
        self.add(part, what, measured.to_string(), None);
    }

    /// Something that must hold.
    pub(super) fn hold(
        &mut self,
        part: &'static str,
        what: &str,
        measured: impl ToString,
        bound: impl ToString,
        held: bool,
    ) {
        self.add(
            part,
            what,
            measured.to_string(),
            Some((bound.to_string(), held)),
        );
    }

    fn add(
        &mut self,
        part: &'static str,
        what: &str,
        measured: String,
        bound: Option<(String, bool)>,
    ) {
        let row = Row {
            part,
            what: what.to_owned(),
            measured,
            bound,
        };
        // Shown as it comes: a soak takes minutes.
        say(row.line());
        self.0.push(row);
    }

    /// Bounds that held.
    pub(crate) fn held(&self) -> usize {
        self.0
            .iter()
            .filter(|row| matches!(row.bound, Some((_, true))))
            .count()
    }

    /// Bounds that did not hold.
    pub(crate) fn broken(&self) -> usize {
        self.0
            .iter()
            .filter(|row| matches!(row.bound, Some((_, false))))
            .count()
    }

    /// The whole table.
    pub(super) fn print(&self) {
        self.0.iter().map(Row::line).for_each(say);
        say(format_args!(
            "{} bounds held, {} broken",
            self.held(),
            self.broken()
        ));
    }

    /// The whole table as a page.
    pub(super) fn write(&self, path: &Path) -> Result<()> {
        let mut page =
            "| part | what | measured | bound | held |\n|---|---|---|---|---|\n".to_owned();
        for row in &self.0 {
            let (bound, held) = match &row.bound {
                Some((bound, held)) => (bound.as_str(), if *held { "yes" } else { "**no**" }),
                None => ("", ""),
            };
            writeln!(
                page,
                "| {} | {} | {} | {bound} | {held} |",
                row.part, row.what, row.measured
            )?;
        }
        fs::write(path, page).with_context(|| format!("cannot write {}", path.display()))?;
        say(format_args!("wrote {}", path.display()));
        Ok(())
    }
}

impl Row {
    fn line(&self) -> String {
        let bound = match &self.bound {
            Some((bound, true)) => format!("held: {bound}"),
            Some((bound, false)) => format!("BROKEN: {bound}"),
            None => String::new(),
        };
        format!(
            "{:<11} {:<58} {:>20}   {bound}",
            self.part, self.what, self.measured
        )
    }
}
