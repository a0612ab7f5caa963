//! Large things, and records.

use super::{Site, message, next};

pub(crate) async fn an_object_is_kept(site: &impl Site) {
    let (one, other) = (site.connect().await, site.connect().await);
    let mine = one.objects("LARGE").await.expect("a store");
    let yours = other.objects("LARGE").await.expect("a store");
    let body: Vec<u8> = (0..3_000_000_u32).map(|at| (at % 251) as u8).collect();
    mine.put("a/b c", body.clone().into()).await.expect("kept");
    assert_eq!(yours.get("a/b c", 3_000_000).await, Ok(body.into()));
    mine.put("a/b c", "shorter".into()).await.expect("kept");
    assert_eq!(yours.get("a/b c", 100).await, Ok("shorter".into()));
    mine.put("empty", bytes::Bytes::new()).await.expect("kept");
    assert_eq!(yours.get("empty", 0).await, Ok(bytes::Bytes::new()));
    yours.delete("a/b c").await.expect("gone");
    yours.delete("a/b c").await.expect("still gone");
    let why = mine.get("a/b c", 100).await.expect_err("gone");
    assert!(why.to_string().contains("a/b c"), "{why}");
}

pub(crate) async fn limits_of_objects(site: &impl Site) {
    let bus = site.connect().await;
    let store = bus.objects("LIMITS").await.expect("a store");
    store.put("big", vec![1; 1001].into()).await.expect("kept");
    let why = store.get("big", 1000).await.expect_err("too large");
    assert!(
        why.to_string().contains("1001") && why.to_string().contains("1000"),
        "{why}"
    );
    assert!(bus.objects("no.name").await.is_err());
}

pub(crate) async fn records_are_appended(site: &impl Site) {
    let bus = site.connect().await;
    let mut listens = bus
        .subscribe("records.>", None, 8)
        .await
        .expect("a subscription");
    for number in 0..3 {
        let record = message(&format!("records.t.{number}"), number.to_string());
        bus.append("RECORDS", "records.>", record)
            .await
            .expect("kept");
        assert_eq!(next(&mut listens).await.payload, number.to_string());
    }
    for (stream, subject) in [
        ("bad name", "records.a"),
        ("RECORDS", "records.*"),
        ("RECORDS", ""),
    ] {
        assert!(
            bus.append(stream, "records.>", message(subject, ""))
                .await
                .is_err()
        );
    }
}
