//! An MCP server on stdio that misbehaves on demand: each of its tools is one way in which a process can let its client down.
//!
//! It is legacy (2025-11-25), single, and written on plain threads and blocking I/O, so that nothing but the chosen fault goes wrong.

mod faults;
mod flags;
mod server;
mod wire;

pub use flags::{Flags, USAGE};
pub use server::run;
