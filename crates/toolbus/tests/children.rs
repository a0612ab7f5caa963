//! Children that die, hang, print and fork: each is contained, each error has its cause, nothing is left behind.

mod support;

use std::process::Command;
use std::time::{Duration, Instant};

use serde_json::{Value, json};
use support::{Gateway, descendants, is_running, wait_for};

/// A gateway with a misbehaving server and a good one.
fn gateway(arguments: &[&str], limits: &str) -> Gateway {
    let bad = Gateway::server("bad", "faulty", arguments);
    let good = Gateway::server("good", "fixture", &["stdio"]);
    Gateway::start(&format!("{bad}[servers.bad]\n{limits}\n{good}"))
}

/// Calls a tool of the misbehaving server and returns the error.
fn fail(gateway: &Gateway, tool: &str, arguments: Value) -> Value {
    let answer = gateway.call(tool, arguments);
    let error = answer.json()["error"].clone();
    assert!(error.is_object(), "{tool}: {}", answer.text());
    error
}

/// The other server is not touched, and the next call of this one works.
fn all_is_well(gateway: &Gateway) {
    let echo = gateway.call("echo", json!({"message": "m"})).json();
    assert_eq!(
        echo["result"]["content"][0]["text"], "m",
        "the other server: {echo}"
    );
    let ok = gateway.call("ok", json!({})).json();
    assert_eq!(
        ok["result"]["content"][0]["text"], "ok",
        "the next call: {ok}"
    );
}

#[test]
fn a_child_that_exits_in_mid_call_is_named_with_status_and_last_words() {
    let gateway = gateway(&[], "");
    for (tool, arguments, status, words) in [
        ("exit", json!({"code": 3}), "exit status 3", "about to die"),
        ("abort", json!({}), "killed by signal 6", ""),
    ] {
        let error = fail(&gateway, tool, arguments);
        let cause = &error["data"]["cause"];
        assert_eq!(error["code"], -31003, "it may have run: {error}");
        assert_eq!(error["data"]["retryable"], false);
        assert_eq!(error["data"]["fault"], "backend");
        assert_eq!(cause["status"], status);
        assert!(
            cause["command"]
                .as_str()
                .is_some_and(|command| command.ends_with("/faulty")),
            "{error}"
        );
        assert!(
            words.is_empty()
                || cause["stderr"]
                    .as_str()
                    .is_some_and(|stderr| stderr.contains(words)),
            "{error}"
        );
        let message = error["message"].as_str().unwrap_or_default();
        assert!(
            message.contains(status) && message.contains("faulty") && message.contains(words),
            "{message}"
        );
        all_is_well(&gateway);
    }
}

#[test]
fn a_child_that_hangs_costs_one_deadline_and_the_error_names_both_limits() {
    let gateway = gateway(&[], "idle_timeout = \"1s\"\ntotal_timeout = \"5s\"");
    for tool in ["hang", "garbage", "wrong_id"] {
        let error = fail(&gateway, tool, json!({}));
        let message = error["message"].as_str().unwrap_or_default();
        assert_eq!(error["code"], -31002, "{error}");
        assert!(
            message.contains("(idle limit 1s, total limit 5s)"),
            "{message}"
        );
        assert!(message.contains("/faulty"), "{message}");
        assert!(
            error["data"]["cause"]["status"]
                .as_str()
                .is_some_and(|s| s.contains("still running")),
            "{error}"
        );
        if tool == "garbage" {
            assert!(
                message.contains("3 lines on its stdout were no MCP messages"),
                "{message}"
            );
        }
        all_is_well(&gateway);
    }
}

#[test]
fn signs_of_life_keep_a_slow_call_alive() {
    let gateway = gateway(&[], "idle_timeout = \"1s\"");
    let params = json!({"name": "progress", "arguments": {"steps": 6, "ms": 400}, "_meta": {"progressToken": "mine"}});
    let answer = gateway.modern("/mcp", "tools/call", params);
    let messages = answer.messages();
    assert!(
        messages
            .last()
            .is_some_and(|last| last["result"].is_object()),
        "{}",
        answer.text()
    );
    let steps = messages
        .iter()
        .filter(|m| m["method"] == "notifications/progress");
    assert!(
        steps.clone().count() >= 5
            && steps
                .clone()
                .all(|m| m["params"]["progressToken"] == "mine")
    );
}

#[test]
fn a_child_that_floods_is_ended_and_the_error_says_why() {
    let gateway = gateway(&[], "");
    for (tool, what) in [
        ("flood", "lines in a row that are no MCP messages"),
        ("long_line", "a line of more than"),
        ("close_stdout", "closed its stdout"),
    ] {
        let error = fail(&gateway, tool, json!({}));
        let message = error["message"].as_str().unwrap_or_default();
        assert!(
            message.contains(what) && message.contains("/faulty"),
            "{tool}: {message}"
        );
        all_is_well(&gateway);
    }
}

#[test]
fn oddities_that_do_no_harm_do_no_harm() {
    let gateway = gateway(&[], "");
    for (tool, arguments) in [
        ("garbage_then_answer", json!({})),
        ("twice", json!({})),
        ("stderr_flood", json!({})),
        ("late", json!({"ms": 300})),
    ] {
        let answer = gateway.call(tool, arguments).json();
        assert!(answer["result"].is_object(), "{tool}: {answer}");
        all_is_well(&gateway);
    }
}

/// The number that a tool of the misbehaving server answers.
fn number(gateway: &Gateway, tool: &str) -> u64 {
    let answer = gateway.call(tool, json!({})).json();
    let text = answer["result"]["content"][0]["text"].as_str();
    text.and_then(|text| text.parse().ok())
        .unwrap_or_else(|| panic!("no number: {answer}"))
}

#[test]
fn an_answer_after_the_time_limit_reaches_nobody() {
    let gateway = gateway(&[], "idle_timeout = \"1s\"\ntotal_timeout = \"5s\"");
    let error = fail(&gateway, "late", json!({"ms": 1500}));
    assert_eq!(error["code"], -31002, "{error}");
    // The late answer comes in the midst of these.
    for round in 0..60 {
        let ok = gateway.call("ok", json!({})).json();
        assert_eq!(
            ok["result"]["content"][0]["text"], "ok",
            "round {round}: {ok}"
        );
        std::thread::sleep(Duration::from_millis(20));
    }
    assert_eq!(number(&gateway, "count"), 62, "the process is the same");
}

#[test]
fn an_answer_after_the_cancellation_reaches_nobody() {
    let gateway = gateway(&[], "");
    let mut count = number(&gateway, "count");
    let request = json!({"name": "late", "arguments": {"ms": 3_000}});
    let request = support::modern_request("/mcp", "tools/call", request);
    let mut caller = gateway.connect();
    std::io::Write::write_all(&mut caller, &request).expect("sent");
    wait_for("the server has the call", || {
        let before = std::mem::replace(&mut count, number(&gateway, "count"));
        count > before + 1
    });
    drop(caller);
    wait_for("the call is over", || {
        let mut records = gateway.records().into_iter();
        records.any(|record| record["name"] == "late" && record["outcome"] == "cancelled")
    });
    // The late answer comes in the midst of this.
    std::thread::sleep(Duration::from_millis(3_200));
    all_is_well(&gateway);
    assert_eq!(
        number(&gateway, "count"),
        count + 2,
        "the process is the same"
    );
}

/// Resident memory of a process in bytes.
fn memory(pid: u32) -> u64 {
    let status = std::fs::read_to_string(format!("/proc/{pid}/status")).unwrap_or_default();
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"));
    let kibibytes = line.and_then(|line| line.trim().split(' ').next()?.parse::<u64>().ok());
    kibibytes.expect("it runs") * 1024
}

#[test]
fn a_child_that_fills_stderr_fills_nothing_here() {
    let gateway = gateway(&[], "");
    all_is_well(&gateway);
    let before = memory(gateway.child.id());
    let answer = gateway.call("stderr_flood", json!({"mebibytes": 64}));
    assert!(answer.json()["result"].is_object(), "{}", answer.text());
    let grown = memory(gateway.child.id()).saturating_sub(before);
    // 64 KiB of it are kept. What the allocator holds beside them is far from 64 MiB.
    assert!(grown < 24 * 1024 * 1024, "{grown} bytes more");
    let error = fail(&gateway, "exit", json!({"code": 3}));
    let last = error["data"]["cause"]["stderr"]
        .as_str()
        .unwrap_or_default();
    assert!(last.contains("this is the last line"), "{error}");
    all_is_well(&gateway);
}

#[test]
fn a_child_that_cries_change_is_asked_now_and_then() {
    let gateway = gateway(&[], "");
    let answer = gateway.call("change_flood", json!({"times": 5000})).json();
    assert!(answer["result"].is_object(), "{answer}");
    let lists = || {
        let answer = gateway.call("lists", json!({})).json();
        let text = answer["result"]["content"][0]["text"].as_str();
        text.and_then(|text| text.parse::<u64>().ok())
            .expect("a number")
    };
    wait_for("it is asked again", || lists() > 1);
    let asked = lists();
    assert!(asked < 100, "asked {asked} times after 5,000 cries");
    all_is_well(&gateway);
}

#[test]
fn a_child_that_dies_is_noticed_though_another_process_holds_its_stdout() {
    let folder = tempfile::tempdir().expect("a folder");
    let pidfile = folder.path().join("pid");
    let gateway = gateway(&[], "");
    let error = fail(
        &gateway,
        "die_apart",
        json!({"pidfile": support::text(&pidfile)}),
    );
    assert_eq!(error["code"], -31003, "{error}");
    assert_eq!(error["data"]["cause"]["status"], "exit status 4", "{error}");
    all_is_well(&gateway);
    wait_for("what it left behind is ended", || {
        let pid = std::fs::read_to_string(&pidfile).unwrap_or_default();
        // The file may never have been written: then it was ended before.
        pid.trim().parse().map_or(true, |pid| !is_running(pid))
    });
}

#[test]
fn a_child_that_ends_between_calls_is_started_again() {
    let gateway = gateway(&[], "");
    let answer = gateway.call("answer_then_exit", json!({})).json();
    assert!(answer["result"].is_object(), "{answer}");
    // A call that is sent before its end is noticed may have run, and is told so.
    wait_for("its end is noticed", || {
        gateway.log().contains("a server is gone")
    });
    all_is_well(&gateway);
}

#[test]
fn a_server_that_cannot_start_says_so_and_the_others_serve() {
    let gateway = gateway(&["--die-at-start", "7"], "");
    let error = fail(&gateway, "ok", json!({}));
    assert_eq!(
        error["code"], -32602,
        "a server that never answered has no tools: {error}"
    );
    let echo = gateway.call("echo", json!({"message": "m"})).json();
    assert_eq!(echo["result"]["content"][0]["text"], "m");
    assert_eq!(
        gateway.get("/ready").json()["servers"],
        json!({"bad": "down", "good": "up"})
    );
    wait_for("the log tells the cause", || {
        gateway.log().contains("exit status 7")
    });
}

#[test]
fn a_slow_start_is_waited_for() {
    let gateway = gateway(&["--start-delay-ms", "1500"], "");
    all_is_well(&gateway);
}

#[test]
fn nothing_outlives_a_sigkill_of_the_gateway() {
    let folder = tempfile::tempdir().expect("a folder");
    let pidfile = folder.path().join("pid");
    let mut gateway = gateway(&["--ignore-sigterm", "--ignore-eof"], "");
    let forked = gateway
        .call("fork_away", json!({"pidfile": support::text(&pidfile)}))
        .json();
    assert!(forked["result"].is_object(), "{forked}");
    let grandchild = || {
        std::fs::read_to_string(&pidfile)
            .ok()?
            .trim()
            .parse::<u32>()
            .ok()
    };
    wait_for("the grandchild runs", || {
        grandchild().is_some_and(is_running)
    });
    let mut all = descendants(gateway.child.id());
    all.extend(grandchild());
    assert!(
        all.len() >= 5,
        "two wardens, two servers and a grandchild: {all:?}"
    );
    gateway.child.kill().expect("killed");
    let _ = gateway.child.wait();
    let killed = Instant::now();
    wait_for("every descendant is gone", || {
        !all.iter().any(|pid| is_running(*pid))
    });
    // Two seconds, on a machine that has the time for it.
    assert!(
        killed.elapsed() < Duration::from_secs(5),
        "it took {:?}",
        killed.elapsed()
    );
}

#[test]
fn nothing_outlives_a_sigkill_of_gateway_and_warden() {
    let mut gateway = Gateway::start(&Gateway::server(
        "bad",
        "faulty",
        &["--ignore-sigterm", "--ignore-eof"],
    ));
    let wardens = |all: &[u32]| -> Vec<String> {
        let is_warden = |pid: &&u32| {
            let name = std::fs::read(format!("/proc/{pid}/cmdline")).unwrap_or_default();
            name.starts_with(b"toolbus-warden")
        };
        all.iter().filter(is_warden).map(u32::to_string).collect()
    };
    // At its start the server is listed in a process of its own as well.
    let mut all = Vec::new();
    wait_for("one process is left", || {
        all = descendants(gateway.child.id());
        wardens(&all).len() == 1
    });
    let wardens = wardens(&all);
    let killed = Command::new("kill")
        .arg("-KILL")
        .args(&wardens)
        .arg(gateway.child.id().to_string())
        .status();
    assert!(killed.is_ok_and(|status| status.success()));
    let _ = gateway.child.wait();
    wait_for("the server dies with its warden", || {
        !all.iter().any(|pid| is_running(*pid))
    });
}

#[test]
fn a_graceful_stop_ends_children_and_finishes_calls() {
    let mut gateway = gateway(&["--ignore-sigterm", "--ignore-eof"], "");
    let all = descendants(gateway.child.id());
    let address = gateway.address;
    let request = support::modern_request(
        "/mcp",
        "tools/call",
        json!({"name": "late", "arguments": {"ms": 700}}),
    );
    let caller = std::thread::spawn(move || {
        use std::io::{Read, Write};
        let mut stream = std::net::TcpStream::connect(address).expect("a connection");
        stream.write_all(&request).expect("sent");
        let mut text = String::new();
        let _ = stream.read_to_string(&mut text);
        text
    });
    wait_for("the call is under way", || {
        let audit = gateway.folder.path().join("toolbus/audit.jsonl");
        let audit = std::fs::read_to_string(audit).unwrap_or_default();
        audit.contains("\"event\":\"open\"")
    });
    assert_eq!(gateway.stop(), Some(0));
    let answer = caller.join().expect("an answer");
    assert!(
        answer.contains("\"result\""),
        "the call under way was finished: {answer}"
    );
    wait_for("every descendant is gone", || {
        !all.iter().any(|pid| is_running(*pid))
    });
    assert_eq!(gateway.records().len(), 1);
}

#[test]
fn a_child_gets_a_clean_environment_and_no_descriptors_of_ours() {
    let folder = tempfile::tempdir().expect("a folder");
    let script = folder.path().join("show.py");
    let seen = folder.path().join("seen.json");
    std::fs::write(
        &script,
        "import json,os,sys\nfds={}\nfor n in os.listdir('/proc/self/fd'):\n    try: fds[n]=os.readlink('/proc/self/fd/'+n)\n    \
         except OSError: pass\njson.dump({'env':dict(os.environ),'fds':fds}, open(sys.argv[1],'w'))\nsys.exit(0)\n",
    )
    .expect("written");
    let config = folder.path().join("toolbus.toml");
    let command = json!(["python3", support::text(&script), support::text(&seen)]);
    std::fs::write(
        &config,
        format!(
            "[servers.s.stdio]\ncommand = {command}\nenv = {{ MINE = \"env:PLANTED_SECRET\" }}\n"
        ),
    )
    .expect("written");
    let _ = support::command(folder.path())
        .args(["doctor", &support::text(&config)])
        .env("PLANTED_SECRET", "s3cret")
        .output()
        .expect("it runs");
    let seen: Value =
        serde_json::from_slice(&std::fs::read(&seen).expect("the child ran")).expect("JSON");
    let names: Vec<&String> = seen["env"].as_object().expect("an object").keys().collect();
    assert_eq!(seen["env"]["MINE"], "s3cret", "what is configured arrives");
    assert!(
        !names
            .iter()
            .any(|name| *name == "PLANTED_SECRET" || name.starts_with("CARGO")),
        "{names:?}"
    );
    let foreign: Vec<&String> = seen["fds"]
        .as_object()
        .expect("an object")
        .iter()
        .filter(|(fd, place)| {
            let place = place.as_str().unwrap_or_default();
            !matches!(fd.as_str(), "0" | "1" | "2")
                && (place.starts_with("socket:") || place.starts_with("pipe:"))
        })
        .map(|(fd, _)| fd)
        .collect();
    assert!(foreign.is_empty(), "{}", seen["fds"]);
}

#[test]
fn a_child_that_never_answers_does_not_hold_up_the_end() {
    let folder = tempfile::tempdir().expect("a folder");
    let config = folder.path().join("toolbus.toml");
    let text = "[gateway]\nlisten = \"127.0.0.1:0\"\n[servers.mute.stdio]\ncommand = [\"sleep\", \"600\"]\n";
    std::fs::write(&config, text).expect("written");
    let mut child = support::Owned(
        support::command(folder.path())
            .args(["up", &support::text(&config)])
            .stdout(std::process::Stdio::null())
            .stderr(std::process::Stdio::null())
            .spawn()
            .expect("it starts"),
    );
    wait_for("the child is started", || {
        descendants(child.id()).len() == 2
    });
    let all = descendants(child.id());
    let _ = Command::new("kill")
        .args(["-TERM", &child.id().to_string()])
        .status();
    wait_for("the gateway ends", || {
        child.try_wait().expect("a status").is_some()
    });
    wait_for("and all that it started", || {
        !all.iter().any(|pid| is_running(*pid))
    });
}

#[test]
fn a_call_that_a_dead_child_never_read_goes_to_the_next_one() {
    let gateway = gateway(&[], "");
    for round in 0..5 {
        let pid = descendants(gateway.child.id())
            .into_iter()
            .find(|pid| {
                std::fs::read_to_string(format!("/proc/{pid}/comm"))
                    .is_ok_and(|name| name.trim() == "faulty")
            })
            .expect("the server runs");
        let _ = Command::new("kill")
            .args(["-KILL", &pid.to_string()])
            .status();
        wait_for("it is dead", || !is_running(pid));
        let ok = gateway.call("ok", json!({})).json();
        assert_eq!(
            ok["result"]["content"][0]["text"], "ok",
            "round {round}: {ok}"
        );
    }
}
