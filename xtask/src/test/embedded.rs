//! The build with Python inside, and its tests. In the folder of all other builds only what differs is compiled.

use std::process::Command;

use anyhow::Result;

use super::{Count, unit};
use crate::place::{Place, cargo};
use crate::run::{capture, run};
use crate::say::say;

/// What has Python inside: the binary with its feature, and the tests that need it.
const BUILD: [&str; 17] = [
    "--workspace",
    "--features",
    "toolbus/embedded",
    "--test",
    "embedded",
    "--test",
    "roles_embedded",
    "--test",
    "tools",
    "--test",
    "imports",
    "--test",
    "endless",
    "--test",
    "blocked_loop",
    "--example",
    "added_cost",
];

/// Asks a Python for its shared library.
const SHARED: &str = "import sysconfig; print(sysconfig.get_config_var('Py_ENABLE_SHARED') or 0)";

/// Builds it, and runs its tests.
pub(super) fn tests(place: &Place) -> Result<Count> {
    let python = place.venv().join("bin/python");
    if capture(Command::new(&python).args(["-c", SHARED]))?.trim() != "1" {
        say(
            "skipped: this Python has no shared library (on Debian and Ubuntu it is in python3-dev)",
        );
        return Ok(Count::of(0, 0, 1));
    }
    let mut clippy = cargo();
    clippy.args(["clippy", "--quiet"]).args(BUILD);
    clippy.args(["--lib", "--bin", "toolbus", "--", "-D", "warnings"]);
    let within = |cargo: &mut Command| {
        cargo.env("PYO3_PYTHON", &python).current_dir(place.root());
    };
    within(&mut clippy);
    run(&mut clippy)?;
    let count = unit::twice(place, &BUILD, &within)?;
    // Puts the usual binary back in its place, where others look for it.
    let mut usual = cargo();
    usual
        .args(["test", "--quiet", "--no-run"])
        .args(unit::USUAL);
    usual.args(["--test", "calls"]).current_dir(place.root());
    run(&mut usual)?;
    Ok(count)
}
