//! One Python module with twelve tools, served in every role that Python can have: the same requests get the same answers,
//! but for the differences that are listed.
//!
//! `UPDATE=1 cargo test -p toolbus --test roles` writes the transcripts anew from the first role, and the list of the
//! differences into `docs/python.md`.

#[path = "roles/differences.rs"]
mod differences;
#[path = "support/peer/mod.rs"]
mod peer;
#[path = "roles/role.rs"]
mod role;
#[path = "roles/supervised.rs"]
mod supervised;
mod support;
#[path = "roles/transcript.rs"]
mod transcript;

use peer::{Client, Revision, Way};
use role::{Role, Stage};
use serde_json::{Value, json};
use transcript::{Seen, Step};

/// The eras in which clients call: each request on its own, and sessions.
const ERAS: [Revision; 2] = [Revision::V2026_07_28, Revision::V2025_11_25];

/// Plays the transcripts in one role, by clients of both eras.
fn play(role: Role) {
    let Some(stage) = Stage::set(role) else {
        return;
    };
    let (steps, definitions) = (transcript::steps(), transcript::definitions());
    for era in ERAS {
        let way = Way::Http(stage.gateway.address, "/mcp".to_owned());
        let mut client = Client::connect(way, era, era.capabilities()).expect("connected");
        let listed = client.get("tools/list", json!({})).expect("a list");
        assert_eq!(listed["tools"], definitions, "{role:?}, {}", era.name());
        let seen: Vec<Seen> = steps.iter().map(|step| step.play(&mut client)).collect();
        let wrong: Vec<String> = steps
            .iter()
            .zip(&seen)
            .filter_map(|(step, seen)| differences::judge(role, step, seen))
            .collect();
        assert!(
            wrong.is_empty(),
            "{role:?} to a client of {}:\n{}",
            era.name(),
            wrong.join("\n")
        );
    }
}

/// What the first role does is what is expected of all.
#[test]
fn the_host_on_stdio() {
    if std::env::var_os("UPDATE").is_some() {
        record();
    }
    play(Role::Host);
}

#[test]
fn a_worker_of_the_mesh() {
    play(Role::Mesh);
}

#[test]
fn a_script_for_each_call() {
    play(Role::Script);
}

#[test]
fn every_difference_is_one_and_is_told() {
    let steps = transcript::steps();
    differences::check(&steps);
    let path = support::workspace("docs/python.md");
    let before = std::fs::read_to_string(&path).expect("the page");
    let after = differences::page(&before).expect("the page has its two marks");
    if std::env::var_os("UPDATE").is_some() {
        std::fs::write(&path, after).expect("written");
    } else {
        assert!(
            before == after,
            "docs/python.md lists other differences; UPDATE=1 writes it anew:\n{}",
            differences::table()
        );
    }
}

fn record() {
    let Some(stage) = Stage::set(Role::Host) else {
        return;
    };
    let way = Way::Http(stage.gateway.address, "/mcp".to_owned());
    let mut client = Client::connect(way, ERAS[0], ERAS[0].capabilities()).expect("connected");
    let listed = client.get("tools/list", json!({})).expect("a list");
    let steps: Vec<Step> = transcript::steps();
    let seen: Vec<Value> = steps
        .into_iter()
        .map(|step| {
            let seen = step.play(&mut client);
            step.with(seen).written()
        })
        .collect();
    transcript::write(&listed["tools"], &seen);
}
