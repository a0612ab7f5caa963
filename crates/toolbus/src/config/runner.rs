//! `[servers.NAME.runner]`: a long-lived tool runner, and `[servers.NAME.python]`: a Python file as a managed child.

use std::path::PathBuf;

use indexmap::IndexMap;
use schemars::JsonSchema;
use serde::Deserialize;
use toolbus_backends::process::Command;
use toolbus_backends::runner::Place;

use super::sections::{Start, Stdio};
use super::values::{Secret, Span, Url};

/// The Python that runs a file, where none is named and no virtual environment is active.
const INTERPRETER: &str = "python3";

/// `[servers.NAME.runner]`, which needs one of `url`, `socket` and `command`.
#[derive(Debug, Clone, Default, PartialEq, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub(crate) struct Runner {
    /// Where the runner listens. `/run_tool` and its other paths are appended.
    pub(crate) url: Option<Url>,
    /// The Unix socket at which the runner listens.
    pub(crate) socket: Option<PathBuf>,
    /// The program and its arguments: a runner that we start, and start again. It listens at the Unix socket that
    /// TOOLBUS_RUNNER_SOCKET names, as `python -m toolbus.runner FILE` does.
    pub(crate) command: Option<Vec<String>>,
    /// Environment variables of the command. It gets these, PATH, HOME and the like, and nothing else of ours.
    pub(crate) env: IndexMap<String, Secret>,
    /// The working folder of the command. The one of `toolbus` where it is not set.
    pub(crate) cwd: Option<PathBuf>,
    /// Headers for every request.
    pub(crate) headers: IndexMap<String, Secret>,
    /// A token that is sent as `Authorization: Bearer`.
    pub(crate) bearer: Option<Secret>,
}

impl Runner {
    /// What the types cannot say.
    pub(super) fn check(&self) -> Result<(), &'static str> {
        let places = [
            self.url.is_some(),
            self.socket.is_some(),
            self.command.is_some(),
        ];
        match places.into_iter().filter(|is_given| *is_given).count() {
            0 => return Err("it needs one of `url`, `socket` and `command`"),
            1 => {}
            _ => {
                return Err(
                    "it has more than one place: keep one of `url`, `socket` and `command`",
                );
            }
        }
        if self.command.as_ref().is_some_and(Vec::is_empty) {
            return Err("`command` is empty; give a program and its arguments");
        }
        if self.command.is_none() && (!self.env.is_empty() || self.cwd.is_some()) {
            return Err(
                "`env` and `cwd` are for a `command`; a runner that runs already has its own",
            );
        }
        Ok(())
    }

    /// Where it is, with its secrets in place.
    pub(crate) fn place(&self) -> Result<Place, String> {
        match (&self.url, &self.socket, &self.command) {
            (Some(url), ..) => Ok(Place::Url(url.0.clone())),
            (None, Some(path), _) => Ok(Place::Socket(path.clone())),
            (None, None, Some(line)) => Ok(Place::Child(Command {
                line: line.clone(),
                env: revealed(&self.env)?,
                cwd: self.cwd.clone(),
            })),
            (None, None, None) => Err("it needs one of `url`, `socket` and `command`".to_owned()),
        }
    }
}

/// `[servers.NAME.python]`
#[derive(Debug, Clone, PartialEq, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct Python {
    /// The file that serves tools, or FILE:OBJECT: a Worker, a FastMCP or MCPServer object, or plain functions.
    pub(crate) file: String,
    /// The Python that runs it. That of the active virtual environment where it is not set, or python3.
    pub(crate) interpreter: Option<PathBuf>,
    /// Environment variables. The child gets these, PATH, HOME and the like, and nothing else of ours.
    #[serde(default)]
    pub(crate) env: IndexMap<String, Secret>,
    /// The working folder. The one of `toolbus` where it is not set.
    pub(crate) cwd: Option<PathBuf>,
    /// When the process starts. With its first use where it is not set.
    #[serde(default)]
    pub(crate) start: Start,
    /// How long the process runs that nobody uses. 10m where it is not set, and no limit with `start = "now"`.
    pub(crate) idle_stop: Option<Span>,
    /// How old the process gets: after this another one takes its place. Any age where it is not set.
    pub(crate) max_lifetime: Option<Span>,
}

impl Python {
    /// The same as a server on stdio.
    pub(crate) fn stdio(&self) -> Stdio {
        let interpreter = self.interpreter.clone().unwrap_or_else(interpreter);
        let interpreter = interpreter.to_string_lossy().into_owned();
        // -P keeps files beside it, such as a `math.py`, from taking the place of Python's own modules.
        let words = ["-P", "-m", "toolbus.host", &self.file].map(str::to_owned);
        Stdio {
            command: std::iter::once(interpreter).chain(words).collect(),
            env: self.env.clone(),
            cwd: self.cwd.clone(),
            start: self.start,
            idle_stop: self.idle_stop,
            max_lifetime: self.max_lifetime,
        }
    }
}

fn interpreter() -> PathBuf {
    let folder = std::env::var_os("VIRTUAL_ENV").filter(|folder| !folder.is_empty());
    let python = folder.map(|folder| PathBuf::from(folder).join("bin/python"));
    let python = python.filter(|python| python.is_file());
    python.unwrap_or_else(|| INTERPRETER.into())
}

fn revealed(env: &IndexMap<String, Secret>) -> Result<Vec<(String, String)>, String> {
    let pairs = env
        .iter()
        .map(|(name, value)| Ok((name.clone(), value.reveal()?)));
    pairs.collect()
}
