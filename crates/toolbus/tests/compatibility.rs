//! Every client with every server: what each gets is looked at, written to `docs/compatibility.md`, and never nothing.
//!
//! `UPDATE=1 cargo test -p toolbus --test compatibility` writes the page anew.

#[path = "compatibility/columns.rs"]
mod columns;
#[path = "support/peer/mod.rs"]
mod peer;
#[path = "compatibility/rows/mod.rs"]
mod rows;
mod support;
#[path = "compatibility/table.rs"]
mod table;

use std::collections::BTreeMap;
use std::process::Command;
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};

use columns::{Column, Place};
use peer::{Client, Revision, Way};
use rows::ROWS;
use serde_json::json;
use support::upstream::{Era, Upstream};
use table::Seen;

/// Columns that run at once. Most of their time is waiting for a notification or a pause.
const AT_ONCE: usize = 10;

#[test]
fn every_client_gets_something_from_every_server() {
    let seen = look_at_all(&Column::all());
    let tables = table::tables(&seen);
    let lost: Vec<String> = seen.iter().flat_map(lost).collect();
    assert!(
        lost.is_empty(),
        "lost without a word:\n{}\n\n{tables}",
        lost.join("\n")
    );
    let path = support::workspace("docs/compatibility.md");
    let before = std::fs::read_to_string(&path).expect("the page");
    let after = table::page(&before, &tables).expect("the page has its two marks");
    if std::env::var_os("UPDATE").is_some() {
        std::fs::write(&path, after).expect("written");
    } else {
        assert!(
            before == after,
            "docs/compatibility.md says something else; UPDATE=1 writes it anew:\n{tables}"
        );
    }
}

fn look_at_all(columns: &[Column]) -> Vec<Seen> {
    let (next, seen) = (AtomicUsize::new(0), Mutex::new(Vec::new()));
    std::thread::scope(|scope| {
        for _ in 0..AT_ONCE {
            scope.spawn(|| {
                while let Some(column) = columns.get(next.fetch_add(1, Ordering::Relaxed)) {
                    let one = look_at(*column);
                    seen.lock().expect("no panic").push(one);
                }
            });
        }
    });
    seen.into_inner().expect("no panic")
}

/// Every row in one column, with one client as long as it hears what it may hear.
fn look_at(column: Column) -> Seen {
    let place = Place::new(column);
    let mut client = place.client(column.client.capabilities());
    let mut cells = Vec::new();
    for row in ROWS {
        let mut plain = row.plain.then(|| place.client(json!({})));
        let got = match plain.as_mut().unwrap_or(&mut client) {
            Ok(client) => (row.run)(client, column.server),
            Err(error) => Err(error.clone()),
        };
        if got.is_err() && !row.plain {
            client = place.client(column.client.capabilities());
        }
        cells.push(got.map(|got| row.cell(column.client, column.server, got)));
    }
    Seen { column, cells }
}

/// What was lost in a column, with the rows that have it in common.
fn lost(seen: &Seen) -> Vec<String> {
    let Column { client, server, .. } = seen.column;
    let (client, server) = (client.name(), server.name());
    let mut lost: BTreeMap<&str, Vec<&str>> = BTreeMap::new();
    for (row, cell) in ROWS.iter().zip(&seen.cells) {
        if let Err(error) = cell {
            lost.entry(error).or_default().push(row.name);
        }
    }
    let place = seen.column.place();
    let each = lost.into_iter();
    each.map(|(error, rows)| {
        let rows = rows.join(", ");
        format!("{client}, {server} server, {place}: {rows}: {error}")
    })
    .collect()
}

/// The rows hold where no gateway takes part, so that what is lost with one is the gateway's doing.
#[test]
fn every_client_gets_everything_from_a_server_of_its_own_era() {
    for (client, server) in [
        (Revision::V2026_07_28, Era::Modern),
        (Revision::V2025_11_25, Era::Legacy),
        (Revision::V2025_06_18, Era::Legacy),
        (Revision::V2024_11_05, Era::Oldest),
    ] {
        let upstream = Upstream::start(server);
        for over_http in [true, false] {
            let connect = |capabilities| {
                let mut stdio = Command::new(support::testkit("fixture"));
                stdio.args(["stdio", "--era", server.name()]);
                let way = match over_http {
                    true if server == Era::Oldest => Way::Sse(upstream.address()),
                    true => Way::Http(upstream.address(), "/mcp".to_owned()),
                    false => Way::Stdio(stdio),
                };
                Client::connect(way, client, capabilities).expect("connected")
            };
            let mut peer = connect(client.capabilities());
            for row in ROWS {
                let mut plain = row.plain.then(|| connect(json!({})));
                let peer = plain.as_mut().unwrap_or(&mut peer);
                if let Err(error) = (row.run)(peer, server) {
                    panic!("{} ({}): {error}", row.name, client.name());
                }
            }
        }
    }
}
