//! `[servers.NAME.embedded]`

use std::path::PathBuf;

use schemars::JsonSchema;
use serde::Deserialize;

/// More threads than this are another kind of server: each has a stack, and all share one interpreter.
const MOST_THREADS: usize = 256;

/// As many calls as a gateway could ever have wait.
const LONGEST_QUEUE: usize = 65_536;

/// `[servers.NAME.embedded]`, in builds with the feature of that name.
#[derive(Debug, Clone, PartialEq, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct Embedded {
    /// What is served: a module's name, a Python file or a folder of them; `file.py:object` for one object of it.
    pub(crate) module: String,
    /// Folders in which modules are looked for first.
    #[serde(default)]
    pub(crate) path: Vec<PathBuf>,
    /// The virtual environment whose packages are used.
    pub(crate) venv: Option<PathBuf>,
    /// Plain functions that run at once. As many as Python's own pools have where it is not set.
    pub(crate) threads: Option<usize>,
    /// Calls that wait for a thread. 256 where it is not set.
    pub(crate) queue: Option<usize>,
}

impl Embedded {
    /// What the types cannot say.
    pub(super) fn check(&self) -> Result<(), String> {
        let empty = |path: &PathBuf| path.as_os_str().is_empty();
        if self.module.is_empty() {
            return Err("`module` is empty; give a module's name or a Python file".to_owned());
        }
        if self.path.iter().any(empty) || self.venv.as_ref().is_some_and(empty) {
            return Err("an empty path is no folder; `.` is the one of `toolbus`".to_owned());
        }
        if !(1..=MOST_THREADS).contains(&self.threads.unwrap_or(1)) {
            return Err(format!("`threads` is from 1 to {MOST_THREADS}"));
        }
        if self.queue.unwrap_or(0) > LONGEST_QUEUE {
            return Err(format!("`queue` is at most {LONGEST_QUEUE}"));
        }
        Ok(())
    }
}
