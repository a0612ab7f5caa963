//! How foreign workers are found, and what the registry says of them.

use super::*;

const OTHER: &str = "urn:acme:actionspace:oracle:look:v1";

/// Puts an entry into the registry.
async fn enter(hub: &Arc<Hub>, name: &str, entry: Value) {
    let bucket = hub
        .connect()
        .bucket("coreason-registry", Default::default())
        .await
        .expect("a bucket");
    let key = urn(name).subject();
    bucket
        .put(&key, entry.to_string().into())
        .await
        .expect("entered");
}

fn entry(clearance: &str, status: &str) -> Value {
    json!({"clearance": clearance, "epistemic_status": status, "capability_metadata": {}, "content_hash": ""})
}

#[tokio::test(start_paused = true)]
async fn a_tool_has_the_alias_and_the_description() {
    let hub = Hub::new();
    let _worker = Plain::start(&hub, &[URN, OTHER], sum).await;
    let foreign = open(&hub);
    offers(&foreign, &["acme-solver-add-v1", "acme-oracle-look-v1"]).await;
    let offer = foreign.offer().borrow().clone();
    let add = offer
        .tools
        .iter()
        .find(|tool| &*tool.key == "acme-solver-add-v1")
        .expect("a tool");
    let seen: Value = add.definition.to_raw().read().expect("JSON");
    let expected = json!({
        "name": "acme-solver-add-v1", "description": "Adds",
        "inputSchema": {"type": "object", "title": "x"}, "_meta": {"toolbus/urn": URN},
    });
    assert_eq!(seen, expected);
}

#[tokio::test(start_paused = true)]
async fn who_is_gone_is_forgotten_and_who_comes_is_found() {
    let hub = Hub::new();
    let first = Plain::start(&hub, &[URN], sum).await;
    let foreign = open(&hub);
    offers(&foreign, &["acme-solver-add-v1"]).await;
    first.bus.close().await;
    let _second = Plain::start(&hub, &[OTHER], sum).await;
    offers(&foreign, &["acme-solver-add-v1", "acme-oracle-look-v1"]).await;
    tokio::time::sleep(DISCOVER_EVERY * 4).await;
    offers(&foreign, &["acme-oracle-look-v1"]).await;
}

#[tokio::test(start_paused = true)]
async fn a_worker_that_registers_itself_is_entered_as_a_draft() {
    let (hub, worker) = {
        let hub = Hub::new();
        let bus = hub.connect();
        (hub, bus)
    };
    let foreign = open(&hub);
    tokio::time::sleep(Duration::from_secs(1)).await;
    worker
        .send(message(&published().update(), &described(URN)))
        .expect("sent");
    offers(&foreign, &["acme-solver-add-v1"]).await;
    let bucket = hub
        .connect()
        .bucket("coreason-registry", Default::default())
        .await
        .expect("a bucket");
    let value = bucket
        .get(&urn(URN).subject())
        .await
        .expect("read")
        .expect("an entry");
    let seen: Value = serde_json::from_slice(&value).expect("JSON");
    assert_eq!(
        (&seen["clearance"], &seen["epistemic_status"]),
        (&json!("RESTRICTED"), &json!("DRAFT"))
    );
    assert_eq!(seen["capability_metadata"]["name"], URN);
    // Another gateway knows of it from there, long after the worker spoke.
    let another = open(&hub);
    offers(&another, &["acme-solver-add-v1"]).await;
}

#[tokio::test(start_paused = true)]
async fn what_is_quarantined_or_retracted_is_never_called() {
    let hub = Hub::new();
    enter(&hub, URN, entry("PUBLIC", "QUARANTINED")).await;
    let mut worker = Plain::start(&hub, &[URN, OTHER], sum).await;
    let foreign = open(&hub);
    offers(&foreign, &["acme-oracle-look-v1"]).await;
    assert!(
        call(&*foreign, "acme-solver-add-v1", json!({"a": 1, "b": 2}))
            .await
            .is_err()
    );
    enter(&hub, URN, entry("PUBLIC", "PUBLISHED")).await;
    offers(&foreign, &["acme-solver-add-v1", "acme-oracle-look-v1"]).await;
    assert_eq!(
        foreign.clearance("acme-solver-add-v1"),
        Some(Clearance::Public)
    );
    assert_eq!(
        foreign.clearance("acme-oracle-look-v1"),
        Some(Clearance::Restricted)
    );
    for blocked in [
        entry("PUBLIC", "RETRACTED"),
        json!({"epistemic_status": "SECRET"}),
        json!(7),
    ] {
        enter(&hub, URN, blocked).await;
        offers(&foreign, &["acme-oracle-look-v1"]).await;
        enter(&hub, URN, entry("PUBLIC", "DEPRECATED")).await;
        offers(&foreign, &["acme-solver-add-v1", "acme-oracle-look-v1"]).await;
    }
    assert!(worker.asked.try_recv().is_err());
}

#[tokio::test(start_paused = true)]
async fn of_two_urns_with_one_subject_the_first_stays() {
    let (hub, worker) = {
        let hub = Hub::new();
        let bus = hub.connect();
        (hub, bus)
    };
    let foreign = open(&hub);
    tokio::time::sleep(Duration::from_secs(1)).await;
    let (first, second) = ("urn:acme:oracle:look:v1.2", "urn:acme:oracle:look:v1:2");
    for name in [first, second] {
        worker
            .send(message(&published().update(), &described(name)))
            .expect("sent");
    }
    let long = format!("urn:acme:actionspace:oracle:{}:v1", "x".repeat(220));
    for bad in [
        json!({}),
        json!([]),
        json!({"name": "add"}),
        json!({"name": "urn:acme:*:look:v1:2"}),
        described(&long),
    ] {
        worker
            .send(message(&published().update(), &bad))
            .expect("sent");
    }
    offers(&foreign, &[&urn(first).alias()]).await;
    tokio::time::sleep(Duration::from_secs(1)).await;
    offers(&foreign, &[&urn(first).alias()]).await;
}

#[tokio::test(start_paused = true)]
async fn workers_of_our_own_are_left_to_our_own_catalog() {
    let (hub, worker) = {
        let hub = Hub::new();
        let bus = hub.connect();
        (hub, bus)
    };
    let foreign = open(&hub);
    tokio::time::sleep(Duration::from_secs(1)).await;
    let mut own = message(&published().update(), &described(OTHER));
    own.headers = Headers::default();
    own.headers.put("Toolbus-Worker", "w1");
    worker.send(own).expect("sent");
    worker
        .send(message(&published().update(), &described(URN)))
        .expect("sent");
    offers(&foreign, &["acme-solver-add-v1"]).await;
}

#[tokio::test(start_paused = true)]
async fn a_lost_connection_is_said_and_comes_back() {
    let hub = Hub::new();
    let _worker = Plain::start(&hub, &[URN], sum).await;
    let bus = hub.connect();
    let foreign = Foreign::open(
        bus.clone(),
        Settings::new(published(), "urn:toolbus:instance:test-one"),
    );
    offers(&foreign, &["acme-solver-add-v1"]).await;
    bus.cut("the broker is gone");
    let mut offer = foreign.offer();
    let down = offer.wait_for(|offer| matches!(&offer.health, toolbus_model::Health::Down(error) if error.to_string().contains("the broker is gone")));
    tokio::time::timeout(Duration::from_secs(9), down)
        .await
        .expect("told")
        .expect("an offer");
    let error = call(&*foreign, "acme-solver-add-v1", json!({}))
        .await
        .expect_err("no connection");
    assert!(matches!(error, Error::Unavailable(_)), "{error}");
    bus.restore();
    let up = offer.wait_for(|offer| offer.health == toolbus_model::Health::Up);
    tokio::time::timeout(Duration::from_secs(9), up)
        .await
        .expect("told")
        .expect("an offer");
    assert!(
        call(&*foreign, "acme-solver-add-v1", json!({"a": 1, "b": 2}))
            .await
            .is_ok()
    );
    foreign.stop().await;
}
