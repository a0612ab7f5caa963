//! Every place for a connection taken by clients that send a head byte by byte, and come again as soon as they are sent
//! away: an ordinary client still gets in.

use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result};
use serde_json::json;
use tokio::task::JoinSet;
use tokio::time::{sleep, timeout};

use super::client::Connection;
use super::report::Report;
use super::requests::Endpoint;
use super::rig::{Ground, at_url};
use super::slow::PART;

/// Places there are, and clients that want one.
const PLACES: usize = 200;
const CROWD: usize = 300;

/// Between two bytes.
const DRIP: Duration = Duration::from_millis(250);

/// How long an ordinary client may wait to get in: a head may take six times as long.
const WAIT: Duration = Duration::from_secs(5);

/// Times that it tries.
const TURNS: usize = 3;

pub(super) async fn run(ground: &Ground<'_>, report: &mut Report) -> Result<()> {
    let fixture = ground.fixture("fixture")?;
    let settings = format!("max_connections = {PLACES}");
    let gateway = ground.gateway(&settings, &at_url("fixture", &fixture, ""))?;
    let endpoint = Endpoint::of(&gateway)?;
    let request = Arc::new(endpoint.call(1, "echo", &json!({"message": "m"}))?);
    let mut crowd = JoinSet::new();
    for _ in 0..CROWD {
        let (request, address) = (Arc::clone(&request), endpoint.address);
        crowd.spawn(async move {
            while let Ok(mut connection) = Connection::open(address).await {
                for byte in request.iter() {
                    if connection.send(&[*byte]).await.is_err() {
                        break;
                    }
                    sleep(DRIP).await;
                }
            }
        });
    }
    // Until they have taken every place.
    sleep(DRIP * 4).await;
    let mut longest = Duration::ZERO;
    for _ in 0..TURNS {
        let begun = Instant::now();
        let call = async {
            let mut connection = Connection::open(endpoint.address).await?;
            connection.exchange(&request).await?.result()
        };
        timeout(WAIT * 12, call).await.context("nobody gets in")??;
        longest = longest.max(begun.elapsed());
    }
    let what = format!("to get in while {CROWD} heads want {PLACES} places");
    report.hold(
        PART,
        &what,
        format!("{longest:.1?}"),
        format!("{WAIT:?}"),
        longest < WAIT,
    );
    crowd.shutdown().await;
    gateway.stop()?;
    fixture.stop()
}
