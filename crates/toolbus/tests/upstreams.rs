//! Servers at URLs: they restart, forget sessions, and go away; every call costs one request.

mod support;

use serde_json::json;
use support::upstream::{Era, Upstream};
use support::{Gateway, wait_for};

fn echo(gateway: &Gateway) -> serde_json::Value {
    gateway.call("echo", json!({"message": "m"})).json()
}

#[test]
fn both_eras_are_found_out_and_served_to_both() {
    for era in Era::ALL {
        let server = Upstream::start(era);
        let gateway = server.gateway();
        let revision = if era == Era::Legacy {
            "2025-11-25"
        } else {
            "2026-07-28"
        };
        assert!(
            gateway.log().contains(&format!("revision=\"{revision}\"")),
            "{era:?}: {}",
            gateway.log()
        );
        assert_eq!(
            echo(&gateway)["result"]["content"][0]["text"],
            "m",
            "{era:?}, modern client"
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
            "{era:?}, legacy client"
        );
        assert!(answer["result"].get("resultType").is_none(), "{answer}");
    }
}

#[test]
fn a_session_that_the_server_forgot_is_opened_anew() {
    let mut server = Upstream::start(Era::Legacy);
    let gateway = server.gateway();
    assert!(echo(&gateway)["result"].is_object());
    let port = server.address().port();
    server.kill();
    let _again = Upstream::start_at(port, Era::Legacy);
    let answer = echo(&gateway);
    assert_eq!(answer["result"]["content"][0]["text"], "m", "{answer}");
}

#[test]
fn a_server_that_is_away_is_named_and_comes_back() {
    let mut server = Upstream::start(Era::Both);
    let gateway = server.gateway();
    assert!(echo(&gateway)["result"].is_object());
    let port = server.address().port();
    server.kill();
    let error = echo(&gateway)["error"].clone();
    assert_eq!(
        (&error["code"], &error["data"]["retryable"]),
        (&json!(-31001), &json!(true)),
        "{error}"
    );
    let message = error["message"].as_str().unwrap_or_default();
    assert!(
        message.contains("cannot be reached") && message.contains(server.url()),
        "{message}"
    );
    let _again = Upstream::start_at(port, Era::Both);
    wait_for("calls are served again", || {
        echo(&gateway)["result"].is_object()
    });
}

#[test]
fn each_call_costs_exactly_one_request() {
    let server = Upstream::start(Era::Both);
    let gateway = server.gateway();
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
