//! Installs what tests and demo run against, once: a second run finds its stamps and ends.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context as _, Result};

use crate::place::Place;
use crate::run::{capture, run};
use crate::say::say;

/// In each folder: the text of the pinned files that it was made from.
const STAMP: &str = "made-from";

/// Makes `.venv`, `.venv-old` and `.tools` as the files in `xtask/python` and `xtask/node` say.
pub(crate) fn setup(place: &Place) -> Result<()> {
    python(place, place.venv(), "requirements.txt")?;
    python(place, place.old_venv(), "requirements-old.txt")?;
    node(place).context("cannot make .tools")
}

/// Makes one Python environment.
fn python(place: &Place, folder: PathBuf, pins: &str) -> Result<()> {
    let name = folder.file_name().unwrap_or_default().display().to_string();
    let pins = Path::new("xtask/python").join(pins);
    install(place, &folder, &name, &pins).with_context(|| format!("cannot make {name}"))
}

fn install(place: &Place, folder: &Path, name: &str, pins: &Path) -> Result<()> {
    let version = capture(Command::new("python3").arg("--version"))?;
    let stamp = version + &read(&place.root().join(pins))?;
    if is_made_from(folder, &stamp) {
        say(format_args!("{name} is as {} says", pins.display()));
        return Ok(());
    }
    remove(folder)?;
    say(format_args!("making {name} with python3"));
    run(Command::new("python3").args(["-m", "venv"]).arg(folder))?;
    say(format_args!("installing {} into {name}", pins.display()));
    let mut pip = Command::new(folder.join("bin/python"));
    let words = "-m pip install --quiet --disable-pip-version-check -r";
    pip.args(words.split(' ')).arg(pins);
    run(pip.current_dir(place.root()))?;
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
