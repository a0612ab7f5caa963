//! What reaches a call's reader, and what does not.

use super::*;
use crate::frame::Reply;

fn frame(ticket: &Ticket<'_>, frame: Frame) -> Message {
    let reply = Reply::new(frame, "w");
    Message {
        subject: ticket.reply(1),
        headers: reply.headers(),
        ..Message::default()
    }
}

#[test]
fn a_place_is_found_by_what_its_replies_say() {
    for (number, attempt) in [(1, 1), (35, 2), (36, 9), (u64::MAX, u32::MAX)] {
        let mut text = String::new();
        base36(number, &mut text);
        assert_eq!(parse(&text), Some((number, Origin::Request(1))));
        let again = format!("{text}-{attempt}");
        assert_eq!(parse(&again), Some((number, Origin::Request(attempt))));
        let go = format!("{text}-g{attempt}");
        assert_eq!(parse(&go), Some((number, Origin::Go(attempt))));
    }
    for wrong in ["", "-", "a-", "a-g", "a-x1", "é", "a.b"] {
        assert_eq!(parse(wrong), None, "{wrong}");
    }
}

#[tokio::test]
async fn notices_may_be_lost_but_never_what_ends_a_call() {
    let board = Switchboard::new("_INBOX.x".to_owned());
    let (slow, other) = (board.open(), board.open());
    for _ in 0..10_000 {
        let _ = board.deliver(frame(&slow, Frame::Msg));
    }
    board.deliver(frame(&slow, Frame::Chunk));
    board.deliver(frame(&slow, Frame::End));
    board.deliver(frame(&other, Frame::End));
    assert!(matches!(other.next().await, Heard::Frame(_)));
    let mut seen = Vec::new();
    while !seen.ends_with(&[Some(Frame::End)]) {
        seen.push(slow.next().await.frame());
    }
    assert_eq!(seen.len(), NOTICES + 2);
    assert_eq!(seen[NOTICES], Some(Frame::Chunk));
}

#[tokio::test]
async fn a_worker_that_ignores_its_window_is_noticed_and_bounded() {
    let board = Switchboard::new("_INBOX.x".to_owned());
    let ticket = board.open();
    for _ in 0..1_000 {
        let _ = board.deliver(frame(&ticket, Frame::Chunk));
    }
    for _ in 0..CHUNKS {
        assert_eq!(ticket.next().await.frame(), Some(Frame::Chunk));
    }
    assert!(matches!(ticket.next().await, Heard::Overrun));
    assert!(lock(&ticket.slot.queue).heard.is_empty());
}

#[tokio::test]
async fn a_denial_reaches_the_calls_it_belongs_to() {
    let board = Switchboard::new("_INBOX.x".to_owned());
    let (mine, other) = (board.open(), board.open());
    mine.publishes("a.b");
    other.publishes("a.c");
    let subject = "a.b".to_owned();
    let is_publish = true;
    board.deny(&Denied {
        is_publish,
        subject,
    });
    assert!(matches!(mine.next().await, Heard::Denied(subject) if subject == "a.b"));
    assert!(lock(&other.slot.queue).heard.is_empty());
}

#[test]
fn a_place_is_given_back_and_late_replies_are_nobodys() {
    let board = Switchboard::new("_INBOX.x".to_owned());
    for _ in 0..100_000 {
        let ticket = board.open();
        let late = frame(&ticket, Frame::End);
        drop(ticket);
        assert!(board.deliver(late).is_some());
    }
    assert_eq!(board.len(), 0);
    let capacity: usize = board.shards.iter().map(|s| lock(s).capacity()).sum();
    assert!(capacity < 1_000, "{capacity}");
}
