//! An existing MCP server as a back end: a child process on stdio or a URL, of any revision.
//!
//! The inside of Toolbus speaks 2026-07-28. What an older server needs instead is decided in `dialect` and `connect`;
//! everything else here is the same for both eras.

use std::sync::{Mutex, MutexGuard, PoisonError};

mod abilities;
mod answer;
mod asked;
mod attend;
mod base;
mod calls;
mod client;
mod connect;
pub(crate) mod dialect;
mod ear;
mod events;
mod greeting;
mod http;
mod keep;
mod life;
mod line_link;
mod link;
mod listen;
mod listener;
mod listeners;
pub(crate) mod listing;
mod news;
mod old_sse;
pub(crate) mod outgoing;
mod overlap;
mod parked;
mod resume;
pub(crate) mod retry;
mod server;
mod sessions;
mod siblings;
mod standalone;
mod starts;
mod stdio;
mod unix;
mod uses;
mod waiting;
mod way;
mod works;

pub use http::HttpTarget;
pub use life::{Begin, Known, Start};
pub use server::{McpServer, Settings, Sharing, Target};
pub use starts::Starts;

/// A lock whose holder panicked is as good as any: what it guards is whole between two statements.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
