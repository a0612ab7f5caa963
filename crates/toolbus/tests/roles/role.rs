//! The roles that Python can have, each on a stage of its own: a gateway, and what belongs to it.

use std::net::TcpListener;
use std::process::{Command, Stdio};

use serde_json::json;

use crate::supervised::Supervised;
use crate::support::mesh::{Nats, Worker};
use crate::support::{Gateway, text, wait_for, workspace};

/// A way in which the module is served.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Role {
    /// A child process that speaks MCP.
    Host,
    /// `python -m toolbus.runner FILE` on a port, kept running by somebody else.
    Runner,
    /// The same at a Unix socket, kept running by the gateway.
    OwnRunner,
    /// `toolbus worker FILE`, a process of its own, reached over NATS.
    Mesh,
    /// A process for each call.
    Script,
    /// The same, forked from one that has imported the module.
    Warm,
    /// A process that runs call after call.
    Reused,
    /// CPython inside the gateway, in a build that has it.
    Embedded,
}

impl Role {
    /// As the documents call it.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Host => "child process",
            Self::Runner => "runner",
            Self::OwnRunner => "runner of the gateway",
            Self::Mesh => "worker",
            Self::Script => "script",
            Self::Warm => "warm script",
            Self::Reused => "reused script",
            Self::Embedded => "embedded",
        }
    }
}

/// A gateway that serves the module, and whatever else has to run for it.
pub(crate) struct Stage {
    pub(crate) gateway: Gateway,
    _others: Others,
}

/// In the order in which they are ended.
#[derive(Default)]
struct Others {
    _runner: Option<Supervised>,
    _worker: Option<Worker>,
    _nats: Option<Nats>,
}

/// The module, which is shown to readers too.
fn module() -> String {
    text(&workspace("examples/roles/twelve.py"))
}

/// The Python of the test environment.
fn python() -> Option<String> {
    let python = workspace(".venv/bin/python");
    if !python.exists() {
        use std::io::Write as _;
        let _ = writeln!(std::io::stderr(), "skipped: no Python environment");
        return None;
    }
    Some(text(&python))
}

/// Where the package is that the module imports.
fn sdk() -> String {
    text(&workspace("python/toolbus/src"))
}

/// The same as a line for the section of a child process.
fn env() -> String {
    format!("env = {{ PYTHONPATH = {} }}\n", json!(sdk()))
}

impl Stage {
    /// Waits until a runner that has ended is there again. In the other roles the next call must not notice.
    pub(crate) fn recover(&self, role: Role) {
        if matches!(role, Role::Runner | Role::OwnRunner) {
            wait_for("the runner answers again", || {
                let answer = self.gateway.call("add", json!({"a": 0, "b": 0})).json();
                answer["result"]["structuredContent"]["result"] == 0
            });
        }
    }

    /// `None`, and a word about it, where something is not installed.
    pub(crate) fn set(role: Role) -> Option<Self> {
        let (python, module, env) = (python()?, module(), env());
        match role {
            Role::Host => {
                let (file, python) = (json!(module), json!(python));
                let section = format!(
                    "[servers.twelve.python]\nfile = {file}\ninterpreter = {python}\n{env}"
                );
                Some(Self::of(&section, Others::default()))
            }
            Role::Runner => Some(Self::runner(&python, &module)),
            Role::OwnRunner => {
                let command = json!([python, "-m", "toolbus.runner", module]);
                let section = format!("[servers.twelve.runner]\ncommand = {command}\n{env}");
                Some(Self::of(&section, Others::default()))
            }
            Role::Mesh => Self::mesh(&python, &module),
            Role::Script => Some(Self::script(&python, "")),
            Role::Warm => Some(Self::warm(&python, "{}")),
            Role::Reused => Some(Self::warm(&python, r#"{ mode = "reuse" }"#)),
            Role::Embedded => {
                let (module, sdk) = (json!(module), json!(sdk()));
                let venv = json!(text(&workspace(".venv")));
                let section = format!(
                    "[servers.twelve.embedded]\nmodule = {module}\npath = [{sdk}]\nvenv = {venv}\n"
                );
                Some(Self::of(&section, Others::default()))
            }
        }
    }

    /// A runner on a port of an address of its own, so that the port is free again when the runner has ended.
    fn runner(python: &str, module: &str) -> Self {
        let id = std::process::id();
        let host = format!(
            "127.{}.{}.{}",
            64 + id % 64,
            id / 64 % 256,
            1 + id / 16_384 % 250
        );
        let free = TcpListener::bind((host.as_str(), 0)).expect("a port");
        let port = free.local_addr().expect("an address").port();
        drop(free);
        let mut command = Command::new(python);
        command
            .args(["-m", "toolbus.runner", module, "--host", &host])
            .args(["--port", &port.to_string()])
            .env("PYTHONPATH", sdk())
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null());
        let others = Others {
            _runner: Some(Supervised::start(command)),
            ..Others::default()
        };
        let section = format!("[servers.twelve.runner]\nurl = \"http://{host}:{port}\"\n");
        Self::of(&section, others)
    }

    fn script(python: &str, more: &str) -> Self {
        let (module, python, env) = (json!(module()), json!(python), env());
        let section = format!(
            "[servers.twelve.script]\npython = {module}\ninterpreter = {python}\n{env}{more}"
        );
        Self::of(&section, Others::default())
    }

    fn warm(python: &str, how: &str) -> Self {
        let stage = Self::script(python, &format!("warm = {how}\n"));
        wait_for("interpreters that are ready", || {
            stage.gateway.processes("toolbus.warm") > 0
        });
        stage
    }

    fn mesh(python: &str, module: &str) -> Option<Self> {
        let nats = Nats::start()?;
        let mut worker = nats.worker_command(&nats.url(), "twelve");
        worker.args([module, "--python", python]);
        worker.env("PYTHONPATH", workspace("python/toolbus/src"));
        let others = Others {
            _worker: Some(Worker::start(worker)),
            ..Others::default()
        };
        let section = format!("[mesh]\nurl = \"{}\"\n", nats.url());
        Some(Self::of(
            &section,
            Others {
                _nats: Some(nats),
                ..others
            },
        ))
    }

    fn of(config: &str, others: Others) -> Self {
        let gateway = Gateway::start(config);
        wait_for("the tools", || gateway.tools("/mcp").len() == 12);
        Self {
            gateway,
            _others: others,
        }
    }
}
