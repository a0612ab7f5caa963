//! Leases of sessions: who shares, who waits, what is closed, and where the bounds are.

use serde_json::json;
use toolbus_model::{Object, Revision};

use super::*;
use crate::mcp::http::{HttpLink, HttpTarget};
use crate::mcp::link::{Link, Peer};

/// A session that is never used on the wire.
async fn open() -> Result<Connection, Error> {
    let target = HttpTarget {
        url: http::Uri::from_static("http://127.0.0.1:9/mcp"),
        headers: http::HeaderMap::new(),
    };
    let peer = Peer {
        revision: Revision::V2025_11_25,
        capabilities: Object::empty(),
        info: None,
        instructions: None,
    };
    Ok(Connection::new(
        peer,
        Link::Http(Arc::new(HttpLink::new(target, Arc::default())?)),
    ))
}

async fn fail() -> Result<Connection, Error> {
    Err(Error::Unavailable(Box::default()))
}

fn key(n: usize) -> Key {
    Key {
        era: Era::Legacy,
        capabilities: Raw::of(&json!({"n": n})),
        caller: None,
    }
}

fn sessions() -> Arc<Sessions> {
    Sessions::new(None, TaskTracker::new())
}

fn same(one: &Lease, other: &Lease) -> bool {
    Arc::ptr_eq(&one.connection, &other.connection)
}

async fn lease(sessions: &Arc<Sessions>, key: Key, places: Option<usize>) -> Lease {
    sessions
        .lease(key, None, places, open())
        .await
        .expect("a session")
}

#[tokio::test(start_paused = true)]
async fn calls_one_after_the_other_meet_the_same_session() {
    let sessions = sessions();
    let first = lease(&sessions, key(1), Some(2)).await;
    let connection = Arc::clone(&first.connection);
    let second = lease(&sessions, key(1), Some(2)).await;
    assert!(!same(&first, &second), "one call at a time");
    drop((first, second));
    let third = lease(&sessions, key(1), Some(2)).await;
    assert!(Arc::ptr_eq(&third.connection, &connection));
}

#[tokio::test(start_paused = true)]
async fn who_finds_no_place_waits_in_turn() {
    let sessions = sessions();
    let first = lease(&sessions, key(1), Some(1)).await;
    let waiting = lease(&sessions, key(1), Some(1));
    tokio::pin!(waiting);
    let soon = tokio::time::timeout(Duration::from_secs(60), &mut waiting);
    assert!(soon.await.is_err(), "it has no place");
    let connection = Arc::clone(&first.connection);
    drop(first);
    assert!(Arc::ptr_eq(&waiting.await.connection, &connection));
}

#[tokio::test(start_paused = true)]
async fn keys_share_nothing_and_shared_sessions_bear_many_calls() {
    let sessions = sessions();
    let (one, two) = (
        lease(&sessions, key(1), None).await,
        lease(&sessions, key(2), None).await,
    );
    assert!(!same(&one, &two));
    assert!(same(&one, &lease(&sessions, key(1), None).await));
}

#[tokio::test(start_paused = true)]
async fn a_full_table_lets_go_of_the_session_that_was_idle_longest() {
    let sessions = sessions();
    let mut used = Vec::new();
    for n in 0..MAX_SESSIONS {
        used.push(lease(&sessions, key(n), None).await);
        tokio::time::advance(Duration::from_secs(1)).await;
    }
    let refused = sessions.lease(key(1000), None, None, open()).await;
    assert!(matches!(refused, Err(Error::Busy { .. })), "all are in use");
    let (first, second) = (
        Arc::clone(&used[0].connection),
        Arc::clone(&used[1].connection),
    );
    drop(used.remove(0));
    tokio::time::advance(Duration::from_secs(1)).await;
    drop(used.remove(0));
    let _new = lease(&sessions, key(1000), None).await;
    let kept = lease(&sessions, key(1), None).await;
    assert!(Arc::ptr_eq(&kept.connection, &second));
    drop(kept);
    let anew = lease(&sessions, key(0), None).await;
    assert!(!Arc::ptr_eq(&anew.connection, &first), "it was closed");
}

#[tokio::test(start_paused = true)]
async fn idle_sessions_are_closed_and_nothing_of_them_is_kept() {
    let (sessions, idle) = (sessions(), Duration::from_secs(300));
    let held = lease(&sessions, key(1), Some(1)).await;
    drop(lease(&sessions, key(2), Some(1)).await);
    tokio::time::advance(idle).await;
    sessions.sweep(idle, |_| false);
    let left: Vec<_> = sessions.pools().keys().cloned().collect();
    assert_eq!(left, [key(1)]);
    drop(held);
    tokio::time::advance(idle).await;
    sessions.sweep(idle, |_| false);
    assert!(sessions.pools().is_empty());
}

#[tokio::test(start_paused = true)]
async fn a_session_that_does_not_open_leaves_its_place() {
    let sessions = sessions();
    for _ in 0..3 {
        assert!(sessions.lease(key(1), None, Some(1), fail()).await.is_err());
    }
    drop(lease(&sessions, key(1), Some(1)).await);
    assert_eq!(sessions.pools()[&key(1)].slots.len(), 1);
}

#[tokio::test(start_paused = true)]
async fn a_retired_session_is_not_given_again() {
    let sessions = sessions();
    let first = lease(&sessions, key(1), Some(1)).await;
    first.retire();
    let connection = Arc::clone(&first.connection);
    drop(first);
    let second = lease(&sessions, key(1), Some(1)).await;
    assert!(!Arc::ptr_eq(&second.connection, &connection));
}

#[tokio::test(start_paused = true)]
async fn an_old_session_serves_its_calls_and_gets_no_further_ones() {
    let limit = Duration::from_secs(60);
    let sessions = Sessions::new(Some(limit), TaskTracker::new());
    let old = lease(&sessions, key(1), None).await;
    tokio::time::advance(limit).await;
    let new = lease(&sessions, key(1), None).await;
    assert!(!same(&old, &new));
    let day = Duration::from_secs(86_400);
    sessions.sweep(day, |_| false);
    assert!(same(&new, &lease(&sessions, key(1), None).await));
    assert_eq!(sessions.pools()[&key(1)].slots.len(), 2, "it has a call");
    drop(old);
    sessions.sweep(day, |_| false);
    assert_eq!(sessions.pools()[&key(1)].slots.len(), 1);
}

#[tokio::test(start_paused = true)]
async fn what_a_cancelled_call_may_still_ask_reaches_its_own_caller_only() {
    let sessions = sessions();
    let (ada, bob) = (Caller::named("ada"), Caller::named("bob"));
    let of = |caller| sessions.lease(key(1), Some(caller), Some(2), open());
    let cancelled = of(&ada).await.expect("a session");
    cancelled.keep_for(&ada);
    let connection = Arc::clone(&cancelled.connection);
    drop(cancelled);
    let again = of(&ada).await.expect("a session");
    assert!(Arc::ptr_eq(&again.connection, &connection));
    drop(again);
    let others = of(&bob).await.expect("a session");
    assert!(!Arc::ptr_eq(&others.connection, &connection));
    let anew = of(&ada).await.expect("a session");
    assert!(
        !Arc::ptr_eq(&anew.connection, &connection),
        "it was closed for bob"
    );
}

/// Otherwise nobody would ever close it, and whoever stops the server would wait for its end.
#[tokio::test(start_paused = true)]
async fn one_that_is_being_opened_while_all_are_closed_is_closed_too() {
    let sessions = sessions();
    let (go, wait) = tokio::sync::oneshot::channel::<()>();
    let slow = async {
        wait.await.expect("the word");
        open().await
    };
    let opening = sessions.lease(key(1), None, Some(1), slow);
    tokio::pin!(opening);
    let soon = tokio::time::timeout(Duration::from_secs(60), &mut opening);
    assert!(soon.await.is_err(), "it is not open yet");
    sessions.close();
    assert!(sessions.tasks.is_empty());
    go.send(()).expect("it waits");
    let outcome = opening.await;
    assert!(matches!(outcome, Err(Error::Unavailable(_))), "{outcome:?}");
    assert_eq!(sessions.tasks.len(), 1, "it is closed");
}
