//! `subscriptions/listen` at a worker.

use std::time::Duration;

use serde_json::json;
use tokio::time::Instant;
use toolbus_model::{Notice, Object};

use crate::support::{Ask, Stage, ask, stage};

fn listen() -> Ask {
    let wanted =
        json!({"notifications": {"resourceSubscriptions": ["file:///a"], "taskIds": ["t"]}});
    let subject = "toolbus.v1.server._.math.subscriptions=2Flisten".to_owned();
    ask(subject, "subscriptions/listen", "direct", &wanted)
}

async fn acknowledged(stage: &mut Stage) {
    let got = stage.peer.next().await;
    assert_eq!(got.frame, "msg");
    let wanted = json!({
        "jsonrpc": "2.0",
        "method": "notifications/subscriptions/acknowledged",
        "params": {
            "notifications": {"resourceSubscriptions": ["file:///a"]},
            "_meta": {"io.modelcontextprotocol/subscriptionId": 7},
        },
    });
    assert_eq!(got.json(), wanted, "tasks are not honoured here");
}

fn tell(stage: &Stage) {
    let params = Object::of(&json!({"uri": "file:///a"}));
    let notice = Notice::Resource("file:///a".into(), params);
    let notices = stage.puppet.notices.lock().expect("no panic");
    let notices = notices.as_ref().expect("somebody listens");
    notices.try_send(notice).expect("told");
}

#[tokio::test(start_paused = true)]
async fn notices_come_until_it_is_cancelled() {
    let mut stage = stage().await;
    let asked = listen();
    stage.peer.send(&asked);
    acknowledged(&mut stage).await;
    assert_eq!(
        stage.worker.in_flight(),
        0,
        "who listens takes no call's place"
    );
    for _ in 0..2 {
        tell(&stage);
        let mut got = stage.peer.next().await;
        while ["ack", "ka"].contains(&got.frame.as_str()) {
            got = stage.peer.next().await;
        }
        let wanted = json!({
            "jsonrpc": "2.0",
            "method": "notifications/resources/updated",
            "params": {"uri": "file:///a", "_meta": {"io.modelcontextprotocol/subscriptionId": 7}},
        });
        assert_eq!((got.frame.as_str(), got.json()), ("msg", wanted));
        tokio::time::sleep(Duration::from_secs(60)).await;
    }
    stage.say("cancel", &asked, "1").await;
    let got = stage.peer.last().await;
    let told = (got.frame.as_str(), got.header("Toolbus-Error"));
    assert_eq!(told, ("err", Some("cancelled")));
    stage.end().await;
}

#[tokio::test(start_paused = true)]
async fn it_ends_when_there_is_no_more_to_tell() {
    let mut stage = stage().await;
    stage.peer.send(&listen());
    acknowledged(&mut stage).await;
    stage.puppet.notices.lock().expect("no panic").take();
    let got = stage.peer.last().await;
    assert_eq!(got.frame, "end");
    assert_eq!(got.json()["result"]["resultType"], "complete");
    stage.end().await;
}

/// A gateway that is gone cancels nothing: the server says that nobody hears.
#[tokio::test(start_paused = true)]
async fn it_ends_when_nobody_hears_it() {
    let mut stage = stage().await;
    stage.peer.send(&listen());
    acknowledged(&mut stage).await;
    stage.peer.bus.cut("the gateway is gone");
    let begun = Instant::now();
    let notices = stage.puppet.notices.lock().expect("no panic").clone();
    let gone = notices.expect("somebody listens");
    tokio::time::timeout(Duration::from_secs(20), gone.closed())
        .await
        .expect("it ends by itself");
    assert!(
        begun.elapsed() >= Duration::from_secs(4),
        "{:?}",
        begun.elapsed()
    );
    stage.end().await;
}

#[tokio::test(start_paused = true)]
async fn what_is_no_list_of_names_is_refused() {
    let mut stage = stage().await;
    let subject = "toolbus.v1.server._.math.subscriptions=2Flisten".to_owned();
    for params in [
        json!({}),
        json!({"notifications": {"taskIds": "t"}}),
        json!({"notifications": {"resourceSubscriptions": vec!["a"; 1_001]}}),
    ] {
        stage.peer.send(&ask(
            subject.clone(),
            "subscriptions/listen",
            "direct",
            &params,
        ));
        let got = stage.peer.last().await;
        assert_eq!(got.header("Toolbus-Error"), Some("invalid_params"));
    }
    stage.end().await;
}
