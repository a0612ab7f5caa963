//! Servers that come and go: lists without a process, processes that start when they are used and end when they are not.

mod support;

use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

use serde_json::{Value, json};
use support::{Gateway, Owned, modern_request, testkit, text, wait_for};
use tempfile::TempDir;

/// A program that notes its starts in a file, `+` when it begins and `-` when it begins to serve.
struct Program {
    folder: TempDir,
}

impl Program {
    /// `before` is what it does before it serves.
    fn new(before: &str) -> Self {
        let folder = tempfile::tempdir().expect("a folder");
        let program = Self { folder };
        program.becomes(before, &format!("exec {}", testkit("faulty")));
        program
    }

    /// One that speaks 2026-07-28 alone: nothing but what serves is started of it.
    fn modern(before: &str) -> Self {
        let program = Self::new(before);
        program.becomes(
            before,
            &format!("exec {} stdio --era modern", testkit("fixture")),
        );
        program
    }

    /// Puts another program in its place, under the same name.
    fn becomes(&self, before: &str, then: &str) {
        let starts = text(&self.starts_file());
        let script =
            format!("#!/bin/sh\necho + >> {starts}\n{before}\necho - >> {starts}\n{then}\n");
        let aside = self.folder.path().join("aside");
        fs::write(&aside, script).expect("written");
        fs::set_permissions(&aside, fs::Permissions::from_mode(0o755)).expect("a mode");
        fs::rename(aside, self.path()).expect("in place");
    }

    fn path(&self) -> PathBuf {
        self.folder.path().join("program")
    }

    fn starts_file(&self) -> PathBuf {
        self.folder.path().join("starts")
    }

    /// Its section in a configuration.
    fn server(&self, name: &str, keys: &str) -> String {
        let path = text(&self.path());
        format!("[servers.{name}.stdio]\ncommand = [\"{path}\"]\n{keys}\n")
    }

    fn starts(&self) -> usize {
        let noted = fs::read_to_string(self.starts_file()).unwrap_or_default();
        noted.matches('+').count()
    }

    /// The most starts that were under way at once.
    fn most_at_once(&self) -> i32 {
        let noted = fs::read_to_string(self.starts_file()).unwrap_or_default();
        let steps = noted.lines().map(|line| if line == "+" { 1 } else { -1 });
        let sums = steps.scan(0, |sum, step| {
            *sum += step;
            Some(*sum)
        });
        sums.max().unwrap_or_default()
    }
}

/// As many starts as may be under way at once.
fn bound() -> i32 {
    let processors = std::thread::available_parallelism().map_or(1, usize::from);
    i32::try_from(processors.max(4)).expect("a number")
}

/// How often a gateway connected to a server, beside the processes that it opens to list or to ask.
fn connected(gateway: &Gateway, server: &str) -> usize {
    let line = format!("connected server=\"{server}\"");
    gateway.log().matches(&line).count()
}

fn ok(answer: &support::Answer) -> bool {
    answer.json()["result"]["content"][0]["text"] == "ok"
}

fn list(gateway: &Gateway) -> Value {
    gateway.modern("/mcp", "tools/list", json!({})).json()["result"]["tools"].clone()
}

fn kept(gateway: &Gateway) -> Vec<PathBuf> {
    let folder = gateway.folder.path().join("toolbus/catalog/servers");
    let entries = fs::read_dir(folder).expect("a folder");
    entries
        .map(|entry| entry.expect("an entry").path())
        .collect()
}

#[test]
fn after_a_restart_lists_are_served_without_a_process_and_the_first_call_starts_one() {
    let program = Program::new("");
    let gateway = Gateway::start(&program.server("a", ""));
    let before = list(&gateway);
    assert!(before.to_string().contains("\"count\""), "{before}");
    let gateway = gateway.again();
    assert_eq!(list(&gateway), before);
    assert_eq!(gateway.state("a"), "resting");
    assert_eq!(gateway.processes("faulty"), 0);
    // A crowd of first calls starts it once.
    std::thread::scope(|scope| {
        let calls: Vec<_> = (0..20)
            .map(|_| scope.spawn(|| gateway.call("ok", json!({}))))
            .collect();
        for call in calls {
            assert!(ok(&call.join().expect("an answer")));
        }
    });
    wait_for("it is listed again", || gateway.state("a") == "up");
    assert_eq!(connected(&gateway, "a"), 1);
    wait_for("it is alone", || gateway.processes("faulty") == 1);
    assert_eq!(list(&gateway), before);
}

#[test]
fn definitions_are_the_same_byte_for_byte_after_a_restart() {
    let gateway = Gateway::start(&Gateway::server("fx", "fixture", &["stdio"]));
    let lists = |gateway: &Gateway| {
        [
            "tools/list",
            "prompts/list",
            "resources/list",
            "resources/templates/list",
        ]
        .map(|method| gateway.modern("/mcp", method, json!({})).text())
    };
    let before = lists(&gateway);
    assert!(before[0].contains("$defs"), "{}", before[0]);
    let gateway = gateway.again();
    assert_eq!(lists(&gateway), before);
    assert_eq!(gateway.processes("fixture"), 0);
}

#[test]
fn what_changed_meanwhile_is_seen_after_the_first_use() {
    let program = Program::new("");
    let gateway = Gateway::start(&program.server("a", ""));
    program.becomes(
        "",
        &format!("exec {} stdio --era modern", testkit("fixture")),
    );
    let gateway = gateway.again();
    assert!(gateway.tools("/mcp").contains(&"count".to_owned()));
    let answer = gateway.call("count", json!({})).json();
    // It was remembered as one of an older era, and answers the first call all the same.
    assert_eq!(answer["error"]["code"], -32602, "{answer}");
    wait_for("the new list is served", || {
        let tools = gateway.tools("/mcp");
        tools.contains(&"echo".to_owned()) && !tools.contains(&"count".to_owned())
    });
}

#[test]
fn a_damaged_file_is_passed_over_and_told() {
    let program = Program::new("");
    let gateway = Gateway::start(&program.server("a", ""));
    wait_for("the list is kept", || kept(&gateway).len() == 1);
    let file = kept(&gateway).remove(0);
    let whole = fs::read(&file).expect("a file");
    fs::write(&file, &whole[..whole.len() / 2]).expect("written");
    let gateway = gateway.again();
    assert!(ok(&gateway.call("ok", json!({}))));
    assert!(
        gateway
            .log()
            .contains("what was kept of the catalog is not used")
    );
    let gateway = gateway.again();
    assert_eq!(gateway.state("a"), "resting", "it was written anew");
}

#[test]
fn a_process_that_nobody_uses_is_ended_and_started_again_when_it_is_used() {
    let program = Program::new("");
    let gateway = Gateway::start(&program.server("a", "idle_stop = \"1s\""));
    assert_eq!((gateway.count("a"), gateway.count("a")), (1, 2));
    // A call that takes longer is a use.
    let late = gateway.call("late", json!({"ms": 3_000})).json();
    assert_eq!(late["result"]["content"][0]["text"], "late", "{late}");
    assert_eq!(gateway.count("a"), 4, "the process is the same");
    wait_for("it rests", || gateway.state("a") == "resting");
    wait_for("its process is gone", || gateway.processes("faulty") == 0);
    assert!(gateway.tools("/mcp").contains(&"ok".to_owned()));
    assert_eq!(gateway.count("a"), 1, "the process is a new one");
    assert_eq!(connected(&gateway, "a"), 2);
    wait_for("it rests again", || gateway.state("a") == "resting");
}

#[test]
fn a_server_that_is_to_run_runs() {
    let program = Program::new("");
    let gateway = Gateway::start(&program.server("a", "start = \"now\""));
    let gateway = gateway.again();
    wait_for("it is up", || gateway.state("a") == "up");
    wait_for("it is alone", || gateway.processes("faulty") == 1);
}

#[test]
fn another_process_takes_over_from_an_old_one_without_a_lost_call() {
    let program = Program::new("");
    let gateway = Gateway::start(&program.server("a", "max_lifetime = \"1s\""));
    let (done, calls) = (AtomicBool::new(false), AtomicUsize::new(0));
    std::thread::scope(|scope| {
        let long = scope.spawn(|| gateway.call("late", json!({"ms": 6_000})));
        let stream = || {
            while !done.load(Ordering::Relaxed) {
                let answer = gateway.call("late", json!({"ms": 50}));
                let text = answer.json()["result"]["content"][0]["text"].clone();
                assert_eq!(text, "late", "{}", answer.text());
                calls.fetch_add(1, Ordering::Relaxed);
            }
        };
        let streams: Vec<_> = (0..4).map(|_| scope.spawn(stream)).collect();
        // The stop of the streams must come also when something fails here.
        let several = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| {
            wait_for("the fourth process serves", || {
                connected(&gateway, "a") >= 4
            });
        }));
        done.store(true, Ordering::Relaxed);
        for stream in streams {
            stream.join().expect("no call is lost");
        }
        let late = long.join().expect("an answer").json();
        assert_eq!(late["result"]["content"][0]["text"], "late", "{late}");
        several.expect("several processes");
    });
    assert!(calls.load(Ordering::Relaxed) > 20);
    wait_for("old processes are gone", || {
        gateway.processes("faulty") == 1
    });
}

#[test]
fn a_task_is_asked_after_where_it_is_and_keeps_its_process() {
    for keys in ["idle_stop = \"1s\"", "max_lifetime = \"1s\""] {
        let server = Gateway::server("fx", "fixture", &["stdio", "--era", "modern"]);
        let gateway = Gateway::start(&format!("{server}{keys}\n"));
        let ask = |method: &str, mut params: Value| {
            let extensions = json!({"extensions": {"io.modelcontextprotocol/tasks": {}}});
            params["_meta"] = json!({"io.modelcontextprotocol/clientCapabilities": extensions});
            let mut request = modern_request("/mcp", method, params.clone());
            if let Some(id) = params["taskId"].as_str() {
                let text = String::from_utf8(request).expect("text");
                let header = format!("\r\nmcp-name: {id}\r\n");
                request = text.replacen("\r\n", &header, 1).into_bytes();
            }
            gateway.send(&request).json()["result"].clone()
        };
        let arguments = json!({"seconds": 4});
        let task = ask(
            "tools/call",
            json!({"name": "slow_compute", "arguments": arguments}),
        );
        assert_eq!(task["resultType"], "task", "{task}");
        std::thread::sleep(std::time::Duration::from_secs(5));
        wait_for(&format!("{keys}: the task is completed"), || {
            let task = ask("tasks/get", json!({"taskId": task["taskId"]}));
            assert!(
                task["status"] == "working" || task["status"] == "completed",
                "{keys}: {task}"
            );
            task["status"] == "completed"
        });
    }
}

#[test]
fn who_listens_uses_a_server_and_is_told_on_whichever_process() {
    for era in ["modern", "legacy"] {
        let server = Gateway::server("fx", "fixture", &["stdio", "--era", era]);
        let keys = "idle_stop = \"1s\"\nmax_lifetime = \"2s\"\n";
        let gateway = Gateway::start(&(server + keys));
        let uri = "test://static-text";
        let wanted = json!({"notifications": {"resourceSubscriptions": [uri]}});
        let mut stream = gateway.connect();
        let request = modern_request("/mcp", "subscriptions/listen", wanted);
        std::io::Write::write_all(&mut stream, &request).expect("sent");
        let lines = std::io::BufRead::lines(std::io::BufReader::new(stream));
        let mut lines = lines.map(|line| line.expect("a line"));
        let mut told = |what: &str| lines.any(|line| line.contains(what));
        assert!(told("notifications/subscriptions/acknowledged"), "{era}");
        // Twice the idle time, and one lifetime.
        std::thread::sleep(std::time::Duration::from_secs(3));
        assert_eq!(gateway.state("fx"), "up", "{era}");
        wait_for("another process has taken over", || {
            gateway.log().contains("a new process takes the place")
        });
        let touched = gateway.call("test_touch_resource", json!({"uri": uri}));
        assert!(touched.json()["result"].is_object(), "{}", touched.text());
        assert!(told("notifications/resources/updated"), "{era}");
        drop(lines);
        wait_for("it rests", || gateway.state("fx") == "resting");
    }
}

#[test]
fn fifty_servers_do_not_start_all_at_once() {
    let program = Program::modern("sleep 0.1");
    let servers = (0..50).map(|n| program.server(&format!("s{n}"), ""));
    let gateway = Gateway::start(&servers.collect::<String>());
    assert_eq!((gateway.processes("fixture"), program.starts()), (50, 50));
    let at_once = program.most_at_once();
    assert!((2..=bound()).contains(&at_once), "{at_once} at once");
    let count = gateway.tools("/mcp").len();

    let gateway = gateway.again();
    assert_eq!(gateway.tools("/mcp").len(), count);
    assert_eq!(gateway.processes("fixture"), 0);
    fs::remove_file(program.starts_file()).expect("removed");
    // Everybody wants another one of them: they wait in turn, and all are served.
    let call = &|n: usize| {
        let echo = json!({"name": "echo", "arguments": {"message": "m"}});
        gateway.modern(&format!("/servers/s{n}/mcp"), "tools/call", echo)
    };
    std::thread::scope(|scope| {
        let calls: Vec<_> = (0..50).map(|n| scope.spawn(move || call(n))).collect();
        for call in calls {
            let answer = call.join().expect("an answer").json();
            assert_eq!(answer["result"]["content"][0]["text"], "m", "{answer}");
        }
    });
    assert_eq!(program.starts(), 50);
    let at_once = program.most_at_once();
    assert!((2..=bound()).contains(&at_once), "{at_once} at once");
}

#[test]
fn a_caller_that_leaves_during_a_start_does_not_undo_it() {
    let program = Program::modern("sleep 2");
    let gateway = Gateway::start(&program.server("a", "")).again();
    let mut stream = gateway.connect();
    let echo = json!({"name": "echo", "arguments": {"message": "m"}});
    let request = modern_request("/mcp", "tools/call", echo);
    std::io::Write::write_all(&mut stream, &request).expect("sent");
    wait_for("it starts", || program.starts() == 2);
    drop(stream);
    wait_for("the call has ended", || gateway.records().len() == 1);
    assert_eq!(gateway.records()[0]["outcome"], "cancelled");
    let answer = gateway.call("echo", json!({"message": "m"})).json();
    assert_eq!(answer["result"]["content"][0]["text"], "m", "{answer}");
    assert_eq!(program.starts(), 2);
}

#[test]
fn a_call_waits_for_a_start_within_its_own_limit() {
    let program = Program::modern("");
    let limit = "[servers.a]\ntotal_timeout = \"1s\"\n";
    let gateway = Gateway::start(&(program.server("a", "") + limit));
    program.becomes(
        "sleep 3",
        &format!("exec {} stdio --era modern", testkit("fixture")),
    );
    let gateway = gateway.again();
    let echo = || gateway.call("echo", json!({"message": "m"})).json();
    let error = echo()["error"].clone();
    assert_eq!(error["code"], -31002, "{error}");
    assert_eq!(
        error["data"]["cause"]["status"], "it had not started yet",
        "{error}"
    );
    wait_for("it is served later", || {
        echo()["result"]["content"][0]["text"] == "m"
    });
    assert_eq!(program.starts(), 2);
}

#[test]
fn what_is_down_stays_listed_for_its_grace_time_and_comes_back_under_its_name() {
    let (a, b) = (Program::new(""), Program::new(""));
    let grace = "[servers.b]\ngrace = \"3s\"\n";
    let gateway = Gateway::start(&(a.server("a", "") + &b.server("b", "start = \"now\"") + grace));
    let is_listed = |gateway: &Gateway| gateway.tools("/mcp").contains(&"b_ok".to_owned());
    assert!(is_listed(&gateway));
    b.becomes("echo it is broken >&2; exit 3", "");
    let gateway = gateway.again();
    assert!(is_listed(&gateway));
    wait_for("it is down", || gateway.state("b") == "down");
    let error = gateway.call("b_ok", json!({})).json()["error"].clone();
    assert_eq!(error["code"], -31001, "{error}");
    assert!(
        error["message"].to_string().contains("it is broken"),
        "{error}"
    );
    wait_for("it is taken out", || !is_listed(&gateway));
    assert_eq!(
        gateway.call("b_ok", json!({})).json()["error"]["code"],
        -32602
    );
    b.becomes("", &format!("exec {}", testkit("faulty")));
    wait_for("it is back", || is_listed(&gateway));
    assert!(ok(&gateway.call("b_ok", json!({}))));
}

#[test]
fn who_held_a_name_keeps_it_after_a_restart() {
    let (a, b) = (Program::new(""), Program::new(""));
    let gateway = Gateway::start(&(a.server("a", "") + &b.server("b", "")));
    let names = |gateway: &Gateway| {
        let mut names = gateway.tools("/mcp");
        names.sort();
        names
    };
    let before = names(&gateway);
    gateway.configure(&(b.server("b", "") + &a.server("a", "")));
    let gateway = gateway.again();
    assert_eq!(names(&gateway), before);
    assert!(ok(&gateway.call("ok", json!({}))) && ok(&gateway.call("b_ok", json!({}))));
    wait_for("both are recorded", || gateway.records().len() == 2);
    let served: Vec<_> = gateway
        .records()
        .iter()
        .map(|r| r["server"].clone())
        .collect();
    assert_eq!(served, ["a", "b"]);
}

#[test]
fn the_lists_of_a_server_at_a_url_are_there_before_it_is() {
    let start = |port: &str| {
        let mut child = Command::new(testkit("fixture"))
            .args(["http", "--port", port])
            .stdout(Stdio::piped())
            .spawn()
            .expect("the fixture starts");
        let mut url = String::new();
        let stdout = child.stdout.take().expect("a pipe");
        std::io::BufRead::read_line(&mut std::io::BufReader::new(stdout), &mut url)
            .expect("a line");
        (Owned(child), url.trim().to_owned())
    };
    let (server, url) = start("0");
    let gateway = Gateway::start(&format!("[servers.fx.http]\nurl = \"{url}\"\n"));
    let before = list(&gateway);
    drop(server);
    let gateway = gateway.again();
    assert_eq!(list(&gateway), before);
    let echo = || gateway.call("echo", json!({"message": "m"})).json();
    assert_eq!(echo()["error"]["code"], -31001);
    let port = url.trim_end_matches("/mcp").rsplit(':').next();
    let _server = start(port.expect("a port"));
    wait_for("calls are served", || {
        echo()["result"]["content"][0]["text"] == "m"
    });
}

#[test]
fn a_changed_server_is_listed_as_before_until_it_has_answered() {
    let (old, new) = (Program::new(""), Program::new("sleep 3"));
    let gateway = Gateway::start(&old.server("a", ""));
    gateway.configure(&new.server("a", ""));
    wait_for("the new one starts", || new.starts() == 1);
    assert!(gateway.tools("/mcp").contains(&"ok".to_owned()));
    // A call in this time waits for it.
    assert!(ok(&gateway.call("ok", json!({}))));
    assert_eq!(gateway.count("a"), 2, "both calls were the new one's");
    wait_for("the old one is gone", || gateway.processes("faulty") == 1);
}

#[test]
fn a_client_that_starts_the_gateway_sees_the_lists_at_once() {
    let program = Program::new("");
    let folder = tempfile::tempdir().expect("a folder");
    let file = folder.path().join("toolbus.toml");
    fs::write(&file, program.server("a", "")).expect("written");
    let listed = |file: &Path| {
        let mut child = support::command(folder.path())
            .args(["stdio", &text(file)])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .expect("toolbus starts");
        let request = json!({"jsonrpc": "2.0", "id": 1, "method": "tools/list", "params": {"_meta": support::meta()}});
        let mut stdin = child.stdin.take().expect("a pipe");
        std::io::Write::write_all(&mut stdin, format!("{request}\n").as_bytes()).expect("sent");
        let mut line = String::new();
        let stdout = child.stdout.take().expect("a pipe");
        std::io::BufRead::read_line(&mut std::io::BufReader::new(stdout), &mut line)
            .expect("a line");
        drop(stdin);
        assert!(child.wait().expect("a status").success());
        line
    };
    let first = listed(&file);
    assert!(first.contains("\"count\""), "{first}");
    let before = program.starts();
    assert_eq!((listed(&file), program.starts()), (first, before));
}
