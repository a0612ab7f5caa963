//! Keeps one connection to one of the servers, and makes another when it is lost.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use bytes::BytesMut;
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _};
use tokio::sync::oneshot;
use tokio::time::MissedTickBehavior;

use super::handshake::{self, Accepted};
use super::pool::Pool;
use super::settings::Credentials;
use super::shared::Shared;
use super::wire::{self, Info, Said};
use crate::bus::{Denied, Link};

/// How long the beginning of a connection may take.
const CONNECT: Duration = Duration::from_secs(5);

/// How often the server is asked for a sign of life.
const PING: Duration = Duration::from_secs(2);

/// After so many without one it counts as gone.
const MISSED: u32 = 2;

/// Connects, serves the connection until it is lost, and begins again.
pub(super) async fn run(shared: Arc<Shared>) {
    let mut target = shared.target.subscribe();
    loop {
        let ready = target.wait_for(|target| !target.addresses.is_empty()).await;
        let Ok(current) = ready.map(|target| target.clone()) else {
            return;
        };
        let mut pool = Pool::new(current.addresses);
        while !target.has_changed().unwrap_or(true) {
            attempt(&shared, &mut pool, &current.credentials).await;
            tokio::select! {
                () = tokio::time::sleep(pool.delay()) => {}
                _ = target.changed() => break,
            }
        }
    }
}

/// One connection from its beginning to its end, if it comes to be one.
async fn attempt(shared: &Shared, pool: &mut Pool, credentials: &Credentials) {
    let address = pool.choose();
    let connecting = handshake::connect(&address, &shared.settings, credentials);
    let why = match tokio::time::timeout(CONNECT, connecting).await {
        Err(_) => format!("{address}: no answer within {} s", CONNECT.as_secs()),
        Ok(Err(error)) => error.0,
        Ok(Ok(accepted)) => {
            pool.connected(&accepted.info);
            shared.began(&address.to_string(), &accepted.info);
            let why = serve(shared, accepted, pool).await;
            format!("{address}: {why}")
        }
    };
    shared.ended(why);
}
/// Serves a connection; says why it ended.
async fn serve(shared: &Shared, accepted: Accepted, pool: &mut Pool) -> String {
    let (from, to) = tokio::io::split(accepted.stream);
    let known = shared.interests.open(&shared.outbox);
    let heard = AtomicBool::new(true);
    tokio::select! {
        why = read(shared, from, accepted.read, &heard, pool) => why,
        why = write(shared, to) => why,
        why = watch_over(shared, &heard) => why,
        why = announce(shared, known) => why,
    }
}

/// Says that the connection is there, once the server knows all subscriptions.
async fn announce(shared: &Shared, known: oneshot::Receiver<()>) -> String {
    if known.await.is_ok() {
        shared
            .link
            .send_modify(|link| *link = Link::Up(shared.next_number()));
    }
    std::future::pending().await
}

async fn watch_over(shared: &Shared, heard: &AtomicBool) -> String {
    let mut ticks = tokio::time::interval(PING);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let mut missed = 0;
    loop {
        ticks.tick().await;
        if heard.swap(false, Ordering::Relaxed) {
            missed = 0;
        } else {
            missed += 1;
        }
        if missed > MISSED {
            return format!(
                "no sign of life for {} s",
                PING.as_secs() * u64::from(missed)
            );
        }
        shared.outbox.knock();
    }
}

async fn write(shared: &Shared, mut to: impl AsyncWrite + Unpin) -> String {
    let mut bytes = Vec::new();
    loop {
        bytes = shared.outbox.take(bytes).await;
        let written = match to.write_all(&bytes).await {
            Ok(()) => to.flush().await,
            error => error,
        };
        if let Err(error) = written {
            return error.to_string();
        }
    }
}

async fn read(
    shared: &Shared,
    mut from: impl AsyncRead + Unpin,
    mut bytes: BytesMut,
    heard: &AtomicBool,
    pool: &mut Pool,
) -> String {
    // What the server said last explains why it closes the connection.
    let mut last = "the server closed the connection".to_owned();
    loop {
        loop {
            match wire::next(&mut bytes) {
                Ok(Some(said)) => hear(shared, said, pool, &mut last),
                Ok(None) => break,
                Err(why) => return why,
            }
        }
        bytes.reserve(READ);
        match from.read_buf(&mut bytes).await {
            Ok(0) => return last,
            Ok(_) => heard.store(true, Ordering::Relaxed),
            Err(error) => return error.to_string(),
        }
    }
}

/// How much is read at once, in bytes.
const READ: usize = 32 * 1024;

fn hear(shared: &Shared, said: Said, pool: &mut Pool, last: &mut String) {
    match said {
        Said::Message(sid, message) => shared.interests.deliver(sid, message),
        Said::Ping => shared.outbox.pong(),
        Said::Pong => shared.outbox.answered(),
        Said::Ok => {}
        Said::Info(info) => renew(shared, &info, pool),
        Said::Error(why) => match denied(&why) {
            Some(denied) => deny(shared, denied),
            None => {
                tracing::warn!(why, "the NATS server complains");
                *last = handshake::refusal(&why);
            }
        },
    }
}

/// A server says anew what it is when its cluster or its configuration changes.
fn renew(shared: &Shared, info: &Info, pool: &mut Pool) {
    shared.set_max_payload(info.max_payload);
    pool.discovered(info);
}

fn deny(shared: &Shared, denied: Denied) {
    let what = if denied.is_publish {
        "publish to"
    } else {
        "subscribe to"
    };
    tracing::warn!(
        subject = denied.subject,
        "the NATS server does not permit to {what} this subject"
    );
    if !denied.is_publish {
        shared.interests.deny(&denied.subject);
    }
    // Nobody need listen.
    let _ = shared.denied.send(denied);
}

/// `Permissions Violation for Publish to "a.b"`, `... for Subscription to "a.b" using queue "q"`.
fn denied(text: &str) -> Option<Denied> {
    let rest = text.strip_prefix("Permissions Violation for ")?;
    let (what, rest) = rest.split_once(" to \"")?;
    let (subject, _) = rest.split_once('"')?;
    Some(Denied {
        is_publish: what.eq_ignore_ascii_case("publish"),
        subject: subject.to_owned(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_denied_is_read() {
        let publish = denied("Permissions Violation for Publish to \"a.b\"").expect("denied");
        assert!(publish.is_publish && publish.subject == "a.b");
        let subscribe =
            denied("Permissions Violation for Subscription to \"a.>\" using queue \"q\"");
        let subscribe = subscribe.expect("denied");
        assert!(!subscribe.is_publish && subscribe.subject == "a.>");
        assert_eq!(denied("Authorization Violation"), None);
    }
}
