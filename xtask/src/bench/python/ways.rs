//! The ways in which the tool of `xtask/bench/sdk_echo.py` is served, running.

use std::fs;
use std::path::PathBuf;
use std::process::{Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, bail};
use serde_json::{Value, json};

use super::super::mesh::parts::{Load, Stage, measured};
use super::super::message::{Message, text};
use super::super::plan::{Cell, Era, Size};
use super::memory::Memory;
use crate::chaos::process::Process;
use crate::gateway;
use crate::http::{self, Connection};
use crate::place::{Place, cargo};
use crate::run::{not_started, run};
use crate::say::say;
use crate::server::Server;

/// How long what serves may take to be there.
const READY: Duration = Duration::from_secs(60);

/// How often memory is looked at.
const LOOK: Duration = Duration::from_millis(100);

/// How often longer it is measured where nothing was over in time, as it can be on a busy machine.
const LONGER: [u64; 3] = [1, 2, 4];

/// In each answer, and in no error.
const WANTED: &str = "over the lazy dog, 27 times.";

/// Stands in a request for its id.
const MARK: &str = "@@@@@@@@";

/// A way to serve it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Way {
    /// `python echo_script.py` for each call, without a gateway.
    Bare,
    /// The same as a script behind the gateway.
    Cold,
    /// Forked from an interpreter that is kept ready.
    Fork,
    /// By interpreters that are kept ready and run call after call.
    Reuse,
    /// `python -m toolbus.runner` on a port, without a gateway.
    DirectTcp,
    /// The same on a Unix socket.
    DirectUnix,
    /// On a port, behind the gateway.
    RoleTcp,
    /// On a Unix socket, behind the gateway.
    RoleUnix,
    /// A worker of the mesh.
    Mesh,
    /// CPython in the gateway.
    Embedded,
}

impl Way {
    /// In the order of the table.
    pub(super) const ALL: [Self; 10] = [
        Self::Bare,
        Self::Cold,
        Self::Fork,
        Self::Reuse,
        Self::DirectTcp,
        Self::RoleTcp,
        Self::DirectUnix,
        Self::RoleUnix,
        Self::Mesh,
        Self::Embedded,
    ];

    pub(super) fn name(self) -> &'static str {
        match self {
            Self::Bare => "bare `python script.py`",
            Self::Cold => "script",
            Self::Fork => "script, warm, fork",
            Self::Reuse => "script, warm, reuse",
            Self::DirectTcp => "runner alone, TCP",
            Self::DirectUnix => "runner alone, Unix socket",
            Self::RoleTcp => "runner, TCP",
            Self::RoleUnix => "runner, Unix socket",
            Self::Mesh => "mesh",
            Self::Embedded => "embedded",
        }
    }

    /// Calls that take tenths of a second need more time to be counted.
    pub(super) fn seconds(self, seconds: u64) -> u64 {
        match self {
            Self::Bare | Self::Cold => seconds * 2 + 4,
            _ => seconds,
        }
    }
}

/// A way, ready for calls.
pub(super) struct Running<'a> {
    way: Way,
    target: Target,
    gateway: Option<Server>,
    runner: Option<Process>,
    _mesh: Option<(Stage<'a>, Process)>,
    place: &'a Place,
    scratch: PathBuf,
}

/// What the load does.
enum Target {
    /// Starts processes.
    Process,
    /// Sends the request in the file to an address.
    Http(String),
}

/// Builds the program with embedded Python, in a folder of its own: with it, everything is compiled anew.
pub(super) fn build_embedded(place: &Place) -> Result<()> {
    let mut build = cargo();
    build.args(["build", "--quiet", "--release", "-p", "toolbus"]);
    build.args(["--bin", "toolbus", "--features", "embedded"]);
    build.arg("--target-dir").arg(embedded_target(place));
    build.env("PYO3_PYTHON", python(place));
    say("building with embedded Python, optimised");
    run(build.current_dir(place.root()))
}

impl<'a> Running<'a> {
    /// Starts it, and waits until it answers.
    pub(super) fn start(place: &'a Place, way: Way) -> Result<Self> {
        let scratch = place.scratch("bench-python")?;
        let mut running = Self {
            way,
            target: Target::Process,
            gateway: None,
            runner: None,
            _mesh: None,
            place,
            scratch,
        };
        let arguments = json!({"message": text(Size::Small)});
        fs::write(running.request_file(), arguments.to_string())?;
        match way {
            Way::Bare => {}
            Way::Cold => running.gateway(&script(place, ""))?,
            Way::Fork => running.gateway(&script(place, "mode = \"fork\""))?,
            Way::Reuse => running.gateway(&script(place, "mode = \"reuse\""))?,
            Way::DirectTcp | Way::DirectUnix => {
                let address = running.runner()?;
                let body = json!({"name": "echo", "arguments": arguments}).to_string();
                let fields = [("Content-Type", "application/json")];
                let request = http::request("POST", "http://localhost/run_tool", &fields, &body)?;
                fs::write(running.request_file(), request)?;
                running.target = Target::Http(address);
                running.answers()?;
            }
            Way::RoleTcp | Way::RoleUnix => {
                let address = running.runner()?;
                let key = match address.strip_prefix("unix:") {
                    Some(path) => format!("socket = {path:?}"),
                    None => format!("url = \"http://{address}\""),
                };
                running.gateway(&format!("[servers.py.runner]\n{key}\n"))?;
            }
            Way::Mesh => {
                let stage = Stage::start(place)?;
                let worker = stage.python_worker("py")?;
                let gateway = stage.gateway("echo")?;
                running._mesh = Some((stage, worker));
                running.behind(gateway)?;
            }
            Way::Embedded => {
                let (module, venv) = (tool(place), place.venv());
                let path = sources(place);
                let section = format!(
                    "[servers.py.embedded]\nmodule = {module:?}\nvenv = {venv:?}\npath = [{path:?}]\n"
                );
                running.gateway(&section)?;
            }
        }
        Ok(running)
    }

    /// Starts a gateway before this, and waits until its tool answers as it should.
    fn gateway(&mut self, servers: &str) -> Result<()> {
        let program = match self.way {
            Way::Embedded => embedded_target(self.place).join("release/toolbus"),
            _ => self.place.binary("release", "toolbus")?,
        };
        let gateway = gateway::start(Command::new(program), servers, &self.scratch)?;
        if matches!(self.way, Way::Fork | Way::Reuse) {
            self.log_has("toolbus", "interpreters are kept ready")?;
        }
        self.behind(gateway)
    }

    fn behind(&mut self, mut gateway: Server) -> Result<()> {
        gateway::wait_for_tool(&mut gateway, "echo")?;
        let cell = Cell {
            era: Era::Modern,
            size: Size::Small,
            connections: 1,
        };
        let message = Message::new(cell, gateway.url(), None)?;
        message
            .check(&mut Connection::open(gateway.url())?, 1)
            .with_context(|| format!("{} does not answer as it should", self.way.name()))?;
        // An id of eight digits, so that the length of the body is what the head says.
        let request = message.template().replace(MARK, "10000000");
        fs::write(self.request_file(), request)?;
        let address = gateway.url().split('/').nth(2).unwrap_or_default();
        self.target = Target::Http(address.to_owned());
        self.gateway = Some(gateway);
        Ok(())
    }

    /// Starts a runner: where it listens.
    fn runner(&mut self) -> Result<String> {
        let mut command = Command::new(python(self.place));
        command.args(["-P", "-m", "toolbus.runner"]);
        command.arg(tool(self.place));
        command.env("PYTHONPATH", sources(self.place));
        command.env("PYTHONUNBUFFERED", "1");
        if matches!(self.way, Way::DirectUnix | Way::RoleUnix) {
            command
                .arg("--socket")
                .arg(self.scratch.join("runner.sock"));
        } else {
            command.args(["--port", "0"]);
        }
        self.runner = Some(Process::start("runner", &mut command, &self.scratch)?);
        let log = self.log_has("runner", "listening on")?;
        let shown = log
            .lines()
            .find_map(|line| line.strip_prefix("listening on "));
        let shown = shown.context("the runner does not say where it listens")?;
        let address = shown.strip_prefix("http://").unwrap_or(shown).to_owned();
        Ok(address)
    }

    /// Waits until the runner has loaded its tools: until then it refuses calls.
    fn answers(&self) -> Result<()> {
        let begun = Instant::now();
        while let Some(why) = measured(&mut self.command(1, 1)?)?.why {
            if begun.elapsed() > READY {
                bail!("{} does not answer as it should: {why}", self.way.name());
            }
        }
        Ok(())
    }

    /// Waits until a part has written this: all that it wrote.
    fn log_has(&self, part: &str, what: &str) -> Result<String> {
        let (begun, path) = (Instant::now(), self.scratch.join(format!("{part}.log")));
        loop {
            let text = fs::read_to_string(&path).unwrap_or_default();
            // A line that has not ended may be half of one.
            if text
                .split_inclusive('\n')
                .any(|line| line.contains(what) && line.ends_with('\n'))
            {
                return Ok(text);
            }
            if begun.elapsed() > READY {
                bail!("{part} did not write {what:?}; see {}", path.display());
            }
            thread::sleep(Duration::from_millis(20));
        }
    }

    /// Calls it from so many callers for so many seconds, or longer where no call was over by then.
    pub(super) fn load(&self, callers: usize, seconds: u64) -> Result<Load> {
        for times in LONGER {
            let load = measured(&mut self.command(callers, seconds * times)?)?;
            if let Some(why) = &load.why {
                let (name, failed) = (self.way.name(), load.failed);
                bail!("{name}: {failed} calls failed, the first because: {why}");
            }
            if load.rate > 0.0 {
                return Ok(load);
            }
        }
        bail!(
            "{}: no call was over in time; give more --seconds",
            self.way.name()
        )
    }

    /// The same, not to measure how fast it is but what it takes.
    pub(super) fn memory(&self, callers: usize, seconds: u64) -> Result<Memory> {
        let mut command = self.command(callers, seconds)?;
        let command = command.stdout(Stdio::null());
        let mut load = command
            .spawn()
            .map_err(|error| not_started(command, &error))?;
        let mut most = Memory::default();
        while load.try_wait()?.is_none() {
            let roots = match (&self.gateway, &self.runner, &self._mesh) {
                (_, Some(runner), _) => runner.pid(),
                (_, _, Some((_, worker))) => worker.pid(),
                (Some(gateway), ..) => gateway.pid(),
                (None, None, None) => load.id(),
            };
            let now = match self.way {
                Way::Embedded => Memory::of([roots]),
                _ => Memory::of_python(roots),
            };
            most = most.most(now);
            thread::sleep(LOOK);
        }
        Ok(most)
    }

    /// Ends what was started.
    pub(super) fn stop(self) -> Result<()> {
        self.gateway.map_or(Ok(()), Server::stop)
    }

    fn command(&self, callers: usize, seconds: u64) -> Result<Command> {
        let mut command = Command::new(self.place.binary("release", "mesh-bench")?);
        let (callers, seconds) = (callers.to_string(), seconds.to_string());
        match &self.target {
            Target::Process => {
                command.args(["process-load", &callers, &seconds]);
                command.arg(self.request_file()).arg(WANTED);
                command.arg(python(self.place)).arg(program(self.place));
                command.env("PYTHONPATH", sources(self.place));
            }
            Target::Http(address) => {
                command.args(["http-load", address, &callers, &seconds]);
                command.arg(self.request_file()).arg(WANTED);
            }
        }
        Ok(command)
    }

    fn request_file(&self) -> PathBuf {
        self.scratch.join("request")
    }
}

/// The section of a server that runs the program for each call.
fn script(place: &Place, warm: &str) -> String {
    let run: Value = json!([python(place), program(place)]);
    let path = sources(place);
    let mut section = format!(
        "[servers.py.script]\nrun = {run}\nenv = {{PYTHONPATH = {path:?}}}\n\n\
         [servers.py.script.tools.echo]\ndescription = \"Sends the message back.\"\n\
         input_schema = {{type = \"object\", properties = {{message = {{type = \"string\"}}}}, required = [\"message\"]}}\n"
    );
    if !warm.is_empty() {
        section.push_str(&format!(
            "\n[servers.py.script.warm]\n{warm}\nmodules = [\"asyncio\", \"json\", \"toolbus\"]\n"
        ));
    }
    section
}

fn python(place: &Place) -> PathBuf {
    place.venv().join("bin/python")
}

/// The tool.
fn tool(place: &Place) -> PathBuf {
    place.root().join("xtask/bench/sdk_echo.py")
}

/// The tool as a program.
fn program(place: &Place) -> PathBuf {
    place.root().join("xtask/bench/echo_script.py")
}

/// The Python package, as it is in this checkout.
fn sources(place: &Place) -> PathBuf {
    place.root().join("python/toolbus/src")
}

fn embedded_target(place: &Place) -> PathBuf {
    place.target().join("embedded")
}
