//! What the mesh costs, each beside a plain NATS request and reply of the same run.

mod kills;
pub(super) mod page;
pub(super) mod parts;

use std::time::Duration;

use anyhow::{Context as _, Result, bail};
use serde_json::json;

use super::machine::Machine;
use super::message::Message;
use super::numbers::{median, ratio, whole};
use super::plan::{Cell, Era, Size};
use super::process::{Pins, resident_mib};
use crate::http::Connection;
use crate::place::Place;
use crate::say::say;
use crate::server::Server;
use crate::soak::requests::Endpoint;
use page::Table;
use parts::{Ask, Load, Stage};

/// Callers and bytes, in the order of the table.
const CELLS: [(usize, usize); 4] = [(1, 200), (16, 200), (64, 200), (64, 16 * 1024)];

/// Of the four workers between which calls are routed one is as slow as this, the others as that, in milliseconds.
const SLOW: u64 = 20;
const FAST: u64 = 1;

/// The crowd in the catalog.
const WORKERS: usize = 300;
const SERVERS: usize = 100;
const TOOLS: usize = 10_000;

/// How long it may take until all of it is listed.
const ALL_LISTED: Duration = Duration::from_secs(30);

/// Measures everything and writes the tables where `write` says so.
pub(super) fn bench(place: &Place, rounds: usize, seconds: u64, write: bool) -> Result<()> {
    parts::build(place)?;
    let machine = Machine::describe(&Pins::none())?;
    machine.warn_if_busy();
    let runs = Runs { rounds, seconds };
    let mut tables = Vec::new();
    for measure in [bare, door, python, routing] {
        let stage = Stage::start(place)?;
        let table = measure(&stage, runs)?;
        say(table.text());
        tables.push(table);
    }
    for table in [
        kills::table(&Stage::start(place)?)?,
        catalog(&Stage::start(place)?, rounds)?,
    ] {
        say(table.text());
        tables.push(table);
    }
    if write {
        page::write(
            &page::MARKS,
            &place.root().join("docs/benchmarks.md"),
            &machine,
            runs,
            &tables,
        )?;
    }
    Ok(())
}

/// How often and how long each thing is measured; the medians count.
#[derive(Clone, Copy)]
pub(super) struct Runs {
    pub(super) rounds: usize,
    pub(super) seconds: u64,
}

impl Runs {
    /// Measures these in turns, and takes the medians of each.
    fn of<const N: usize>(
        self,
        mut measure: impl FnMut(usize, u64) -> Result<Load>,
    ) -> Result<[Load; N]> {
        let mut all: [Vec<Load>; N] = std::array::from_fn(|_| Vec::new());
        for round in 0..self.rounds {
            for turn in 0..N {
                // Each round begins with another one, so that none is always the first.
                let which = (turn + round) % N;
                let load = measure(which, self.seconds)?;
                if let Some(why) = &load.why {
                    bail!("{} calls failed, the first because: {why}", load.failed);
                }
                all[which].push(load);
            }
        }
        Ok(all.map(|loads| {
            let of = |get: fn(&Load) -> f64| median(loads.iter().map(get).collect());
            Load {
                rate: of(|load| load.rate),
                p50: of(|load| load.p50),
                p99: of(|load| load.p99),
                ..Load::default()
            }
        }))
    }
}

/// Both ends of the mesh without doors, and a plain request.
fn bare(stage: &Stage<'_>, runs: Runs) -> Result<Table> {
    let _echo = stage.raw_echo("bench.raw")?;
    let _worker = stage.worker("echo", 0, 0)?;
    let mut table = Table::new(
        "Without a door: a Rust worker",
        &[
            "callers",
            "message",
            "through",
            "calls/s",
            "p50",
            "p99",
            "rate : raw",
            "p50 over raw",
        ],
    );
    for (callers, size) in CELLS {
        let [raw, direct, claim] = runs.of(|which, seconds| match which {
            0 => stage.raw("bench.raw", callers, seconds, &"m".repeat(size)),
            1 => stage.load(&Ask::new("echo", "echo", callers, seconds, size)),
            _ => stage.load(&Ask::new("echo", "echo_once", callers, seconds, size)),
        })?;
        for (name, load) in [
            ("raw request", &raw),
            ("direct", &direct),
            ("claim", &claim),
        ] {
            table.row(&[
                callers.to_string(),
                bytes(size),
                name.to_owned(),
                whole(load.rate),
                whole(load.p50),
                whole(load.p99),
                ratio(load.rate, Some(raw.rate)),
                whole(load.p50 - raw.p50),
            ]);
        }
        if (callers, size) == (64, 200) {
            let share = direct.rate / raw.rate;
            table.limit(
                "direct mode at 64 callers, of the raw rate",
                ">= 0.60",
                format!("{share:.2}"),
                share >= 0.6,
            );
        }
    }
    Ok(table)
}

/// The whole way of a call: HTTP, the gateway, NATS, a worker.
fn door(stage: &Stage<'_>, runs: Runs) -> Result<Table> {
    let _echo = stage.raw_echo("bench.raw")?;
    let _worker = stage.worker("echo", 0, 0)?;
    let gateway = stage.gateway("echo")?;
    let mut table = Table::new(
        "With the HTTP door",
        &[
            "callers",
            "through",
            "calls/s",
            "p50",
            "p99",
            "p50 over raw",
        ],
    );
    for callers in [1, 16, 64] {
        let cell = Cell {
            era: Era::Modern,
            size: Size::Small,
            connections: callers,
        };
        let message = Message::new(cell, gateway.url(), None)?;
        message.check(&mut Connection::open(gateway.url())?, 1)?;
        let [raw, http] = runs.of(|which, seconds| match which {
            0 => stage.raw("bench.raw", callers, seconds, &"m".repeat(200)),
            _ => stage.wrk(gateway.url(), message.template(), callers, seconds),
        })?;
        for (name, load) in [("raw request", &raw), ("HTTP, gateway, mesh", &http)] {
            table.row(&[
                callers.to_string(),
                name.to_owned(),
                whole(load.rate),
                whole(load.p50),
                whole(load.p99),
                whole(load.p50 - raw.p50),
            ]);
        }
        if callers == 1 {
            let above = http.p50 - raw.p50;
            table.limit(
                "p50 at one caller, above raw",
                "< 150 us",
                format!("{above:.0} us"),
                above < 150.0,
            );
        }
    }
    gateway.stop()?;
    Ok(table)
}

/// A function of Python: with the SDK, and as one would write it without.
fn python(stage: &Stage<'_>, runs: Runs) -> Result<Table> {
    let call = json!({
        "jsonrpc": "2.0", "id": 1, "method": "tools/call",
        "params": {"name": "echo", "arguments": {"message": "m".repeat(200)}},
    });
    let _fastmcp = stage.fastmcp("bench.fastmcp")?;
    let _raw = stage.raw_echo("bench.raw")?;
    let _sdk = stage.python_worker("sdk")?;
    let mut table = Table::new(
        "A Python function, one process",
        &[
            "callers",
            "through",
            "calls/s",
            "p50",
            "p99",
            "rate : FastMCP",
        ],
    );
    for callers in [1, 64] {
        let [raw, plain, sdk] = runs.of(|which, seconds| match which {
            0 => stage.raw("bench.raw", callers, seconds, &"m".repeat(200)),
            1 => stage.raw("bench.fastmcp", callers, seconds, &call.to_string()),
            _ => stage.load(&Ask::new("sdk", "echo", callers, seconds, 200)),
        })?;
        let rows = [
            ("raw request, Rust", &raw),
            ("FastMCP behind nats-py", &plain),
            ("Python SDK, worker", &sdk),
        ];
        for (name, load) in rows {
            table.row(&[
                callers.to_string(),
                name.to_owned(),
                whole(load.rate),
                whole(load.p50),
                whole(load.p99),
                ratio(load.rate, Some(plain.rate)),
            ]);
        }
        if callers == 64 {
            let times = sdk.rate / plain.rate;
            table.limit(
                "SDK over FastMCP behind nats-py, 64 callers",
                ">= 4",
                format!("{times:.1}"),
                times >= 4.0,
            );
        }
    }
    Ok(table)
}

/// Four workers, one of them slow.
fn routing(stage: &Stage<'_>, runs: Runs) -> Result<Table> {
    let delays = [FAST, FAST, FAST, SLOW];
    let workers = delays.iter().enumerate();
    let _workers = workers
        .map(|(number, delay)| stage.worker("routed", number, *delay))
        .collect::<Result<Vec<_>>>()?;
    let ask = |queue, seconds| Ask {
        queue,
        workers: delays.len(),
        ..Ask::new("routed", "echo", 16, seconds, 200)
    };
    let [queue, load] = runs.of(|which, seconds| stage.load(&ask(which == 0, seconds)))?;
    let mut table = Table::new(
        &format!("Four workers, one of which takes {SLOW} ms instead of {FAST} ms, 16 callers"),
        &["routing", "calls/s", "p50", "p99"],
    );
    for (name, load) in [("queue group", &queue), ("load", &load)] {
        table.row(&[
            name.to_owned(),
            whole(load.rate),
            whole(load.p50),
            whole(load.p99),
        ]);
    }
    Ok(table)
}

/// Many tools of many workers.
fn catalog(stage: &Stage<'_>, rounds: usize) -> Result<Table> {
    let empty = stage.gateway_alone()?;
    let alone = resident_mib(empty.pid())?;
    empty.stop()?;
    let _crowd = stage.crowd(WORKERS, SERVERS, TOOLS)?;
    let gateway = stage.gateway("crowd000_0000")?;
    let begun = std::time::Instant::now();
    while list(&gateway)?.0 != TOOLS && begun.elapsed() < ALL_LISTED {
        std::thread::sleep(Duration::from_millis(100));
    }
    let mut times = Vec::new();
    for _ in 0..rounds.max(3) {
        let (tools, time) = list(&gateway)?;
        if tools != TOOLS {
            bail!("{tools} tools are listed, not {TOOLS}");
        }
        times.push(time.as_secs_f64() * 1e3);
    }
    let (time, memory) = (median(times), resident_mib(gateway.pid())?);
    gateway.stop()?;
    let mut table = Table::new(
        &format!("{TOOLS} tools of a kibibyte, {WORKERS} workers"),
        &["what", "measured"],
    );
    table.row(&[
        "the whole list, in pages of 1,000, over HTTP".to_owned(),
        format!("{time:.1} ms"),
    ]);
    table.row(&[
        "memory of the gateway".to_owned(),
        format!("{memory:.1} MiB"),
    ]);
    table.row(&[
        "of one with an empty mesh".to_owned(),
        format!("{alone:.1} MiB"),
    ]);
    table.limit(
        "the whole list",
        "< 50 ms",
        format!("{time:.1} ms"),
        time < 50.0,
    );
    Ok(table)
}

/// Every page of the list: how many tools, and how long it took.
fn list(gateway: &Server) -> Result<(usize, Duration)> {
    let endpoint = Endpoint::of(gateway)?;
    let mut connection = Connection::open(gateway.url())?;
    let (mut tools, mut cursor, mut time) = (0, None, Duration::ZERO);
    loop {
        let params = cursor.map_or_else(|| json!({}), |cursor: String| json!({"cursor": cursor}));
        let request = endpoint.modern(1, "tools/list", None, params)?;
        let begun = std::time::Instant::now();
        let answer = connection.exchange(&request)?;
        time += begun.elapsed();
        let page: serde_json::Value = serde_json::from_slice(&answer.body)?;
        let entries = page["result"]["tools"].as_array();
        tools += entries.with_context(|| answer.text())?.len();
        match page["result"]["nextCursor"].as_str() {
            Some(next) => cursor = Some(next.to_owned()),
            None => return Ok((tools, time)),
        }
    }
}

fn bytes(size: usize) -> String {
    if size < 1024 {
        format!("{size} B")
    } else {
        format!("{} KiB", size / 1024)
    }
}
