//! Where tools run: one folder a kind of back end, each behind the one trait of the model.

pub mod mcp;
pub mod process;
