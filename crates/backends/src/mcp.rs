//! An existing MCP server as a back end: a child process on stdio or a URL, of any revision.
//!
//! The inside of Toolbus speaks 2026-07-28. What an older server needs instead is decided in `dialect` and `connect`;
//! everything else here is the same for both eras.

mod abilities;
mod asked;
mod calls;
mod connect;
mod dialect;
mod ear;
mod http;
mod link;
mod listing;
mod outgoing;
mod parked;
mod retry;
mod server;
mod sessions;
mod stdio;
mod way;

pub use http::HttpTarget;
pub use server::{McpServer, Settings, Sharing, Target};
