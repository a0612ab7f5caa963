//! Every place for a connection, or every descriptor, taken by clients that send a head byte by byte, and come again as
//! soon as they are sent away: an ordinary client still gets in, and its call reaches its server.

use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result};
use serde_json::json;
use tokio::task::JoinSet;
use tokio::time::{sleep, timeout};

use super::client::Connection;
use super::kernel;
use super::report::Report;
use super::requests::Endpoint;
use super::rig::{Ground, at_url};
use super::slow::PART;
use crate::gateway;
use crate::server::Server;

/// Clients that want a place.
const CROWD: usize = 600;

/// Places there are, as configured.
const PLACES: usize = 400;

/// Descriptors there are, where the places are left as they come: more of them than of these.
const DESCRIPTORS: usize = 500;

/// Between two bytes.
const DRIP: Duration = Duration::from_millis(250);

/// When a connection that was not answered is surely tried again.
const AGAIN: Duration = Duration::from_secs(2);

/// How long an ordinary client may wait to get in: a head may take six times as long.
const WAIT: Duration = Duration::from_secs(5);

/// Times that it tries.
const TURNS: usize = 5;

pub(super) async fn run(ground: &Ground<'_>, report: &mut Report) -> Result<()> {
    let fixture = ground.fixture("fixture")?;
    let servers = at_url("fixture", &fixture, "");
    let settings = format!("max_connections = {PLACES}");
    let gateway = ground.gateway(&settings, &servers)?;
    crowded(&gateway, &format!("{PLACES} places"), report).await?;
    gateway.stop()?;
    let toolbus = ground.with_descriptors("toolbus", DESCRIPTORS)?;
    let gateway = gateway::start(toolbus, &servers, &ground.scratch)?;
    crowded(&gateway, &format!("{DESCRIPTORS} descriptors"), report).await?;
    gateway.stop()?;
    fixture.stop()
}

async fn crowded(gateway: &Server, what: &str, report: &mut Report) -> Result<()> {
    let endpoint = Endpoint::of(gateway)?;
    let request = Arc::new(endpoint.call(1, "echo", &json!({"message": "m"}))?);
    let mut crowd = JoinSet::new();
    for _ in 0..CROWD {
        let (request, address) = (Arc::clone(&request), endpoint.address);
        crowd.spawn(async move {
            loop {
                let opened = Connection::open(address).await;
                if let Ok(mut connection) = opened {
                    drip(&mut connection, &request).await;
                } else {
                    sleep(DRIP).await;
                }
            }
        });
    }
    // Until no more of them get in. A connection that the kernel had no room for is tried again by it after a second.
    let mut inside = 0;
    while inside != kernel::descriptors(gateway.pid())? {
        inside = kernel::descriptors(gateway.pid())?;
        sleep(AGAIN).await;
    }
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
    let what = format!("to get in while {CROWD} heads want {what}");
    report.hold(
        PART,
        &what,
        format!("{longest:.1?}"),
        format!("{WAIT:?}"),
        longest < WAIT,
    );
    crowd.shutdown().await;
    Ok(())
}

/// Until the connection is cut.
async fn drip(connection: &mut Connection, request: &[u8]) {
    for byte in request {
        if connection.send(&[*byte]).await.is_err() {
            return;
        }
        sleep(DRIP).await;
    }
}
