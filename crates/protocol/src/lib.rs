//! MCP on bytes: envelopes, `_meta`, headers, framings and names, of every revision. No I/O happens here.

pub mod capability;
pub mod envelope;
pub mod fault;
pub mod gather;
pub mod headers;
pub mod lines;
pub mod meta;
pub mod names;
pub mod params;
pub mod sse;
pub mod trace;
pub mod urn;
pub mod write;

pub use envelope::{Envelope, Message, Refusal, Reply};
