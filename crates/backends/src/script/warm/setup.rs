//! What interpreters that are kept ready are made of.

use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use crate::process::Command;
use crate::script::{self, Source};

/// Interpreters that are kept ready, as they are configured.
#[derive(Debug, Clone, PartialEq)]
pub struct Settings {
    /// The interpreter. A command with another program starts a process of its own.
    pub python: PathBuf,
    /// What is imported once for all calls.
    pub modules: Vec<String>,
    /// How many are kept for further calls.
    pub processes: usize,
    /// What runs a call.
    pub mode: Mode,
}

/// What runs a call.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Mode {
    /// A process that is forked for it, and ends with it.
    Fork,
    /// A process that has run others before.
    Reuse(Recycle),
}

/// When a process that runs call after call is replaced. `None` is never.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Recycle {
    /// After so many calls.
    pub calls: u64,
    /// At this age.
    pub age: Option<Duration>,
    /// From so many bytes in memory.
    pub memory: Option<u64>,
}

impl Default for Recycle {
    /// Often enough that what leaks does not gather.
    fn default() -> Self {
        Self {
            calls: 1000,
            age: Some(Duration::from_secs(60 * 60)),
            memory: Some(512 * 1024 * 1024),
        }
    }
}

/// All that a server of interpreters is started with.
#[derive(Debug)]
pub(super) struct Setup {
    /// The name of the server in the configuration.
    pub(super) name: Arc<str>,
    pub(super) settings: Settings,
    /// What every tool has in its environment.
    env: Vec<(String, String)>,
    /// The working folder of tools that have no other.
    cwd: Option<PathBuf>,
    /// The file or module whose tools are served, where it serves them itself: loaded once for all calls.
    served: Option<String>,
}

impl Setup {
    pub(super) fn new(name: &str, settings: Settings, place: &script::Settings) -> Self {
        let served = match &place.source {
            Some(Source::Python(python)) if python.interpreter == settings.python => {
                Some(python.served.clone())
            }
            _ => None,
        };
        Self {
            name: name.into(),
            settings,
            env: place.base.env.clone(),
            cwd: place.base.cwd.clone(),
            served,
        }
    }

    /// The command of a server that may use this folder. `-P` keeps the files of the working folder from taking the place of
    /// Python's own modules before the server has set them aside.
    pub(super) fn command(&self, folder: &Path) -> Command {
        let python = self.settings.python.to_string_lossy().into_owned();
        let mut line = vec![python];
        line.extend(["-P", "-m", "toolbus.warm"].map(str::to_owned));
        if let Mode::Reuse(Recycle { calls, age, memory }) = self.settings.mode {
            line.push("--reuse".to_owned());
            line.push(format!("--calls={calls}"));
            line.extend(age.map(|age| format!("--age={}", age.as_secs_f64())));
            line.extend(memory.map(|bytes| format!("--resident={bytes}")));
        }
        if let Some(served) = &self.served {
            line.push(format!("--serve={served}"));
        }
        line.push("--".to_owned());
        line.extend(self.settings.modules.iter().cloned());
        Command {
            line,
            env: self.env.clone(),
            cwd: Some(self.cwd.clone().unwrap_or_else(|| folder.to_owned())),
        }
    }

    /// Whether a call may be run by an interpreter that was started with our environment: what Python reads only at its
    /// start must be the same in both.
    pub(super) fn suits(&self, env: &[(OsString, OsString)]) -> bool {
        let ours = self.command(Path::new("/")).environment();
        let of_start = |env: &[(OsString, OsString)]| {
            let mut found: Vec<_> = env
                .iter()
                .filter(|(name, _)| at_start(name))
                .cloned()
                .collect();
            // The last one counts, as it does for the kernel's callers.
            found.reverse();
            found.sort_by(|(a, _), (b, _)| a.cmp(b));
            found.dedup_by(|(a, _), (b, _)| a == b);
            found
        };
        of_start(&ours) == of_start(env)
    }
}

/// A variable that Python reads only when it starts.
fn at_start(name: &OsString) -> bool {
    let name = name.to_string_lossy();
    name == "LANG"
        || ["PYTHON", "LC_", "LD_", "MALLOC_"]
            .iter()
            .any(|start| name.starts_with(start))
}
