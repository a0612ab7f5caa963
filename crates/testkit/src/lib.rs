//! Peers to test a gateway against: a conformant MCP server, one that misbehaves in every way a process can, and the plain
//! servers that a gateway's cost is measured with.

pub mod bench;
pub mod faulty;
pub mod fixture;
pub mod ledger;
