//! Messages, and who gets them.

use std::collections::HashSet;

use toolbus_mesh::bus::{Headers, Message, NotSent};

use super::{SOON, Site, message, next, nothing, request};

pub(crate) async fn a_message_arrives_whole(site: &impl Site) {
    let (one, other) = (site.connect().await, site.connect().await);
    let mut messages = other
        .subscribe("whole.a", None, 8)
        .await
        .expect("a subscription");
    one.send(request("whole.a", "whole.reply")).expect("sent");
    let message = next(&mut messages).await;
    assert_eq!(
        (message.subject.as_str(), message.reply.as_deref()),
        ("whole.a", Some("whole.reply"))
    );
    assert_eq!(
        (
            message.headers.get("Toolbus-Wire"),
            message.headers.get("X-Other")
        ),
        (Some("1"), Some("some value"))
    );
    assert_eq!(
        (&message.payload[..], message.no_responders),
        (&b"body"[..], false)
    );
}

pub(crate) async fn wildcards_match(site: &impl Site) {
    let bus = site.connect().await;
    let mut one = bus
        .subscribe("wild.*.x", None, 8)
        .await
        .expect("a subscription");
    let mut rest = bus
        .subscribe("wild.>", None, 8)
        .await
        .expect("a subscription");
    for subject in ["wild.a.x", "wild.a.y", "wild.a.x.z", "wild"] {
        bus.send(message(subject, "")).expect("sent");
    }
    assert_eq!(next(&mut one).await.subject, "wild.a.x");
    for subject in ["wild.a.x", "wild.a.y", "wild.a.x.z"] {
        assert_eq!(next(&mut rest).await.subject, subject);
    }
    nothing(&mut one).await;
    nothing(&mut rest).await;
}

pub(crate) async fn a_group_shares(site: &impl Site) {
    let (bus, other) = (site.connect().await, site.connect().await);
    let mut members = Vec::new();
    for bus in [&bus, &other] {
        members.push(
            bus.subscribe("group.*", Some("workers"), 4096)
                .await
                .expect("a subscription"),
        );
    }
    let mut alone = other
        .subscribe("group.a", None, 4096)
        .await
        .expect("a subscription");
    for number in 0..1000 {
        bus.send(message("group.a", number.to_string()))
            .expect("sent");
    }
    let mut seen = HashSet::new();
    for _ in 0..1000 {
        next(&mut alone).await;
    }
    let mut shares = Vec::new();
    for member in &mut members {
        let mut share = 0;
        while let Ok(Some(message)) = tokio::time::timeout(super::QUIET, member.next()).await {
            assert!(seen.insert(message.payload), "nobody gets it twice");
            share += 1;
        }
        shares.push(share);
    }
    assert_eq!(seen.len(), 1000);
    assert!(shares.iter().all(|share| *share > 100), "{shares:?}");
}

/// Whoever of a group unsubscribed gets nothing more, and the others get all.
pub(crate) async fn a_group_prefers_who_is_there(site: &impl Site) {
    let bus = site.connect().await;
    let mut gone = bus
        .subscribe("there.a", Some("workers"), 64)
        .await
        .expect("a subscription");
    let mut stays = bus
        .subscribe("there.a", Some("workers"), 64)
        .await
        .expect("a subscription");
    gone.unsubscribe().await;
    for _ in 0..50 {
        bus.send(message("there.a", "")).expect("sent");
    }
    for _ in 0..50 {
        next(&mut stays).await;
    }
    assert!(gone.next().await.is_none());
}

pub(crate) async fn nobody_there_is_said(site: &impl Site) {
    let bus = site.connect().await;
    let inbox = bus.inbox();
    let mut replies = bus
        .subscribe(&format!("{inbox}.*"), None, 8)
        .await
        .expect("a subscription");
    bus.send(request("nobody.here", &format!("{inbox}.7")))
        .expect("sent");
    let said = next(&mut replies).await;
    assert!(said.no_responders && said.payload.is_empty());
    assert_eq!(said.subject, format!("{inbox}.7"));
    // One that left is nobody, and who wants no answer gets none.
    drop(
        bus.subscribe("nobody.here", None, 8)
            .await
            .expect("a subscription"),
    );
    bus.round_trip().await.expect("there and back");
    bus.send(message("nobody.here", "")).expect("sent");
    bus.send(request("nobody.here", &format!("{inbox}.8")))
        .expect("sent");
    assert_eq!(next(&mut replies).await.subject, format!("{inbox}.8"));
    nothing(&mut replies).await;
}

pub(crate) async fn a_slow_reader_loses_the_newest(site: &impl Site) {
    let (bus, other) = (site.connect().await, site.connect().await);
    let mut slow = other
        .subscribe("slow.a", None, 10)
        .await
        .expect("a subscription");
    let mut quick = other
        .subscribe("slow.a", None, 100)
        .await
        .expect("a subscription");
    for number in 0..100 {
        bus.send(message("slow.a", number.to_string()))
            .expect("sent");
    }
    for number in 0..100 {
        assert_eq!(next(&mut quick).await.payload, number.to_string());
    }
    for number in 0..10 {
        assert_eq!(next(&mut slow).await.payload, number.to_string());
    }
    bus.send(message("slow.a", "later")).expect("sent");
    assert_eq!(
        next(&mut slow).await.payload,
        "later",
        "it is still subscribed"
    );
}

pub(crate) async fn what_is_no_message_is_refused(site: &impl Site) {
    let bus = site.connect().await;
    let long = "x".repeat(257);
    let deep = "a.".repeat(16) + "a";
    for subject in [
        "",
        "a.*.b",
        "a.>",
        "a..b",
        ".a",
        "a b",
        "a\r\nPUB b 0",
        "ä",
        &long,
        &deep,
    ] {
        let refused = bus.send(message(subject, "x"));
        assert!(
            matches!(refused, Err(NotSent::Subject(_))),
            "{subject}: {refused:?}"
        );
        let reply = bus.send(request("fine", subject));
        assert!(
            matches!(reply, Err(NotSent::Subject(_))),
            "{subject}: {reply:?}"
        );
    }
    for subject in ["", "a.>.b", "a b", &long, "a\r\nb"] {
        assert!(bus.subscribe(subject, None, 1).await.is_err(), "{subject}");
    }
    for (name, value) in [("A", "b\r\nc"), ("A: b", "c"), ("", "c"), ("A\n", "c")] {
        let mut headers = Headers::default();
        headers.put(name.to_owned(), value.to_owned());
        let refused = bus.send(Message {
            headers,
            ..message("fine", "")
        });
        assert!(
            matches!(refused, Err(NotSent::Subject(_))),
            "{name}: {refused:?}"
        );
    }
    let limit = bus.max_payload();
    assert_eq!(limit, 1024 * 1024);
    assert_eq!(
        bus.send(message("fine", vec![0; limit + 1])),
        Err(NotSent::TooLarge(limit))
    );
    let headed = Message {
        payload: vec![0; limit].into(),
        ..request("fine", "r")
    };
    assert_eq!(
        bus.send(headed),
        Err(NotSent::TooLarge(limit)),
        "headers count"
    );
    // It goes on after all this.
    let mut messages = bus
        .subscribe("fine", None, 8)
        .await
        .expect("a subscription");
    bus.send(message("fine", "still")).expect("sent");
    assert_eq!(next(&mut messages).await.payload, "still");
}

pub(crate) async fn a_large_message_arrives(site: &impl Site) {
    let bus = site.connect().await;
    let mut messages = bus
        .subscribe("large", None, 8)
        .await
        .expect("a subscription");
    let body: Vec<u8> = (0..bus.max_payload()).map(|at| (at % 251) as u8).collect();
    for size in [0, 1, 2047, 2048, 2049, 65_536, body.len()] {
        bus.send(message("large", body[..size].to_vec()))
            .expect("sent");
        assert_eq!(next(&mut messages).await.payload, body[..size]);
    }
}

pub(crate) async fn order_is_kept(site: &impl Site) {
    let bus = site.connect().await;
    let mut messages = bus
        .subscribe("order.*", None, 20_000)
        .await
        .expect("a subscription");
    for number in 0..10_000 {
        bus.send(message(
            &format!("order.{}", number % 3),
            number.to_string(),
        ))
        .expect("sent");
    }
    for number in 0..10_000 {
        assert_eq!(next(&mut messages).await.payload, number.to_string());
    }
}

pub(crate) async fn inboxes_differ(site: &impl Site) {
    let (bus, other) = (site.connect().await, site.connect().await);
    let inboxes: HashSet<_> = [bus.inbox(), bus.inbox(), other.inbox()].into();
    assert_eq!(inboxes.len(), 3);
    for inbox in inboxes {
        bus.send(message(&inbox, ""))
            .expect("an inbox is a subject");
    }
}

pub(crate) async fn the_end_of_a_connection(site: &impl Site) {
    let (bus, other) = (site.connect().await, site.connect().await);
    let mut messages = other
        .subscribe("end.a", None, 2000)
        .await
        .expect("a subscription");
    let mut own = bus
        .subscribe("end.b", None, 8)
        .await
        .expect("a subscription");
    for number in 0..1000 {
        bus.send(message("end.a", number.to_string()))
            .expect("sent");
    }
    let closed = tokio::time::timeout(SOON, bus.close()).await;
    assert!(closed.is_ok(), "it closes");
    for number in 0..1000 {
        assert_eq!(next(&mut messages).await.payload, number.to_string());
    }
    assert!(own.next().await.is_none(), "its own subscriptions end");
    assert_eq!(
        bus.send(message("end.a", "late")),
        Err(NotSent::Disconnected)
    );
    nothing(&mut messages).await;
}
