//! testkit
pub mod bench;
