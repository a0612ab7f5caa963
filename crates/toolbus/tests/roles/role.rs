//! The roles that Python can have, each on a stage of its own: a gateway, and what belongs to it.

use std::path::PathBuf;

use serde_json::json;

use crate::support::mesh::{Nats, Worker};
use crate::support::{Gateway, text, wait_for, workspace};

/// A way in which the module is served.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Role {
    /// `python -m toolbus.host FILE`, a child process that speaks MCP.
    Host,
    /// `toolbus worker FILE`, a process of its own, reached over NATS.
    Mesh,
}

/// A gateway that serves the module, and whatever else has to run for it.
pub(crate) struct Stage {
    pub(crate) gateway: Gateway,
    _worker: Option<Worker>,
    _nats: Option<Nats>,
}

/// The module, which is shown to readers too.
fn module() -> String {
    text(&workspace("examples/roles/twelve.py"))
}

/// The Python of the test environment.
fn python() -> Option<PathBuf> {
    let python = workspace(".venv/bin/python");
    if !python.exists() {
        use std::io::Write as _;
        let _ = writeln!(std::io::stderr(), "skipped: no Python environment");
        return None;
    }
    Some(python)
}

impl Stage {
    /// `None`, and a word about it, where something is not installed.
    pub(crate) fn set(role: Role) -> Option<Self> {
        let python = text(&python()?);
        match role {
            Role::Host => {
                let command = json!([python, "-m", "toolbus.host", module()]);
                Some(Self::of(&format!(
                    "[servers.twelve.stdio]\ncommand = {command}\n{}",
                    sdk()
                )))
            }
            Role::Mesh => {
                let nats = Nats::start()?;
                let mut worker = nats.worker_command(&nats.url(), "twelve");
                worker.args([&module(), "--python", &python]);
                worker.env("PYTHONPATH", workspace("python/toolbus/src"));
                let worker = Worker::start(worker);
                let gateway = Gateway::start(&format!("[mesh]\nurl = \"{}\"\n", nats.url()));
                wait_for("the worker's tools", || gateway.tools("/mcp").len() == 12);
                Some(Self {
                    gateway,
                    _worker: Some(worker),
                    _nats: Some(nats),
                })
            }
        }
    }

    fn of(config: &str) -> Self {
        Self {
            gateway: Gateway::start(config),
            _worker: None,
            _nats: None,
        }
    }
}

/// Where the package is that the module imports, as a line for the section of a child process.
fn sdk() -> String {
    let path = text(&workspace("python/toolbus/src"));
    format!("env = {{ PYTHONPATH = {} }}\n", json!(path))
}
