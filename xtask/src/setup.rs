//! Installs what tests and demo run against, once: a second run finds its stamps and ends.

use std::fs;
use std::path::Path;
use std::process::Command;

use anyhow::{Context as _, Result};

use crate::place::Place;
use crate::run::{capture, run};
use crate::say::say;

/// In each folder: the text of the pinned files that it was made from.
const STAMP: &str = "made-from";

/// Makes `.venv` and `.tools` as the files in `xtask/python` and `xtask/node` say.
pub(crate) fn setup(place: &Place) -> Result<()> {
    python(place).context("cannot make .venv")?;
    node(place).context("cannot make .tools")
}

fn python(place: &Place) -> Result<()> {
    let (folder, pins) = (
        place.venv(),
        place.root().join("xtask/python/requirements.txt"),
    );
    let version = capture(Command::new("python3").arg("--version"))?;
    let stamp = version + &read(&pins)?;
    if is_made_from(&folder, &stamp) {
        say(".venv is as xtask/python/requirements.txt says");
        return Ok(());
    }
    remove(&folder)?;
    say("making .venv with python3");
    run(Command::new("python3").args(["-m", "venv"]).arg(&folder))?;
    say("installing xtask/python/requirements.txt into .venv");
    let mut pip = Command::new(folder.join("bin/python"));
    pip.args([
        "-m",
        "pip",
        "install",
        "--quiet",
        "--disable-pip-version-check",
        "-r",
    ]);
    run(pip.arg(&pins))?;
    write(&folder.join(STAMP), &stamp)
}

fn node(place: &Place) -> Result<()> {
    let (folder, pins) = (place.tools(), place.root().join("xtask/node"));
    let (package, lock) = (
        read(&pins.join("package.json"))?,
        read(&pins.join("package-lock.json"))?,
    );
    let stamp = format!("{package}{lock}");
    if is_made_from(&folder, &stamp) {
        say(".tools is as xtask/node says");
        return Ok(());
    }
    remove(&folder)?;
    say("installing xtask/node into .tools");
    fs::create_dir_all(&folder)?;
    write(&folder.join("package.json"), &package)?;
    write(&folder.join("package-lock.json"), &lock)?;
    let mut npm = Command::new("npm");
    // Errors only: npm warns that its own Node is older than the one that it is told to install.
    npm.args(["ci", "--no-audit", "--no-fund", "--loglevel=error"]);
    run(npm.current_dir(&folder))?;
    let version = capture(Command::new(place.tool("node")).arg("--version"))?;
    say(format_args!("Node {} is in .tools", version.trim()));
    write(&folder.join(STAMP), &stamp)
}

fn is_made_from(folder: &Path, stamp: &str) -> bool {
    fs::read_to_string(folder.join(STAMP)).is_ok_and(|found| found == stamp)
}

fn remove(folder: &Path) -> Result<()> {
    if !folder.exists() {
        return Ok(());
    }
    say(format_args!(
        "removing {}: it is from other pins",
        folder.display()
    ));
    fs::remove_dir_all(folder).with_context(|| format!("cannot remove {}", folder.display()))
}

fn read(path: &Path) -> Result<String> {
    fs::read_to_string(path).with_context(|| format!("cannot read {}", path.display()))
}

fn write(path: &Path, text: &str) -> Result<()> {
    fs::write(path, text).with_context(|| format!("cannot write {}", path.display()))
}
