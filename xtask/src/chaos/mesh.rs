//! Everything that runs: a broker, gateways that know nothing but the mesh, and workers that serve a ledger each.

use std::fs;
use std::path::PathBuf;
use std::process::Command;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, bail};
use rustix::process::Signal;
use tokio::sync::Mutex;

use super::broker::Broker;
use super::process::Process;
use crate::place::Place;
use crate::server::Server;
use crate::soak::kernel::MARK;
use crate::{gateway, http};

/// How many calls a worker takes: more than all callers together have, so that one that is left serves them all.
const CAPACITY: usize = 256;

/// How long a worker may take to end once it drains: its longest call, and much more.
const DRAIN: Duration = Duration::from_secs(60);

/// How long a worker may take to serve again, once everything it needs is there.
const BACK: Duration = Duration::from_secs(60);

pub(super) struct Mesh<'a> {
    place: &'a Place,
    profile: &'static str,
    pub(super) scratch: PathBuf,
    pub(super) broker: Mutex<Broker>,
    url: String,
    workers: Vec<Mutex<Option<Process>>>,
    pub(super) gateways: Vec<Server>,
}

impl<'a> Mesh<'a> {
    /// Starts a broker, and so many workers and gateways.
    pub(super) async fn start(
        place: &'a Place,
        profile: &'static str,
        (workers, gateways): (usize, usize),
    ) -> Result<Self> {
        let scratch = place.scratch("chaos")?;
        let mark = scratch.display().to_string();
        let broker = Broker::start(place, scratch.clone(), mark).await?;
        let mut mesh = Self {
            place,
            profile,
            url: broker.url(),
            scratch,
            broker: Mutex::new(broker),
            workers: (0..workers).map(|_| Mutex::default()).collect(),
            gateways: Vec::new(),
        };
        for worker in 0..workers {
            mesh.start_worker(worker).await?;
        }
        for number in 0..gateways {
            mesh.gateways.push(mesh.gateway(number)?);
        }
        Ok(mesh)
    }

    /// What marks the processes of this run.
    pub(super) fn mark(&self) -> String {
        self.scratch.display().to_string()
    }

    pub(super) fn workers(&self) -> usize {
        self.workers.len()
    }

    fn gateway(&self, number: usize) -> Result<Server> {
        let folder = self.scratch.join(format!("gateway-{number}"));
        fs::create_dir_all(&folder)?;
        let mesh = format!("[mesh]\nurl = {:?}\n", self.url);
        let mut started = gateway::start(self.toolbus()?, &mesh, &folder)?;
        gateway::wait_for_tool(&mut started, "once")?;
        Ok(started)
    }

    /// Nothing is done to the gateways: one that does not answer is an error.
    pub(super) fn gateways_serve(&self) -> Result<()> {
        for (number, gateway) in self.gateways.iter().enumerate() {
            http::ask("GET", &gateway.at("/health"))
                .with_context(|| format!("gateway {number} is gone; see its toolbus.log"))?;
        }
        Ok(())
    }

    /// Where a gateway keeps its records.
    pub(super) fn audit(&self, gateway: usize) -> PathBuf {
        self.scratch.join(format!("gateway-{gateway}/audit.jsonl"))
    }

    /// Where a worker's executions are written down, over all its lives.
    pub(super) fn ledger(&self, worker: usize) -> PathBuf {
        self.scratch.join(format!("worker-{worker}.ledger"))
    }

    fn toolbus(&self) -> Result<Command> {
        let mut command = Command::new(self.place.binary(self.profile, "toolbus")?);
        command.env(MARK, self.mark());
        Ok(command)
    }

    /// Starts a worker.
    pub(super) async fn start_worker(&self, worker: usize) -> Result<()> {
        let name = format!("worker-{worker}");
        let mut command = self.toolbus()?;
        command.args(["worker", "--nats", &self.url, "--name", "ledger"]);
        command.args(["--capacity", &CAPACITY.to_string(), "--"]);
        command.arg(self.place.binary(self.profile, "ledger")?);
        command.arg(self.ledger(worker));
        command.env("XDG_STATE_HOME", self.scratch.join(&name));
        let process = Process::start(&name, &mut command, &self.scratch)?;
        *self.workers[worker].lock().await = Some(process);
        Ok(())
    }

    /// Sends a worker a signal.
    pub(super) async fn signal(&self, worker: usize, signal: Signal) -> Result<()> {
        let mut held = self.workers[worker].lock().await;
        held.as_mut()
            .context("the worker does not run")?
            .signal(signal)
    }

    /// Waits until a worker that was signalled has ended.
    pub(super) async fn ended(&self, worker: usize) -> Result<()> {
        let mut held = self.workers[worker].lock().await;
        let process = held.as_mut().context("the worker does not run")?;
        process.ended(DRAIN).await?;
        *held = None;
        Ok(())
    }

    /// Waits until a worker has executed something more, which shows that gateways reach it.
    pub(super) async fn serves(&self, worker: usize) -> Result<()> {
        let length = || fs::metadata(self.ledger(worker)).map_or(0, |file| file.len());
        let (before, begun) = (length(), Instant::now());
        while length() <= before {
            if begun.elapsed() > BACK {
                bail!(
                    "worker {worker} has executed nothing for {BACK:?}; see worker-{worker}.log in {}",
                    self.scratch.display()
                );
            }
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        Ok(())
    }

    /// Ends everything in the order in which nothing is lost.
    pub(super) async fn stop(self) -> Result<()> {
        for gateway in self.gateways {
            gateway.stop()?;
        }
        for worker in &self.workers {
            let mut held = worker.lock().await;
            if let Some(process) = held.as_mut() {
                process.signal(Signal::TERM)?;
                process.ended(DRAIN).await?;
            }
        }
        self.broker.lock().await.kill().await
    }
}
