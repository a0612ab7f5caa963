//! The published subjects, and what any client of NATS can ask.

use std::time::Duration;

use bytes::Bytes;
use serde_json::{Value, json};
use tokio::time::timeout;
use toolbus_mesh::bus::{Bus, Message};
use toolbus_mesh::worker::{Compat, Settings};
use toolbus_model::{Item, Object};

use crate::puppet::{Puppet, offer, tool};
use crate::support::{Stage, stage, stage_with};

const URN: &str = "urn:coreason:actionspace:solver:echo:v1";
const SUBJECT: &str = "coreason.tool.urn.coreason.actionspace.solver.echo.v1.invoke";

fn named(name: &str, urn: &str) -> Item {
    let definition = json!({"name": name, "description": "d", "inputSchema": {"type": "object"}, "_meta": {"toolbus/urn": urn}});
    Item {
        key: name.into(),
        definition: Object::of(&definition),
    }
}

async fn foreign() -> Stage {
    let settings = Settings {
        compat: Some(Compat::new("coreason").expect("a prefix")),
        ..Settings::default()
    };
    let tools = vec![
        named("echo", URN),
        // Shares the subject of the one before.
        named("fail", "urn:coreason:actionspace:solver:echo.v1"),
        tool("big", "b"),
    ];
    stage_with(Puppet::with(tools), settings).await
}

/// A plain request: no headers, one plain reply.
async fn request(stage: &Stage, subject: &str, body: Value) -> Vec<Message> {
    let inbox = stage.peer.bus.inbox();
    let mut answers = stage
        .peer
        .bus
        .subscribe(&inbox, None, 64)
        .await
        .expect("subscribed");
    let message = Message {
        subject: subject.to_owned(),
        reply: Some(inbox),
        payload: Bytes::from(body.to_string()),
        ..Message::default()
    };
    stage.peer.bus.send(message).expect("sent");
    let mut all = Vec::new();
    while let Ok(Some(answer)) = timeout(Duration::from_secs(3), answers.next()).await {
        all.push(answer);
    }
    all
}

fn json_of(message: &Message) -> Value {
    serde_json::from_slice(&message.payload).expect("JSON")
}

fn call(name: &str) -> Value {
    json!({"id": "h", "jsonrpc": "2.0", "method": "tools/call", "params": {"arguments": {"a": 1}, "name": name}})
}

#[tokio::test(start_paused = true)]
async fn a_plain_call_has_one_plain_reply() {
    let stage = foreign().await;
    let replies = request(&stage, SUBJECT, call(URN)).await;
    assert_eq!(replies.len(), 1);
    assert!(replies[0].headers.is_empty());
    let wanted = json!({"jsonrpc": "2.0", "id": "h", "result": {"content": [], "structuredContent": {"a": 1}}});
    assert_eq!(json_of(&replies[0]), wanted);
    let replies = request(
        &stage,
        SUBJECT,
        call("urn:coreason:actionspace:solver:echo.v1"),
    )
    .await;
    assert_eq!(
        json_of(&replies[0])["error"]["code"],
        -32602,
        "the second URN is not served"
    );
    let own = "coreason.tool.urn.toolbus.tool.math.big.invoke";
    let replies = request(&stage, own, call("urn:toolbus:tool:math:big")).await;
    assert!(json_of(&replies[0])["result"].is_object());
    let mut large = call("urn:toolbus:tool:math:big");
    large["params"]["arguments"] = json!({"bytes": 2_000_000});
    let replies = request(&stage, own, large).await;
    let error = json_of(&replies[0]);
    assert_eq!(
        (&error["error"]["code"], &error["id"]),
        (&json!(-31005), &json!("h"))
    );
    stage.end().await;
}

/// The published client makes its ids out of arguments: two calls may share one.
#[tokio::test(start_paused = true)]
async fn calls_of_the_same_id_both_run() {
    let stage = foreign().await;
    let both = futures_util::future::join(
        request(&stage, SUBJECT, call(URN)),
        request(&stage, SUBJECT, call(URN)),
    );
    let (one, two) = both.await;
    assert_eq!((one.len(), two.len(), stage.puppet.runs()), (1, 1, 2));
    stage.end().await;
}

#[tokio::test(start_paused = true)]
async fn tools_are_found_and_announced() {
    let stage = foreign().await;
    let found = request(
        &stage,
        "coreason.tool.discover",
        json!({"action": "discover"}),
    )
    .await;
    let found: Vec<_> = found.iter().map(json_of).collect();
    assert_eq!(found.len(), 3);
    let wanted = json!({"name": URN, "description": "d", "inputSchema": {"type": "object"}});
    assert_eq!(found[0], wanted);
    assert_eq!(found[2]["name"], "urn:toolbus:tool:math:big");
    let mut said = stage
        .peer
        .bus
        .subscribe("coreason.registry.update", None, 8)
        .await
        .expect("subscribed");
    stage
        .puppet
        .offer
        .send_replace(offer(vec![tool("late", "l")]).into());
    let message = timeout(Duration::from_secs(5), said.next()).await;
    let message = json_of(&message.expect("in time").expect("a message"));
    assert_eq!(message["name"], "urn:toolbus:tool:math:late");
    assert_eq!(message["worker"], stage.worker.id());
    stage.end().await;
}

#[tokio::test(start_paused = true)]
async fn without_it_the_published_subjects_are_nobodys() {
    let stage = stage().await;
    for subject in [
        "coreason.tool.discover",
        "coreason.tool.urn.toolbus.tool.math.echo.invoke",
    ] {
        let replies = request(&stage, subject, json!({})).await;
        assert!(replies[0].no_responders, "{subject}");
    }
    stage.end().await;
}

#[tokio::test(start_paused = true)]
async fn anybody_can_ask_what_it_is() {
    let mut stage = stage().await;
    stage.call("echo", json!({})).await;
    stage.call("fail", json!({})).await;
    let id = stage.worker.id().to_owned();
    for subject in [
        "$SRV.PING".to_owned(),
        "$SRV.PING.math".to_owned(),
        format!("$SRV.PING.math.{id}"),
    ] {
        let pong = request(&stage, &subject, json!({})).await;
        assert_eq!(pong.len(), 1, "{subject}");
        let pong = json_of(&pong[0]);
        assert_eq!(pong["type"], "io.nats.micro.v1.ping_response");
        assert_eq!((&pong["name"], &pong["id"]), (&json!("math"), &json!(id)));
    }
    let info = json_of(&request(&stage, "$SRV.INFO.math", json!({})).await[0]);
    assert_eq!(info["type"], "io.nats.micro.v1.info_response");
    let echo = &info["endpoints"][1];
    assert_eq!(echo["subject"], "toolbus.v1.tool._.math=2Eecho.invoke");
    assert_eq!(echo["queue_group"], "workers");
    assert_eq!(echo["metadata"]["urn"], "urn:toolbus:tool:math:echo");
    assert!(!info.to_string().contains("inputSchema"), "never schemas");
    let stats = json_of(&request(&stage, "$SRV.STATS", json!({})).await[0]);
    assert_eq!(stats["type"], "io.nats.micro.v1.stats_response");
    let of = |name: &str| {
        let all = stats["endpoints"].as_array().expect("endpoints");
        let found = all.iter().find(|point| point["name"] == name);
        found.expect("it is there").clone()
    };
    assert_eq!(of("math=2Eecho")["num_requests"], 1);
    let fail = of("math=2Efail");
    assert_eq!(
        (&fail["num_errors"], &fail["last_error"]),
        (&json!(1), &json!("its own words"))
    );
    stage.end().await;
}

#[tokio::test(start_paused = true)]
async fn what_it_says_of_itself_stays_small() {
    let tools = (0..2_000).map(|n| tool(&format!("a_tool_{n}"), "one of many"));
    let stage = stage_with(Puppet::with(tools.collect()), Settings::default()).await;
    for verb in ["INFO", "STATS"] {
        let told = request(&stage, &format!("$SRV.{verb}"), json!({})).await;
        assert!(
            told[0].payload.len() < 32 * 1024,
            "{}",
            told[0].payload.len()
        );
        assert_eq!(json_of(&told[0])["metadata"]["tools"], "2000");
    }
    stage.end().await;
}
