//! Many calls at once, and the end of the gateway in the midst of calls.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::mpsc::{SyncSender, sync_channel};
use std::time::Duration;

use serde_json::{Value, json};

use super::support::{Gateway, PATIENCE, descendants, is_running, modern_request, wait_for};
use super::{said, shell};

/// Processes at once.
const AT_ONCE: u64 = 8;

const CALLS: u64 = 300;

/// The last of a crowd waits for all others, on a machine that may be busy.
const IN_A_CROWD: Duration = Duration::from_secs(120);

/// What a gateway grows by between a crowd and the next one of the same size, at most.
const GROWTH: u64 = 16 * 1024;

/// Each call says how many there were beside it, itself included, and its own number.
const COUNT: &str = r#"read -r given; : > "$D/$$"; sleep 0.02; set -- "$D"/*; n=$#; rm "$D/$$"; printf '{"beside": %s, "given": %s}' "$n" "$given""#;

/// Makes all calls at once; answers with how many processes there were at most.
fn crowd(gateway: &Gateway) -> u64 {
    let most = std::thread::scope(|scope| {
        let calls: Vec<_> = (0..CALLS)
            .map(|n| scope.spawn(move || one(gateway, n)))
            .collect();
        calls
            .into_iter()
            .map(|call| call.join().expect("a call"))
            .max()
    });
    most.unwrap_or_default()
}

fn one(gateway: &Gateway, number: u64) -> u64 {
    let params = json!({"name": "go", "arguments": { "n": number }});
    let request = modern_request("/mcp", "tools/call", params);
    let answer = gateway.send_within(&request, IN_A_CROWD);
    let told = answer.json()["result"]["structuredContent"].clone();
    assert_eq!(told["given"], json!({ "n": number }), "{}", answer.text());
    told["beside"].as_u64().expect("a number")
}

/// Open descriptors.
fn descriptors(gateway: &Gateway) -> usize {
    let path = format!("/proc/{}/fd", gateway.child.id());
    std::fs::read_dir(path).expect("a process").count()
}

/// Memory that is in use, in KiB.
fn memory(gateway: &Gateway) -> u64 {
    let path = format!("/proc/{}/status", gateway.child.id());
    let status = std::fs::read_to_string(path).expect("a process");
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"));
    let kib = line.and_then(|line| line.trim().strip_suffix(" kB")?.parse().ok());
    kib.expect("a number")
}

#[test]
fn a_crowd_of_calls_leaves_nothing_behind() {
    let folder = tempfile::tempdir().expect("a folder");
    let more = format!(
        "at_once = {AT_ONCE}\nenv = {{ D = {} }}",
        json!(folder.path())
    );
    let gateway = Gateway::start(&format!(
        "[servers.sh]\nmax_in_flight = 400\n{}",
        shell(COUNT, &more)
    ));
    one(&gateway, 0);
    let is_quiet = || descendants(gateway.child.id()).is_empty();
    wait_for("the first one is gone", is_quiet);
    let before = descriptors(&gateway);
    let most = crowd(&gateway);
    assert!((2..=AT_ONCE).contains(&most), "{most} at once");
    wait_for("no process is left, nor a zombie", is_quiet);
    wait_for("no descriptor is left", || descriptors(&gateway) <= before);
    let between = memory(&gateway);
    crowd(&gateway);
    wait_for("no process is left, nor a zombie", is_quiet);
    wait_for("no descriptor is left", || descriptors(&gateway) <= before);
    let after = memory(&gateway);
    assert!(
        after <= between + GROWTH,
        "{between} KiB, and {after} KiB after {CALLS} more calls"
    );
}

#[test]
fn who_cannot_wait_is_told_to_come_back() {
    let folder = tempfile::tempdir().expect("a folder");
    let gate = folder.path().join("gate");
    let script = "while [ ! -e \"$GATE\" ]; do sleep 0.05; done; echo '\"in\"'";
    let more = format!(
        "at_once = 1\nwaiting = 1\nenv = {{ GATE = {} }}",
        json!(gate)
    );
    let gateway = Gateway::start(&shell(script, &more));
    std::thread::scope(|scope| {
        let (told, answers) = sync_channel(3);
        let call = |told: SyncSender<Value>| {
            let answer = gateway.call("go", json!({})).json();
            told.send(answer).expect("somebody listens");
        };
        let first = told.clone();
        scope.spawn(move || call(first));
        wait_for("the first one runs", || gateway.processes("sh -c") == 1);
        // Of two more, whichever comes first waits.
        for _ in 0..2 {
            let told = told.clone();
            scope.spawn(move || call(told));
        }
        let refused = answers.recv_timeout(PATIENCE);
        std::fs::write(&gate, "").expect("written");
        let refused = refused.expect("a call is refused");
        assert_eq!(refused["error"]["code"], -31004, "{refused}");
        let message = refused["error"]["message"].as_str().unwrap_or_default();
        assert!(
            message.contains("1 calls wait for one of 1 processes already"),
            "{refused}"
        );
        for _ in 0..2 {
            let answer = answers.recv_timeout(PATIENCE).expect("an answer");
            assert_eq!(said(&answer["result"]), "in", "{answer}");
        }
    });
}

/// The folders of calls that run.
fn folders(pids: &[u32]) -> Vec<PathBuf> {
    let folder = |pid: &u32| std::fs::read_link(format!("/proc/{pid}/cwd")).ok();
    let mut folders: Vec<_> = pids.iter().filter_map(folder).collect();
    folders.retain(|folder| folder.to_string_lossy().contains("/toolbus-call-"));
    folders.sort();
    folders.dedup();
    folders
}

#[test]
fn a_gateway_that_is_killed_takes_everything_along() {
    let script = "trap '' TERM; setsid sleep $N & sleep $N & wait; wait";
    let mut gateway = Gateway::start(&shell(script, "at_once = 4\nenv = { N = \"341\" }"));
    let request = modern_request("/mcp", "tools/call", json!({"name": "go", "arguments": {}}));
    let callers: Vec<_> = (0..4)
        .map(|_| {
            let mut caller = gateway.connect();
            std::io::Write::write_all(&mut caller, &request).expect("sent");
            caller
        })
        .collect();
    wait_for("all of them run", || gateway.processes("sleep 341") >= 8);
    let pids = descendants(gateway.child.id());
    let folders = folders(&pids);
    assert_eq!(folders.len(), 4, "{folders:?}");
    let killed = Command::new("kill")
        .args(["-KILL", &gateway.child.id().to_string()])
        .status();
    assert!(killed.is_ok_and(|status| status.success()));
    let _ = gateway.child.wait();
    wait_for("every process is gone", || {
        !pids.iter().any(|pid| is_running(*pid))
    });
    wait_for("every folder is gone", || {
        !folders.iter().any(|folder| Path::exists(folder))
    });
    drop(callers);
}
