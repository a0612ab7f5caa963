//! What a call takes right after the death of the worker that had the calls before it, and when nobody is left.

use std::time::{Duration, Instant};

use anyhow::{Result, bail};
use rustix::process::Signal;
use serde_json::{Value, json};

use super::super::numbers::median;
use super::page::Table;
use super::parts::Stage;
use crate::http::Connection;
use crate::server::Server;
use crate::soak::requests::Endpoint;

/// Kills.
const KILLS: usize = 10;

/// Calls right after a kill, one after the other: so many that the dead worker's turn surely comes.
const CALLS: usize = 20;

/// A call of one caller to the gateway.
struct Caller {
    endpoint: Endpoint,
    connection: Connection,
}

impl Caller {
    fn new(gateway: &Server) -> Result<Self> {
        Ok(Self {
            endpoint: Endpoint::of(gateway)?,
            connection: Connection::open(gateway.url())?,
        })
    }

    /// The answer, and how long it took.
    fn call(&mut self) -> Result<(Value, Duration)> {
        let arguments = json!({"message": "m"});
        let request = self.endpoint.call(1, "echo_once", &arguments)?;
        let begun = Instant::now();
        let answer = self.connection.exchange(&request)?;
        let took = begun.elapsed();
        Ok((serde_json::from_slice(&answer.body)?, took))
    }
}

pub(super) fn table(stage: &Stage<'_>) -> Result<Table> {
    let mut stays = stage.worker("mortal", 0, 0)?;
    let gateway = stage.gateway("echo_once")?;
    let mut caller = Caller::new(&gateway)?;
    let mut longest = Vec::new();
    for _ in 0..KILLS {
        let mut dies = stage.worker("mortal", 1, 0)?;
        stage.has_workers("mortal", 2)?;
        dies.signal(Signal::KILL)?;
        let mut worst = Duration::ZERO;
        for _ in 0..CALLS {
            let (answer, took) = caller.call()?;
            if !answer["result"].is_object() {
                bail!("a call after a kill was answered with {answer}");
            }
            worst = worst.max(took);
        }
        longest.push(worst.as_secs_f64() * 1e3);
    }
    stays.signal(Signal::KILL)?;
    // Until the kernel has closed its connection a request is still on its way to somebody.
    std::thread::sleep(Duration::from_millis(100));
    let (answer, nobody) = caller.call()?;
    if answer["error"]["code"] != -31001 {
        bail!("with nobody left a call was answered with {answer}");
    }
    gateway.stop()?;
    let mut table = Table::new(
        &format!("After a kill: two workers, one of which is killed, {KILLS} times"),
        &["what", "measured"],
    );
    let (middle, most) = (
        median(longest.clone()),
        longest.iter().copied().fold(0.0, f64::max),
    );
    let nobody = nobody.as_secs_f64() * 1e3;
    table.row(&[
        format!("the longest of the {CALLS} calls after it, median"),
        format!("{middle:.1} ms"),
    ]);
    table.row(&["the longest of all".to_owned(), format!("{most:.1} ms")]);
    table.row(&[
        "nobody left: the answer says so after".to_owned(),
        format!("{nobody:.0} ms"),
    ]);
    table.limit(
        "a call after a kill",
        "< 50 ms",
        format!("{most:.1} ms"),
        most < 50.0,
    );
    table.limit(
        "with nobody left",
        "< 500 ms",
        format!("{nobody:.0} ms"),
        nobody < 500.0,
    );
    Ok(table)
}
