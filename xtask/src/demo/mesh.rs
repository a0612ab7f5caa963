//! The mesh in the demo: one Python file, started twice, and what is left when one of the two is killed.

use std::collections::BTreeSet;
use std::process::Command;

use anyhow::{Context as _, Result, ensure};
use rustix::process::Signal;

use super::Demo;
use crate::chaos::process::Process;
use crate::gateway;
use crate::run::capture;
use crate::say::say;
use crate::server::Server;

/// The worker, from the top of the checkout.
const WORKER: &str = "examples/quickstart/greet.py";

/// Calls until both must have answered: by chance one answers all of them in a run of a million.
const CALLS: usize = 20;

/// Names nats-server to `toolbus`, where it is not on the path.
pub(super) const NATS_SERVER: &str = "TOOLBUS_NATS_SERVER";

impl Demo<'_> {
    /// Starts two workers, calls them, kills one, and calls again.
    pub(super) fn mesh(&self, gateway: &mut Server) -> Result<()> {
        let mut first = self.worker(1)?;
        let _second = self.worker(2)?;
        gateway::wait_for_tool(gateway, "hello")?;
        let url = gateway.url().to_owned();
        let mut seen = BTreeSet::new();
        for _ in 0..CALLS {
            let answer = self.hello(&url)?;
            if seen.insert(answer.clone()) {
                say(format_args!("hello(name=\"you\") -> {answer}"));
            }
        }
        ensure!(seen.len() == 2, "only one of two workers was called");
        let pid = first.pid();
        first.signal(Signal::KILL)?;
        say(format_args!(
            "process {pid} is killed; the next calls go to the other one"
        ));
        for _ in 0..CALLS {
            let answer = self.hello(&url)?;
            ensure!(
                !answer.contains(&format!("process {pid}.")),
                "a process that was killed answers"
            );
        }
        say(format_args!("{CALLS} calls, {CALLS} answers"));
        Ok(())
    }

    fn worker(&self, number: u32) -> Result<Process> {
        let mut python = Command::new(self.place.venv().join("bin/python"));
        python
            .arg(WORKER)
            .current_dir(self.place.root())
            .env("TOOLBUS_BIN", &self.toolbus)
            .env("XDG_STATE_HOME", &self.scratch);
        say(format_args!("$ python {WORKER}"));
        Process::start(&format!("worker-{number}"), &mut python, &self.scratch)
    }

    fn hello(&self, url: &str) -> Result<String> {
        let mut call = Command::new(&self.toolbus);
        call.args(["call", "--url", url, "greet.hello", "name=you"]);
        let answer = capture(&mut call).context("a call to a worker failed")?;
        Ok(answer.trim().to_owned())
    }
}
