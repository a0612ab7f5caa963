//! Where things lie: the checkout, its build folder, and the tools that `setup` put beside them.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context as _, Result, bail};
use serde::Deserialize;

use crate::run::capture;

/// The checkout and its build folder, as cargo sees them.
#[derive(Deserialize)]
pub(crate) struct Place {
    workspace_root: PathBuf,
    target_directory: PathBuf,
}

impl Place {
    /// Asks cargo, so that `CARGO_TARGET_DIR` and cargo's own configuration hold here too.
    pub(crate) fn find() -> Result<Self> {
        let mut cargo = cargo();
        cargo.args(["metadata", "--no-deps", "--format-version", "1"]);
        let metadata = capture(&mut cargo).context("cargo does not know this checkout")?;
        Ok(serde_json::from_str(&metadata)?)
    }

    /// The top of the checkout.
    pub(crate) fn root(&self) -> &Path {
        &self.workspace_root
    }

    /// Where cargo builds.
    pub(crate) fn target(&self) -> &Path {
        &self.target_directory
    }

    /// A binary that cargo built in this profile, `debug` or `release`.
    pub(crate) fn binary(&self, profile: &str, name: &str) -> Result<PathBuf> {
        let path = self.target_directory.join(profile).join(name);
        if !path.is_file() {
            bail!("cargo built no {profile} binary `{name}`: is it still a [[bin]] of its crate?");
        }
        Ok(path)
    }

    /// An empty folder for what a chore leaves to look at afterwards.
    pub(crate) fn scratch(&self, name: &str) -> Result<PathBuf> {
        let path = self.target_directory.join("xtask").join(name);
        if path.exists() {
            fs::remove_dir_all(&path)
                .with_context(|| format!("cannot empty {}", path.display()))?;
        }
        fs::create_dir_all(&path).with_context(|| format!("cannot make {}", path.display()))?;
        Ok(path)
    }

    /// A folder for what a chore goes on with the next time.
    pub(crate) fn lasting(&self, name: &str) -> Result<PathBuf> {
        let path = self.target_directory.join(name);
        fs::create_dir_all(&path).with_context(|| format!("cannot make {}", path.display()))?;
        Ok(path)
    }

    /// The folder of the Python environment.
    pub(crate) fn venv(&self) -> PathBuf {
        self.workspace_root.join(".venv")
    }

    /// The folder of the Python environment with the older `mcp`.
    pub(crate) fn old_venv(&self) -> PathBuf {
        self.workspace_root.join(".venv-old")
    }

    /// The folder of Node and its tools.
    pub(crate) fn tools(&self) -> PathBuf {
        self.workspace_root.join(".tools")
    }

    /// A command that `setup` installed with npm.
    pub(crate) fn tool(&self, name: &str) -> PathBuf {
        self.tools().join("node_modules/.bin").join(name)
    }
}

/// The cargo that runs us, so that a toolchain chosen with `+` is kept.
pub(crate) fn cargo() -> Command {
    let mut cargo = Command::new(std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
    // What `cargo run` tells us about our own package must not reach the next build: ring's build script watches
    // these, and all that depends on it would be compiled again at every change between here and a shell.
    for (name, _) in std::env::vars_os() {
        let known = name.to_string_lossy();
        if known.starts_with("CARGO_PKG_") || known.starts_with("CARGO_MANIFEST_") {
            cargo.env_remove(name);
        }
    }
    cargo
}
