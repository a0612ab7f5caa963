//! The mesh: tools on NATS. A worker serves any back end there, and the gateway's back end calls it.
//!
//! Core NATS carries calls; JetStream carries only what must outlive a process. What a message is called and what it
//! says is in [`subject`] and [`frame`]; [`bus`] is what carries it.

pub mod bus;
pub mod caller;
mod catalog;
pub mod compat;
pub mod fault;
pub mod frame;
pub mod registry;
pub mod subject;
pub mod worker;
