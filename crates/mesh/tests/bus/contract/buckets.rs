//! Keys, their values, and who is told of them.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use tokio::sync::mpsc::Receiver;
use toolbus_mesh::bus::{Bucket, BucketSettings, Bus, Change};

use super::{QUIET, SOON, Site};

async fn bucket(bus: &Arc<dyn Bus>, name: &str) -> Arc<dyn Bucket> {
    let made = bus.bucket(name, BucketSettings::default()).await;
    made.expect("a bucket")
}

pub(crate) async fn told(changes: &mut Receiver<Change>) -> Change {
    let change = tokio::time::timeout(SOON, changes.recv()).await;
    change.expect("a change in time").expect("a change")
}

fn put(change: Change) -> (String, Bytes) {
    match change {
        Change::Put(key, value, _) => (key, value),
        other => panic!("{other:?}"),
    }
}

pub(crate) async fn values_are_kept(site: &impl Site) {
    let (one, other) = (site.connect().await, site.connect().await);
    let (mine, yours) = (bucket(&one, "KEPT").await, bucket(&other, "KEPT").await);
    assert_eq!(mine.get("a.b").await, Ok(None));
    mine.put("a.b", "1".into()).await.expect("kept");
    mine.put("a.b", "2".into()).await.expect("kept");
    mine.put("a.empty", Bytes::new()).await.expect("kept");
    assert_eq!(yours.get("a.b").await, Ok(Some("2".into())));
    assert_eq!(yours.get("a.empty").await, Ok(Some(Bytes::new())));
    yours.delete("a.b").await.expect("gone");
    yours.delete("a.never").await.expect("gone");
    assert_eq!(mine.get("a.b").await, Ok(None));
}

pub(crate) async fn one_creates(site: &impl Site) {
    let bus = site.connect().await;
    let bucket = bucket(&bus, "CREATED").await;
    assert_eq!(bucket.create("k", "1".into()).await, Ok(true));
    assert_eq!(bucket.create("k", "2".into()).await, Ok(false));
    assert_eq!(bucket.get("k").await, Ok(Some("1".into())));
    bucket.delete("k").await.expect("gone");
    assert_eq!(
        bucket.create("k", "3".into()).await,
        Ok(true),
        "what was deleted can be created"
    );
    assert_eq!(bucket.create("k", "4".into()).await, Ok(false));
    assert_eq!(bucket.get("k").await, Ok(Some("3".into())));
}

pub(crate) async fn a_watch_tells_all(site: &impl Site) {
    let (one, other) = (site.connect().await, site.connect().await);
    let (mine, yours) = (
        bucket(&one, "WATCHED").await,
        bucket(&other, "WATCHED").await,
    );
    let mut empty = mine.watch(">").await.expect("a watch");
    assert_eq!(told(&mut empty).await, Change::Current);
    // Each change, in order, with numbers that grow. One that is heard late may be gone by then: only the last value of a key
    // is kept.
    let mut numbers = Vec::new();
    for (key, value) in [("a", "1"), ("b", "2"), ("a", "3"), ("c", "4")] {
        yours.put(key, value.into()).await.expect("kept");
        match told(&mut empty).await {
            Change::Put(told, heard, number) => {
                assert_eq!((told.as_str(), &heard[..]), (key, value.as_bytes()));
                numbers.push(number);
            }
            other => panic!("{other:?}"),
        }
    }
    assert!(
        numbers.is_sorted() && numbers[0] < numbers[3],
        "{numbers:?}"
    );
    yours.delete("c").await.expect("gone");
    assert_eq!(told(&mut empty).await, Change::Gone("c".into()));
    let mut late = mine.watch(">").await.expect("a watch");
    let mut seen = HashMap::new();
    loop {
        match told(&mut late).await {
            Change::Put(key, value, _) => seen.insert(key, value),
            Change::Gone(key) => seen.remove(&key),
            Change::Current => break,
        };
    }
    assert_eq!(
        seen,
        HashMap::from([("a".into(), "3".into()), ("b".into(), "2".into())])
    );
    yours.put("b", "5".into()).await.expect("kept");
    yours.delete("a").await.expect("gone");
    assert_eq!(put(told(&mut late).await), ("b".into(), "5".into()));
    assert_eq!(told(&mut late).await, Change::Gone("a".into()));
}

pub(crate) async fn a_watch_of_some(site: &impl Site) {
    let bus = site.connect().await;
    let bucket = bucket(&bus, "SOME").await;
    let mut some = bucket.watch("t1.*").await.expect("a watch");
    assert_eq!(told(&mut some).await, Change::Current);
    for key in ["t2.a", "t1.a", "t1.a.b", "t1.b"] {
        bucket.put(key, key.to_owned().into()).await.expect("kept");
    }
    for key in ["t1.a", "t1.b"] {
        assert_eq!(put(told(&mut some).await).0, key);
    }
    assert!(tokio::time::timeout(QUIET, some.recv()).await.is_err());
    drop(some);
    bucket
        .put("t1.a", "more".into())
        .await
        .expect("nobody listens");
}

pub(crate) async fn values_age(site: &impl Site) {
    let bus = site.connect().await;
    let settings = BucketSettings {
        max_age: Some(Duration::from_secs(4)),
        history: 0,
    };
    let bucket = bus.bucket("AGED", settings).await.expect("a bucket");
    let mut changes = bucket.watch(">").await.expect("a watch");
    assert_eq!(told(&mut changes).await, Change::Current);
    bucket.put("old", "1".into()).await.expect("kept");
    assert_eq!(put(told(&mut changes).await).0, "old");
    tokio::time::sleep(Duration::from_secs(1)).await;
    bucket.put("young", "1".into()).await.expect("kept");
    assert_eq!(put(told(&mut changes).await).0, "young");
    assert_eq!(told(&mut changes).await, Change::Gone("old".into()));
    assert_eq!(bucket.get("old").await, Ok(None));
    assert_eq!(bucket.create("old", "2".into()).await, Ok(true));
}

pub(crate) async fn a_key_that_is_none(site: &impl Site) {
    let bus = site.connect().await;
    let made = bucket(&bus, "KEYS").await;
    for key in ["", ".", "a.*", ">", "a b", "a..b", "ä", "a:b"] {
        let why = made.put(key, "x".into()).await.expect_err(key);
        assert!(why.to_string().contains("key"), "{why}");
        assert!(made.get(key).await.is_err() && made.create(key, "x".into()).await.is_err());
    }
    for name in ["", "a.b", "a b", "a*"] {
        assert!(
            bus.bucket(name, BucketSettings::default()).await.is_err(),
            "{name}"
        );
    }
}

/// More than any queue in between holds, while nobody reads.
pub(crate) async fn many_values(site: &impl Site) {
    let bus = site.connect().await;
    let bucket = bucket(&bus, "MANY").await;
    let mut from_the_start = bucket.watch(">").await.expect("a watch");
    for number in 0..3000 {
        let key = format!("k.{}", number % 1500);
        bucket
            .put(&key, number.to_string().into())
            .await
            .expect("kept");
    }
    let mut late = bucket.watch(">").await.expect("a watch");
    for changes in [&mut from_the_start, &mut late] {
        let mut seen = HashMap::new();
        let is_all = |seen: &HashMap<String, Bytes>| {
            (0..1500).all(|at| {
                seen.get(&format!("k.{at}"))
                    .is_some_and(|value| *value == (1500 + at).to_string())
            })
        };
        while !is_all(&seen) {
            if let Change::Put(key, value, _) = told(changes).await {
                seen.insert(key, value);
            }
        }
    }
}
