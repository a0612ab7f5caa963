//! What becomes of a bus when its server is killed, stopped, or loses what it stored.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use tokio::task::JoinSet;
use toolbus_mesh::bus::nats::NatsBus;
use toolbus_mesh::bus::{Bucket, BucketSettings, Bus, Change, Link, NotSent};

use crate::contract::buckets::told;
use crate::contract::{SOON, message, next};
use crate::server::Server;

/// Long enough to notice that a server no longer says anything.
const NOTICED: Duration = Duration::from_secs(30);

async fn link(bus: &NatsBus, is_it: impl Fn(&Link) -> bool) -> Link {
    let mut link = bus.link();
    let found = tokio::time::timeout(NOTICED, link.wait_for(|link| is_it(link))).await;
    let found = found.expect("a change of the link in time");
    found.expect("a link").clone()
}

async fn up(bus: &NatsBus, number: u64) {
    link(bus, |link| *link == Link::Up(number)).await;
}

async fn down(bus: &NatsBus) {
    link(bus, |link| matches!(link, Link::Down(_))).await;
}

/// Waits until so many more were counted.
async fn more(count: &AtomicUsize, wanted: usize) {
    let before = count.load(Ordering::Relaxed);
    let counted = async {
        while count.load(Ordering::Relaxed) < before + wanted {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    let counted = tokio::time::timeout(NOTICED, counted).await;
    counted.expect("it goes on");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nothing_of_a_lost_connection_is_delivered_later() {
    let Some(mut server) = Server::start_plain().await else {
        return;
    };
    let sender = NatsBus::connect(server.settings())
        .await
        .expect("connected");
    let receiver = NatsBus::connect(server.settings())
        .await
        .expect("connected");
    let mut messages = receiver
        .subscribe("late.a", None, 1 << 20)
        .await
        .expect("a subscription");
    let mut receiving = JoinSet::new();
    receiving.spawn({
        let link = receiver.link();
        async move {
            let mut received = Vec::new();
            while let Some(message) = messages.next().await {
                let text = String::from_utf8(message.payload.to_vec()).expect("a number");
                received.push((
                    text.parse::<usize>().expect("a number"),
                    link.borrow().clone(),
                ));
            }
            received
        }
    });
    let is_over = Arc::new(AtomicBool::new(false));
    let (sent, refused) = (Arc::<AtomicUsize>::default(), Arc::<AtomicUsize>::default());
    let sending = tokio::task::spawn_blocking({
        let (sender, is_over) = (sender.clone(), is_over.clone());
        let (sent, refused) = (sent.clone(), refused.clone());
        move || {
            let mut outcomes = Vec::new();
            while !is_over.load(Ordering::Relaxed) {
                outcomes.push(sender.send(message("late.a", outcomes.len().to_string())));
                let count = if outcomes.last() == Some(&Ok(())) {
                    &sent
                } else {
                    &refused
                };
                count.fetch_add(1, Ordering::Relaxed);
                std::thread::sleep(Duration::from_micros(20));
            }
            outcomes
        }
    });
    more(&sent, 1_000).await;
    server.kill();
    more(&refused, 1_500).await;
    let server = server.restart(true).await;
    up(&sender, 2).await;
    up(&receiver, 2).await;
    more(&sent, 1_000).await;
    is_over.store(true, Ordering::Relaxed);
    let outcomes = sending.await.expect("it sends");
    tokio::time::sleep(Duration::from_millis(300)).await;
    receiver.close().await;
    let received = receiving.join_next().await.expect("a task");
    let received = received.expect("it receives");
    let refused: Vec<usize> = (0..outcomes.len())
        .filter(|at| outcomes[*at].is_err())
        .collect();
    assert!(refused.len() > 1000, "{} refused", refused.len());
    assert!(
        refused
            .iter()
            .all(|at| outcomes[*at] == Err(NotSent::Disconnected))
    );
    let first_refused = refused[0];
    let (before, after): (Vec<_>, Vec<_>) =
        received.iter().partition(|(_, link)| *link == Link::Up(1));
    assert!(
        before.len() > 100 && after.len() > 100,
        "{} and {}",
        before.len(),
        after.len()
    );
    assert!(
        received.iter().all(|(at, _)| outcomes[*at].is_ok()),
        "what was refused never comes"
    );
    let late = after
        .iter()
        .filter(|(at, link)| *at < first_refused && matches!(link, Link::Up(2)));
    assert_eq!(
        late.count(),
        0,
        "what was lost with the connection does not come after it"
    );
    drop(server);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn subscriptions_are_there_again() {
    let Some(server) = Server::start_plain().await else {
        return;
    };
    let bus = NatsBus::connect(server.settings())
        .await
        .expect("connected");
    let mut kept = bus
        .subscribe("again.*", Some("workers"), 64)
        .await
        .expect("a subscription");
    let dropped = bus
        .subscribe("again.*", Some("workers"), 64)
        .await
        .expect("a subscription");
    let mut left = bus
        .subscribe("again.*", Some("workers"), 64)
        .await
        .expect("a subscription");
    left.unsubscribe().await;
    drop(dropped);
    let mut server = server;
    for round in 2..5 {
        server = server.restart(true).await;
        up(&bus, round).await;
        for _ in 0..20 {
            bus.send(message("again.a", "")).expect("sent");
        }
        for _ in 0..20 {
            next(&mut kept).await;
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn without_a_server_everything_fails_soon() {
    let Some(mut server) = Server::start_plain().await else {
        return;
    };
    let bus = NatsBus::connect(server.settings())
        .await
        .expect("connected");
    let bucket = bus
        .bucket("B", BucketSettings::default())
        .await
        .expect("a bucket");
    server.kill();
    down(&bus).await;
    let began = Instant::now();
    assert_eq!(bus.send(message("a", "")), Err(NotSent::Disconnected));
    assert!(bus.round_trip().await.is_err());
    let why = bucket.put("a", "b".into()).await.expect_err("no server");
    assert!(why.to_string().contains("no connection"), "{why}");
    assert!(
        began.elapsed() < Duration::from_secs(1),
        "{:?}",
        began.elapsed()
    );
    let why = bus.subscribe("a", None, 1).await.expect_err("no server");
    assert!(why.to_string().contains(&server.port.to_string()), "{why}");
    assert!(
        bus.describe().contains("no connection"),
        "{}",
        bus.describe()
    );
    // Whoever subscribes in the meantime gets it once there is a connection.
    let (subscribed, server) = tokio::join!(bus.subscribe("b", None, 8), server.restart(true));
    let mut messages = subscribed.expect("a subscription");
    bus.send(message("b", "1")).expect("sent");
    next(&mut messages).await;
    drop(server);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_server_that_stands_still_is_noticed() {
    let Some(server) = Server::start_plain().await else {
        return;
    };
    let bus = NatsBus::connect(server.settings())
        .await
        .expect("connected");
    let began = Instant::now();
    server.signal("STOP");
    let Link::Down(why) = link(&bus, |link| matches!(link, Link::Down(_))).await else {
        panic!("it is down");
    };
    assert!(why.contains("no sign of life"), "{why}");
    assert!(
        began.elapsed() < Duration::from_secs(10),
        "{:?}",
        began.elapsed()
    );
    assert_eq!(bus.send(message("a", "")), Err(NotSent::Disconnected));
    server.signal("CONT");
    up(&bus, 2).await;
    bus.round_trip().await.expect("there and back");
}

async fn watched(bus: &NatsBus) -> (Arc<dyn Bucket>, tokio::sync::mpsc::Receiver<Change>) {
    let bucket = bus
        .bucket("WATCHED", BucketSettings::default())
        .await
        .expect("a bucket");
    bucket.put("a", "1".into()).await.expect("kept");
    let mut changes = bucket.watch(">").await.expect("a watch");
    assert!(
        matches!(told(&mut changes).await, Change::Put(key, value, _) if key == "a" && value == "1")
    );
    assert_eq!(told(&mut changes).await, Change::Current);
    (bucket, changes)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_watch_survives_a_restart() {
    let Some(server) = Server::start_plain().await else {
        return;
    };
    let bus = NatsBus::connect(server.settings())
        .await
        .expect("connected");
    let (bucket, mut changes) = watched(&bus).await;
    let server = server.restart(true).await;
    assert!(
        matches!(told(&mut changes).await, Change::Put(key, value, _) if key == "a" && value == "1")
    );
    assert_eq!(told(&mut changes).await, Change::Current);
    bucket.put("b", "2".into()).await.expect("kept");
    assert!(matches!(told(&mut changes).await, Change::Put(key, ..) if key == "b"));
    drop(server);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_the_server_lost_is_made_anew() {
    let Some(server) = Server::start_plain().await else {
        return;
    };
    let bus = NatsBus::connect(server.settings())
        .await
        .expect("connected");
    let (bucket, mut changes) = watched(&bus).await;
    let objects = bus.objects("OBJECTS").await.expect("a store");
    bus.append("RECORDS", "records.>", message("records.a", "1"))
        .await
        .expect("kept");
    let server = server.restart(false).await;
    assert_eq!(
        told(&mut changes).await,
        Change::Current,
        "nothing is there any more"
    );
    assert_eq!(bucket.get("a").await, Ok(None));
    bucket.put("a", "2".into()).await.expect("kept");
    assert!(
        matches!(told(&mut changes).await, Change::Put(key, value, _) if key == "a" && value == "2")
    );
    objects.put("o", "body".into()).await.expect("kept");
    assert_eq!(objects.get("o", 10).await, Ok("body".into()));
    bus.append("RECORDS", "records.>", message("records.a", "2"))
        .await
        .expect("kept");
    drop(server);
}

/// Somebody takes the bucket itself away, while the server runs on.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_bucket_that_is_deleted_is_made_anew() {
    let Some(server) = Server::start_plain().await else {
        return;
    };
    let bus = NatsBus::connect(server.settings())
        .await
        .expect("connected");
    let (bucket, mut changes) = watched(&bus).await;
    let inbox = bus.inbox();
    let mut answers = bus
        .subscribe(&inbox, None, 1)
        .await
        .expect("a subscription");
    let delete = toolbus_mesh::bus::Message {
        reply: Some(inbox),
        ..message("$JS.API.STREAM.DELETE.KV_WATCHED", "")
    };
    bus.send(delete).expect("sent");
    next(&mut answers).await;
    let again = tokio::time::timeout(NOTICED, changes.recv())
        .await
        .expect("in time");
    assert_eq!(again, Some(Change::Current));
    bucket.put("a", "2".into()).await.expect("kept");
    assert!(matches!(told(&mut changes).await, Change::Put(..)));
}

/// A value that is put while the connection comes and goes is told, however it comes to be known.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_watch_tells_what_it_missed() {
    let Some(server) = Server::start_plain().await else {
        return;
    };
    let bus = NatsBus::connect(server.settings())
        .await
        .expect("connected");
    let (bucket, mut changes) = watched(&bus).await;
    let mut server = server;
    for round in 2..5 {
        server = server.restart(true).await;
        let key = format!("k{round}");
        let until = Instant::now() + SOON;
        while bucket.put(&key, "v".into()).await.is_err() {
            assert!(Instant::now() < until, "it can be put again");
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        loop {
            if matches!(told(&mut changes).await, Change::Put(told, ..) if told == key) {
                break;
            }
        }
    }
}
