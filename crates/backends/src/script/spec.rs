//! Run-specs: how the process of a tool is started, and what it may use.

use std::path::PathBuf;
use std::time::Duration;

use toolbus_model::Object;

use crate::process;

/// A tool, and how it is run.
#[derive(Debug, Clone, PartialEq)]
pub struct Tool {
    /// Its name.
    pub name: String,
    /// Its definition, as it is listed.
    pub definition: Object,
    /// How it is run.
    pub run: RunSpec,
}

/// How the process of a tool is started.
#[derive(Debug, Clone, PartialEq)]
pub struct RunSpec {
    /// The program and its arguments, with what is known of the tool filled in. Only `{arguments}` is left.
    pub line: Template,
    /// Variables on top of the clean environment.
    pub env: Vec<(String, String)>,
    /// The working folder. Without one each call gets a folder of its own, which is removed when it is over.
    pub cwd: Option<PathBuf>,
    /// What a call may use.
    pub limits: Limits,
}

/// The words of a command, of which some may wait for a call's arguments.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Template(pub Vec<String>);

/// What a call may use. `None` turns a limit off.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limits {
    /// The longest time of a run, which ends in a result that says so.
    pub timeout: Option<Duration>,
    /// The most bytes on stdout.
    pub output: u64,
    /// What the warden holds it to.
    pub process: process::Limits,
}
