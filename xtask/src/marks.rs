//! What a chore writes into a document: the part between two marks.

use std::fs;
use std::path::Path;

use anyhow::{Context as _, Result};

use crate::say::say;

/// Two marks, each a line of its own.
pub(crate) struct Marks {
    pub(crate) begin: &'static str,
    pub(crate) end: &'static str,
}

impl Marks {
    /// Writes the part anew in a document that has the marks.
    pub(crate) fn write(&self, path: &Path, inner: &str) -> Result<()> {
        let page =
            fs::read_to_string(path).with_context(|| format!("cannot read {}", path.display()))?;
        self.replace_in(path, &page, inner)
    }

    /// Writes a document with the part anew; `page` is what it is so far.
    pub(crate) fn replace_in(&self, path: &Path, page: &str, inner: &str) -> Result<()> {
        let Self { begin, end } = self;
        let page = self.replace(page, inner).with_context(|| {
            format!(
                "{} has lost its two marks, {begin} and {end}",
                path.display()
            )
        })?;
        fs::write(path, page).with_context(|| format!("cannot write {}", path.display()))?;
        say(format_args!("wrote {}", path.display()));
        Ok(())
    }

    /// A page with the part anew.
    pub(crate) fn replace(&self, page: &str, inner: &str) -> Option<String> {
        let Self { begin, end } = self;
        let (before, rest) = page.split_once(begin)?;
        let (_, after) = rest.split_once(end)?;
        Some(format!("{before}{begin}\n\n{inner}\n{end}{after}"))
    }
}

#[cfg(test)]
mod tests {
    use super::Marks;

    #[test]
    fn only_what_is_between_the_marks_is_written_anew() {
        let marks = Marks {
            begin: "<!-- a -->",
            end: "<!-- b -->",
        };
        let first = marks.replace("x\n<!-- a -->\nold\n<!-- b -->\ny\n", "new");
        let first = first.expect("both marks");
        assert_eq!(first, "x\n<!-- a -->\n\nnew\n<!-- b -->\ny\n");
        let second = marks.replace(&first, "newer").expect("both marks");
        assert_eq!(second, "x\n<!-- a -->\n\nnewer\n<!-- b -->\ny\n");
        assert_eq!(marks.replace("x", "new"), None);
    }
}
