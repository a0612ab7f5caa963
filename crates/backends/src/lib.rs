//! Where tools run: one folder a kind of back end, each behind the one trait of the model.
//!
//! `mcp`, `script` and `runner` are places; `content` brings files and prompts; `checked` and `edited` are layers around
//! any of them.

pub mod checked;
pub mod content;
pub mod edited;
pub mod layer;
pub mod mcp;
mod pool;
pub mod process;
pub mod pulse;
pub mod runner;
pub mod script;
pub mod tools;
mod watch;
