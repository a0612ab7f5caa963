//! Each fault of the faulty server, seen from the other end of its pipes.

use std::io::{BufRead, BufReader, Read, Write};
use std::os::unix::process::ExitStatusExt;
use std::process::{Child, ChildStdin, ChildStdout, Command, ExitStatus, Stdio};
use std::thread::sleep;
use std::time::{Duration, Instant};

use serde_json::{Value, json};

struct Server {
    process: Child,
    input: Option<ChildStdin>,
    output: BufReader<ChildStdout>,
}

impl Server {
    fn start(flags: &[&str]) -> Self {
        let mut process = Command::new(env!("CARGO_BIN_EXE_faulty"))
            .args(flags)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .expect("started");
        let input = process.stdin.take();
        let output = BufReader::new(process.stdout.take().expect("a pipe"));
        Self {
            process,
            input,
            output,
        }
    }

    fn send(&mut self, message: &Value) {
        let input = self.input.as_mut().expect("still open");
        writeln!(input, "{message}").expect("sent");
    }

    fn call(&mut self, id: u64, name: &str, arguments: Value) {
        let params =
            json!({ "name": name, "arguments": arguments, "_meta": { "progressToken": "p" } });
        self.send(&json!({ "jsonrpc": "2.0", "id": id, "method": "tools/call", "params": params }));
    }

    fn line(&mut self) -> String {
        let mut line = String::new();
        self.output.read_line(&mut line).expect("read");
        line
    }

    fn message(&mut self) -> Value {
        let line = self.line();
        serde_json::from_str(&line).unwrap_or_else(|_| panic!("no JSON: {line:?}"))
    }

    /// The text of the answer to this call.
    fn text_of(&mut self, id: u64) -> String {
        let message = self.message();
        assert_eq!(message["id"], id);
        message["result"]["content"][0]["text"]
            .as_str()
            .expect("text")
            .to_owned()
    }

    fn stderr(&mut self) -> String {
        let mut text = String::new();
        let mut stderr = self.process.stderr.take().expect("a pipe");
        stderr.read_to_string(&mut text).expect("read");
        text
    }

    fn end(&mut self) -> ExitStatus {
        drop(self.input.take());
        self.process.wait().expect("ended")
    }

    fn is_alive(&mut self) -> bool {
        self.process.try_wait().expect("asked").is_none()
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

#[test]
fn it_begins_as_any_server() {
    let mut server = Server::start(&["--start-delay-ms", "50"]);
    server.send(&json!({ "jsonrpc": "2.0", "id": 1, "method": "initialize", "params": {} }));
    assert_eq!(server.message()["result"]["protocolVersion"], "2025-11-25");
    server.send(&json!({ "jsonrpc": "2.0", "method": "notifications/initialized" }));
    server.send(&json!({ "jsonrpc": "2.0", "id": 2, "method": "tools/list" }));
    assert!(
        server.message()["result"]["tools"]
            .as_array()
            .expect("tools")
            .len()
            > 10
    );
    server.call(3, "ok", json!({}));
    assert_eq!(server.text_of(3), "ok");
    server.call(4, "count", json!({}));
    assert_eq!(server.text_of(4), "2");
    assert_eq!(server.end().code(), Some(0));
}

#[test]
fn it_dies_in_three_ways() {
    let mut server = Server::start(&[]);
    server.call(1, "exit", json!({ "code": 7 }));
    assert_eq!(server.line(), "");
    assert!(server.stderr().contains("about to die"));
    assert_eq!(server.end().code(), Some(7));

    let mut server = Server::start(&[]);
    server.call(1, "abort", json!({}));
    assert_eq!(server.line(), "");
    assert_eq!(server.end().signal(), Some(6));

    let mut server = Server::start(&["--die-at-start", "3"]);
    assert_eq!(server.stderr().lines().count(), 2);
    assert_eq!(server.end().code(), Some(3));
}

#[test]
fn it_prints_what_is_no_message() {
    let mut server = Server::start(&[]);
    server.call(1, "garbage", json!({}));
    for _ in 0..3 {
        assert!(serde_json::from_str::<Value>(&server.line()).is_err());
    }
    server.call(2, "garbage_then_answer", json!({}));
    assert!(serde_json::from_str::<Value>(&server.line()).is_err());
    assert_eq!(server.text_of(2), "ok");
    server.call(3, "twice", json!({}));
    assert_eq!(
        (server.text_of(3), server.text_of(3)),
        ("first".into(), "second".into())
    );
    server.call(4, "flood", json!({}));
    for _ in 0..10_000 {
        assert!(!server.line().is_empty());
    }
    assert_eq!(server.end().code(), Some(0));
}

#[test]
fn its_long_line_does_not_end() {
    let mut server = Server::start(&[]);
    server.call(1, "long_line", json!({}));
    let mut piece = vec![0; 64 * 1024 * 1024];
    server.output.read_exact(&mut piece).expect("all of it");
    assert!(!piece.contains(&b'\n'));
    assert!(server.is_alive());
}

#[test]
fn it_answers_late_and_others_meanwhile() {
    let mut server = Server::start(&[]);
    server.call(1, "hang", json!({}));
    server.call(2, "late", json!({ "ms": 100 }));
    server.call(3, "ok", json!({}));
    assert_eq!(server.text_of(3), "ok");
    assert_eq!(server.text_of(2), "late");
    server.call(4, "progress", json!({ "steps": 2, "ms": 1 }));
    for step in 1..=2 {
        let progress = server.message();
        assert_eq!(
            progress["params"],
            json!({ "progressToken": "p", "progress": step, "total": 2 })
        );
    }
    assert_eq!(server.text_of(4), "done");
}

#[test]
fn it_closes_stdout_and_lives_on() {
    let mut server = Server::start(&[]);
    server.call(1, "close_stdout", json!({}));
    assert_eq!(server.line(), "");
    sleep(Duration::from_millis(50));
    assert!(server.is_alive());
    assert_eq!(server.end().code(), Some(0));
}

#[test]
fn it_waits_for_someone_to_read_its_stderr() {
    let mut server = Server::start(&[]);
    server.call(1, "stderr_flood", json!({}));
    let mut first = vec![0; 1024 * 1024];
    server
        .process
        .stderr
        .as_mut()
        .expect("a pipe")
        .read_exact(&mut first)
        .expect("all of it");
    assert_eq!(server.text_of(1), "ok");
}

#[test]
fn its_grandchild_outlives_it() {
    let pidfile = std::env::temp_dir().join(format!("faulty-{}.pid", std::process::id()));
    let mut server = Server::start(&[]);
    server.call(1, "fork_away", json!({ "pidfile": pidfile }));
    assert_eq!(server.text_of(1), "ok");
    server.end();
    let give_up = Instant::now() + Duration::from_secs(30);
    while !pidfile.exists() && Instant::now() < give_up {
        sleep(Duration::from_millis(10));
    }
    let pid = std::fs::read_to_string(&pidfile)
        .expect("a process id")
        .trim()
        .to_owned();
    assert!(signal(&pid, "-0"));
    assert!(signal(&pid, "-KILL"));
    let _ = std::fs::remove_file(pidfile);
}

#[test]
fn it_can_be_stubborn() {
    let mut server = Server::start(&["--ignore-sigterm", "--ignore-eof"]);
    server.call(1, "ok", json!({}));
    assert_eq!(server.text_of(1), "ok"); // by now the handler is in place
    drop(server.input.take());
    assert!(signal(&server.process.id().to_string(), "-TERM"));
    sleep(Duration::from_millis(100));
    assert!(server.is_alive());
}

fn signal(pid: &str, signal: &str) -> bool {
    let kill = Command::new("kill").args([signal, pid]).status();
    kill.expect("kill is there").success()
}
