//! Nothing of a payload is lost: generated JSON goes through every door to every kind of server, and arrives byte by byte.
//!
//! Each run has a seed of its own, which a failure names; `TOOLBUS_SEED=N` repeats it.

#[path = "lossless/cases.rs"]
mod cases;
#[path = "lossless/definitions.rs"]
mod definitions;
#[path = "lossless/generate.rs"]
mod generate;
#[path = "support/peer/mod.rs"]
mod peer;
mod support;

use std::path::Path;
use std::process::Stdio;
use std::time::{SystemTime, UNIX_EPOCH};

use cases::{Between, CASES};
use definitions::Definitions;
use generate::Random;
use peer::{Client, Revision, Way};
use serde_json::json;
use support::Gateway;
use support::upstream::{Era, Upstream};

/// A way into the gateway.
#[derive(Clone, Copy, Debug)]
enum Door {
    Http,
    Stdio,
}

const DOORS: [(Revision, Door); 7] = [
    (Revision::V2026_07_28, Door::Http),
    (Revision::V2025_11_25, Door::Http),
    (Revision::V2025_06_18, Door::Http),
    (Revision::V2025_03_26, Door::Http),
    // HTTP+SSE.
    (Revision::V2024_11_05, Door::Http),
    (Revision::V2026_07_28, Door::Stdio),
    (Revision::V2025_11_25, Door::Stdio),
];

#[test]
fn every_payload_arrives_as_it_was_sent() {
    let seed = seed();
    let folder = tempfile::tempdir().expect("a folder");
    let definitions = Definitions::new(&mut Random::new(seed));
    let file = folder.path().join("verbatim.json");
    definitions.write(&file);
    let servers = [
        (Era::Modern, true),
        (Era::Modern, false),
        (Era::Legacy, true),
        (Era::Legacy, false),
        // HTTP+SSE.
        (Era::Oldest, true),
    ];
    let lost = std::thread::scope(|scope| {
        let (definitions, file) = (&definitions, file.as_path());
        let started = servers.map(|(era, over_http)| {
            scope.spawn(move || through(era, over_http, seed, definitions, file))
        });
        let ended = started.map(|run| run.join().expect("no panic"));
        ended.concat()
    });
    assert!(
        lost.is_empty(),
        "TOOLBUS_SEED={seed} repeats this:\n{}",
        lost.join("\n")
    );
}

/// A passage that parses and writes anew is what this file is to find out: nearly every value shows it.
#[test]
fn a_passage_that_parses_is_found_out() {
    let mut random = Random::new(1);
    let (mut unreadable, mut changed) = (0, 0);
    for _ in 0..200 {
        let sent = generate::object(&mut random);
        match serde_json::from_str::<serde_json::Value>(&sent) {
            Ok(parsed) => {
                changed += usize::from(cases::same("", &sent, &parsed.to_string()).is_err())
            }
            Err(_) => unreadable += 1,
        }
        let read = serde_json::from_str::<Box<serde_json::value::RawValue>>(&sent);
        assert!(read.is_ok(), "it is JSON: {sent}");
        assert_eq!(cases::same("", &sent, &sent), Ok(()));
    }
    // Empty objects and plain ones pass a parser unharmed.
    assert!(
        changed > 60 && unreadable > 20,
        "{changed} changed, {unreadable} unreadable"
    );
}

fn seed() -> u64 {
    let given = std::env::var("TOOLBUS_SEED").ok();
    given.map_or_else(
        || {
            let now = SystemTime::now().duration_since(UNIX_EPOCH);
            u64::from(now.unwrap_or_default().subsec_nanos())
        },
        |seed| seed.parse().expect("a number"),
    )
}

/// Every case through every door to one server; what was lost, in words.
fn through(
    era: Era,
    over_http: bool,
    seed: u64,
    definitions: &Definitions,
    file: &Path,
) -> Vec<String> {
    let verbatim = ["--verbatim", file.to_str().expect("UTF-8")];
    let upstream = over_http.then(|| Upstream::start_with(era, &verbatim));
    let config = match &upstream {
        Some(upstream) => format!("[servers.fx.http]\nurl = {:?}\n", upstream.url()),
        None => {
            let era = ["stdio", "--era", era.name()];
            Gateway::server("fx", "fixture", &[&era[..], &verbatim[..]].concat())
        }
    };
    let gateway = Gateway::start(&config);
    let mut lost = Vec::new();
    for (revision, door) in DOORS {
        let way = match door {
            Door::Http if revision == Revision::V2024_11_05 => Way::Sse(gateway.address),
            Door::Http => Way::Http(gateway.address, "/mcp".to_owned()),
            Door::Stdio => on_stdio(gateway.folder.path()),
        };
        let place = format!(
            "{} by {door:?} to {era:?}, HTTP {over_http}",
            revision.name()
        );
        let between = Between {
            client: revision,
            server: era,
        };
        let tried = Client::connect(way, revision, revision.capabilities())
            .and_then(|client| one_way(client, between, seed, definitions));
        match tried {
            Ok(found) => lost.extend(found.iter().map(|what| format!("{place}: {what}"))),
            Err(error) => lost.push(format!("{place}: {error}")),
        }
    }
    lost
}

/// `toolbus stdio` with the configuration of the gateway in this folder.
fn on_stdio(folder: &Path) -> Way {
    let state = folder.join("stdio");
    std::fs::create_dir_all(&state).expect("a folder");
    let log = std::fs::File::create(state.join("log")).expect("a log");
    let mut command = support::command(&state);
    command.arg("stdio").arg(folder.join("toolbus.toml"));
    command.stderr(Stdio::from(log));
    Way::Stdio(command)
}

fn one_way(
    mut client: Client,
    between: Between,
    seed: u64,
    definitions: &Definitions,
) -> Result<Vec<String>, String> {
    match between.client.is_modern() {
        true => client.log_level = Some("debug"),
        false => drop(client.get("logging/setLevel", json!({ "level": "debug" }))?),
    }
    let mut random = Random::new(seed ^ between.client as u64);
    let mut lost = Vec::new();
    for (name, times, case) in CASES {
        for _ in 0..*times {
            if let Err(error) = case(&mut client, between, &mut random) {
                lost.push(format!("{name}: {error}"));
            }
        }
    }
    if let Err(error) = definitions.compare(&mut client) {
        lost.push(format!("definitions: {error}"));
    }
    Ok(lost)
}
