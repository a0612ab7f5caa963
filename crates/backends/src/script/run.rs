//! One run: what is ordered, how a process is had for it, and what became of it.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use toolbus_model::{BoxFuture, Call, Error, Object};

use super::spec::Tool;
use crate::process::Ended;

/// A run of a tool that has a place among the processes.
#[derive(Debug, Clone)]
pub(super) struct Order {
    /// Which tool, and how it is run.
    pub(super) tool: Arc<Tool>,
    /// A JSON object, as the caller sent it.
    pub(super) arguments: Object,
}

/// A run that came to an end.
#[derive(Debug)]
pub(super) struct Ran {
    /// How.
    pub(super) end: End,
    /// All of what it wrote to stdout, up to its limit.
    pub(super) stdout: Bytes,
    /// The end of what it wrote to stderr.
    pub(super) stderr: Option<String>,
    /// The command, as errors show it.
    pub(super) command: Arc<str>,
}

/// How a run ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum End {
    /// The process ended by itself, by a signal, or for a limit that the warden watches.
    Ended(Ended),
    /// It ran longer than its run-spec allows, and was ended.
    Timeout(Duration),
    /// It wrote more bytes to stdout than its run-spec allows, and was ended.
    Output(u64),
}

/// How processes are had for runs.
pub(super) trait Runs: Send + Sync {
    /// Runs an order to its end, and tells `call.line()` what the side channel says meanwhile. When the future is done,
    /// nothing of the run is left, also after `call.cancelled()`: then the error tells which command was stopped.
    fn run<'a>(&'a self, order: Order, call: &'a Call) -> BoxFuture<'a, Result<Ran, Error>>;

    /// The tools or their scripts have changed: what was made ready from the old ones serves no further run.
    fn renew(&self, tools: &[Arc<Tool>]);

    /// Ends whatever is kept. No run comes after it.
    fn stop(&self) -> BoxFuture<'_, ()>;
}
