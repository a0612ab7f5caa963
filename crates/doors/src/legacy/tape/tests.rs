//! Streams that are read, broken off, taken up again, paused, and thrown away.

use super::*;

fn texts(events: &[Bytes]) -> Vec<String> {
    let text = |event: &Bytes| String::from_utf8(event.to_vec()).expect("UTF-8");
    events.iter().map(text).collect()
}

async fn all(tape: &Arc<Tape>, after: Option<u64>) -> Vec<String> {
    texts(&tape.read(after).collect::<Vec<_>>().await)
}

#[tokio::test]
async fn a_stream_is_taken_up_after_the_last_event_seen() {
    let tapes = Tapes::default();
    let tape = tapes.start(Tape::CALL, "ada", Revision::V2025_11_25);
    for n in 1..=3 {
        tape.say(format!("m{n}").into_bytes(), n == 3);
    }
    tapes.end(&tape);
    let read = all(&tape, None).await;
    assert_eq!(
        read.len(),
        4,
        "a priming event and three messages: {read:?}"
    );
    assert!(read[0].contains("retry: 500\ndata: \n\n"), "{}", read[0]);
    let id = read[2]
        .strip_prefix("id: ")
        .and_then(|text| text.lines().next())
        .expect("an id");
    let (found, at) = tapes.find("ada", id).expect("kept");
    let rest = all(&found, Some(at)).await;
    assert!(rest[1].contains("data: m3\n"), "{rest:?}");
    assert_eq!(rest.len(), 2);
    assert!(tapes.find("bob", id).is_none(), "another session's stream");
}

#[tokio::test]
async fn a_new_reader_takes_the_turn_and_a_pause_ends_the_reading_only() {
    let tapes = Tapes::default();
    let tape = tapes.start(Tape::CALL, "ada", Revision::V2025_11_25);
    let mut first = tape.read(None);
    assert!(first.next().await.is_some(), "the priming event");
    let mut second = tape.read(None);
    assert!(first.next().await.is_none(), "the first has lost its turn");
    assert!(second.next().await.is_some());
    tape.pause();
    assert!(second.next().await.is_none(), "paused");
    tape.say(b"late".to_vec(), true);
    tapes.end(&tape);
    assert!(all(&tape, None).await[1].contains("data: late"));
}

#[tokio::test]
async fn old_advice_makes_room_and_what_is_owed_stays() {
    let tapes = Tapes::default();
    let tape = tapes.start(Tape::FEED, "ada", Revision::V2025_03_26);
    tape.say(b"question".to_vec(), true);
    for n in 0..2 * MAX_EVENTS {
        tape.say(format!("notice {n}").into_bytes(), false);
    }
    tapes.end(&tape);
    let read = all(&tape, None).await;
    assert_eq!(read.len(), MAX_EVENTS);
    assert!(
        read[0].contains("data: question"),
        "no priming before 2025-11-25"
    );
    assert!(read[MAX_EVENTS - 1].contains(&format!("notice {}", 2 * MAX_EVENTS - 1)));
}

#[tokio::test(start_paused = true)]
async fn ended_streams_are_forgotten_after_a_while() {
    let tapes = Tapes::default();
    let tape = tapes.start(Tape::CALL, "ada", Revision::V2025_11_25);
    tapes.end(&tape);
    let id = tape.event_id(0);
    assert!(tapes.find("ada", &id).is_some());
    tokio::time::advance(LINGER + Duration::from_secs(1)).await;
    let _ = tapes.start(Tape::CALL, "ada", Revision::V2025_11_25);
    assert!(tapes.find("ada", &id).is_none());
}
