//! Python that serves its own tools: `python -m toolbus.script` is asked which they are.

use std::path::{Path, PathBuf};
use std::time::Duration;

use serde_json::value::RawValue;
use toolbus_model::{Object, Raw};

use super::cold;
use super::index::{MOST_TOOLS, Record};
use super::run::{End, Ran};
use super::settings::{Base, Python};
use super::spec::{Facts, Limits, RunSpec, Template};
use crate::process::Ended;

/// How long it may take to import what is served.
const ASK_WITHIN: Duration = Duration::from_secs(60);

/// Keeps files of the working folder from taking the place of Python's own modules.
const SAFE: &str = "-P";

/// The command that runs a tool, or says which there are. The words are a template.
pub(super) fn command(python: &Python, what: &str) -> Vec<String> {
    let interpreter = python.interpreter.to_string_lossy();
    let served = &*python.served;
    let words = [&*interpreter, SAFE, "-m", "toolbus.script", served, what];
    words.map(str::to_owned).into()
}

/// What Python said it serves.
#[derive(Debug, Default)]
pub(super) struct Listed {
    /// Its tools.
    pub(super) records: Vec<Record>,
    /// The files that it consists of.
    pub(super) files: Vec<PathBuf>,
}

/// Asks for the tools.
pub(super) async fn ask(python: &Python, base: &Base) -> Result<Listed, String> {
    let words = located(command(python, "--list"), base.cwd.as_deref());
    let run = RunSpec {
        line: Template::fill(&words, &Facts::default())?,
        env: base.env.clone(),
        cwd: base.cwd.clone(),
        limits: Limits {
            timeout: Some(ASK_WITHIN),
            ..base.limits
        },
    };
    let never = std::future::pending();
    let ran = cold::execute(None, &run, &Object::empty(), None, never).await;
    let ran = ran.map_err(|error| error.to_string())?;
    let served = &python.served;
    listed(&ran).map_err(|why| {
        format!(
            "{served}: {why}; command: {}{}",
            ran.command,
            words_of(&ran)
        )
    })
}

fn words_of(ran: &Ran) -> String {
    let words = ran.stderr.as_deref().unwrap_or_default();
    let last: Vec<_> = words.lines().rev().take(5).collect();
    let last: Vec<_> = last.into_iter().rev().collect();
    match last.is_empty() {
        true => String::new(),
        false => format!("; last on stderr: {}", last.join(" | ")),
    }
}

fn listed(ran: &Ran) -> Result<Listed, String> {
    match &ran.end {
        End::Ended(Ended::Exit(0)) => {}
        End::Ended(ended) => return Err(format!("its tools cannot be listed: {ended}")),
        End::Timeout(limit) => {
            let limit = limit.as_secs();
            return Err(format!("its tools were not listed within {limit} s"));
        }
        End::Output(limit) => return Err(format!("its list has more than {limit} bytes")),
    }
    let wrong = || "its list of tools is not {\"tools\": [...]}".to_owned();
    let list = Object::parse(ran.stdout.clone()).map_err(|_| wrong())?;
    let tools = list.raw("tools").ok_or_else(wrong)?;
    let tools: Vec<&RawValue> = tools.read().map_err(|_| wrong())?;
    if tools.len() > MOST_TOOLS {
        return Err(format!("it has more than {MOST_TOOLS} tools"));
    }
    let records = tools.into_iter().map(|tool| record(tool).ok_or_else(wrong));
    let files = list.raw("files").and_then(|files| files.read().ok());
    Ok(Listed {
        records: records.collect::<Result<_, _>>()?,
        files: files.unwrap_or_default(),
    })
}

/// A program that is named by a relative path lies where we were started, for a call's working folder is empty at first.
pub(super) fn located(mut words: Vec<String>, cwd: Option<&Path>) -> Vec<String> {
    if let (None, Some(program)) = (cwd, words.first_mut())
        && program.contains('/')
        && let Ok(path) = std::path::absolute(&*program)
    {
        *program = path.to_string_lossy().into_owned();
    }
    words
}

fn record(tool: &RawValue) -> Option<Record> {
    let definition = Object::from_raw(&Raw::of(tool)).ok()?;
    Some(Record {
        name: definition.str("name")?.into_owned(),
        definition,
        function: None,
        file: None,
    })
}
