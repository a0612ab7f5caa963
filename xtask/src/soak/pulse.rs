//! One ordinary client among the others: how long its small calls take, as a sign of how everyone fares.

use std::time::{Duration, Instant};

use anyhow::Result;
use serde_json::json;

use super::client::Connection;
use super::requests::Endpoint;

/// Between two calls.
const PAUSE: Duration = Duration::from_millis(10);

/// How long the calls took.
pub(super) struct Pulse(Vec<Duration>);

impl Pulse {
    /// Calls `echo` again and again, for so long.
    pub(super) async fn feel(endpoint: &Endpoint, lasting: Duration) -> Result<Self> {
        let mut connection = Connection::open(endpoint.address).await?;
        let (begun, mut took) = (Instant::now(), Vec::new());
        while begun.elapsed() < lasting || took.is_empty() {
            let request = endpoint.call(took.len() as u64, "echo", &json!({"message": "m"}))?;
            let sent = Instant::now();
            connection.exchange(&request).await?.result()?;
            took.push(sent.elapsed());
            tokio::time::sleep(PAUSE).await;
        }
        took.sort_unstable();
        Ok(Self(took))
    }

    /// Half of the calls took no longer.
    pub(super) fn median(&self) -> Duration {
        self.0[self.0.len() / 2]
    }

    /// The longest.
    pub(super) fn longest(&self) -> Duration {
        self.0[self.0.len() - 1]
    }

    /// Both, to be read.
    pub(super) fn shown(&self) -> String {
        format!("{:.1?} / {:.1?}", self.median(), self.longest())
    }
}
