//! The table of a run, and the page that shows it.

use std::fmt::Write as _;
use std::path::Path;

use anyhow::Result;

use super::plan::Kind;
use super::verdict::Verdict;
use crate::marks::Marks;
use crate::say::say;

const MARKS: Marks = Marks {
    begin: "<!-- measured: written by cargo xtask chaos -->",
    end: "<!-- end of what was measured -->",
};

/// One run.
pub(super) struct Run {
    pub(super) seed: u64,
    pub(super) profile: &'static str,
    pub(super) seconds: f64,
    pub(super) callers: usize,
    pub(super) gateways: usize,
    pub(super) workers: usize,
    pub(super) faults: Vec<Kind>,
    pub(super) verdict: Verdict,
}

impl Run {
    /// How often a kind of fault came.
    pub(super) fn count(&self, kind: Kind) -> usize {
        self.faults.iter().filter(|known| **known == kind).count()
    }

    /// The table, in Markdown.
    pub(super) fn table(&self) -> Result<String> {
        let mut table = String::new();
        writeln!(
            table,
            "Seed {}, {} build: {} gateways, {} workers, {} callers, {:.0} s.\n",
            self.seed, self.profile, self.gateways, self.workers, self.callers, self.seconds
        )?;
        writeln!(table, "| fault | times |\n|---|---|")?;
        for kind in Kind::ALL {
            writeln!(table, "| {} | {} |", kind.name(), self.count(kind))?;
        }
        writeln!(table, "\n| what was seen | count |\n|---|---|")?;
        for (what, count) in self.seen() {
            writeln!(table, "| {what} | {count} |")?;
        }
        writeln!(table, "\n| calls | count | must be |\n|---|---|---|")?;
        for (what, rule) in self.verdict.rules() {
            writeln!(table, "| {what} | {} | 0 |", rule.broken)?;
        }
        Ok(table)
    }

    fn seen(&self) -> Vec<(String, String)> {
        let seen = &self.verdict.seen;
        let mut rows = vec![
            ("calls".to_owned(), seen.calls.to_string()),
            (
                "of the tool in claim mode".to_owned(),
                seen.once.to_string(),
            ),
            (
                "of the tool in direct mode".to_owned(),
                seen.again.to_string(),
            ),
            ("answered with their result".to_owned(), seen.ok.to_string()),
        ];
        for (code, (count, _)) in &seen.errors {
            rows.push((
                format!("answered with the error {code}, {}", meaning(*code)),
                count.to_string(),
            ));
        }
        rows.extend([
            (
                "told \"outcome unknown\", and had run".to_owned(),
                seen.unknown_ran.to_string(),
            ),
            (
                "told \"outcome unknown\", and had not run".to_owned(),
                seen.unknown_did_not.to_string(),
            ),
            ("executions".to_owned(), seen.executions.to_string()),
            (
                "ran more than once in direct mode, as is allowed there".to_owned(),
                seen.repeated.to_string(),
            ),
            (
                "made while a worker drained and nothing else was wrong".to_owned(),
                seen.during_drains.to_string(),
            ),
            (
                "longest call, in seconds".to_owned(),
                format!("{:.1}", seen.longest),
            ),
        ]);
        rows
    }

    /// Shows the table, and the first of everything that must not be.
    pub(super) fn print(&self) -> Result<()> {
        say(self.table()?);
        for (code, (_, message)) in &self.verdict.seen.errors {
            say(format_args!("the first error {code}: {message}"));
        }
        for (what, rule) in self.verdict.rules() {
            for example in &rule.examples {
                say(format_args!("{what}: {example}"));
            }
        }
        Ok(())
    }

    /// Writes the table into the page.
    pub(super) fn write(&self, path: &Path) -> Result<()> {
        MARKS.write(path, &self.table()?)
    }
}

fn meaning(code: i64) -> &'static str {
    match code {
        -31001 => "nobody serves it, nothing was run",
        -31002 => "its time was over",
        -31003 => "the outcome is unknown",
        -31004 => "no room, nothing was run",
        -31006 => "what it goes on with is lost",
        _ => "as in docs/errors.md",
    }
}
