//! The Python that runs files with tools.

use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::Duration;

use tokio::process::Command;
use tokio::time::timeout;

use crate::commands::Failed;

/// How long it may take to say whether it has the package.
const ASK_WITHIN: Duration = Duration::from_secs(30);

/// Keeps files of the folder, such as a `math.py`, from taking the place of Python's own modules (3.11 and newer, as the
/// package asks for).
const SAFE: &str = "-P";

/// Ends with 0 where the package is there. It is not loaded for that.
const HAS_PACKAGE: &str =
    "import importlib.util, sys; sys.exit(importlib.util.find_spec('toolbus') is None)";

/// The Python that was named, or that of the virtual environment, or the one in PATH; it has the package `toolbus`.
pub(super) async fn find(named: Option<&Path>) -> Result<PathBuf, Failed> {
    let python = match named {
        Some(named) => named.to_owned(),
        None => of_environment().unwrap_or_else(|| "python3".into()),
    };
    let mut asked = Command::new(&python);
    asked.args([SAFE, "-c", HAS_PACKAGE]);
    asked
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::null());
    let shown = python.display();
    match timeout(ASK_WITHIN, asked.kill_on_drop(true).status()).await {
        Ok(Ok(status)) if status.success() => Ok(python),
        Ok(Ok(_)) => Err(Failed::Usage(format!(
            "the package toolbus is missing in {shown}: install it there ({shown} -m pip install python/toolbus in a \
             checkout of Toolbus), or name another Python with --python"
        ))),
        Ok(Err(error)) => Err(Failed::Usage(format!(
            "{shown} cannot be started: {error}; name a Python with --python"
        ))),
        Err(_) => Err(Failed::Usage(format!(
            "{shown} does not answer; name another Python with --python"
        ))),
    }
}

/// The command that serves a file, or one object of it, on stdio.
pub(super) fn command(python: &Path, file: &Path, object: Option<&str>) -> Vec<String> {
    let text = |path: &Path| path.to_string_lossy().into_owned();
    let mut served = text(file);
    if let Some(object) = object {
        served.push(':');
        served.push_str(object);
    }
    let host = [SAFE, "-m", "toolbus.host"].map(str::to_owned);
    let mut line = vec![text(python)];
    line.extend(host);
    line.push(served);
    line
}

fn of_environment() -> Option<PathBuf> {
    let folder = std::env::var_os("VIRTUAL_ENV").filter(|folder| !folder.is_empty())?;
    let python = PathBuf::from(folder).join("bin/python");
    python.is_file().then_some(python)
}
