//! `toolbus`: runs MCP tools anywhere, behind one door.

mod broker;
mod commands;
mod config;
mod descriptors;
mod house;
mod memory;
mod published;
mod reload;
mod say;
mod state;

use std::process::ExitCode;

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> ExitCode {
    // Wardens are this same binary; each stays as small as it can be, so they turn off before anything is set up.
    let arguments: Vec<_> = std::env::args_os().collect();
    if arguments.get(1).is_some_and(|word| word == "warden") {
        return commands::warden(&arguments[2..]);
    }
    commands::run()
}
