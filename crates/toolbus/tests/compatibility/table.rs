//! The page: one table for each era of servers, between two marks; what people wrote around it stays.

use std::collections::BTreeMap;
use std::fmt::Write as _;

use super::columns::Column;
use super::rows::ROWS;
use crate::peer::Revision;
use crate::support::upstream::Era;

const BEGIN: &str = "<!-- seen: written by the test `compatibility` -->";
const END: &str = "<!-- end of what was seen -->";

/// The cells of one column, in the order of the rows.
pub(crate) struct Seen {
    pub(crate) column: Column,
    pub(crate) cells: Vec<Result<&'static str, String>>,
}

/// Both tables.
pub(crate) fn tables(seen: &[Seen]) -> String {
    let mut page = String::new();
    for (server, heading) in [
        (Era::Modern, "A server that knows only 2026-07-28"),
        (
            Era::Legacy,
            "A server that knows only 2025-11-25 and 2025-06-18",
        ),
        (Era::Oldest, "A server that knows only 2024-11-05"),
    ] {
        let _ = writeln!(page, "## {heading}\n");
        let of_server: Vec<_> = seen
            .iter()
            .filter(|it| it.column.server == server)
            .collect();
        let mut clients: Vec<Revision> = of_server.iter().map(|it| it.column.client).collect();
        clients.sort_unstable_by(|a, b| b.cmp(a));
        clients.dedup();
        let names: Vec<_> = clients.iter().map(|client| client.name()).collect();
        let _ = writeln!(page, "| a client of | {} |", names.join(" | "));
        let _ = writeln!(page, "|{}", "---|".repeat(names.len() + 1));
        for (number, row) in ROWS.iter().enumerate() {
            let cells = clients.iter().map(|client| {
                let same = of_server.iter().filter(|it| it.column.client == *client);
                cell(same.map(|it| (it.column, &it.cells[number])))
            });
            let cells: Vec<_> = cells.collect();
            let _ = writeln!(page, "| {} | {} |", row.name, cells.join(" | "));
        }
        page.push('\n');
    }
    page
}

/// What was seen in all the ways between one client and one server; where they differ, each with its ways.
fn cell<'a>(seen: impl Iterator<Item = (Column, &'a Result<&'static str, String>)>) -> String {
    let mut texts: BTreeMap<&str, Vec<&str>> = BTreeMap::new();
    for (column, text) in seen {
        let text = text.as_ref().map_or("**LOST**", |text| text);
        texts.entry(text).or_default().push(column.place());
    }
    if let [text] = *texts.keys().collect::<Vec<_>>() {
        return (*text).to_owned();
    }
    let each = texts.iter();
    let each: Vec<_> = each
        .map(|(text, places)| format!("{text} ({})", places.join("; ")))
        .collect();
    each.join(", ")
}

/// The page with these tables in it.
pub(crate) fn page(before: &str, tables: &str) -> Option<String> {
    let (head, rest) = before.split_once(BEGIN)?;
    let (_, tail) = rest.split_once(END)?;
    Some(format!("{head}{BEGIN}\n\n{tables}{END}{tail}"))
}
