//! Bodies that are too large for one message.

use std::time::Duration;

use bytes::Bytes;
use serde_json::json;
use tokio::time::Instant;
use toolbus_mesh::bus::Bus;

use crate::support::{Ask, Got, Stage, stage};

const MIB: usize = 1024 * 1024;

/// What comes until nothing more does but signs of life, or the last frame.
async fn gather(stage: &mut Stage, body: &mut Vec<u8>) -> Option<Got> {
    let mut until = Instant::now() + Duration::from_secs(3);
    loop {
        let left = until.saturating_duration_since(Instant::now());
        let got = stage.peer.within(left).await?;
        if got.frame == "chunk" {
            until = Instant::now() + Duration::from_secs(3);
        }
        match got.frame.as_str() {
            "chunk" => body.extend_from_slice(&got.payload),
            "ack" | "ka" => {}
            _ => return Some(got),
        }
    }
}

fn big(stage: &Stage, bytes: usize) -> Ask {
    let asked = stage.ask("big", "direct", json!({ "bytes": bytes }));
    asked.with("Toolbus-Deadline-In-Ms", "60000")
}

#[tokio::test(start_paused = true)]
async fn a_large_result_comes_in_chunks_as_credit_is_given() {
    let mut stage = stage().await;
    let asked = big(&stage, 6 * MIB);
    stage.peer.send(&asked);
    let mut body = Vec::new();
    assert!(
        gather(&mut stage, &mut body).await.is_none(),
        "it waits for credit"
    );
    assert_eq!(
        body.len(),
        8 * 512 * 1024,
        "eight chunks are under way without"
    );
    let mut headers = toolbus_mesh::bus::Headers::default();
    for (name, value) in [
        ("Toolbus-Wire", "1"),
        ("Toolbus-Control", "credit"),
        ("Toolbus-Credit", "8"),
        ("Toolbus-Call", &asked.call),
    ] {
        headers.put(name, value.to_owned());
    }
    let control = format!("toolbus.v1.ctl._.{}", stage.worker.id());
    stage.peer.request(control, headers).await;
    let end = gather(&mut stage, &mut body).await.expect("the end");
    assert_eq!((end.frame.as_str(), end.payload.len()), ("end", 0));
    assert_eq!(end.header("Toolbus-Seq"), Some("13"));
    let read: serde_json::Value = serde_json::from_slice(&body).expect("whole");
    let text = read["result"]["structuredContent"]["text"].as_str();
    assert_eq!(text.map(str::len), Some(6 * MIB));
    stage.end().await;
}

#[tokio::test(start_paused = true)]
async fn a_very_large_result_lies_in_the_object_store() {
    let mut stage = stage().await;
    let asked = big(&stage, 33 * MIB);
    stage.peer.send(&asked);
    let mut chunks = Vec::new();
    let end = gather(&mut stage, &mut chunks).await.expect("the end");
    assert!(chunks.is_empty());
    let object = end.header("Toolbus-Object").expect("an object").to_owned();
    let store = stage
        .peer
        .bus
        .objects("TOOLBUS_OBJECTS")
        .await
        .expect("a store");
    let body = store.get(&object, 64 * MIB).await.expect("it is there");
    let read: serde_json::Value = serde_json::from_slice(&body).expect("whole");
    let text = read["result"]["structuredContent"]["text"].as_str();
    assert_eq!(text.map(str::len), Some(33 * MIB));
    stage.end().await;
}

#[tokio::test(start_paused = true)]
async fn chunks_that_come_to_nothing_end_in_the_object_store() {
    let mut stage = stage().await;
    for cuts in [false, true] {
        let asked = big(&stage, 6 * MIB);
        stage.peer.send(&asked);
        let mut chunks = Vec::new();
        assert!(gather(&mut stage, &mut chunks).await.is_none());
        if cuts {
            stage.bus.cut("a test");
            stage.bus.restore();
            let credit = stage.say("credit", &asked, "1").await;
            assert_eq!(&credit.payload[..], b"ok");
        }
        let end = loop {
            if let Some(got) = gather(&mut stage, &mut chunks).await {
                break got;
            }
        };
        assert_eq!(end.frame, "end");
        let object = end.header("Toolbus-Object").expect("an object").to_owned();
        let store = stage
            .peer
            .bus
            .objects("TOOLBUS_OBJECTS")
            .await
            .expect("a store");
        assert!(
            store
                .get(&object, 64 * MIB)
                .await
                .expect("it is there")
                .len()
                > 6 * MIB
        );
    }
    stage.end().await;
}

#[tokio::test(start_paused = true)]
async fn a_cancelled_result_is_not_sent_to_its_end() {
    let mut stage = stage().await;
    let asked = big(&stage, 6 * MIB);
    stage.peer.send(&asked);
    let mut chunks = Vec::new();
    assert!(gather(&mut stage, &mut chunks).await.is_none());
    stage.say("cancel", &asked, "1").await;
    let last = gather(&mut stage, &mut chunks).await.expect("a last frame");
    assert_eq!((last.frame.as_str(), chunks.len()), ("err", 8 * 512 * 1024));
    stage.end().await;
}

#[tokio::test(start_paused = true)]
async fn a_request_may_lie_in_the_object_store() {
    let mut stage = stage().await;
    let store = stage
        .peer
        .bus
        .objects("TOOLBUS_OBJECTS")
        .await
        .expect("a store");
    for start in ["direct", "claim"] {
        let mut asked = stage.ask("echo", start, json!({"text": "y".repeat(2 * MIB)}));
        let body = std::mem::replace(&mut asked.body, Bytes::new());
        store.put("request", body).await.expect("stored");
        let asked = asked.with("Toolbus-Object", "request");
        stage.peer.send(&asked);
        if start == "claim" {
            assert_eq!(stage.peer.next().await.frame, "claim");
            stage.say("go", &asked, "1").await;
        }
        let mut body = Vec::new();
        let end = gather(&mut stage, &mut body).await.expect("the end");
        assert_eq!(end.frame, "end");
        assert!(body.len() > 2 * MIB);
    }
    let asked = stage.ask("echo", "direct", json!({}));
    stage.peer.send(&asked.with("Toolbus-Object", "absent"));
    let got = stage.peer.last().await;
    let told = (got.frame.as_str(), got.header("Toolbus-Error"));
    assert_eq!(told, ("err", Some("unavailable")));
    assert!(
        got.json()["error"]["message"]
            .to_string()
            .contains("absent")
    );
    assert_eq!(stage.puppet.runs(), 2);
    stage.end().await;
}
