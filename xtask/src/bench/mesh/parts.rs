//! The processes of a measurement: a broker, what serves, and what calls.

use std::fs;
use std::path::PathBuf;
use std::process::Command;
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, bail};
use serde::Deserialize;
use tokio::runtime::Builder;

use super::super::load;
use super::super::process::Pins;
use crate::chaos::broker::Broker;
use crate::chaos::process::Process;
use crate::gateway;
use crate::place::{Place, cargo};
use crate::run::{capture, run};
use crate::say::say;
use crate::server::Server;
use crate::soak::kernel::MARK;

/// How long a part may take to be there.
const READY: Duration = Duration::from_secs(60);

/// What was measured. Latencies are microseconds.
#[derive(Debug, Default, Deserialize)]
pub(in crate::bench) struct Load {
    pub(in crate::bench) rate: f64,
    pub(in crate::bench) p50: f64,
    pub(in crate::bench) p99: f64,
    pub(in crate::bench) failed: usize,
    pub(in crate::bench) why: Option<String>,
}

/// How the mesh is called.
pub(super) struct Ask<'a> {
    pub(super) server: &'a str,
    pub(super) tool: &'a str,
    pub(super) callers: usize,
    pub(super) seconds: u64,
    pub(super) size: usize,
    pub(super) queue: bool,
    pub(super) workers: usize,
}

impl<'a> Ask<'a> {
    pub(super) fn new(
        server: &'a str,
        tool: &'a str,
        callers: usize,
        seconds: u64,
        size: usize,
    ) -> Self {
        Self {
            server,
            tool,
            callers,
            seconds,
            size,
            queue: false,
            workers: 1,
        }
    }
}

/// A broker, and a folder for everything of one measurement.
pub(in crate::bench) struct Stage<'a> {
    place: &'a Place,
    scratch: PathBuf,
    url: String,
    _broker: Broker,
}

/// Builds what is measured, optimised.
pub(in crate::bench) fn build(place: &Place) -> Result<()> {
    let mut build = cargo();
    build.args(["build", "--quiet", "--release", "-p", "toolbus-testkit"]);
    build.args(["--bin", "mesh-bench", "-p", "toolbus", "--bin", "toolbus"]);
    say("building, optimised");
    run(build.current_dir(place.root()))
}

impl<'a> Stage<'a> {
    pub(in crate::bench) fn start(place: &'a Place) -> Result<Self> {
        let scratch = place.scratch("bench-mesh")?;
        let runtime = Builder::new_current_thread().enable_all().build()?;
        let mark = scratch.display().to_string();
        let broker = runtime.block_on(Broker::start(place, scratch.clone(), mark))?;
        Ok(Self {
            place,
            url: broker.url(),
            scratch,
            _broker: broker,
        })
    }

    fn tool(&self) -> Result<Command> {
        let mut command = Command::new(self.place.binary("release", "mesh-bench")?);
        command.env(MARK, &self.scratch);
        Ok(command)
    }

    /// Sends back what comes to a subject.
    pub(super) fn raw_echo(&self, subject: &str) -> Result<Process> {
        let mut command = self.tool()?;
        command.args(["raw-echo", &self.url, subject]);
        let process = Process::start("raw-echo", &mut command, &self.scratch)?;
        self.answers(subject, "x")?;
        Ok(process)
    }

    /// A worker that serves the echo, after this many milliseconds.
    pub(super) fn worker(&self, server: &str, number: usize, delay: u64) -> Result<Process> {
        let mut command = self.tool()?;
        command.args(["worker", &self.url, server, &delay.to_string()]);
        Process::start(&format!("worker-{number}"), &mut command, &self.scratch)
    }

    /// Many of them, in one process.
    pub(super) fn crowd(&self, workers: usize, servers: usize, tools: usize) -> Result<Process> {
        let mut command = self.tool()?;
        command.args(["crowd", &self.url]);
        command.args([workers, servers, tools].map(|number| number.to_string()));
        let process = Process::start("crowd", &mut command, &self.scratch)?;
        self.says("crowd", "ready")?;
        Ok(process)
    }

    /// The worker of the Python SDK.
    pub(in crate::bench) fn python_worker(&self, name: &str) -> Result<Process> {
        let mut command = Command::new(self.place.binary("release", "toolbus")?);
        command.args(["worker", "--nats", &self.url, "--name", name]);
        command
            .arg("--python")
            .arg(self.place.venv().join("bin/python"));
        let source = self.place.root().join("python/toolbus/src");
        command
            .arg("--env")
            .arg(format!("PYTHONPATH={}", source.display()));
        command.arg(self.place.root().join("xtask/bench/sdk_echo.py"));
        command.env("XDG_STATE_HOME", self.scratch.join("python-state"));
        command.env(MARK, &self.scratch);
        Process::start("python-worker", &mut command, &self.scratch)
    }

    /// A FastMCP function behind nats-py.
    pub(super) fn fastmcp(&self, subject: &str) -> Result<Process> {
        let mut command = Command::new(self.place.venv().join("bin/python"));
        command.arg(self.place.root().join("xtask/bench/fastmcp_nats.py"));
        command.args([&self.url, subject]).env(MARK, &self.scratch);
        let process = Process::start("fastmcp", &mut command, &self.scratch)?;
        self.says("fastmcp", "ready")?;
        Ok(process)
    }

    /// A gateway that has nothing but the mesh, once it lists this tool.
    pub(in crate::bench) fn gateway(&self, tool: &str) -> Result<Server> {
        let mut gateway = self.gateway_alone()?;
        gateway::wait_for_tool(&mut gateway, tool)?;
        Ok(gateway)
    }

    /// The same, whatever it lists.
    pub(super) fn gateway_alone(&self) -> Result<Server> {
        let toolbus = Command::new(self.place.binary("release", "toolbus")?);
        let mesh = format!("[mesh]\nurl = {:?}\n", self.url);
        gateway::start(toolbus, &mesh, &self.scratch)
    }

    /// Plain requests to a subject.
    pub(super) fn raw(
        &self,
        subject: &str,
        callers: usize,
        seconds: u64,
        payload: &str,
    ) -> Result<Load> {
        let file = self.scratch.join("payload");
        fs::write(&file, payload)?;
        let mut command = self.tool()?;
        command.args(["raw-load", &self.url, subject]);
        command
            .args([callers.to_string(), seconds.to_string()])
            .arg(file);
        measured(&mut command)
    }

    /// Calls over the mesh.
    pub(super) fn load(&self, ask: &Ask<'_>) -> Result<Load> {
        let mut command = self.tool()?;
        command.args(["load", &self.url, ask.server, ask.tool]);
        command.args([
            ask.callers.to_string(),
            ask.seconds.to_string(),
            ask.size.to_string(),
        ]);
        command.arg(if ask.queue { "queue" } else { "load" });
        command.arg(ask.workers.to_string());
        measured(&mut command)
    }

    /// Calls over HTTP.
    pub(super) fn wrk(
        &self,
        url: &str,
        template: &str,
        callers: usize,
        seconds: u64,
    ) -> Result<Load> {
        let load = load::run(
            &Pins::none(),
            url,
            template,
            callers,
            seconds,
            &self.scratch,
        )?;
        let failed = usize::try_from(load.broken + load.refused)?;
        Ok(Load {
            rate: load.requests as f64 / (load.micros as f64 / 1e6),
            p50: load.p50 as f64,
            p99: load.p99 as f64,
            failed,
            why: (failed > 0).then(|| "wrk counts broken or refused requests".to_owned()),
        })
    }

    /// Waits until so many workers of a server are found: a call over the mesh is made then.
    pub(super) fn has_workers(&self, server: &str, count: usize) -> Result<()> {
        let ask = Ask {
            workers: count,
            ..Ask::new(server, "echo", 1, 1, 1)
        };
        self.load(&ask).map(|_| ())
    }

    /// Waits until somebody answers at a subject.
    fn answers(&self, subject: &str, payload: &str) -> Result<()> {
        let begun = Instant::now();
        while self.raw(subject, 1, 1, payload)?.failed > 0 {
            if begun.elapsed() > READY {
                bail!("nobody answers at {subject}");
            }
        }
        Ok(())
    }

    /// Waits until a part has written this.
    fn says(&self, part: &str, what: &str) -> Result<()> {
        let (begun, log) = (Instant::now(), self.scratch.join(format!("{part}.log")));
        while !fs::read_to_string(&log).is_ok_and(|text| text.contains(what)) {
            if begun.elapsed() > READY {
                bail!("{part} is not ready; see {}", log.display());
            }
            thread::sleep(Duration::from_millis(20));
        }
        Ok(())
    }
}

/// What a part of the measurement has printed.
pub(in crate::bench) fn measured(command: &mut Command) -> Result<Load> {
    let printed = capture(command)?;
    let line = printed.lines().last().unwrap_or_default();
    serde_json::from_str(line).with_context(|| format!("no measurement but {printed:?}"))
}
