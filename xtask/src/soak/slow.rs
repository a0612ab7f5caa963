//! Clients that write byte by byte or do not read: an ordinary client does not notice them, and they are cut off.

use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result};
use serde_json::json;
use tokio::task::JoinSet;
use tokio::time::{sleep, timeout};

use super::client::Connection;
use super::full;
use super::kernel::{descriptors, settled};
use super::pulse::Pulse;
use super::report::Report;
use super::requests::Endpoint;
use super::rig::{Ground, at_url};
use super::unread;
use crate::bench::process::resident_mib;
use crate::server::Server;

pub(super) const PART: &str = "slow";

/// Between two bytes of a slow client.
const DRIP: Duration = Duration::from_millis(250);

/// The documented bounds for a head, a body, and for an answer that is not read, and what a crowded machine may add.
const HEAD_WITHIN: Duration = Duration::from_secs(30);
const BODY_WITHIN: Duration = Duration::from_secs(60);
pub(super) const READ_WITHIN: Duration = Duration::from_secs(60);
pub(super) const SLACK: Duration = Duration::from_secs(10);

/// How long an ordinary client's calls are watched, in a slice and in the whole.
const WATCH: [Duration; 2] = [Duration::from_secs(1), Duration::from_secs(5)];

/// An ordinary call may take this long, whatever others do.
const CALL: Duration = Duration::from_secs(5);

/// Bytes of an answer that is not read: more than all buffers between here and there.
const LARGE: usize = 8 * 1024 * 1024;

/// How clients are slow.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Way {
    Head,
    Body,
    Answer,
}

impl Way {
    fn name(self) -> &'static str {
        match self {
            Self::Head => "heads byte by byte",
            Self::Body => "bodies byte by byte",
            Self::Answer => "answers of 8 MiB not read",
        }
    }

    fn bound(self) -> Duration {
        match self {
            Self::Head => HEAD_WITHIN,
            Self::Body => BODY_WITHIN,
            Self::Answer => READ_WITHIN,
        }
    }

    /// How many there are.
    fn count(self, short: bool) -> usize {
        match (self, short) {
            (Self::Answer, true) => 4,
            (Self::Answer, false) => 16,
            (_, true) => 100,
            (_, false) => 1_000,
        }
    }
}

pub(super) async fn run(ground: &Ground<'_>, short: bool, report: &mut Report) -> Result<()> {
    // Two servers: what one of them has to do for the slow clients must not be taken for the gateway's doing.
    let (fixture, other) = (ground.fixture("fixture")?, ground.fixture("other")?);
    let servers = at_url("fixture", &fixture, "") + &at_url("other", &other, "");
    let gateway = ground.gateway("", &servers)?;
    let endpoint = Endpoint::of(&gateway)?;
    let watch = WATCH[usize::from(!short)];
    let alone = Pulse::feel(&endpoint, watch).await?;
    report.note(
        PART,
        "an ordinary call alone, median / longest",
        alone.shown(),
    );
    let before = descriptors(gateway.pid())?;
    for way in [Way::Head, Way::Body, Way::Answer] {
        let mut crowd = begin(&endpoint, way, way.count(short)).await?;
        let begun = Instant::now();
        let among = Pulse::feel(&endpoint, watch).await?;
        let what = format!("an ordinary call among {} {}", way.count(short), way.name());
        report.hold(PART, &what, among.shown(), "5 s", among.longest() < CALL);
        let times = among.median().as_secs_f64() / alone.median().as_secs_f64();
        report.note(
            PART,
            "the median against that of a call alone",
            format!("{times:.1} times"),
        );
        report.note(
            PART,
            "memory meanwhile",
            format!("{:.1} MiB", resident_mib(gateway.pid())?),
        );
        if !short {
            cut(&mut crowd, way, begun, report).await?;
        }
        crowd.abort_all();
        while crowd.join_next().await.is_some() {}
        gone(&gateway, before, report).await?;
    }
    unread::run(&endpoint, short, report).await?;
    gone(&gateway, before, report).await?;
    gateway.stop()?;
    fixture.stop()?;
    other.stop()?;
    full::run(ground, report).await
}

/// Every slow client is cut off by the gateway, not before its time and not long after.
async fn cut(
    crowd: &mut JoinSet<Result<()>>,
    way: Way,
    begun: Instant,
    report: &mut Report,
) -> Result<()> {
    let mut ended = 0;
    let all = crowd.len();
    let left = (way.bound() + SLACK).saturating_sub(begun.elapsed());
    let _ = timeout(left, async {
        while crowd.join_next().await.is_some() {
            ended += 1;
        }
    })
    .await;
    let what = format!(
        "of them cut off, the last one after {:.1?}",
        begun.elapsed()
    );
    report.hold(
        PART,
        &what,
        ended,
        format!("{all} within {:?}", way.bound()),
        ended == all,
    );
    Ok(())
}

async fn gone(gateway: &Server, before: usize, report: &mut Report) -> Result<()> {
    let look = || descriptors(gateway.pid());
    let now = settled(SLACK, look, |now| *now <= before).await?;
    let bound = format!("{before}, as before");
    report.hold(
        PART,
        "descriptors once they have gone",
        now,
        bound,
        now <= before,
    );
    Ok(())
}

/// Begins so many slow clients; each ends when it was cut off.
async fn begin(endpoint: &Endpoint, way: Way, count: usize) -> Result<JoinSet<Result<()>>> {
    let length = match way {
        // Long enough to take longer than there is time.
        Way::Head | Way::Body => 1_000,
        // It comes back twice, as text and as structured content.
        Way::Answer => LARGE / 2,
    };
    let request = endpoint.call(1, "other_echo", &json!({"message": "m".repeat(length)}))?;
    let body = request
        .windows(4)
        .position(|part| part == b"\r\n\r\n")
        .context("no head")?
        + 4;
    let request = Arc::new(request);
    let (mut crowd, mut connections) = (JoinSet::new(), Vec::new());
    for _ in 0..count {
        let mut connection = match way {
            Way::Head | Way::Body => Connection::open(endpoint.address).await?,
            Way::Answer => Connection::narrow(endpoint.address).await?,
        };
        let at_once = match way {
            // hyper's clock for a head begins with its first byte.
            Way::Head => 1,
            Way::Body => body,
            Way::Answer => request.len(),
        };
        connection.send(&request[..at_once]).await?;
        connections.push((connection, at_once));
    }
    for (mut connection, sent) in connections {
        if way == Way::Answer {
            connection.arrived().await?;
        }
        let request = Arc::clone(&request);
        crowd.spawn(async move {
            for byte in &request[sent..] {
                // A byte that cannot be sent any more is the end that is waited for.
                if connection.send(&[*byte]).await.is_err() {
                    return Ok(());
                }
                sleep(DRIP).await;
            }
            connection.held().await;
            Ok(())
        });
    }
    Ok(crowd)
}
