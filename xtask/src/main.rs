//! The project's own chores: `cargo xtask test` is what CI runs, `cargo xtask --help` names the rest.

mod bench;
mod chaos;
mod clients;
mod conformance;
mod demo;
mod fuzz;
mod gateway;
mod http;
mod marks;
mod place;
mod python;
mod run;
mod say;
mod server;
mod setup;
mod soak;
mod test;
mod tidy;

use std::process::ExitCode;

use anyhow::{Result, bail};
use clap::{Parser, Subcommand};

use place::Place;
use say::complain;

/// The project's own chores.
#[derive(Parser)]
#[command(name = "cargo xtask", bin_name = "cargo xtask")]
struct Cli {
    #[command(subcommand)]
    chore: Chore,
}

#[derive(Subcommand)]
enum Chore {
    /// Install what tests and demo run against: the Python clients in .venv, Node and its tools in .tools
    Setup,
    /// Show the main job: two real servers behind toolbus, called by a real client in both eras
    Demo,
    /// Run the tests of the Python SDK
    Python,
    /// Run everything that CI runs, and time each step
    Test,
    /// Check licences, duplicates, sources, the size of the tree, and the look of the files
    Tidy,
    /// Run the MCP conformance suite through the gateway, or at the fixture itself
    Conformance(conformance::Options),
    /// Be the client of one scenario of the suite, which starts this itself
    #[command(hide = true)]
    ConformanceClient(conformance::driver::Options),
    /// Drive the gateway with real clients and servers, each with each
    Clients(clients::Options),
    /// Search for inputs that break a reader of bytes from outside, guided by coverage
    Fuzz(fuzz::Options),
    /// Put more on the gateway than it is made for, and see what it bears: memory, children, slow clients, too many calls
    Soak(soak::Options),
    /// Call tools over the mesh while workers and the broker are killed, stopped and drained, and count what became of each call
    Chaos(chaos::Options),
    /// Measure the gateway against a direct call and a bare proxy, and write docs/benchmarks.md
    Bench(bench::Options),
}

fn main() -> ExitCode {
    match chore(Cli::parse().chore) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            complain(format_args!("error: {error:#}"));
            ExitCode::FAILURE
        }
    }
}

fn chore(chore: Chore) -> Result<()> {
    let place = Place::find()?;
    match chore {
        Chore::Setup => setup::setup(&place),
        Chore::Demo => demo::demo(&place),
        Chore::Test => test::test(&place),
        Chore::Tidy => nothing_failed("tidy", tidy::tidy(&place)?.failed),
        Chore::Conformance(options) => nothing_failed(
            "conformance",
            conformance::conformance(&place, &options)?.failed,
        ),
        Chore::Clients(options) => {
            nothing_failed("clients", clients::clients(&place, &options)?.failed)
        }
        Chore::Python => nothing_failed("python", python::sdk(&place)?.failed),
        Chore::Fuzz(options) => fuzz::fuzz(&place, &options),
        Chore::Soak(options) => soak::chore(&place, &options),
        Chore::Chaos(options) => chaos::chore(&place, &options),
        Chore::Bench(options) => bench::bench(&place, &options),
        Chore::ConformanceClient(options) => conformance::driver::drive(&options),
    }
}

fn nothing_failed(what: &str, failed: usize) -> Result<()> {
    match failed {
        0 => Ok(()),
        _ => bail!("{what}: {failed} failed, each named above"),
    }
}
