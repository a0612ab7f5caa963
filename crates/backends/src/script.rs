//! A script per call: JSON on standard input, JSON on standard output.
//!
//! ```text
//! Job ── table (which tool, which run-spec) ── places (bounded, in order of arrival) ── a process ── verdict ── Outcome
//! ```
//! How the process is had is behind the trait `Runs` of `run`: one that is started for the call, or one that was kept
//! ready.

mod cold;
mod index;
mod limits;
mod listing;
mod places;
mod process;
mod run;
mod server;
mod settings;
mod side;
mod spec;
mod table;
mod verdict;
pub mod warm;

pub use server::ScriptServer;
pub use settings::{
    Base, Declared, Definition, MOST_AT_ONCE, Python, Schema, Settings, Source, WAITING, at_once,
};
pub use spec::{Limits, RunSpec, Template, Tool};

#[cfg(test)]
mod tests;
