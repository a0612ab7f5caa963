//! The catalog of a gateway, as workers come, change and go.

#[path = "caller/scripted.rs"]
#[allow(dead_code, reason = "each test file uses its part")]
mod scripted;

use std::sync::Arc;
use std::time::Duration;

use scripted::{Gateway, Offers, Running, Worker, request, text, tool};
use serde_json::{Value, json};
use tokio::time::{Instant, sleep, timeout};
use toolbus_mesh::bus::local::Hub;
use toolbus_mesh::caller::{GRACE, Remote, Settings};
use toolbus_model::{Backend, Error, Health, Offer};

/// Waits until a server's offer is as wanted.
async fn until(server: &Arc<Remote>, wanted: impl Fn(&Offer) -> bool) -> Arc<Offer> {
    let mut offer = server.offer();
    let seen = timeout(
        Duration::from_secs(120),
        offer.wait_for(|offer| wanted(offer)),
    );
    seen.await.expect("in time").expect("open").clone()
}

fn names(offer: &Offer) -> Vec<&str> {
    offer.tools.iter().map(|tool| &*tool.key).collect()
}

fn versioned(name: &str, version: u32) -> Value {
    json!({"name": name, "description": version.to_string(), "inputSchema": {"type": "object"}, "annotations": {"readOnlyHint": true}})
}

#[tokio::test(start_paused = true)]
async fn what_workers_register_is_offered_as_they_wrote_it() {
    let hub = Hub::new();
    let tools = [tool("b", true), tool("a", false)];
    let _worker = Worker::start(&hub, "w1", &Offers::of(&tools)).await;
    let gateway = Gateway::open(&hub).await;
    let server = gateway.server("math", 1).await;
    let offer = until(&server, |offer| offer.tools.len() == 2).await;
    assert_eq!(names(&offer), ["b", "a"]);
    assert_eq!(
        offer.tools[0].definition.bytes(),
        tools[0].to_string().as_bytes()
    );
    assert_eq!(
        (offer.health.clone(), offer.freshness.ttl_ms),
        (Health::Up, 1000)
    );
    assert!(
        offer
            .capabilities
            .as_ref()
            .is_some_and(|has| has.get("tools").is_some())
    );
}

#[tokio::test(start_paused = true)]
async fn a_change_is_seen_within_half_a_second() {
    let hub = Hub::new();
    let worker = Worker::start(&hub, "w1", &Offers::of(&[tool("a", true)])).await;
    let gateway = Gateway::open(&hub).await;
    let server = gateway.server("math", 1).await;
    let begun = Instant::now();
    worker
        .register(&Offers::of(&[tool("a", true), tool("b", true)]), [1, 0, 0])
        .await;
    let offer = until(&server, |offer| offer.tools.len() == 2).await;
    assert!(begun.elapsed() < Duration::from_millis(500));
    assert_eq!(offer.changes.tools, 1);
    let begun = Instant::now();
    let other = Offers {
        server: "other",
        ..Offers::of(&[tool("x", true)])
    };
    let _other = Worker::start(&hub, "w2", &other).await;
    gateway.server("other", 1).await;
    assert!(begun.elapsed() < Duration::from_millis(500));
}

#[tokio::test(start_paused = true)]
async fn tools_stay_listed_for_a_while_after_their_last_worker_left() {
    let hub = Hub::new();
    let worker = Worker::start(&hub, "w1", &Offers::of(&[tool("a", true)])).await;
    let gateway = Gateway::open(&hub).await;
    let server = gateway.server("math", 1).await;
    worker.leave().await;
    let begun = Instant::now();
    let offer = until(&server, |offer| offer.health != Health::Up).await;
    assert_eq!(names(&offer), ["a"]);
    let Health::Down(error) = &offer.health else {
        panic!("{:?}", offer.health);
    };
    assert!(
        error.to_string().contains("its last worker was w1"),
        "{error}"
    );
    let mut found = gateway.mesh.found();
    timeout(GRACE * 2, found.wait_for(|found| found.servers.is_empty()))
        .await
        .expect("in time")
        .expect("open");
    assert!(
        (GRACE..GRACE + Duration::from_secs(3)).contains(&begun.elapsed()),
        "{:?}",
        begun.elapsed()
    );
    // A rolling restart does not show.
    let _second = Worker::start(&hub, "w2", &Offers::of(&[tool("a", true)])).await;
    let server = gateway.server("math", 1).await;
    let mut offer = server.offer();
    offer.mark_unchanged();
    let third = Worker::start(&hub, "w3", &Offers::of(&[tool("a", true)])).await;
    gateway.server("math", 2).await;
    third.leave().await;
    gateway.server("math", 1).await;
    assert!(!offer.has_changed().expect("open"), "the list flapped");
}

#[tokio::test(start_paused = true)]
async fn of_two_versions_the_newest_with_workers_is_listed_and_called() {
    let hub = Hub::new();
    let mut old = Worker::start(&hub, "old", &Offers::of(&[versioned("a", 1)])).await;
    let gateway = Gateway::open(&hub).await;
    let server = gateway.server("math", 1).await;
    let described = |offer: &Offer, version: &str| {
        offer.tools.len() == 1
            && offer.tools[0].definition.str("description").as_deref() == Some(version)
    };
    until(&server, |offer| described(offer, "1")).await;
    let mut new = Worker::start(&hub, "new", &Offers::of(&[versioned("a", 2)])).await;
    until(&server, |offer| described(offer, "2")).await;
    for _ in 0..10 {
        let running = Running::begin(&server, request("a"));
        let asked = new.asked().await;
        new.end(&asked, "new");
        assert_eq!(text(&running.outcome().await), "new");
    }
    new.leave().await;
    until(&server, |offer| described(offer, "1")).await;
    let running = Running::begin(&server, request("a"));
    let asked = old.asked().await;
    old.end(&asked, "old");
    assert_eq!(text(&running.outcome().await), "old");
}

#[tokio::test(start_paused = true)]
async fn who_is_not_heard_of_is_not_asked_while_others_are_there() {
    let hub = Hub::new();
    let offers = Offers::of(&[tool("a", true)]);
    let mut silent = Worker::start(&hub, "silent", &offers).await;
    let mut beats = Worker::start(&hub, "beats", &offers).await;
    let gateway = Gateway::open(&hub).await;
    let server = gateway.server("math", 2).await;
    for _ in 0..4 {
        sleep(Duration::from_secs(4)).await;
        beats.beat(0);
    }
    for _ in 0..20 {
        let running = Running::begin(&server, request("a"));
        let asked = beats.asked().await;
        beats.end(&asked, "beats");
        assert_eq!(text(&running.outcome().await), "beats");
    }
    drop(beats);
    let running = Running::begin(&server, request("a"));
    let asked = silent.asked().await;
    silent.end(&asked, "the last resort");
    assert_eq!(text(&running.outcome().await), "the last resort");
}

#[tokio::test(start_paused = true)]
async fn more_calls_go_to_whom_has_less_to_do() {
    let hub = Hub::new();
    let offers = Offers::of(&[tool("a", true)]);
    let (slow, mut fast) = (
        Worker::start(&hub, "slow", &offers).await,
        Worker::start(&hub, "fast", &offers).await,
    );
    let gateway = Gateway::open(&hub).await;
    let server = gateway.server("math", 2).await;
    slow.beat(6);
    fast.beat(0);
    sleep(Duration::from_millis(10)).await;
    for _ in 0..6 {
        let running = Running::begin(&server, request("a"));
        let asked = fast.asked().await;
        fast.end(&asked, "fast");
        assert_eq!(text(&running.outcome().await), "fast");
    }
}

#[tokio::test(start_paused = true)]
async fn a_callers_calls_stay_with_the_worker_that_keeps_its_state() {
    let hub = Hub::new();
    let offers = Offers {
        stateful: true,
        ..Offers::of(&[tool("a", true)])
    };
    let mut a = Worker::start(&hub, "a", &offers).await;
    let mut b = Worker::start(&hub, "b", &offers).await;
    let (one, two) = (
        Gateway::open(&hub).await,
        Gateway::open_with(&hub, Settings::default()).await,
    );
    let servers = [one.server("math", 2).await, two.server("math", 2).await];
    let running = Running::begin(&servers[0], request("a"));
    let (asked, keeper, other) = tokio::select! {
        asked = a.asked() => (asked, &mut a, &mut b),
        asked = b.asked() => (asked, &mut b, &mut a),
    };
    keeper.end(&asked, "kept");
    assert_eq!(text(&running.outcome().await), "kept");
    for n in 0..10 {
        let running = Running::begin(&servers[n % 2], request("a"));
        let asked = keeper.asked().await;
        keeper.end(&asked, "kept");
        assert_eq!(text(&running.outcome().await), "kept");
    }
    keeper.leave().await;
    for (n, gateway) in [&one, &two].into_iter().enumerate() {
        gateway.server("math", 1).await;
        let _ = n;
    }
    let error = Running::begin(&servers[1], request("a"))
        .outcome()
        .await
        .expect_err("lost");
    assert!(
        matches!(&error, Error::StateLost(why) if why.contains(&keeper.id)),
        "{error}"
    );
    for server in &servers {
        let running = Running::begin(server, request("a"));
        let asked = other.asked().await;
        other.end(&asked, "anew");
        assert_eq!(text(&running.outcome().await), "anew");
    }
}
