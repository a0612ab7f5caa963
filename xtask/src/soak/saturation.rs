//! More calls than there is room for: the work done stays the same, and who does not fit is told when to come again.

use std::time::{Duration, Instant};

use anyhow::{Result, bail};
use serde_json::{Value, json};
use tokio::task::JoinSet;

use super::client::{Answer, Connection};
use super::report::Report;
use super::requests::Endpoint;
use super::rig::{Ground, at_url};

const PART: &str = "saturation";

/// Calls at once that the server is allowed.
const ROOM: usize = 32;

/// How long each call takes there.
const WORK: Duration = Duration::from_millis(50);

/// A client that was refused comes again sooner than it was told to, in the whole soak: it could be one of many.
const PAUSE: Duration = Duration::from_millis(10);

/// Longest time for any answer: nothing queues, so that it is the work and a crowded machine.
const ANSWER: Duration = Duration::from_secs(5);

/// The part of the work that must still be done in the largest crowd. Less would be a collapse; a machine that others use
/// too explains some of it.
const FLAT: f64 = 0.25;

#[derive(Default)]
struct Count {
    done: usize,
    refused: usize,
    longest: Duration,
    took: Duration,
}

pub(super) async fn run(ground: &Ground<'_>, short: bool, report: &mut Report) -> Result<()> {
    let lasting = Duration::from_secs(if short { 1 } else { 5 });
    let hurry = (!short).then_some(PAUSE);
    let fixture = ground.fixture("fixture")?;
    let servers = at_url("fixture", &fixture, &format!("max_in_flight = {ROOM}"));
    let gateway = ground.gateway("", &servers)?;
    let endpoint = Endpoint::of(&gateway)?;
    let mut alone = 0.0;
    for times in [1, 2, 4, 8] {
        let count = crowd(&endpoint, ROOM * times, lasting, hurry).await?;
        let rate = count.done as f64 / count.took.as_secs_f64();
        if times == 1 {
            alone = rate;
        }
        let what = format!(
            "calls done a second by {} clients, room for {ROOM}",
            ROOM * times
        );
        // A second of a debug build on a busy machine says only that there is no standstill.
        let flat = if short { 0.0 } else { FLAT };
        let bound = format!("more than {:.0} % of those of {ROOM} clients", flat * 100.0);
        report.hold(
            PART,
            &what,
            format!("{rate:.0}"),
            bound,
            rate > alone * flat,
        );
        report.note(
            PART,
            "refused meanwhile, each told when to come again",
            count.refused,
        );
        let held = count.longest < ANSWER;
        report.hold(
            PART,
            "the longest wait for any answer",
            format!("{:.1?}", count.longest),
            "5 s",
            held,
        );
    }
    let after = crowd(&endpoint, 1, Duration::from_millis(500), hurry).await?;
    report.hold(
        PART,
        "refused once the crowd has gone",
        after.refused,
        0,
        after.refused == 0,
    );
    gateway.stop()?;
    fixture.stop()
}

/// So many clients, each of which calls again as soon as it was answered.
async fn crowd(
    endpoint: &Endpoint,
    clients: usize,
    lasting: Duration,
    hurry: Option<Duration>,
) -> Result<Count> {
    let begun = Instant::now();
    let mut crowd = JoinSet::new();
    for _ in 0..clients {
        let endpoint = endpoint.clone();
        crowd.spawn(async move { client(&endpoint, lasting, hurry).await });
    }
    let mut all = Count::default();
    while let Some(one) = crowd.join_next().await {
        let one = one??;
        all.done += one.done;
        all.refused += one.refused;
        all.longest = all.longest.max(one.longest);
    }
    all.took = begun.elapsed();
    Ok(all)
}

async fn client(endpoint: &Endpoint, lasting: Duration, hurry: Option<Duration>) -> Result<Count> {
    let mut connection = Connection::open(endpoint.address).await?;
    let arguments = json!({"seconds": WORK.as_secs_f64()});
    let (begun, mut count) = (Instant::now(), Count::default());
    while begun.elapsed() < lasting {
        let request = endpoint.call(
            (count.done + count.refused) as u64,
            "slow_compute",
            &arguments,
        )?;
        let sent = Instant::now();
        let answer = connection.exchange(&request).await?;
        count.longest = count.longest.max(sent.elapsed());
        if answer.head.status == 200 {
            answer.result()?;
            count.done += 1;
        } else {
            let told = is_busy(&answer)?;
            count.refused += 1;
            tokio::time::sleep(hurry.unwrap_or(told)).await;
        }
    }
    Ok(count)
}

/// The one refusal that there is, in HTTP's words and in ours: when to come again.
fn is_busy(answer: &Answer) -> Result<Duration> {
    let (json, after) = (answer.json(), answer.head.header("retry-after"));
    let seconds = after.and_then(|text| text.parse::<u64>().ok());
    let error: &Value = &json["error"];
    match (seconds, error["data"]["retryAfterMs"].as_u64()) {
        (Some(1..), Some(millis)) if answer.head.status == 429 && error["code"] == -31004 => {
            Ok(Duration::from_millis(millis))
        }
        _ => bail!(
            "refused with HTTP {}, Retry-After {after:?}, {json}",
            answer.head.status
        ),
    }
}
