//! Callers of tools over MCP, which know nothing of retries: each call is made once.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use anyhow::Result;
use serde_json::json;
use tokio::task::JoinSet;

use super::outcome::Outcome;
use super::random::Random;
use crate::soak::client::Connection;
use crate::soak::requests::Endpoint;

/// Which tool is called.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) enum Tool {
    /// Must not run twice: claim mode.
    Once,
    /// May run again: direct mode.
    Again,
}

impl Tool {
    fn name(self) -> &'static str {
        match self {
            Self::Once => "once",
            Self::Again => "again",
        }
    }
}

/// A call that was made. Times count from the beginning of the run.
#[derive(Debug)]
pub(super) struct Call {
    pub(super) unique: String,
    pub(super) gateway: usize,
    pub(super) tool: Tool,
    pub(super) begun: Duration,
    pub(super) ended: Duration,
    pub(super) outcome: Outcome,
}

/// What callers share.
#[derive(Debug)]
pub(super) struct Shared {
    /// When the run began.
    pub(super) epoch: Instant,
    seed: u64,
    made: AtomicU64,
    enough: AtomicBool,
}

impl Shared {
    pub(super) fn new(seed: u64) -> Arc<Self> {
        Arc::new(Self {
            epoch: Instant::now(),
            seed,
            made: AtomicU64::new(0),
            enough: AtomicBool::new(false),
        })
    }

    pub(super) fn seed(&self) -> u64 {
        self.seed
    }

    /// How many calls have been made.
    pub(super) fn made(&self) -> u64 {
        self.made.load(Ordering::Relaxed)
    }

    /// Tells all callers to make no more calls.
    pub(super) fn enough(&self) {
        self.enough.store(true, Ordering::Relaxed);
    }
}

/// After an error, so that a broker that is gone for a second does not fail a tenth of all calls of a run.
const AFTER_ERROR: Duration = Duration::from_millis(50);

/// So many callers, each with a connection of its own, spread over the gateways.
pub(super) fn begin(
    shared: &Arc<Shared>,
    gateways: &[Endpoint],
    count: usize,
) -> JoinSet<Result<Vec<Call>>> {
    let mut callers = JoinSet::new();
    for number in 0..count {
        let gateway = number % gateways.len();
        let caller = Caller {
            shared: Arc::clone(shared),
            endpoint: gateways[gateway].clone(),
            gateway,
            number,
            random: Random::new(shared.seed, 1_000 + number as u64),
        };
        callers.spawn(caller.run());
    }
    callers
}

struct Caller {
    shared: Arc<Shared>,
    endpoint: Endpoint,
    gateway: usize,
    number: usize,
    random: Random,
}

impl Caller {
    async fn run(mut self) -> Result<Vec<Call>> {
        let mut calls = Vec::new();
        let mut connection = None;
        for turn in 0_u64.. {
            if self.shared.enough.load(Ordering::Relaxed) {
                break;
            }
            let call = self.call(turn, &mut connection).await?;
            let failed = call.outcome != Outcome::Ok;
            calls.push(call);
            self.shared.made.fetch_add(1, Ordering::Relaxed);
            if failed {
                tokio::time::sleep(AFTER_ERROR).await;
            }
        }
        Ok(calls)
    }

    async fn call(&mut self, turn: u64, kept: &mut Option<Connection>) -> Result<Call> {
        // Of this process, so that two runs of a seed which share a folder by mistake are told apart.
        let run = std::process::id();
        let unique = format!("{run}-{}-{turn}", self.number);
        let tool = if self.random.per_mille(700) {
            Tool::Once
        } else {
            Tool::Again
        };
        let arguments = json!({"id": unique, "ms": self.work()});
        let request = self.endpoint.call(turn, tool.name(), &arguments)?;
        let begun = self.shared.epoch.elapsed();
        let outcome = match self.exchange(kept, &request).await {
            Ok(answer) => Outcome::of(&answer, turn, &unique),
            Err(error) => {
                *kept = None;
                Outcome::None(format!("{error:#}"))
            }
        };
        Ok(Call {
            unique,
            gateway: self.gateway,
            tool,
            begun,
            ended: self.shared.epoch.elapsed(),
            outcome,
        })
    }

    async fn exchange(
        &self,
        kept: &mut Option<Connection>,
        request: &[u8],
    ) -> Result<crate::soak::client::Answer> {
        if kept.is_none() {
            *kept = Some(Connection::open(self.endpoint.address).await?);
        }
        match kept {
            Some(connection) => connection.exchange(request).await,
            None => unreachable!("it was just opened"),
        }
    }

    /// How long an execution takes, in milliseconds: most take none, some a little, a few long.
    fn work(&mut self) -> u64 {
        match self.random.between(0, 999) {
            0..900 => 0,
            900..997 => self.random.between(5, 50),
            _ => self.random.between(1_000, 3_000),
        }
    }
}
