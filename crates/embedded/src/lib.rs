//! CPython inside this process: modules that are imported once, and whose functions are called as tools.
//!
//! There is one interpreter, whatever the number of servers. Functions run in threads of a pool that each server has;
//! coroutines run on one event loop. What one process can contain is contained: exceptions of every kind, exits, calls
//! that never end. What ends the process itself, such as a segmentation fault, is not.

mod calls;
mod housekeeper;
mod interpreter;
mod looping;
mod pool;
mod seat;
mod server;
mod words;

pub use server::{Embedded, Settings};
