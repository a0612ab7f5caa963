//! Leaving a subject without losing what was sent there.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use toolbus_mesh::bus::{Bus, NotSent};

use super::{Site, message, next, nothing};

/// So many messages that one which gets lost now and then is seen.
const ENOUGH: u64 = 10_000;

/// Members come and go while messages flow as fast as they can; each message reaches exactly one of them.
pub(crate) async fn nothing_is_lost_when_one_leaves(site: &impl Site) {
    let (sender, stays) = (site.connect().await, site.connect().await);
    let read = Arc::new(AtomicU64::new(0));
    let mut tasks = tokio::task::JoinSet::new();
    let first = stays
        .subscribe("drain.a", Some("workers"), 1 << 20)
        .await
        .expect("a subscription");
    tasks.spawn(count(first, read.clone()));
    let is_over = Arc::new(AtomicBool::new(false));
    let sending = tokio::task::spawn_blocking({
        let (sender, is_over) = (sender.clone(), is_over.clone());
        move || flood(&*sender, &is_over)
    });
    for _ in 0..20 {
        let leaves = site.connect().await;
        let mut member = leaves
            .subscribe("drain.a", Some("workers"), 1 << 20)
            .await
            .expect("a subscription");
        tokio::time::sleep(Duration::from_millis(30)).await;
        member.unsubscribe().await;
        let read = read.clone();
        tasks.spawn(async move {
            count(member, read).await;
            leaves.close().await;
        });
    }
    is_over.store(true, Ordering::Relaxed);
    let sent = sending.await.expect("it sends");
    sender.round_trip().await.expect("there and back");
    let all = async {
        while read.load(Ordering::Relaxed) < sent {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    };
    let _ = tokio::time::timeout(super::SOON, all).await;
    assert_eq!(read.load(Ordering::Relaxed), sent);
    assert!(sent > ENOUGH, "{sent} are too few to lose one");
}

async fn count(mut messages: toolbus_mesh::bus::Subscription, read: Arc<AtomicU64>) {
    while messages.next().await.is_some() {
        read.fetch_add(1, Ordering::Relaxed);
    }
}

fn flood(bus: &dyn Bus, is_over: &AtomicBool) -> u64 {
    let mut sent = 0;
    while !is_over.load(Ordering::Relaxed) || sent <= ENOUGH {
        match bus.send(message("drain.a", "0123456789")) {
            Ok(()) => sent += 1,
            Err(NotSent::Full) => std::thread::sleep(Duration::from_millis(1)),
            Err(why) => panic!("{why}"),
        }
        if sent % 64 == 0 {
            // As fast as the slower of two cores reads it, so that no queue overflows for another reason.
            std::thread::sleep(Duration::from_micros(200));
        }
    }
    sent
}

pub(crate) async fn what_waits_can_still_be_read(site: &impl Site) {
    let bus = site.connect().await;
    let mut messages = bus
        .subscribe("wait.a", None, 100)
        .await
        .expect("a subscription");
    let mut other = bus
        .subscribe("wait.a", None, 100)
        .await
        .expect("a subscription");
    for number in 0..50 {
        bus.send(message("wait.a", number.to_string()))
            .expect("sent");
    }
    messages.unsubscribe().await;
    bus.send(message("wait.a", "too late")).expect("sent");
    for number in 0..50 {
        assert_eq!(next(&mut messages).await.payload, number.to_string());
    }
    assert!(messages.next().await.is_none());
    // Twice does no harm, nor does it to the others.
    messages.unsubscribe().await;
    for _ in 0..51 {
        next(&mut other).await;
    }
    nothing(&mut other).await;
}
