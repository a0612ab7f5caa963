//! `[servers.NAME.script]`: a process for each call.

use std::path::{Path, PathBuf};

use indexmap::IndexMap;
use schemars::JsonSchema;
use serde::Deserialize;
use toolbus_backends::process;
use toolbus_backends::script::{
    Base, Declared, Definition, Limits, Python, Schema, Settings, Source, WAITING, at_once, warm,
};
use toolbus_model::Object;

use super::values::{Secret, Size, Span};
use super::warm::Warm;

/// The most processes at once, and calls that wait for them: more is a machine of its own.
const LARGEST: [(&str, usize); 2] = [("at_once", 256), ("waiting", 65_536)];

/// The Python that runs what is named by `python`.
const INTERPRETER: &str = "python3";

/// `[servers.NAME.script]`
#[derive(Debug, Clone, Default, PartialEq, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub(crate) struct Script {
    /// The program and its arguments. {tool}, {skill}, {command}, {function}, {file} and {base} are filled in;
    /// {arguments} is the call's arguments, which come on stdin where no word has it.
    pub(crate) run: Option<Vec<String>>,
    /// A file that says which tools there are: a command index or a skill index.
    pub(crate) index: Option<PathBuf>,
    /// A file, folder or module of Python whose tools are run by `python -m toolbus.script`.
    pub(crate) python: Option<String>,
    /// The Python for `python`. python3 where it is not set.
    pub(crate) interpreter: Option<PathBuf>,
    /// Environment variables. A script gets these, PATH, HOME and the like, and nothing else of ours.
    pub(crate) env: IndexMap<String, Secret>,
    /// The working folder. Where it is not set, each call has one of its own, which is removed when it is over.
    pub(crate) cwd: Option<PathBuf>,
    /// What a call may use.
    pub(crate) limits: ScriptLimits,
    /// Processes at once. Two for each processor where it is not set, and 16 at most.
    pub(crate) at_once: Option<usize>,
    /// Calls that wait for a process. 1024 where it is not set.
    pub(crate) waiting: Option<usize>,
    /// Interpreters that are kept ready. Where it is not set, each call starts a process.
    pub(crate) warm: Option<Warm>,
    /// Tools, by their names: declared here, or how single tools of the index are run.
    pub(crate) tools: IndexMap<String, ScriptTool>,
}

/// `[servers.NAME.script.tools.TOOL]`
#[derive(Debug, Clone, Default, PartialEq, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub(crate) struct ScriptTool {
    /// A name for people.
    pub(crate) title: Option<String>,
    /// What the tool does. With it or with a schema, the tool is declared here.
    pub(crate) description: Option<String>,
    /// The schema of its arguments: a table, or the path of a JSON file.
    pub(crate) input_schema: Option<ScriptSchema>,
    /// The schema of its structured result: a table, or the path of a JSON file.
    pub(crate) output_schema: Option<ScriptSchema>,
    /// What it does to the world, as MCP has it.
    pub(crate) annotations: Option<ScriptAnnotations>,
    /// The program and its arguments, in place of the common ones.
    pub(crate) run: Option<Vec<String>>,
    /// Environment variables, beside the common ones.
    pub(crate) env: IndexMap<String, Secret>,
    /// The working folder, in place of the common one.
    pub(crate) cwd: Option<PathBuf>,
    /// Limits, in place of the common ones that they name.
    pub(crate) limits: ScriptLimits,
}

/// A schema: a table, or the path of a JSON file.
#[derive(Debug, Clone, PartialEq, Deserialize, JsonSchema)]
#[serde(untagged)]
pub(crate) enum ScriptSchema {
    /// The path of a JSON file.
    File(PathBuf),
    /// The schema itself.
    Inline(serde_json::Map<String, serde_json::Value>),
}

/// MCP's annotations of a tool.
#[derive(Debug, Clone, Default, PartialEq, Deserialize, JsonSchema, serde::Serialize)]
#[serde(deny_unknown_fields, default, rename_all = "camelCase")]
pub(crate) struct ScriptAnnotations {
    /// A name for people.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) title: Option<String>,
    /// It changes nothing.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) read_only_hint: Option<bool>,
    /// It may destroy something.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) destructive_hint: Option<bool>,
    /// Twice is the same as once.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) idempotent_hint: Option<bool>,
    /// It reaches beyond this machine.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) open_world_hint: Option<bool>,
}

/// `[servers.NAME.script.limits]`, and `limits` of a tool.
#[derive(Debug, Clone, Copy, Default, PartialEq, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub(crate) struct ScriptLimits {
    /// Longest time of a run. off where it is not set: the call's own limits are `total_timeout` and `idle_timeout`.
    pub(crate) timeout: Option<Span>,
    /// Most bytes on stdout. 32MiB where it is not set.
    pub(crate) output: Option<Size>,
    /// Memory that one process may ask for, and that all of them have together. 1GiB where it is not set.
    pub(crate) memory: Option<Size>,
    /// Addresses of one process, reserved ones included. off where it is not set.
    pub(crate) address_space: Option<Size>,
    /// Processor time of one process, and of all of them together, in whole seconds. 10m where it is not set.
    pub(crate) cpu: Option<Span>,
    /// Largest file that is written. 1GiB where it is not set.
    pub(crate) file_size: Option<Size>,
    /// Open files of one process. 1024 where it is not set; 0 is no limit.
    pub(crate) open_files: Option<u64>,
    /// Processes of one call at once. 64 where it is not set; 0 is no limit.
    pub(crate) processes: Option<u64>,
}

impl Script {
    /// What the types cannot say.
    pub(super) fn check(&self) -> Result<(), String> {
        match (&self.index, &self.python) {
            (Some(_), Some(_)) => {
                return Err("it has `index` and `python`; keep one of them".to_owned());
            }
            (None, None) if self.tools.is_empty() => {
                let why = "it has no tools: name an `index` or a `python` file, or declare some in `tools`";
                return Err(why.to_owned());
            }
            _ => {}
        }
        if self.interpreter.is_some() && self.python.is_none() {
            return Err("`interpreter` is for `python`; a program is named in `run`".to_owned());
        }
        for ((key, largest), value) in LARGEST.into_iter().zip([self.at_once, self.waiting]) {
            let smallest = usize::from(key == "at_once");
            if value.is_some_and(|value| !(smallest..=largest).contains(&value)) {
                return Err(format!("{key}: use {smallest} to {largest}"));
            }
        }
        self.limits.check()?;
        self.warm.as_ref().map_or(Ok(()), Warm::check)?;
        self.warm()?;
        for (name, tool) in &self.tools {
            tool.limits
                .check()
                .map_err(|why| format!("tools.{name:?}: {why}"))?;
        }
        self.settings_without_secrets().check()
    }

    /// What is served.
    pub(crate) fn settings(&self) -> Result<Settings, String> {
        let reveal = |value: &Secret| value.reveal();
        self.settings_with(&reveal)
    }

    /// Secrets are looked up when the server starts.
    fn settings_without_secrets(&self) -> Settings {
        let none = |_: &Secret| Ok(String::new());
        // Only a secret can be wrong here.
        self.settings_with(&none)
            .unwrap_or_else(|_| Settings::empty())
    }

    fn settings_with(&self, reveal: Reveal<'_>) -> Result<Settings, String> {
        let limits = self.limits.over(Limits::default());
        let tools = self.tools.iter();
        let tools = tools.map(|(name, tool)| tool.declared(name, self.is_alone(), limits, reveal));
        Ok(Settings {
            source: self.source(),
            tools: tools.collect::<Result<_, String>>()?,
            base: Base {
                run: self.run.clone(),
                env: variables(&self.env, reveal)?,
                cwd: self.cwd.clone(),
                limits,
            },
            at_once: self.at_once(),
            waiting: self.waiting.unwrap_or(WAITING),
            warm: self.warm()?,
        })
    }

    fn at_once(&self) -> usize {
        self.at_once.unwrap_or_else(at_once)
    }

    /// What is kept ready.
    fn warm(&self) -> Result<Option<warm::Settings>, String> {
        let served = self.python.as_ref();
        let interpreter = served.map(|_| {
            self.interpreter
                .as_deref()
                .unwrap_or(Path::new(INTERPRETER))
        });
        let program = self.run.as_deref().and_then(<[_]>::first).map(Path::new);
        let python = interpreter.or(program);
        let settings = |warm: &Warm| warm.settings(python, self.at_once());
        self.warm.as_ref().map(settings).transpose()
    }

    /// No file says which tools there are.
    fn is_alone(&self) -> bool {
        self.index.is_none() && self.python.is_none()
    }

    fn source(&self) -> Option<Source> {
        let index = self.index.clone().map(Source::Index);
        index.or_else(|| {
            let served = self.python.clone()?;
            let interpreter = self.interpreter.clone();
            Some(Source::Python(Python {
                interpreter: interpreter.unwrap_or_else(|| INTERPRETER.into()),
                served: lies_at(served),
            }))
        })
    }
}

/// What is named by a relative path lies where we were started; a call's own working folder is empty at first.
fn lies_at(served: String) -> String {
    let path = served.split(':').next().unwrap_or_default();
    let is_path = path.contains('/') || path.ends_with(".py") || Path::new(path).exists();
    match std::path::absolute(&served) {
        Ok(absolute) if is_path => absolute.to_string_lossy().into_owned(),
        _ => served,
    }
}

/// How the value of a secret is had.
type Reveal<'a> = &'a dyn Fn(&Secret) -> Result<String, String>;

fn variables(
    env: &IndexMap<String, Secret>,
    reveal: Reveal<'_>,
) -> Result<Vec<(String, String)>, String> {
    let env = env.iter();
    env.map(|(name, value)| Ok((name.clone(), reveal(value)?)))
        .collect()
}

impl ScriptTool {
    fn declared(
        &self,
        name: &str,
        is_alone: bool,
        limits: Limits,
        reveal: Reveal<'_>,
    ) -> Result<Declared, String> {
        let is_declared = is_alone || self.description.is_some() || self.input_schema.is_some();
        Ok(Declared {
            name: name.to_owned(),
            definition: is_declared.then(|| self.definition()),
            run: self.run.clone(),
            env: variables(&self.env, reveal)?,
            cwd: self.cwd.clone(),
            limits: self.limits.over(limits),
        })
    }

    fn definition(&self) -> Definition {
        let mut members = serde_json::Map::new();
        members.extend(
            self.title
                .clone()
                .map(|title| ("title".into(), title.into())),
        );
        let description = self.description.clone();
        members.extend(description.map(|text| ("description".into(), text.into())));
        let annotations = self.annotations.as_ref();
        let annotations = annotations.and_then(|own| serde_json::to_value(own).ok());
        members.extend(annotations.map(|own| ("annotations".into(), own)));
        let input = self.input_schema.as_ref().map(ScriptSchema::schema);
        Definition {
            members: Object::of(&members),
            input: input.unwrap_or_else(|| Schema::Inline(Object::empty())),
            output: self.output_schema.as_ref().map(ScriptSchema::schema),
        }
    }
}

impl ScriptSchema {
    fn schema(&self) -> Schema {
        match self {
            Self::File(path) => Schema::File(path.clone()),
            Self::Inline(schema) => Schema::Inline(Object::of(schema)),
        }
    }
}

impl ScriptLimits {
    fn check(&self) -> Result<(), String> {
        if self.output.is_some_and(|size| size.limit().is_none()) {
            return Err(
                "limits: output: it cannot be off, for all of it is kept in memory".to_owned(),
            );
        }
        if self.cpu.is_some_and(|cpu| cpu.0.subsec_nanos() > 0) {
            return Err(
                "limits: cpu: use whole seconds, which is how the kernel counts".to_owned(),
            );
        }
        Ok(())
    }

    /// These limits, and where one is not told that of `base`.
    fn over(&self, base: Limits) -> Limits {
        let size = |own: Option<Size>, base: Option<u64>| own.map_or(base, Size::limit);
        let span = |own: Option<Span>, base| own.map_or(base, Span::limit);
        let count = |own: Option<u64>, base: Option<u64>| {
            own.map_or(base, |count| Some(count).filter(|count| *count > 0))
        };
        let process = base.process;
        Limits {
            timeout: span(self.timeout, base.timeout),
            output: self.output.and_then(Size::limit).unwrap_or(base.output),
            process: process::Limits {
                memory: size(self.memory, process.memory),
                address_space: size(self.address_space, process.address_space),
                cpu: span(self.cpu, process.cpu),
                file_size: size(self.file_size, process.file_size),
                open_files: count(self.open_files, process.open_files),
                processes: count(self.processes, process.processes),
            },
        }
    }
}
