//! Receipts, with a stream and without.

use std::collections::HashSet;

use toolbus_protocol::capability::{Parties, Receipt, Status};

use super::*;

fn receipt(n: usize) -> Receipt {
    let parties = Parties::default();
    Receipt::of(
        &parties,
        &format!("urn:acme:tool:number:n{n}"),
        b"{}",
        Status::Success,
    )
}

fn sent(hub: &Arc<Hub>) -> Vec<Receipt> {
    let appended = hub.appended("coreason-federation-audit");
    appended
        .iter()
        .map(|message| serde_json::from_slice(&message.payload).expect("a receipt"))
        .collect()
}

fn connected(bus: Arc<LocalBus>, folder: &std::path::Path) -> Arc<Receipts> {
    let receipts = Receipts::open(Some(folder), WhenFull::Refuse).expect("opened");
    receipts.stream.send_replace(Some((bus, published())));
    receipts
}

/// Waits for real time: files are read by threads of their own.
async fn until(what: &str, holds: impl Fn() -> bool) {
    for _ in 0..3_000 {
        if holds() {
            return;
        }
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    panic!("in vain: {what}");
}

#[tokio::test]
async fn receipts_wait_for_the_stream_and_come_there_once() {
    let (hub, folder) = (Hub::new(), tempfile::tempdir().expect("a folder"));
    let bus = hub.connect();
    bus.cut("the broker is gone");
    let receipts = connected(bus.clone(), folder.path());
    let all: Vec<Receipt> = (0..600).map(receipt).collect();
    for receipt in &all {
        receipts.room().expect("room");
        receipts.record(receipt.clone());
    }
    let file = folder.path().join("receipts-0.jsonl");
    let lines = || std::fs::read_to_string(&file).map_or(0, |text| text.lines().count());
    until("all are kept", || lines() == all.len()).await;
    assert!(sent(&hub).is_empty());
    bus.restore();
    until("all are sent", || lines() == 0).await;
    receipts.record(receipt(600));
    receipts.close().await;
    let seen = sent(&hub);
    assert_eq!(seen[..600], all);
    let ids: HashSet<_> = seen.iter().map(|receipt| &receipt.receipt_id).collect();
    assert_eq!((seen.len(), ids.len()), (601, 601));
    let first = &hub.appended("coreason-federation-audit")[0];
    assert_eq!(first.headers.get("Nats-Msg-Id"), Some(&*all[0].receipt_id));
}

#[tokio::test]
async fn what_an_earlier_process_left_is_sent_by_the_next() {
    let (hub, folder) = (Hub::new(), tempfile::tempdir().expect("a folder"));
    let without = Receipts::open(Some(folder.path()), WhenFull::Refuse).expect("opened");
    without.record(receipt(1));
    without.record(receipt(2));
    without.close().await;
    drop(without);
    let file = folder.path().join("receipts-0.jsonl");
    let mut text = std::fs::read_to_string(&file).expect("kept");
    assert_eq!(text.lines().count(), 2);
    text.push_str("{\"receipt_id\":\"broken off");
    std::fs::write(&file, text).expect("written");
    let receipts = connected(hub.connect(), folder.path());
    until("both are sent", || sent(&hub).len() == 2).await;
    receipts.close().await;
    assert_eq!(std::fs::read_to_string(&file).expect("kept"), "");
}

#[tokio::test]
async fn two_processes_do_not_share_a_file_and_a_full_one_refuses_calls() {
    let folder = tempfile::tempdir().expect("a folder");
    let file = folder.path().join("receipts-0.jsonl");
    std::fs::write(&file, vec![b' '; 16 * 1024 * 1024]).expect("written");
    let first = Receipts::open(Some(folder.path()), WhenFull::Refuse).expect("opened");
    let second = Receipts::open(Some(folder.path()), WhenFull::Refuse).expect("opened");
    assert!(matches!(first.room(), Err(Error::Busy { .. })));
    second.room().expect("room");
    second.record(receipt(1));
    second.close().await;
    assert!(folder.path().join("receipts-1.jsonl").exists());
    first.close().await;
}

#[tokio::test]
async fn without_a_stream_the_oldest_make_room() {
    let folder = tempfile::tempdir().expect("a folder");
    let file = folder.path().join("receipts-0.jsonl");
    let mut lines = Vec::new();
    for n in 0..80_000 {
        serde_json::to_writer(&mut lines, &receipt(n)).expect("JSON");
        lines.push(b'\n');
    }
    assert!(lines.len() > 16 * 1024 * 1024, "{}", lines.len());
    std::fs::write(&file, lines).expect("written");
    let receipts = Receipts::open(Some(folder.path()), WhenFull::DropOldest).expect("opened");
    // What is in this process alone is no place for them.
    receipts.connect(Hub::new().connect(), published());
    receipts.room().expect("room");
    receipts.record(receipt(80_000));
    receipts.close().await;
    let text = std::fs::read_to_string(&file).expect("kept");
    assert_eq!(text.lines().count(), 40_001);
    assert!(
        text.lines()
            .last()
            .expect("a line")
            .contains("number:n80000")
    );
}
