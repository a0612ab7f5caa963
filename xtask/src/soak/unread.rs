//! Streams that nobody reads, beside one that is read: the one hears everything, the others are cut off.

use std::time::{Duration, Instant};

use anyhow::{Context as _, Result};
use serde_json::json;
use tokio::task::JoinSet;
use tokio::time::timeout;

use super::client::Connection;
use super::report::Report;
use super::requests::Endpoint;
use super::slow::{PART, READ_WITHIN, SLACK};

/// Streams that are not read.
const STREAMS: usize = 20;

/// Updates that are told, and bytes of each: more than all buffers between here and there.
const UPDATES: usize = 1_000;
const LONG: usize = 8 * 1024;

/// How long the one that reads may wait for the last of them.
const PATIENCE: Duration = Duration::from_secs(60);

/// Opens the streams, has a resource change again and again, and sees who hears of it.
pub(super) async fn run(endpoint: &Endpoint, short: bool, report: &mut Report) -> Result<()> {
    // The name is what a notice is made of: a long one makes it large.
    let uri = format!("test://template/{}/data", "x".repeat(LONG));
    let wants = json!({"notifications": {"resourceSubscriptions": [uri]}});
    let listen = endpoint.modern(1, "subscriptions/listen", None, wants)?;
    let mut unread = JoinSet::new();
    for _ in 0..STREAMS {
        let mut stream = Connection::narrow(endpoint.address).await?;
        stream.subscribe(&listen).await?;
        unread.spawn(async move { stream.held().await });
    }
    let mut read = Connection::open(endpoint.address).await?;
    read.subscribe(&listen).await?;
    read.event().await?.context("no acknowledgement")?;
    let mut reader = JoinSet::new();
    reader.spawn(async move {
        let mut heard = 0;
        while heard < UPDATES && read.event().await?.is_some() {
            heard += 1;
        }
        Ok::<_, anyhow::Error>(heard)
    });
    let mut caller = Connection::open(endpoint.address).await?;
    let begun = Instant::now();
    for turn in 0..UPDATES {
        let touch = json!({"uri": uri});
        let request = endpoint.call(turn as u64, "test_touch_resource", &touch)?;
        caller.exchange(&request).await?.result()?;
    }
    let heard = timeout(PATIENCE, reader.join_next()).await;
    let heard = heard
        .context("not everything was heard")?
        .context("nobody read")???;
    let what = format!("updates heard beside {STREAMS} streams that nobody reads");
    report.hold(PART, &what, heard, UPDATES, heard == UPDATES);
    if short {
        return Ok(());
    }
    let mut ended = 0;
    let all = async {
        while unread.join_next().await.is_some() {
            ended += 1;
        }
    };
    let _ = timeout(READ_WITHIN + SLACK, all).await;
    let bound = format!("{STREAMS} within {READ_WITHIN:?}");
    let what = format!(
        "of the streams cut off, the last one after {:.1?}",
        begun.elapsed()
    );
    report.hold(PART, &what, ended, bound, ended == STREAMS);
    Ok(())
}
