//! The end of a worker: nothing is lost.

use std::time::Duration;

use serde_json::json;
use tokio::time::Instant;
use toolbus_mesh::bus::{Bus, Headers};
use toolbus_mesh::worker::Settings;

use crate::puppet::Puppet;
use crate::support::{ask, stage, stage_with};

#[tokio::test(start_paused = true)]
async fn it_finishes_what_runs_and_takes_nothing_new() {
    let mut stage = stage().await;
    let subject = format!("toolbus.v1.hb.{}", stage.worker.id());
    let mut beats = stage
        .peer
        .bus
        .subscribe(&subject, None, 8)
        .await
        .expect("subscribed");
    let slow = stage.ask("sleep", "direct", json!({"ms": 3_000}));
    stage.peer.send(&slow);
    let claimed = stage.ask("sleep", "claim", json!({"ms": 1_000}));
    stage.peer.send(&claimed);
    assert_eq!(stage.peer.next().await.frame, "claim");
    let mut headers = Headers::default();
    headers.put("Toolbus-Wire", "1");
    headers.put("Toolbus-Control", "drain");
    let control = format!("toolbus.v1.ctl._.{}", stage.worker.id());
    let answer = stage.peer.request(control, headers).await;
    assert_eq!(&answer.payload[..], b"ok");
    // What was claimed may still be told to go.
    stage.say("go", &claimed, "1").await;
    // What was sent before its sender could know is served.
    let echo = json!({"name": "echo", "arguments": {}});
    let own = format!("toolbus.v1.inst._.{}.math=2Eecho", stage.worker.id());
    stage
        .peer
        .send(&ask(own.clone(), "tools/call", "direct", &echo));
    assert_eq!(stage.peer.last().await.frame, "end");
    tokio::time::sleep(Duration::from_millis(700)).await;
    loop {
        let beat = beats.next().await.expect("a beat");
        let beat: serde_json::Value = serde_json::from_slice(&beat.payload).expect("JSON");
        if beat["draining"] == true {
            break;
        }
    }
    let key = format!("_.{}", stage.worker.id());
    let record = stage.value("WORKERS", &key).await.expect("a record");
    assert_eq!(record["draining"], true);
    let refused = ask(own, "tools/call", "direct", &echo);
    stage.peer.send(&refused);
    stage.peer.send(&stage.ask("echo", "direct", json!({})));
    let mut frames = Vec::new();
    while frames.len() < 4 {
        frames.push(stage.peer.last().await.frame);
    }
    frames.sort();
    assert_eq!(frames, ["503", "busy", "end", "end"]);
    stage.worker.closed().await;
    assert_eq!(stage.value("WORKERS", &key).await, None);
    assert_eq!(stage.puppet.runs(), 3);
}

#[tokio::test(start_paused = true)]
async fn what_takes_too_long_is_stopped_and_told() {
    let settings = Settings {
        drain_within: Duration::from_secs(10),
        ..Settings::default()
    };
    let mut stage = stage_with(Puppet::new(), settings).await;
    stage.peer.send(&stage.ask("hang", "direct", json!({})));
    assert_eq!(stage.peer.next().await.frame, "ack");
    let begun = Instant::now();
    stage.worker.drain().await;
    let took = begun.elapsed();
    assert!(
        took >= Duration::from_secs(10) && took < Duration::from_secs(12),
        "{took:?}"
    );
    let got = stage.peer.last().await;
    let told = (got.frame.as_str(), got.header("Toolbus-Error"));
    assert_eq!(told, ("err", Some("outcome_unknown")));
    assert_eq!(stage.puppet.stops(), 1);
}

/// Only this worker can go on with what it holds.
#[tokio::test(start_paused = true)]
async fn what_it_holds_can_still_be_gone_on_with() {
    let mut stage = stage().await;
    stage
        .peer
        .send(&stage.ask("sleep", "direct", json!({"ms": 5_000})));
    assert_eq!(stage.peer.next().await.frame, "ack");
    let worker = stage.worker.clone();
    let drained = tokio_util::task::TaskTracker::new();
    drained.spawn(async move { worker.drain().await });
    tokio::time::sleep(Duration::from_secs(1)).await;
    let own = format!("toolbus.v1.inst._.{}.math=2Eecho", stage.worker.id());
    let retry = json!({"name": "echo", "arguments": {}, "requestState": "parked"});
    stage.peer.send(&ask(own, "tools/call", "direct", &retry));
    assert_eq!(stage.peer.last().await.frame, "end");
    assert_eq!(stage.puppet.runs(), 2);
    drained.close();
    drained.wait().await;
}

#[tokio::test(start_paused = true)]
async fn it_ends_without_a_connection_too() {
    let stage = stage().await;
    stage.bus.cut("a test");
    let begun = Instant::now();
    stage.worker.drain().await;
    assert!(begun.elapsed() < Duration::from_secs(20));
}
