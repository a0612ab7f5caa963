//! The rows of the table: each does one thing as a client of its revision would, and says what the client got.

use crate::peer::{Client, Revision};
use crate::support::upstream::Era;

mod asking;
mod basics;
mod calls;
mod news;

/// What a client got.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum Got {
    /// What this client expects of a server of its own revision.
    All,
    /// Something else, in a few words.
    Instead(&'static str),
}

/// One row.
pub(crate) struct Row {
    pub(crate) name: &'static str,
    /// The two eras do this in ways of their own, so that one has to be turned into the other.
    pub(crate) differs: bool,
    /// Done by a client that declares nothing: on stdio an older server is a process of its own for each set of
    /// capabilities, and tells what happens in the one without any.
    pub(crate) plain: bool,
    /// Does it. An error is what was lost without a word.
    pub(crate) run: fn(&mut Client, Era) -> Result<Got, String>,
}

impl Row {
    /// The text of a cell.
    pub(crate) fn cell(&self, client: Revision, server: Era, got: Got) -> &'static str {
        let crosses = client.is_modern() != server.is_modern();
        match got {
            Got::Instead(what) => what,
            Got::All if self.differs && crosses => "bridged",
            Got::All => "same",
        }
    }
}

const fn alike(name: &'static str, run: fn(&mut Client, Era) -> Result<Got, String>) -> Row {
    Row {
        name,
        differs: false,
        plain: false,
        run,
    }
}

const fn differs(name: &'static str, run: fn(&mut Client, Era) -> Result<Got, String>) -> Row {
    Row {
        name,
        differs: true,
        plain: false,
        run,
    }
}

const fn plain(name: &'static str, run: fn(&mut Client, Era) -> Result<Got, String>) -> Row {
    Row {
        name,
        differs: true,
        plain: true,
        run,
    }
}

/// Every row, in the order of the page.
pub(crate) const ROWS: &[Row] = &[
    alike("tools", basics::tools),
    alike("structured content: an object", basics::structured_object),
    alike("structured content: anything else", basics::structured_list),
    alike("prompts", basics::prompts),
    alike("resources", basics::resources),
    differs("an unknown resource", basics::unknown_resource),
    alike("resource templates", basics::templates),
    alike("completion", basics::completion),
    alike("a method of an extension", basics::extension),
    differs("cache hints", basics::cache_hints),
    alike("progress", calls::progress),
    differs("logging at a level", calls::logging),
    differs("elicitation by a form", asking::form),
    differs("elicitation by a URL", asking::page),
    differs("a page that must be opened first", asking::page_first),
    differs("sampling", asking::sampling),
    differs("roots", asking::roots),
    differs("several questions in one call", asking::several),
    differs("a question that the client refuses", asking::refusal),
    plain(
        "a question that the client cannot answer",
        asking::undeclared,
    ),
    plain("subscription to a resource", news::resource),
    plain("changes of lists", news::lists),
    differs("cancellation reaches the server", calls::cancellation),
    differs("a stream that breaks off", calls::resumption),
    alike("ping by the client", calls::ping),
    differs("ping by the server", calls::ping_by_the_server),
    alike("tasks", calls::tasks),
];

/// Fails with these words unless something holds.
fn holds(condition: bool, complaint: impl FnOnce() -> String) -> Result<(), String> {
    match condition {
        true => Ok(()),
        false => Err(complaint()),
    }
}

/// The newest revision that a server speaks.
fn revision(server: Era) -> Revision {
    match server {
        Era::Both | Era::Modern => Revision::V2026_07_28,
        Era::Legacy => Revision::V2025_11_25,
        Era::Oldest => Revision::V2024_11_05,
    }
}

/// Client and server both have something.
fn both(client: &Client, server: Era, has: fn(Revision) -> bool) -> bool {
    has(client.revision()) && has(revision(server))
}
