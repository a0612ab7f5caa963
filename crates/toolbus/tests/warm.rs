//! Interpreters that are kept ready: what a call sees, and what its caller sees, is what it is with a process of its own.

#[path = "warm/forms.rs"]
mod forms;
#[path = "warm/place.rs"]
mod place;
mod support;

use std::fs;
use std::io::Read;
use std::path::Path;
use std::process::Command;

use place::{MODES, Place};
use serde_json::{Value, json};
use support::{descendants, is_running, wait_for};

/// Calls and what they are given: each ends in another way.
const CALLS: [(&str, &str); 13] = [
    ("echo", r#"{"a": [1, {"b": null}], "c": "ü"}"#),
    ("text", "{}"),
    ("large", "{}"),
    ("flood", "{}"),
    ("memory", "{}"),
    ("dies", "{}"),
    ("leaves_at_once", "{}"),
    ("exits", "{}"),
    ("fails", "{}"),
    ("prints", "{}"),
    ("says", "{}"),
    ("lingers", "{}"),
    ("forks", "{}"),
];

#[test]
fn what_callers_see_is_what_they_see_of_a_process_of_its_own() {
    let place = Place::start("output = \"8MiB\"\nmemory = \"256MiB\"\nprocesses = 20");
    for mode in MODES {
        place.is_ready(mode);
        for (tool, arguments) in CALLS {
            let arguments: Value = serde_json::from_str(arguments).expect("JSON");
            let expected = place.call("cold", tool, arguments.clone());
            let seen = place.call(mode, tool, arguments);
            assert_eq!(seen, expected, "{tool}, {mode}");
        }
        // All of these calls were theirs, and so is the next one.
        assert!(place.is_from_a_ready_one(mode), "{mode}");
    }
}

#[test]
fn progress_comes_through_the_side_channel() {
    let place = Place::start("");
    for mode in MODES {
        place.is_ready(mode);
        let messages = place.messages(mode, "tells");
        let steps: Vec<_> = messages
            .iter()
            .map(|message| message["params"]["progress"].clone())
            .collect();
        assert_eq!(steps[..2], [json!(1), json!(2)], "{mode}: {messages:?}");
    }
}

#[test]
fn nothing_of_a_call_is_left() {
    let place = Place::start("");
    for mode in MODES {
        let who = place.is_ready(mode);
        let before = place.family();
        let left = place.call(mode, "leaves", json!({}));
        let process = left["result"]["content"][0]["text"]
            .as_str()
            .and_then(|text| text.parse().ok());
        assert!(!is_running(process.expect("a process")), "{mode}: {left}");
        place.call(mode, "slow", json!({}));
        wait_for("as many processes as before", || {
            place.family().len() <= before.len()
        });
        let folder = who["folder"].as_str().expect("a folder");
        assert!(!Path::new(folder).exists(), "{mode}: {folder}");
    }
    no_zombies(&place);
}

#[test]
fn a_call_that_is_given_up_is_ended() {
    let place = Place::start("");
    for mode in MODES {
        place.is_ready(mode);
        let before = place.family();
        drop(place.hang(mode));
        wait_for("the call is gone", || place.family().len() <= before.len());
        assert!(place.is_from_a_ready_one(mode), "{mode}");
    }
    no_zombies(&place);
}

#[test]
fn a_server_that_is_killed_takes_its_calls_along_and_comes_again() {
    let place = Place::start("");
    for mode in MODES {
        let server = server_of(&place.is_ready(mode));
        let mut caller = place.hang(mode);
        let family = descendants(server);
        kill(server);
        let mut answer = String::new();
        caller.read_to_string(&mut answer).expect("an answer");
        assert!(
            answer.contains("-31003"),
            "{mode}: it may have run: {answer}"
        );
        wait_for("all of it is gone", || {
            !family.iter().any(|pid| is_running(*pid))
        });
        // The next call is answered at once, and soon by another server.
        let echo = place.call(mode, "echo", json!({"a": 1}));
        assert_eq!(
            echo["result"]["structuredContent"]["a"], 1,
            "{mode}: {echo}"
        );
        let next = place.is_ready(mode);
        assert_ne!(server_of(&next), server, "{mode}");
    }
    no_zombies(&place);
}

#[test]
fn nothing_outlives_a_gateway_that_is_killed() {
    let mut place = Place::start("");
    let mut folders = Vec::new();
    for mode in MODES {
        let who = place.is_ready(mode);
        folders.extend(who["folder"].as_str().map(str::to_owned));
    }
    let _callers = MODES.map(|mode| place.hang(mode));
    let family = place.family();
    place.gateway.child.kill().expect("killed");
    wait_for("all of it is gone", || {
        !family.iter().any(|pid| is_running(*pid))
    });
    for folder in &folders {
        let servers = Path::new(folder).parent().expect("the server's folder");
        wait_for("the folders are gone", || !servers.exists());
    }
}

#[test]
fn three_hundred_at_once() {
    let place = Place::start("");
    for mode in MODES {
        let server = server_of(&place.is_ready(mode));
        place.crowd(mode, 20);
        let (open, most) = (place.descriptors(), place.family().len());
        place.crowd(mode, 300);
        // Not all slots may have been there before; one thing for each call is more than all of theirs.
        wait_for("hardly more processes than before", || {
            place.family().len() < most + 50
        });
        wait_for("hardly more descriptors than before", || {
            place.descriptors() < open + 150
        });
        assert_eq!(
            server_of(&place.is_ready(mode)),
            server,
            "{mode}: it was never replaced"
        );
    }
    no_zombies(&place);
}

#[test]
fn a_changed_module_is_served_and_a_broken_one_is_not() {
    let place = Place::start("");
    for mode in MODES {
        place.is_ready(mode);
        let old = place.version(mode);
        place.write_module(old + 1, "");
        wait_for("the change is served", || place.version(mode) == old + 1);
        let server = server_of(&place.is_ready(mode));
        place.write_module(old + 2, "def (");
        wait_for("the log says why", || {
            let log = place.gateway.log();
            log.contains("the old ones serve on") && log.contains("SyntaxError")
        });
        let who = place.call(mode, "who", json!({}));
        let who = &who["result"]["structuredContent"];
        assert_eq!(
            (server_of(who), &who["version"]),
            (server, &json!(old + 1)),
            "{mode}"
        );
        place.write_module(old + 3, "");
        wait_for("the repair is served", || place.version(mode) == old + 3);
    }
}

#[test]
fn a_module_with_threads_is_refused_and_calls_have_processes_of_their_own() {
    let place = Place::start_with(
        "",
        "import threading, time\nthreading.Thread(target=time.sleep, args=(600,), daemon=True, name='pump').start()\n",
    );
    for mode in MODES {
        let echo = place.call(mode, "echo", json!({"a": 1}));
        assert_eq!(
            echo["result"]["structuredContent"]["a"], 1,
            "{mode}: {echo}"
        );
    }
    wait_for("the log says why", || {
        let log = place.gateway.log();
        log.contains("module 'heavy' started 1 thread(s) when it was imported (pump)")
            && log.contains("calls start a process each")
    });
}

/// The process that has imported the modules.
fn server_of(who: &Value) -> u32 {
    let process = who["imported_by"]
        .as_u64()
        .and_then(|pid| u32::try_from(pid).ok());
    process.unwrap_or_else(|| panic!("no process: {who}"))
}

fn kill(pid: u32) {
    let killed = Command::new("kill")
        .args(["-KILL", &pid.to_string()])
        .status();
    assert!(killed.is_ok_and(|status| status.success()), "killed");
}

fn no_zombies(place: &Place) {
    wait_for("no zombies", || {
        let is_zombie = |pid: &u32| {
            let stat = fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
            stat.rsplit_once(") ")
                .is_some_and(|(_, rest)| rest.starts_with('Z'))
        };
        !place.family().iter().any(is_zombie)
    });
}
