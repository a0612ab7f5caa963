//! Servers at URLs: they restart, forget sessions, and go away; every call costs one request.

mod support;

use std::io::{BufRead, BufReader};
use std::process::{Child, Command, Stdio};

use serde_json::json;
use support::{Gateway, testkit, wait_for};

/// The fixture as a real HTTP server.
struct Server {
    child: Child,
    url: String,
}

impl Server {
    fn start(port: u16, era: &str) -> Self {
        let mut child = Command::new(testkit("fixture"))
            .args(["http", "--port", &port.to_string(), "--era", era])
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .expect("the fixture starts");
        let mut url = String::new();
        BufReader::new(child.stdout.take().expect("a pipe"))
            .read_line(&mut url)
            .expect("a line");
        Self {
            child,
            url: url.trim().to_owned(),
        }
    }

    fn port(&self) -> u16 {
        let port = self.url.trim_end_matches("/mcp").rsplit(':').next();
        port.and_then(|port| port.parse().ok()).expect("a port")
    }

    fn kill(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.kill();
    }
}

fn in_front_of(server: &Server) -> Gateway {
    Gateway::start(&format!("[servers.fx.http]\nurl = \"{}\"\n", server.url))
}

fn echo(gateway: &Gateway) -> serde_json::Value {
    gateway.call("echo", json!({"message": "m"})).json()
}

#[test]
fn both_eras_are_found_out_and_served_to_both() {
    for era in ["modern", "legacy", "both"] {
        let server = Server::start(0, era);
        let gateway = in_front_of(&server);
        let revision = if era == "legacy" {
            "2025-11-25"
        } else {
            "2026-07-28"
        };
        assert!(
            gateway.log().contains(&format!("revision=\"{revision}\"")),
            "{era}: {}",
            gateway.log()
        );
        assert_eq!(
            echo(&gateway)["result"]["content"][0]["text"],
            "m",
            "{era}, modern client"
        );
        let session = support::Session::open(&gateway);
        let answer = session
            .ask(
                "tools/call",
                json!({"name": "echo", "arguments": {"message": "m"}}),
            )
            .json();
        assert_eq!(
            answer["result"]["content"][0]["text"], "m",
            "{era}, legacy client"
        );
        assert!(answer["result"].get("resultType").is_none(), "{answer}");
    }
}

#[test]
fn a_session_that_the_server_forgot_is_opened_anew() {
    let mut server = Server::start(0, "legacy");
    let gateway = in_front_of(&server);
    assert!(echo(&gateway)["result"].is_object());
    let port = server.port();
    server.kill();
    let _again = Server::start(port, "legacy");
    let answer = echo(&gateway);
    assert_eq!(answer["result"]["content"][0]["text"], "m", "{answer}");
}

#[test]
fn a_server_that_is_away_is_named_and_comes_back() {
    let mut server = Server::start(0, "both");
    let gateway = in_front_of(&server);
    assert!(echo(&gateway)["result"].is_object());
    let port = server.port();
    server.kill();
    let error = echo(&gateway)["error"].clone();
    assert_eq!(
        (&error["code"], &error["data"]["retryable"]),
        (&json!(-31001), &json!(true)),
        "{error}"
    );
    let message = error["message"].as_str().unwrap_or_default();
    assert!(
        message.contains("cannot be reached") && message.contains(&server.url),
        "{message}"
    );
    let _again = Server::start(port, "both");
    wait_for("calls are served again", || {
        echo(&gateway)["result"].is_object()
    });
}

#[test]
fn each_call_costs_exactly_one_request() {
    let server = Server::start(0, "both");
    let gateway = in_front_of(&server);
    let calls = |gateway: &Gateway| -> u64 {
        let answer = gateway.call("test_counts", json!({})).json();
        let text = answer["result"]["content"][0]["text"]
            .as_str()
            .unwrap_or_default()
            .to_owned();
        serde_json::from_str::<serde_json::Value>(&text).expect("JSON")["toolCalls"]
            .as_u64()
            .expect("a number")
    };
    let before = calls(&gateway);
    for _ in 0..25 {
        assert!(echo(&gateway)["result"].is_object());
    }
    assert_eq!(calls(&gateway) - before, 26);
}
