//! Running other commands: to their end, with an error that names the command and what it said.

use std::io::ErrorKind;
use std::path::Path;
use std::process::{Command, Stdio};

use anyhow::{Context as _, Result, anyhow, bail};

/// Runs a command whose output the reader sees; an error is one that they have seen already.
pub(crate) fn run(command: &mut Command) -> Result<()> {
    let status = command
        .status()
        .map_err(|error| not_started(command, &error))?;
    if !status.success() {
        bail!("`{}` ended with {status}", line(command));
    }
    Ok(())
}

/// Runs a command quietly and answers what it wrote to stdout; an error holds what it wrote to stderr.
pub(crate) fn capture(command: &mut Command) -> Result<String> {
    let output = command
        .stdin(Stdio::null())
        .output()
        .map_err(|error| not_started(command, &error))?;
    if !output.status.success() {
        let stderr = String::from_utf8_lossy(&output.stderr);
        bail!(
            "`{}` ended with {}:\n{}",
            line(command),
            output.status,
            stderr.trim_end()
        );
    }
    String::from_utf8(output.stdout).with_context(|| format!("`{}` wrote no text", line(command)))
}

/// The command as one would type it, without the folder that it lies in.
fn line(command: &Command) -> String {
    let program = Path::new(command.get_program());
    let program = program.file_name().unwrap_or(program.as_os_str());
    let words = std::iter::once(program).chain(command.get_args());
    let words: Vec<_> = words.map(|word| word.to_string_lossy()).collect();
    words.join(" ")
}

/// Why a command could not be started, and where it comes from.
pub(crate) fn not_started(command: &Command, error: &std::io::Error) -> anyhow::Error {
    let program = command.get_program().to_string_lossy();
    if error.kind() != ErrorKind::NotFound {
        return anyhow!("cannot start `{program}`: {error}");
    }
    let remedy = match &*program {
        "npm" => "install Node.js, any version from 20 on, with its npm",
        "python3" => "install Python 3.11 or newer",
        "wrk" => "install it, on Debian and Ubuntu with `apt-get install wrk`",
        "taskset" => "install util-linux, or run with --no-pin",
        "git" => "install git",
        "c++" => "install a C++ compiler, on Debian and Ubuntu with `apt-get install g++`",
        _ => "was it built, and did `cargo xtask setup` run?",
    };
    anyhow!("`{program}` is not there: {remedy}")
}
