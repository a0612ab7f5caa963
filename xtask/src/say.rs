//! The one place that writes to the terminal.

use std::fmt::Display;
use std::io::Write as _;

/// Writes one line to stdout.
pub(crate) fn say(line: impl Display) {
    let mut stdout = std::io::stdout().lock();
    // A reader that went away, as `head` does, is no reason to stop a chore half way.
    let _ = writeln!(stdout, "{line}");
    let _ = stdout.flush();
}

/// Writes one line to stderr.
pub(crate) fn complain(line: impl Display) {
    let _ = writeln!(std::io::stderr().lock(), "{line}");
}
