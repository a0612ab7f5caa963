//! One Python module with twelve tools, served in every role that Python can have: the same requests get the same answers,
//! but for the differences that are listed.
//!
//! `UPDATE=1 cargo test -p toolbus --test roles` writes the transcripts anew from the first role, and the list of the
//! differences into `docs/python.md`.

#[path = "roles/differences.rs"]
mod differences;
#[path = "support/peer/mod.rs"]
mod peer;
#[path = "roles/play.rs"]
mod play;
#[path = "roles/role.rs"]
mod role;
#[path = "roles/supervised.rs"]
mod supervised;
mod support;
#[path = "roles/transcript.rs"]
mod transcript;

use peer::{Client, Way};
use play::{ERAS, play};
use role::{Role, Stage};
use serde_json::{Value, json};
use transcript::Step;

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
fn a_runner_on_a_port() {
    play(Role::Runner);
}

#[test]
fn a_runner_of_the_gateway_at_a_socket() {
    play(Role::OwnRunner);
}

#[test]
fn a_script_for_each_call() {
    play(Role::Script);
}

#[test]
fn a_fork_of_an_interpreter_that_is_ready() {
    play(Role::Warm);
}

#[test]
fn an_interpreter_that_runs_call_after_call() {
    play(Role::Reused);
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
