//! What a worker does not run, and how it says so.

use std::sync::Arc;
use std::time::Duration;

use serde_json::json;
use toolbus_mesh::worker::{CallerKey, Settings, WorkerId};

use crate::puppet::{Puppet, tool};
use crate::support::{Stage, ask, stage, stage_with};

#[tokio::test(start_paused = true)]
async fn beyond_its_capacity_a_worker_is_busy() {
    let settings = Settings {
        capacity: 2,
        ..Settings::default()
    };
    let mut stage = stage_with(Puppet::new(), settings).await;
    for _ in 0..2 {
        stage
            .peer
            .send(&stage.ask("sleep", "direct", json!({"ms": 40})));
    }
    stage.peer.send(&stage.ask("echo", "claim", json!({})));
    let got = stage.peer.next().await;
    let told = (got.frame.as_str(), got.header("Toolbus-Error"));
    assert_eq!(told, ("busy", Some("busy")));
    let error = &got.json()["error"];
    assert_eq!(error["code"], -31004);
    assert!(
        error["message"].to_string().contains("2 calls run"),
        "{error}"
    );
    assert_eq!(stage.peer.next().await.frame, "end");
    assert_eq!(stage.peer.next().await.frame, "end");
    assert_eq!(stage.call("echo", json!({})).await.frame, "end");
    assert_eq!(stage.puppet.runs(), 3);
    stage.end().await;
}

/// A call of this tool, in a task of its own because of its size: what comes after it has come when it begins.
fn large(stage: &Stage, tool: &str, start: &str) -> crate::support::Ask {
    let arguments = json!({"ms": 60, "padding": "x".repeat(20_000)});
    let params = json!({"name": tool, "arguments": arguments});
    let subject = format!("toolbus.v1.inst._.{}.math=2E{tool}", stage.worker.id());
    ask(subject, "tools/call", start, &params)
}

/// On one thread, a call that blocks it makes the next one late.
#[tokio::test]
async fn what_is_late_does_not_run() {
    let tools = || vec![tool("block", "blocks"), tool("echo", "echoes")];
    for (header, start) in [
        ("Toolbus-Start-Within-Ms", "direct"),
        ("Toolbus-Start-Within-Ms", "claim"),
        ("Toolbus-Deadline-In-Ms", "direct"),
        ("Toolbus-Deadline-In-Ms", "claim"),
    ] {
        let mut stage = stage_with(Puppet::with(tools()), Settings::default()).await;
        stage.peer.send(&large(&stage, "block", "direct"));
        let echo = large(&stage, "echo", start).with(header, "20");
        stage.peer.send(&echo);
        assert_eq!(stage.peer.last().await.frame, "end");
        let got = stage.peer.last().await;
        let told = (got.frame.as_str(), got.json()["error"]["code"].as_i64());
        assert_eq!(told, ("late", Some(-31001)), "{header} {start}");
        assert_eq!(stage.puppet.runs(), 1);
        stage.end().await;
    }
}

#[tokio::test(start_paused = true)]
async fn another_version_is_somebody_elses() {
    let mut stage = stage().await;
    let worker = format!("_.{}", stage.worker.id());
    let record = stage.value("WORKERS", &worker).await.expect("a record");
    let own = record["servers"]["math"]["tools"]["echo"]
        .as_str()
        .expect("a digest");
    let asked = stage.ask("echo", "direct", json!({}));
    stage.peer.send(&asked.with("Toolbus-Digest", own));
    assert_eq!(stage.peer.next().await.frame, "end");
    let asked = stage.ask("echo", "direct", json!({}));
    stage
        .peer
        .send(&asked.with("Toolbus-Digest", "0123456789abcdef"));
    let got = stage.peer.next().await;
    assert_eq!(got.frame, "busy");
    let text = got.json()["error"]["message"].to_string();
    assert!(
        text.contains(own) && text.contains("0123456789abcdef"),
        "{text}"
    );
    assert_eq!(stage.puppet.runs(), 1);
    stage.end().await;
}

async fn refused(stage: &mut Stage, asked: &crate::support::Ask, label: &str, says: &str) {
    stage.peer.send(asked);
    let got = stage.peer.next().await;
    let told = (got.frame.as_str(), got.header("Toolbus-Error"));
    assert_eq!(told, ("err", Some(label)), "{}", asked.subject);
    let text = got.json()["error"]["message"].to_string();
    assert!(text.contains(says), "{text}");
}

#[tokio::test(start_paused = true)]
async fn subject_headers_and_body_must_be_for_the_same() {
    let mut stage = stage().await;
    let own = format!("toolbus.v1.inst._.{}", stage.worker.id());
    let echo = json!({"name": "echo", "arguments": {}});
    for subject in [
        "toolbus.v1.tool._.math=2Ehang.invoke".to_owned(),
        format!("{own}.math=2Ehang"),
        format!("{own}.math=2Eunlisted"),
        format!("{own}.math=2Fprompts=2Fget"),
        "toolbus.v1.server._.math.prompts=2Fget".to_owned(),
    ] {
        let asked = ask(subject, "tools/call", "direct", &echo);
        refused(
            &mut stage,
            &asked,
            "header_mismatch",
            "the subject or the headers",
        )
        .await;
    }
    let asked = stage.ask("echo", "direct", json!({}));
    let named = asked.with("Mcp-Name", "other");
    refused(&mut stage, &named, "header_mismatch", "other").await;
    let method = stage.ask("echo", "direct", json!({}));
    let method = method.with("Mcp-Method", "prompts/get");
    refused(&mut stage, &method, "header_mismatch", "prompts/get").await;
    let foreign = ask(format!("{own}.other=2Eecho"), "tools/call", "direct", &echo);
    refused(&mut stage, &foreign, "unknown", "other").await;
    assert_eq!(stage.puppet.runs(), 0);
    let asked = stage.ask("echo", "direct", json!({}));
    stage.peer.send(&asked.with("Mcp-Name", "echo"));
    assert_eq!(stage.peer.next().await.frame, "end");
    stage.end().await;
}

#[tokio::test(start_paused = true)]
async fn bad_requests_are_named() {
    let mut stage = stage().await;
    let good = stage.ask("echo", "direct", json!({}));
    for (name, value) in [
        ("Toolbus-Wire", "2"),
        ("Toolbus-Call", "x"),
        ("Toolbus-Start", "now"),
        ("Toolbus-Deadline-In-Ms", "soon"),
    ] {
        let asked = good.clone().with(name, value);
        refused(&mut stage, &asked, "invalid_request", name).await;
    }
    let mut garbage = stage.ask("echo", "direct", json!({}));
    garbage.body = "{".into();
    refused(&mut stage, &garbage, "parse", "Parse error").await;
    let mut twice = stage.ask("echo", "direct", json!({}));
    twice.body =
        r#"{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{"name":"echo","name":"hang"}}"#
            .into();
    refused(&mut stage, &twice, "invalid_params", "twice").await;
    let lists = "toolbus.v1.server._.math.tools=2Flist".to_owned();
    let lists = ask(lists, "tools/list", "direct", &json!({}));
    refused(&mut stage, &lists, "method_not_found", "tools/list").await;
    assert_eq!(stage.puppet.runs(), 0);
    stage.end().await;
}

#[tokio::test(start_paused = true)]
async fn callers_are_believed_or_proven() {
    use base64::Engine as _;
    use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};
    use ring::signature::{Ed25519KeyPair, KeyPair as _};
    let pair = Ed25519KeyPair::from_seed_unchecked(&[7; 32]).expect("a key");
    let other = Ed25519KeyPair::from_seed_unchecked(&[8; 32]).expect("a key");
    let public = CallerKey::parse(&STANDARD.encode(pair.public_key())).expect("a key");
    let sign = |key: Option<&Ed25519KeyPair>, claims: serde_json::Value| {
        let head = if key.is_some() {
            r#"{"alg":"EdDSA"}"#
        } else {
            r#"{"alg":"none"}"#
        };
        let signed = format!(
            "{}.{}",
            URL_SAFE_NO_PAD.encode(head),
            URL_SAFE_NO_PAD.encode(claims.to_string())
        );
        let signature = key.map(|key| URL_SAFE_NO_PAD.encode(key.sign(signed.as_bytes())));
        format!("{signed}.{}", signature.unwrap_or_default())
    };
    let mut believing = stage().await;
    let asked = believing.ask("echo", "direct", json!({}));
    let jwt = sign(None, json!({"sub": "alice"}));
    believing.peer.send(&asked.with("Toolbus-Caller", &jwt));
    assert_eq!(believing.peer.next().await.frame, "end");
    assert_eq!(*believing.puppet.caller.lock().expect("no panic"), "alice");
    believing.end().await;
    let settings = Settings {
        caller_keys: vec![public],
        ..Settings::default()
    };
    let mut stage = stage_with(Puppet::new(), settings).await;
    let claims = |asked: &crate::support::Ask| json!({"sub": "alice", "tenant": "_", "call": asked.call, "exp": 32_503_680_000_u64});
    let asked = stage.ask("echo", "direct", json!({}));
    let good = sign(Some(&pair), claims(&asked));
    stage.peer.send(&asked.with("Toolbus-Caller", &good));
    assert_eq!(stage.peer.next().await.frame, "end");
    assert_eq!(*stage.puppet.caller.lock().expect("no panic"), "alice");
    let cases = |asked: &crate::support::Ask| {
        let mut changed = vec![(sign(None, claims(asked)), "EdDSA")];
        changed.push((sign(Some(&other), claims(asked)), "none of the keys"));
        for (name, value, says) in [
            ("tenant", json!("t2"), "tenant"),
            (
                "call",
                json!("01890000-0000-7000-8000-000000000000"),
                "another call",
            ),
            ("exp", json!(1), "over"),
        ] {
            let mut claims = claims(asked);
            claims[name] = value;
            changed.push((sign(Some(&pair), claims), says));
        }
        changed
    };
    for case in 0..5 {
        let asked = stage.ask("echo", "direct", json!({}));
        let (jwt, says) = cases(&asked).swap_remove(case);
        let asked = asked.with("Toolbus-Caller", &jwt);
        refused(&mut stage, &asked, "unauthenticated", says).await;
    }
    let asked = stage.ask("echo", "direct", json!({}));
    refused(
        &mut stage,
        &asked,
        "unauthenticated",
        "signed Toolbus-Caller",
    )
    .await;
    assert_eq!(stage.puppet.runs(), 1);
    stage.end().await;
}

#[test]
fn a_key_is_read_from_what_openssl_writes() {
    let pem = "-----BEGIN PUBLIC KEY-----\nMCowBQYDK2VwAyEA11qYAYKxCrfVS/7TyWQHOg7hcvPapiMlrwIaaPcHURo=\n-----END PUBLIC KEY-----\n";
    let bare = "11qYAYKxCrfVS/7TyWQHOg7hcvPapiMlrwIaaPcHURo=";
    assert_eq!(CallerKey::parse(pem), CallerKey::parse(bare));
    assert!(CallerKey::parse(bare).is_ok());
    assert!(
        CallerKey::parse("abc")
            .expect_err("no key")
            .contains("openssl")
    );
}

#[tokio::test(start_paused = true)]
async fn a_worker_may_be_given_its_id() {
    let id = WorkerId::parse("sums-1").expect("an id");
    let settings = Settings {
        id: Some(id),
        ..Settings::default()
    };
    let mut stage = stage_with(Puppet::new(), settings).await;
    let echo = json!({"name": "echo", "arguments": {}});
    let subject = "toolbus.v1.inst._.sums-1.math=2Eecho".to_owned();
    stage
        .peer
        .send(&ask(subject, "tools/call", "direct", &echo));
    assert_eq!(stage.peer.last().await.frame, "end");
    stage.end().await;
    for bad in ["", "a.b", "a:b", "12345678901234567", "a*"] {
        assert!(WorkerId::parse(bad).is_err(), "{bad}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_request_that_nobody_waits_for_is_not_run() {
    let mut stage = stage().await;
    let asked = stage.ask("echo", "direct", json!({}));
    let message = toolbus_mesh::bus::Message {
        subject: asked.subject.clone(),
        payload: asked.body.clone(),
        ..Default::default()
    };
    toolbus_mesh::bus::Bus::send(&*stage.peer.bus, message).expect("sent");
    stage.peer.silence(Duration::from_secs(1)).await;
    assert_eq!(stage.puppet.runs(), 0);
    let _: &Arc<Puppet> = &stage.puppet;
    stage.end().await;
}
