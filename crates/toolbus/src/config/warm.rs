//! `[servers.NAME.script.warm]`: interpreters that are kept ready for a server's scripts.

use std::path::{Path, PathBuf};

use schemars::JsonSchema;
use serde::Deserialize;
use toolbus_backends::script::warm::{Mode, Recycle, Settings};

use super::values::{Size, Span};

/// The most that are kept: each has some tens of MiB.
const MOST: usize = 256;

/// `[servers.NAME.script.warm]`
#[derive(Debug, Clone, Default, PartialEq, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub(crate) struct Warm {
    /// The interpreter, as it stands in `run`; its packages have `toolbus` among them. Where it is not set, it is the
    /// first word of `run`, or `interpreter`.
    pub(crate) python: Option<PathBuf>,
    /// What is imported once for all calls.
    pub(crate) modules: Vec<String>,
    /// Processes that are kept for further calls. As many as `at_once` where it is not set.
    pub(crate) processes: Option<usize>,
    /// What runs a call. It is `fork` where it is not set.
    pub(crate) mode: WarmMode,
    /// With `reuse`: the calls after which a process is replaced. 1000 where it is not set.
    pub(crate) max_calls: Option<u64>,
    /// With `reuse`: how old a process gets. 1h where it is not set.
    pub(crate) max_age: Option<Span>,
    /// With `reuse`: the memory from which on a process is replaced after its call. 512MiB where it is not set.
    pub(crate) max_memory: Option<Size>,
}

/// What runs a call.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum WarmMode {
    /// A process of its own, forked from one that has imported the modules.
    #[default]
    Fork,
    /// A process that has run others before, with all that they left in its modules.
    Reuse,
}

impl Warm {
    /// What the types cannot say.
    pub(super) fn check(&self) -> Result<(), String> {
        if self
            .processes
            .is_some_and(|count| !(1..=MOST).contains(&count))
        {
            return Err(format!("warm: processes: use 1 to {MOST}"));
        }
        let limits = [
            ("max_calls", self.max_calls.is_some()),
            ("max_age", self.max_age.is_some()),
            ("max_memory", self.max_memory.is_some()),
        ];
        let set = limits.into_iter().find(|(_, is_set)| *is_set);
        if let (WarmMode::Fork, Some((key, _))) = (self.mode, set) {
            let why = "is for processes that run call after call; set mode = \"reuse\" as well";
            return Err(format!("warm: {key}: it {why}"));
        }
        if self.max_calls == Some(0) {
            return Err("warm: max_calls: use 1 or more".to_owned());
        }
        let is_name = |module: &&String| !module.is_empty() && module.split('.').all(is_identifier);
        match self.modules.iter().find(|module| !is_name(module)) {
            Some(wrong) => Err(format!(
                "warm: modules: {wrong:?} is no module; give names as they stand in `import`"
            )),
            None => Ok(()),
        }
    }

    /// What is kept ready, where `python` is what else the section says of it.
    pub(super) fn settings(
        &self,
        python: Option<&Path>,
        at_once: usize,
    ) -> Result<Settings, String> {
        let python = self.python.clone().or_else(|| python.map(Path::to_owned));
        let python = python.ok_or(
            "warm: name the interpreter that is kept ready as `python`, as it stands in the tools' `run`",
        )?;
        let usual = Recycle::default();
        let recycle = Recycle {
            calls: self.max_calls.unwrap_or(usual.calls),
            age: self.max_age.map_or(usual.age, Span::limit),
            memory: self.max_memory.map_or(usual.memory, Size::limit),
        };
        Ok(Settings {
            python,
            modules: self.modules.clone(),
            processes: self.processes.unwrap_or(at_once),
            mode: match self.mode {
                WarmMode::Fork => Mode::Fork,
                WarmMode::Reuse => Mode::Reuse(recycle),
            },
        })
    }
}

fn is_identifier(part: &str) -> bool {
    let mut letters = part.chars();
    letters
        .next()
        .is_some_and(|first| first.is_alphabetic() || first == '_')
        && letters.all(|letter| letter.is_alphanumeric() || letter == '_')
}
