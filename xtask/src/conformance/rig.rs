//! What the suite talks to: our fixture, and the gateway before it.

use std::path::Path;
use std::process::Command;

use std::time::Duration;

use anyhow::Result;
use rustix::process::Signal;
use tokio::runtime::{Builder, Runtime};

use super::{Route, Upstream};
use crate::chaos::broker::Broker;
use crate::chaos::process::Process;
use crate::gateway;
use crate::place::{Place, cargo};
use crate::run::run;
use crate::server::Server;

/// How long a worker may take to end.
const DRAIN: Duration = Duration::from_secs(30);

/// The servers of one run; those in front stop first.
pub(super) struct Rig {
    front: Server,
    behind: Option<Server>,
    mesh: Option<Mesh>,
}

/// What stands between gateway and fixture in the mesh: a worker, and then the broker.
struct Mesh {
    runtime: Runtime,
    worker: Process,
    broker: Broker,
}

impl Rig {
    /// Where the suite sends its requests.
    pub(super) fn url(&self) -> &str {
        self.front.url()
    }

    /// Ends all servers; one that had to be killed is an error.
    pub(super) fn stop(self) -> Result<()> {
        let front = self.front.stop();
        let behind = self.behind.map_or(Ok(()), Server::stop);
        let mesh = self.mesh.map_or(Ok(()), Mesh::stop);
        front.and(behind).and(mesh)
    }
}

/// Builds the fixture and the gateway.
pub(super) fn build(place: &Place) -> Result<()> {
    let mut build = cargo();
    build
        .args("build --quiet -p toolbus-testkit --bin fixture -p toolbus --bin toolbus".split(' '));
    run(build.current_dir(place.root()))
}

/// Starts what this route needs and waits until it is ready.
pub(super) fn start(place: &Place, route: Route, scratch: &Path) -> Result<Rig> {
    let fixture = place.binary("debug", "fixture")?;
    match route {
        Route::Direct => Ok(Rig {
            front: serve_fixture(&fixture, scratch)?,
            behind: None,
            mesh: None,
        }),
        Route::Through(Upstream::Http) => {
            let behind = serve_fixture(&fixture, scratch)?;
            let server = format!("[servers.fixture.http]\nurl = {:?}\n", behind.url());
            let front = serve_gateway(place, &server, scratch)?;
            Ok(Rig {
                front,
                behind: Some(behind),
                mesh: None,
            })
        }
        Route::Through(Upstream::Stdio) => {
            let server = format!("[servers.fixture.stdio]\ncommand = [{fixture:?}, \"stdio\"]\n");
            let front = serve_gateway(place, &server, scratch)?;
            Ok(Rig {
                front,
                behind: None,
                mesh: None,
            })
        }
        Route::Through(Upstream::Runner) => {
            let python = place.venv().join("bin/python");
            let module = place.root().join("xtask/python/fixture.py");
            let command = format!("[{python:?}, \"-m\", \"toolbus.runner\", {module:?}]");
            let server = format!("[servers.fixture.runner]\ncommand = {command}\n");
            let front = serve_gateway(place, &server, scratch)?;
            Ok(Rig {
                front,
                behind: None,
                mesh: None,
            })
        }
        Route::Through(Upstream::Mesh) => {
            let mesh = Mesh::start(place, &fixture, scratch)?;
            let section = format!("[mesh]\nurl = {:?}\n", mesh.broker.url());
            let mut front = serve_gateway(place, &section, scratch)?;
            gateway::wait_for_tool(&mut front, "test_simple_text")?;
            Ok(Rig {
                front,
                behind: None,
                mesh: Some(mesh),
            })
        }
    }
}

impl Mesh {
    /// A broker, and a worker that serves the fixture there.
    fn start(place: &Place, fixture: &Path, scratch: &Path) -> Result<Self> {
        let runtime = Builder::new_current_thread().enable_all().build()?;
        let mark = scratch.display().to_string();
        let broker = runtime.block_on(Broker::start(place, scratch.to_owned(), mark))?;
        let mut command = Command::new(place.binary("debug", "toolbus")?);
        command.args(["worker", "--nats", &broker.url(), "--name", "fixture"]);
        // What the suite leaves behind, such as tasks that wait for an answer, is not waited for.
        command.args(["--drain-within", "2s", "--"]);
        command.arg(fixture).arg("stdio");
        command.env("XDG_STATE_HOME", scratch.join("worker-state"));
        let worker = Process::start("worker", &mut command, scratch)?;
        Ok(Self {
            runtime,
            worker,
            broker,
        })
    }

    fn stop(mut self) -> Result<()> {
        self.worker.signal(Signal::TERM)?;
        self.runtime.block_on(self.worker.ended(DRAIN))?;
        self.runtime.block_on(self.broker.kill())
    }
}

fn serve_fixture(fixture: &Path, scratch: &Path) -> Result<Server> {
    Server::start("fixture", Command::new(fixture).arg("http"), scratch)
}

fn serve_gateway(place: &Place, server: &str, scratch: &Path) -> Result<Server> {
    let toolbus = Command::new(place.binary("debug", "toolbus")?);
    gateway::start(toolbus, server, scratch)
}
