//! The worker, asked in raw frames, so that the protocol itself is held as it is written.

mod calls;
mod catalog;
mod drain;
mod large;
mod listening;
mod plain;
mod puppet;
mod refusals;
mod support;
