//! Real clients against the real binary: each script of the tests' folder is a program that says how many checks held.

use std::collections::VecDeque;
use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::{Mutex, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, bail};

use crate::place::Place;
use crate::run::not_started;
use crate::say::say;

/// Where the scripts lie.
const FOLDER: &str = "crates/toolbus/tests/clients";

/// Scripts at once. Each starts several servers at a time; more of them would only make each slower on two cores, up to
/// where servers are not up in time.
const AT_ONCE: usize = 2;

/// The script that takes longest begins first.
const LONGEST: &str = "pairs.py";

/// Scripts bound themselves; one that does not end by then hangs in its very end.
const LONGEST_TIME: Duration = Duration::from_secs(400);

/// Which scripts to run.
#[derive(clap::Args)]
pub(crate) struct Options {
    /// Names of scripts, such as `pairs.py`; all of them, if none is given
    scripts: Vec<String>,
}

/// How many checks held, and how many did not.
#[derive(Clone, Copy, Default)]
pub(crate) struct Tally {
    pub(crate) passed: usize,
    pub(crate) failed: usize,
}

/// Runs all scripts.
pub(crate) fn all(place: &Place) -> Result<Tally> {
    clients(place, &Options { scripts: vec![] })
}

/// Runs the scripts, some at a time, and shows of each what did not hold.
pub(crate) fn clients(place: &Place, options: &Options) -> Result<Tally> {
    let logs = place.scratch("clients")?;
    let toolbus = place.binary("debug", "toolbus")?;
    let waiting = Mutex::new(scripts(&place.root().join(FOLDER), options)?);
    let total = Mutex::new(Tally::default());
    thread::scope(|scope| {
        for _ in 0..AT_ONCE {
            scope.spawn(|| {
                while let Some(script) = locked(&waiting, VecDeque::pop_front) {
                    let tally = run_one(place, &script, &toolbus, &logs).unwrap_or_else(|error| {
                        say(format_args!("{}: {error:#}", script.display()));
                        Tally {
                            passed: 0,
                            failed: 1,
                        }
                    });
                    locked(&total, |total| {
                        total.passed += tally.passed;
                        total.failed += tally.failed;
                    });
                }
            });
        }
    });
    Ok(locked(&total, |total| *total))
}

fn locked<T, R>(mutex: &Mutex<T>, work: impl FnOnce(&mut T) -> R) -> R {
    work(&mut mutex.lock().unwrap_or_else(PoisonError::into_inner))
}

fn run_one(place: &Place, script: &Path, toolbus: &Path, logs: &Path) -> Result<Tally> {
    let name = script.file_name().unwrap_or_default().display().to_string();
    let log = logs.join(&name).with_extension("log");
    let file = File::create(&log).with_context(|| format!("cannot write {}", log.display()))?;
    let mut python = Command::new(place.venv().join("bin/python"));
    python.arg(script).current_dir(place.root());
    python.env("TOOLBUS", toolbus).stdin(Stdio::null());
    python.stdout(file.try_clone()?).stderr(file);
    let mut child = python
        .spawn()
        .map_err(|error| not_started(&python, &error))?;
    let status = ended(&mut child)?;
    let text = String::from_utf8_lossy(&fs::read(&log)?).into_owned();
    let tally = tally(&text, status);
    report(&name, &text, status, tally, &log);
    Ok(tally)
}

/// Waits for a script, and kills it where it hangs.
fn ended(child: &mut Child) -> Result<ExitStatus> {
    let begun = Instant::now();
    loop {
        if let Some(status) = child.try_wait()? {
            return Ok(status);
        }
        if begun.elapsed() > LONGEST_TIME {
            child.kill()?;
        }
        thread::sleep(Duration::from_millis(50));
    }
}

/// The numbers in a script's last line, `12 passed, 0 failed, 3.4 s`; a script that ends badly has failed at least once.
fn tally(text: &str, status: ExitStatus) -> Tally {
    let mut tally = Tally::default();
    for part in text.lines().last().unwrap_or_default().split(", ") {
        let (number, what) = part.split_once(' ').unwrap_or_default();
        let number = number.parse().unwrap_or(0);
        match what {
            "passed" => tally.passed = number,
            "failed" => tally.failed = number,
            _ => {}
        }
    }
    if !status.success() || tally.passed == 0 {
        tally.failed = tally.failed.max(1);
    }
    tally
}

/// One line for a script that passes; all that is not `ok`, for one that does not. At once, because others say theirs too.
fn report(name: &str, text: &str, status: ExitStatus, tally: Tally, log: &Path) {
    let mut lines = vec![format!(
        "{name}: {}",
        text.lines().last().unwrap_or_default()
    )];
    if tally.failed > 0 {
        let bad = text.lines().filter(|line| !line.starts_with("ok  "));
        lines.extend(bad.map(|line| format!("  {line}")));
        let log = log.display();
        lines.push(format!("  it ended with {status}; all of it is in {log}"));
    }
    say(lines.join("\n"));
}

/// The scripts that are wanted, the longest first.
fn scripts(folder: &Path, options: &Options) -> Result<VecDeque<PathBuf>> {
    let entries =
        fs::read_dir(folder).with_context(|| format!("cannot read {}", folder.display()))?;
    let mut found = Vec::new();
    for entry in entries {
        let path = entry?.path();
        let name = path.file_name().unwrap_or_default().display().to_string();
        // What begins with an underscore is used by the others.
        let is_script = name.ends_with(".py") && !name.starts_with('_');
        if is_script && (options.scripts.is_empty() || options.scripts.contains(&name)) {
            found.push(path);
        }
    }
    if found.is_empty() {
        bail!("{} has no such script", folder.display());
    }
    found.sort_by_key(|path| (!path.ends_with(LONGEST), path.clone()));
    Ok(found.into())
}

#[cfg(test)]
mod tests {
    use std::os::unix::process::ExitStatusExt as _;

    use super::*;

    #[test]
    fn a_script_is_judged_by_its_last_line_and_by_its_status() {
        let good = ExitStatus::from_raw(0);
        let seen = |text: &str, status| {
            let tally = tally(text, status);
            (tally.passed, tally.failed)
        };
        let line = "ok    a check\n12 passed, 3 failed, 1.5 s";
        assert_eq!(seen(line, good), (12, 3));
        assert_eq!(seen("2 passed, 0 failed, 1.5 s", good), (2, 0));
        assert_eq!(
            seen("2 passed, 0 failed, 1.5 s", ExitStatus::from_raw(9)),
            (2, 1)
        );
        assert_eq!(seen("Traceback", good), (0, 1));
    }
}
