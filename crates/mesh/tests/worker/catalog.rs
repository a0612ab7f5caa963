//! What a worker writes into the catalog, and how its heart beats.

use std::time::Duration;

use serde_json::{Value, json};
use tokio::time::timeout;
use toolbus_mesh::bus::{Bus, Subscription};
use toolbus_mesh::registry::digest;
use toolbus_mesh::worker::Settings;
use toolbus_model::{Error, Health};

use crate::puppet::{Puppet, tool};
use crate::support::{LONG, Stage, ask, stage, stage_with};

async fn record(stage: &Stage) -> Value {
    let key = format!("_.{}", stage.worker.id());
    stage.value("WORKERS", &key).await.expect("a record")
}

async fn heartbeat(beats: &mut Subscription) -> Value {
    let beat = timeout(LONG, beats.next()).await.expect("in time");
    serde_json::from_slice(&beat.expect("a beat").payload).expect("JSON")
}

#[tokio::test(start_paused = true)]
async fn a_worker_says_what_it_serves() {
    let stage = stage().await;
    let own = record(&stage).await;
    assert_eq!(own["capacity"], 256);
    assert_eq!(own["draining"], false);
    let math = &own["servers"]["math"];
    let definition =
        json!({"name": "echo", "description": "a tool", "inputSchema": {"type": "object"}});
    let version = digest(definition.to_string().as_bytes());
    assert_eq!(math["tools"]["echo"], version);
    let key = format!("_.math=2Eecho.{version}");
    let entry = stage.value("TOOLS", &key).await.expect("an entry");
    assert_eq!(
        entry,
        json!({"name": "math.echo", "definition": definition})
    );
    let key = format!("_.math.{}", math["digest"].as_str().expect("a digest"));
    let entry = stage.value("SERVERS", &key).await.expect("an entry");
    assert_eq!(entry["name"], "math");
    assert_eq!(entry["lists"]["prompts"], json!([{"name": "greet"}]));
    assert_eq!(entry["lists"]["capabilities"]["tools"], json!({}));
    stage.end().await;
}

#[tokio::test(start_paused = true)]
async fn its_heart_beats() {
    let stage = stage().await;
    let subject = format!("toolbus.v1.hb.{}", stage.worker.id());
    let mut beats = stage
        .peer
        .bus
        .subscribe(&subject, None, 8)
        .await
        .expect("subscribed");
    let bucket = stage.bus.bucket("TOOLBUS_WORKERS", Default::default());
    let key = format!("_.{}", stage.worker.id());
    let own = bucket.await.expect("a bucket").get(&key).await;
    let own = own.expect("readable").expect("a record");
    let first = heartbeat(&mut beats).await;
    assert_eq!(
        first,
        json!({"inFlight": 0, "capacity": 256, "draining": false, "digest": digest(&own)})
    );
    stage
        .peer
        .send(&stage.ask("sleep", "direct", json!({"ms": 11_000})));
    let begun = tokio::time::Instant::now();
    let busy = heartbeat(&mut beats).await;
    assert_eq!(busy["inFlight"], 1);
    heartbeat(&mut beats).await;
    assert!(
        begun.elapsed() >= Duration::from_secs(5) && begun.elapsed() <= Duration::from_secs(11)
    );
    stage.end().await;
}

#[tokio::test(start_paused = true)]
async fn a_change_of_the_offer_is_told() {
    let mut stage = stage().await;
    let before = record(&stage).await;
    stage
        .puppet
        .change(|offer| offer.tools = vec![tool("echo", "another text"), tool("new", "new")]);
    tokio::time::sleep(Duration::from_millis(300)).await;
    let after = record(&stage).await;
    let tools = after["servers"]["math"]["tools"]
        .as_object()
        .expect("tools");
    assert_eq!(tools.keys().collect::<Vec<_>>(), ["echo", "new"]);
    assert_ne!(tools["echo"], before["servers"]["math"]["tools"]["echo"]);
    let key = format!(
        "_.math=2Eecho.{}",
        tools["echo"].as_str().expect("a digest")
    );
    assert!(
        stage.value("TOOLS", &key).await.is_some(),
        "both versions stand side by side"
    );
    assert_eq!(stage.call("new", json!({})).await.frame, "end");
    assert_eq!(stage.call("hang", json!({})).await.frame, "503");
    stage.end().await;
}

#[tokio::test(start_paused = true)]
async fn a_server_that_is_down_leaves_after_a_moment_and_comes_back() {
    let mut stage = stage().await;
    let down = || Health::Down(Error::Internal("a test".into()));
    stage.puppet.change(|offer| offer.health = down());
    tokio::time::sleep(Duration::from_secs(1)).await;
    assert!(
        record(&stage).await["servers"]["math"].is_object(),
        "it may soon be back"
    );
    tokio::time::sleep(Duration::from_secs(3)).await;
    assert_eq!(
        record(&stage).await["servers"],
        json!({}),
        "the worker stays"
    );
    assert_eq!(stage.call("echo", json!({})).await.frame, "503");
    stage.puppet.change(|offer| offer.health = Health::Up);
    tokio::time::sleep(Duration::from_millis(300)).await;
    assert!(record(&stage).await["servers"]["math"].is_object());
    assert_eq!(stage.call("echo", json!({})).await.frame, "end");
    stage.end().await;
}

#[tokio::test(start_paused = true)]
async fn what_is_lost_is_written_again() {
    let stage = stage().await;
    let own = record(&stage).await;
    let tools = own["servers"]["math"]["tools"].as_object().expect("tools");
    let keys: Vec<_> = tools
        .iter()
        .map(|(name, digest)| format!("_.math=2E{name}.{}", digest.as_str().expect("a digest")))
        .collect();
    for (bucket, keys) in [
        ("TOOLS", keys.clone()),
        ("WORKERS", vec![format!("_.{}", stage.worker.id())]),
    ] {
        let bucket = stage
            .bus
            .bucket(&format!("TOOLBUS_{bucket}"), Default::default())
            .await;
        let bucket = bucket.expect("a bucket");
        for key in &keys {
            bucket.delete(key).await.expect("deleted");
        }
    }
    tokio::time::sleep(Duration::from_secs(21)).await;
    for key in &keys {
        assert!(stage.value("TOOLS", key).await.is_some(), "{key}");
    }
    assert_eq!(record(&stage).await, own);
    stage.end().await;
}

#[tokio::test(start_paused = true)]
async fn after_a_reconnect_it_registers_at_once() {
    let stage = stage().await;
    let key = format!("_.{}", stage.worker.id());
    stage.bus.cut("a test");
    let bucket = stage
        .peer
        .bus
        .bucket("TOOLBUS_WORKERS", Default::default())
        .await;
    bucket
        .expect("a bucket")
        .delete(&key)
        .await
        .expect("deleted");
    stage.bus.restore();
    tokio::time::sleep(Duration::from_millis(500)).await;
    assert!(stage.value("WORKERS", &key).await.is_some());
    stage.end().await;
}

/// The record lasts a minute, and is written again in time.
#[tokio::test(start_paused = true)]
async fn the_record_stays_for_as_long_as_the_worker() {
    let stage = stage().await;
    for _ in 0..10 {
        tokio::time::sleep(Duration::from_secs(31)).await;
        record(&stage).await;
    }
    stage.end().await;
}

#[tokio::test(start_paused = true)]
async fn what_is_too_large_for_a_value_lies_in_the_object_store() {
    let long = "d".repeat(70_000);
    let tools = (0..3_000).map(|n| tool(&format!("tool_with_a_longer_name_{n}"), "one of many"));
    let tools = std::iter::once(tool("echo", &long)).chain(tools);
    let mut stage = stage_with(Puppet::with(tools.collect()), Settings::default()).await;
    let own = record(&stage).await;
    assert_eq!(own["servers"], json!({}));
    let store = stage
        .peer
        .bus
        .objects("TOOLBUS_OBJECTS")
        .await
        .expect("a store");
    let servers = own["object"].as_str().expect("an object");
    let servers = store.get(servers, 10_000_000).await.expect("it is there");
    let servers: Value = serde_json::from_slice(&servers).expect("JSON");
    let tools = servers["math"]["tools"].as_object().expect("tools");
    assert_eq!(tools.len(), 3_001);
    let key = format!(
        "_.math=2Eecho.{}",
        tools["echo"].as_str().expect("a digest")
    );
    let entry = stage.value("TOOLS", &key).await.expect("an entry");
    let object = entry["object"].as_str().expect("an object");
    let definition = store.get(object, 10_000_000).await.expect("it is there");
    let definition: Value = serde_json::from_slice(&definition).expect("JSON");
    assert_eq!(definition["description"], long);
    // So many tools have no subjects of their own; they are asked for at the worker's or the server's.
    assert_eq!(stage.call("echo", json!({})).await.frame, "503");
    let own = format!("toolbus.v1.inst._.{}.math=2Eecho", stage.worker.id());
    let server = "toolbus.v1.server._.math.tools=2Fcall".to_owned();
    for subject in [own, server] {
        let params = json!({"name": "echo", "arguments": {}});
        stage
            .peer
            .send(&ask(subject, "tools/call", "direct", &params));
        assert_eq!(stage.peer.last().await.frame, "end");
    }
    // The store keeps an object for an hour.
    tokio::time::sleep(Duration::from_secs(2 * 60 * 60)).await;
    assert!(store.get(object, 10_000_000).await.is_ok());
    stage.end().await;
}
