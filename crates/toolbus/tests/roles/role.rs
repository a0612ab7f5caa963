//! The roles that Python can have, each on a stage of its own: a gateway, and what belongs to it.

use serde_json::json;
use tempfile::TempDir;

use crate::supervised::Supervised;
use crate::support::mesh::{Nats, Worker};
use crate::support::{Gateway, text, wait_for, workspace};

/// A way in which the module is served.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Role {
    /// `python -m toolbus.host FILE`, a child process that speaks MCP.
    Host,
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
            Self::Mesh => "worker",
            Self::Script => "script",
            Self::Warm => "script, warm",
            Self::Reused => "script, reused",
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
    _folder: Option<TempDir>,
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
    /// `None`, and a word about it, where something is not installed.
    pub(crate) fn set(role: Role) -> Option<Self> {
        let (python, module, env) = (python()?, module(), env());
        match role {
            Role::Host => {
                let command = json!([python, "-m", "toolbus.host", module]);
                let section = format!("[servers.twelve.stdio]\ncommand = {command}\n{env}");
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
