//! Limits: what exceeds one is stopped, all of it, and told which it was.

use std::io::Write as _;

use serde_json::json;

use super::support::{Gateway, modern_request, wait_for};
use super::{failure, python, shell};

/// A tool that a shell runs within limits; says what came of it, once nothing of it is left.
fn limited(script: &str, limits: &str) -> String {
    let gateway = Gateway::start(&shell(script, &format!("limits = {{ {limits} }}")));
    let said = failure(&gateway, "go", json!({}));
    wait_for("nothing is left", || {
        super::support::descendants(gateway.child.id()).is_empty()
    });
    said
}

#[test]
fn a_script_that_forks_on_and_on_is_stopped() {
    let script = "i=0; while [ $i -lt 200 ]; do sleep 331 & i=$((i+1)); done; wait";
    let said = limited(script, "processes = 20");
    assert!(
        said.starts_with("The script was ended: the script and what it started were more than 20 processes (limit `processes`)."),
        "{said}"
    );
}

#[test]
fn a_memory_hog_is_refused_memory() {
    let Some(python) = python() else { return };
    let script =
        format!("exec {python} -S -E -c 'b = []\nwhile True: b.append(bytearray(1 << 20))'");
    let said = limited(&script, "memory = \"96MiB\"");
    assert!(
        said.contains("MemoryError") && said.contains("a process may have 96 MiB, limit `memory`"),
        "{said}"
    );
}

#[test]
fn memory_is_counted_over_all_processes_of_a_script() {
    let Some(python) = python() else { return };
    // Four of them, each well below the limit.
    let script = format!(
        "for i in 1 2 3 4; do {python} -S -E -c 'b = bytearray(b\"x\" * (40 << 20))\nimport time; time.sleep(333)' & done; wait"
    );
    let said = limited(&script, "memory = \"128MiB\"");
    assert!(
        said.contains("had more than 128 MiB of memory (limit `memory`)"),
        "{said}"
    );
}

#[test]
fn other_limits_are_told_by_their_names() {
    for (script, limits, expected) in [
        (
            "while :; do :; done",
            "cpu = \"1s\"",
            "used more than 1 s of processor time (limit `cpu`)",
        ),
        (
            "exec cat /dev/zero > x",
            "file_size = \"1MiB\"",
            "wrote a file of more than 1 MiB (limit `file_size`)",
        ),
        (
            "exec cat /dev/zero",
            "output = \"1MiB\"",
            "wrote more than 1 MiB to stdout (limit `output`)",
        ),
        (
            "exec sleep 334",
            "timeout = \"1s\"",
            "it ran longer than 1 s (limit `timeout`)",
        ),
        ("ulimit -n", "open_files = 77", "stdout:\n77"),
    ] {
        let said = limited(&format!("{script}; exit 9"), limits);
        assert!(said.contains(expected), "{limits}: {said}");
    }
}

#[test]
fn processor_time_is_counted_over_all_processes_of_a_script() {
    // Each of them uses a third of the limit, and ends.
    let script =
        "spin() { i=0; while [ $i -lt 100000 ]; do i=$((i+1)); done; }; while :; do (spin); done";
    let said = limited(script, "cpu = \"1s\"");
    assert!(said.contains("(limit `cpu`)"), "{said}");
}

#[test]
fn a_deadline_ends_all_of_a_script_and_names_both_limits() {
    let script = "setsid sleep 335 & sleep 336 & wait";
    let gateway = Gateway::start(&format!(
        "[servers.sh]\nidle_timeout = \"1s\"\ntotal_timeout = \"50s\"\n{}",
        shell(script, "")
    ));
    let error = gateway.call("go", json!({})).json()["error"].clone();
    let message = error["message"].as_str().unwrap_or_default();
    assert_eq!(error["code"], -31002, "{error}");
    assert!(
        message.contains("(idle limit 1s, total limit 50s)") && message.contains("sh -c"),
        "{message}"
    );
    wait_for("all of it is gone", || {
        super::support::descendants(gateway.child.id()).is_empty()
    });
}

#[test]
fn a_caller_that_leaves_ends_all_of_a_script() {
    let script = "setsid sleep 337 & sleep 337 & wait";
    let gateway = Gateway::start(&shell(script, ""));
    let mut caller = gateway.connect();
    let request = modern_request("/mcp", "tools/call", json!({"name": "go", "arguments": {}}));
    caller.write_all(&request).expect("sent");
    wait_for("it runs", || gateway.processes("sleep 337") >= 2);
    drop(caller);
    wait_for("all of it is gone", || {
        super::support::descendants(gateway.child.id()).is_empty()
    });
    wait_for("the record", || {
        let mut records = gateway.records().into_iter();
        records.any(|record| record["name"] == "go" && record["outcome"] == "cancelled")
    });
}
