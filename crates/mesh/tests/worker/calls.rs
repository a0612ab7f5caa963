//! A call from its request to its last frame, in both modes.

use std::time::Duration;

use serde_json::json;
use tokio::time::Instant;

use crate::support::{ask, stage};

#[tokio::test(start_paused = true)]
async fn a_fast_direct_call_has_one_frame() {
    let mut stage = stage().await;
    let asked = stage.ask("echo", "direct", json!({"a": 1}));
    stage.peer.send(&asked);
    let got = stage.peer.next().await;
    assert_eq!(got.frame, "end");
    assert_eq!(got.header("Toolbus-Wire"), Some("1"));
    assert_eq!(got.header("Toolbus-Worker"), Some(stage.worker.id()));
    assert_eq!(got.headers.iter().count(), 3, "{:?}", got.headers);
    let wanted = json!({"jsonrpc": "2.0", "id": 7, "result": {"content": [], "structuredContent": {"a": 1}}});
    assert_eq!(got.json(), wanted);
    stage.peer.silence(Duration::from_secs(5)).await;
    stage.end().await;
}

#[tokio::test(start_paused = true)]
async fn a_slow_direct_call_says_so_and_keeps_saying_it() {
    let mut stage = stage().await;
    let asked = stage.ask("sleep", "direct", json!({"ms": 5_000}));
    let begun = Instant::now();
    stage.peer.send(&asked);
    let mut seen = Vec::new();
    loop {
        let got = stage.peer.next().await;
        seen.push((got.frame.clone(), begun.elapsed().as_millis()));
        if got.frame == "end" {
            break;
        }
    }
    let frames: Vec<_> = seen.iter().map(|(frame, _)| frame.as_str()).collect();
    assert_eq!(frames, ["ack", "ka", "ka", "end"]);
    assert!((50..=100).contains(&seen[0].1), "{seen:?}");
    for pair in seen[..3].windows(2) {
        assert!(
            (2_000..=2_100).contains(&(pair[1].1 - pair[0].1)),
            "{seen:?}"
        );
    }
    stage.end().await;
}

#[tokio::test(start_paused = true)]
async fn a_claimed_call_runs_at_the_word_and_not_before() {
    let mut stage = stage().await;
    let asked = stage.ask("echo", "claim", json!({"a": 1}));
    stage.peer.send(&asked);
    assert_eq!(stage.peer.next().await.frame, "claim");
    stage.peer.silence(Duration::from_secs(1)).await;
    assert_eq!(stage.puppet.runs(), 0);
    let answer = stage.say("go", &asked, "1").await;
    assert_eq!(
        (&answer.payload[..], answer.headers.is_empty()),
        (&b"ok"[..], true)
    );
    assert_eq!(stage.peer.next().await.frame, "end");
    assert_eq!(stage.puppet.runs(), 1);
    stage.end().await;
}

#[tokio::test(start_paused = true)]
async fn a_claim_without_the_word_ends_late_and_never_runs() {
    let mut stage = stage().await;
    let asked = stage.ask("echo", "claim", json!({}));
    let begun = Instant::now();
    stage.peer.send(&asked);
    assert_eq!(stage.peer.next().await.frame, "claim");
    let last = stage.peer.next().await;
    assert_eq!(last.frame, "late");
    assert!(begun.elapsed() >= Duration::from_secs(2));
    let answer = stage.say("go", &asked, "1").await;
    assert_eq!(answer.headers.get("Nats-Service-Error-Code"), Some("404"));
    stage.peer.silence(Duration::from_secs(5)).await;
    assert_eq!(stage.puppet.runs(), 0);
    stage.end().await;
}

#[tokio::test(start_paused = true)]
async fn the_same_attempt_does_not_run_twice() {
    for start in ["direct", "claim"] {
        let mut stage = stage().await;
        let asked = stage.ask("sleep", start, json!({"ms": 20}));
        stage.peer.send(&asked);
        stage.peer.send(&asked);
        if start == "claim" {
            assert_eq!(stage.peer.next().await.frame, "claim");
            stage.say("go", &asked, "1").await;
        }
        assert_eq!(stage.peer.next().await.frame, "end");
        stage.peer.send(&asked);
        stage.peer.silence(Duration::from_secs(5)).await;
        assert_eq!(stage.puppet.runs(), 1, "{start}");
        stage.end().await;
    }
}

#[tokio::test(start_paused = true)]
async fn a_later_attempt_of_a_running_call_gets_its_result() {
    for start in ["direct", "claim"] {
        let mut stage = stage().await;
        let asked = stage.ask("sleep", start, json!({"ms": 500}));
        stage.peer.send(&asked);
        let first = stage.peer.next().await;
        if start == "claim" {
            assert_eq!(first.frame, "claim");
            stage.say("go", &asked, "1").await;
        }
        stage.peer.send(&asked.again(2, "second"));
        let got = stage.peer.next().await;
        let wanted = if start == "claim" { "claim" } else { "ack" };
        assert_eq!((got.frame.as_str(), got.at.as_str()), (wanted, "second"));
        assert_eq!(got.header("Toolbus-Attempt"), Some("2"));
        if start == "claim" {
            let old = stage.say("go", &asked, "1").await;
            assert_eq!(old.headers.get("Nats-Service-Error-Code"), Some("404"));
            let answer = stage.say("go", &asked, "2").await;
            assert_eq!(&answer.payload[..], b"ok");
        }
        let got = stage.peer.last().await;
        assert_eq!((got.frame.as_str(), got.at.as_str()), ("end", "second"));
        stage.peer.silence(Duration::from_secs(5)).await;
        assert_eq!(stage.puppet.runs(), 1, "{start}");
        stage.end().await;
    }
}

#[tokio::test(start_paused = true)]
async fn a_claimed_call_that_has_run_is_not_run_again() {
    let mut stage = stage().await;
    let asked = stage.ask("echo", "claim", json!({}));
    stage.peer.send(&asked);
    assert_eq!(stage.peer.next().await.frame, "claim");
    stage.say("go", &asked, "1").await;
    assert_eq!(stage.peer.next().await.frame, "end");
    stage.peer.send(&asked.again(2, "second"));
    let got = stage.peer.next().await;
    assert_eq!((got.frame.as_str(), got.at.as_str()), ("err", "second"));
    assert_eq!(got.header("Toolbus-Error"), Some("outcome_unknown"));
    let text = got.json()["error"]["message"].to_string();
    assert!(text.contains(&asked.call), "{text}");
    assert_eq!(stage.puppet.runs(), 1);
    // What was only claimed, and not run, may be claimed again.
    let other = stage.ask("echo", "claim", json!({}));
    stage.peer.send(&other);
    assert_eq!(stage.peer.next().await.frame, "claim");
    assert_eq!(stage.peer.next().await.frame, "late");
    stage.peer.send(&other.again(2, "second"));
    assert_eq!(stage.peer.next().await.frame, "claim");
    stage.say("go", &other, "2").await;
    assert_eq!(stage.peer.next().await.frame, "end");
    assert_eq!(stage.puppet.runs(), 2);
    stage.end().await;
}

#[tokio::test(start_paused = true)]
async fn a_cancelled_call_is_told_to_its_back_end() {
    let mut stage = stage().await;
    for start in ["direct", "claim"] {
        let asked = stage.ask("hang", start, json!({}));
        stage.peer.send(&asked);
        let first = stage.peer.next().await;
        if start == "claim" {
            assert_eq!(first.frame, "claim");
            stage.say("go", &asked, "1").await;
        }
        let answer = stage.say("cancel", &asked, "1").await;
        assert_eq!(&answer.payload[..], b"ok");
        let got = stage.peer.last().await;
        let told = (got.frame.as_str(), got.header("Toolbus-Error"));
        assert_eq!(told, ("err", Some("cancelled")));
    }
    assert_eq!(stage.puppet.stops(), 2);
    let asked = stage.ask("hang", "claim", json!({}));
    stage.peer.send(&asked);
    assert_eq!(stage.peer.next().await.frame, "claim");
    stage.say("cancel", &asked, "1").await;
    assert_eq!(stage.peer.next().await.frame, "err");
    assert_eq!(
        stage.puppet.runs(),
        2,
        "what is cancelled before the word does not run"
    );
    stage.end().await;
}

#[tokio::test(start_paused = true)]
async fn a_call_ends_with_its_time() {
    let mut stage = stage().await;
    for (tool, most) in [("hang", 1_500), ("stubborn", 7_000)] {
        let asked = stage.ask(tool, "direct", json!({}));
        let asked = asked.with("Toolbus-Deadline-In-Ms", "1000");
        let begun = Instant::now();
        stage.peer.send(&asked);
        let got = stage.peer.last().await;
        let told = (got.frame.as_str(), got.header("Toolbus-Error"));
        assert_eq!(told, ("err", Some("deadline_exceeded")));
        let took = begun.elapsed().as_millis();
        assert!((1_000..most).contains(&took), "{tool}: {took}");
    }
    stage.end().await;
}

#[tokio::test(start_paused = true)]
async fn a_panic_is_one_failed_call() {
    let mut stage = stage().await;
    let got = stage.call("panic", json!({})).await;
    let told = (got.frame.as_str(), got.header("Toolbus-Error"));
    assert_eq!(told, ("err", Some("internal")));
    assert_eq!(stage.call("echo", json!({})).await.frame, "end");
    assert_eq!(stage.worker.in_flight(), 0);
    stage.end().await;
}

#[tokio::test(start_paused = true)]
async fn a_servers_own_error_passes_as_it_is() {
    let mut stage = stage().await;
    let got = stage.call("fail", json!({})).await;
    assert_eq!(
        (got.frame.as_str(), got.header("Toolbus-Error")),
        ("err", None)
    );
    assert_eq!(got.header("Nats-Service-Error-Code"), Some("-32602"));
    let wanted =
        json!({"jsonrpc": "2.0", "id": 7, "error": {"code": -32602, "message": "its own words"}});
    assert_eq!(got.json(), wanted);
    stage.end().await;
}

#[tokio::test(start_paused = true)]
async fn progress_comes_before_the_end_under_the_callers_token() {
    let mut stage = stage().await;
    let params = json!({"name": "progress", "arguments": {}, "_meta": {"progressToken": "mine"}});
    let subject = "toolbus.v1.tool._.math=2Eprogress.invoke".to_owned();
    stage
        .peer
        .send(&ask(subject, "tools/call", "direct", &params));
    for step in 1..=3 {
        let got = stage.peer.next().await;
        assert_eq!(got.frame, "msg");
        let wanted = json!({
            "jsonrpc": "2.0",
            "method": "notifications/progress",
            "params": {"progressToken": "mine", "progress": step},
        });
        assert_eq!(got.json(), wanted);
    }
    assert_eq!(stage.peer.next().await.frame, "end");
    stage.end().await;
}

#[tokio::test(start_paused = true)]
async fn what_a_worker_holds_is_said() {
    let mut stage = stage().await;
    let got = stage.call("ask", json!({})).await;
    assert_eq!(
        (got.frame.as_str(), got.header("Toolbus-Holds")),
        ("end", Some("1"))
    );
    assert_eq!(
        stage.call("echo", json!({})).await.header("Toolbus-Holds"),
        None
    );
    stage.end().await;
}

#[tokio::test(start_paused = true)]
async fn a_worker_is_asked_itself_and_for_other_methods() {
    let mut stage = stage().await;
    let own = format!("toolbus.v1.inst._.{}", stage.worker.id());
    let tool = json!({"name": "echo", "arguments": {}});
    let prompt = json!({"name": "greet"});
    for (subject, method, params) in [
        (format!("{own}.math=2Eecho"), "tools/call", &tool),
        (
            format!("{own}.math=2Fprompts=2Fget"),
            "prompts/get",
            &prompt,
        ),
        (
            "toolbus.v1.server._.math.prompts=2Fget".to_owned(),
            "prompts/get",
            &prompt,
        ),
        (
            "toolbus.v1.server._.math.tools=2Fcall".to_owned(),
            "tools/call",
            &tool,
        ),
        (
            "toolbus.v1.server._.math.tasks=2Fget".to_owned(),
            "tasks/get",
            &json!({"taskId": "t"}),
        ),
    ] {
        stage
            .peer
            .send(&ask(subject.clone(), method, "direct", params));
        assert_eq!(stage.peer.next().await.frame, "end", "{subject}");
    }
    stage.end().await;
}

#[tokio::test(start_paused = true)]
async fn a_result_waits_for_the_connection() {
    let mut stage = stage().await;
    let asked = stage.ask("sleep", "direct", json!({"ms": 1_000}));
    stage.peer.send(&asked);
    assert_eq!(stage.peer.next().await.frame, "ack");
    stage.bus.cut("a test");
    stage.peer.silence(Duration::from_secs(10)).await;
    stage.bus.restore();
    assert_eq!(stage.peer.last().await.frame, "end");
    // Not for ever: a gateway has long called the outcome unknown.
    let asked = stage.ask("sleep", "direct", json!({"ms": 1_000}));
    stage.peer.send(&asked);
    assert_eq!(stage.peer.next().await.frame, "ack");
    stage.bus.cut("a test");
    tokio::time::sleep(Duration::from_secs(40)).await;
    assert_eq!(stage.worker.in_flight(), 0);
    stage.bus.restore();
    stage.peer.silence(Duration::from_secs(5)).await;
    stage.end().await;
}
