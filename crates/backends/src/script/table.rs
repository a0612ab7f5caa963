//! Which tools there are, and how each is run: made of the settings and the files that they name.

use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use toolbus_model::json::{Edit, write_string};
use toolbus_model::{Item, Object};

use super::index::{self, Record};
use super::listing::{self, Listed};
use super::settings::{Declared, Definition, Schema, Settings, Source};
use super::spec::{Facts, RunSpec, Template, Tool};

/// The largest file that holds a schema.
const LARGEST_SCHEMA: u64 = 1024 * 1024;

/// All tools of a place.
#[derive(Debug, Default)]
pub(super) struct Table {
    tools: Vec<Arc<Tool>>,
    places: HashMap<String, usize>,
    files: Vec<PathBuf>,
}

impl Table {
    /// Reads what the settings name. An error names the file, or the key of the configuration.
    pub(super) async fn read(settings: &Arc<Settings>) -> Result<Self, String> {
        let listed = match &settings.source {
            Some(Source::Python(python)) => listing::ask(python, &settings.base).await?,
            None | Some(Source::Index(_)) => Listed::default(),
        };
        let settings = Arc::clone(settings);
        // Indexes may be large, and disks slow.
        let read = move || {
            let indexed = match &settings.source {
                Some(Source::Index(path)) => index::read(path)?,
                None | Some(Source::Python(_)) => Vec::new(),
            };
            let records = [listed.records, indexed].concat();
            let mut table = Self::of(&settings, &records)?;
            table.find_files(&settings, listed.files);
            Ok(table)
        };
        let read = tokio::task::spawn_blocking(read).await;
        read.unwrap_or_else(|error| Err(error.to_string()))
    }

    fn of(settings: &Settings, records: &[Record]) -> Result<Self, String> {
        let base = std::env::current_dir().unwrap_or_default();
        let base = base.to_string_lossy();
        let mut table = Self::default();
        for record in records {
            let declared = settings.tools.iter().find(|own| own.name == record.name);
            if declared.is_some_and(|own| own.definition.is_some()) {
                return Err(format!(
                    "tools.{:?} is declared in the configuration and in the index: leave out its description and schema to \
                     change only how it is run",
                    record.name
                ));
            }
            let run = run_spec(settings, declared, &record.facts(&base))?;
            table.push(&record.name, record.definition.clone(), run);
        }
        for own in &settings.tools {
            let Some(definition) = &own.definition else {
                if !table.places.contains_key(&own.name) {
                    tracing::warn!(
                        tool = own.name,
                        "the index has no such tool, and the configuration says only how it is run"
                    );
                }
                continue;
            };
            let wrong = |why| format!("tools.{:?}: {why}", own.name);
            let defined = define(&own.name, definition).map_err(wrong)?;
            let run = run_spec(settings, Some(own), &Facts::of_name(&own.name, &base))?;
            table.push(&own.name, defined, run);
        }
        Ok(table)
    }

    fn push(&mut self, name: &str, definition: Object, run: RunSpec) {
        self.places.insert(name.to_owned(), self.tools.len());
        let name = name.to_owned();
        self.tools.push(Arc::new(Tool {
            name,
            definition,
            run,
        }));
    }

    pub(super) fn get(&self, name: &str) -> Option<&Arc<Tool>> {
        self.tools.get(*self.places.get(name)?)
    }

    pub(super) fn tools(&self) -> &[Arc<Tool>] {
        &self.tools
    }

    /// The tools as they are listed.
    pub(super) fn items(&self) -> Vec<Item> {
        let item = |tool: &Arc<Tool>| Item {
            key: tool.name.as_str().into(),
            definition: tool.definition.clone(),
        };
        self.tools.iter().map(item).collect()
    }

    /// Notes the files of which this was made, and by which its tools are run, as far as they are known.
    fn find_files(&mut self, settings: &Settings, listed: Vec<PathBuf>) {
        let mut files = named_files(settings);
        files.extend(listed);
        for tool in &self.tools {
            let words = tool.run.line.words().map(PathBuf::from);
            files.extend(words.filter(|word| word.is_absolute() && word.is_file()));
        }
        files.sort_unstable();
        files.dedup();
        self.files = files;
    }

    /// The files that it depends on.
    pub(super) fn files(&self) -> &[PathBuf] {
        &self.files
    }
}

/// What is wrong with the settings, as far as can be known without reading a file: tools that are declared in them cannot
/// be run, or an index has no way to be.
pub(super) fn check(settings: &Settings) -> Result<(), String> {
    let base = "/";
    for own in settings.tools.iter().filter(|own| own.definition.is_some()) {
        let facts = Facts::of_name(&own.name, base);
        run_spec(settings, Some(own), &facts)
            .map_err(|why| format!("tools.{:?}: {why}", own.name))?;
    }
    let all_of_index = Facts {
        function: Some(""),
        file: Some(""),
        ..Facts::of_name("skill.command", base)
    };
    match settings.source {
        Some(_) if settings.base.run.is_some() || settings.tools.is_empty() => {
            run_spec(settings, None, &all_of_index).map(drop)
        }
        _ => Ok(()),
    }
}

/// The files that the settings name.
pub(super) fn named_files(settings: &Settings) -> Vec<PathBuf> {
    let mut files = Vec::new();
    match &settings.source {
        None => {}
        Some(Source::Index(path)) => files.push(path.clone()),
        Some(Source::Python(python)) => files.push(PathBuf::from(&python.served)),
    }
    let definitions = settings
        .tools
        .iter()
        .filter_map(|own| own.definition.as_ref());
    let schemas = definitions.flat_map(|own| own.output.iter().chain([&own.input]));
    files.extend(schemas.filter_map(|schema| match schema {
        Schema::File(path) => Some(path.clone()),
        Schema::Inline(_) => None,
    }));
    files
}

fn run_spec(
    settings: &Settings,
    own: Option<&Declared>,
    facts: &Facts<'_>,
) -> Result<RunSpec, String> {
    let base = &settings.base;
    let run = own.and_then(|own| own.run.as_ref()).or(base.run.as_ref());
    let of_python = match &settings.source {
        Some(Source::Python(python)) => Some(listing::command(python, "{tool}")),
        _ => None,
    };
    let words = run.cloned().or(of_python);
    let words = words.ok_or_else(|| {
        format!(
            "the tool {:?} has no `run`: say how a tool is run, such as run = [\"python3\", \"-m\", \
             \"omni.agent.run_tool\", \"{{skill}}\", \"{{command}}\"]",
            facts.tool
        )
    })?;
    let cwd = own.and_then(|own| own.cwd.clone()).or(base.cwd.clone());
    let words = listing::located(words, cwd.as_deref());
    let line = Template::fill(&words, facts)?;
    let mut env = base.env.clone();
    let own_env = own.map(|own| own.env.as_slice()).unwrap_or_default();
    env.retain(|(name, _)| own_env.iter().all(|(own, _)| own != name));
    env.extend_from_slice(own_env);
    Ok(RunSpec {
        line,
        env,
        cwd,
        limits: own.map_or(base.limits, |own| own.limits),
    })
}

/// The definition of a tool that the configuration declares.
fn define(name: &str, definition: &Definition) -> Result<Object, String> {
    let input = read_schema(&definition.input)?;
    let input = index::of_object(&input).map_err(|why| format!("input_schema: {why}"))?;
    let output = definition.output.as_ref().map(read_schema).transpose()?;
    let mut quoted = Vec::new();
    write_string(name, &mut quoted);
    let mut edits = vec![
        ("name", Edit::Put(&quoted)),
        ("inputSchema", Edit::Put(input.bytes())),
    ];
    edits.extend(
        output
            .iter()
            .map(|output| ("outputSchema", Edit::Put(output.bytes()))),
    );
    Ok(definition.members.edited(&edits))
}

fn read_schema(schema: &Schema) -> Result<Object, String> {
    match schema {
        Schema::Inline(schema) => Ok(schema.clone()),
        Schema::File(path) => read_object(path).map_err(|why| format!("{}: {why}", path.display())),
    }
}

fn read_object(path: &Path) -> Result<Object, String> {
    let size = std::fs::metadata(path)
        .map_err(|error| error.to_string())?
        .len();
    if size > LARGEST_SCHEMA {
        return Err(format!(
            "it has {size} bytes; a schema has {LARGEST_SCHEMA} at most"
        ));
    }
    let text = std::fs::read(path).map_err(|error| error.to_string())?;
    Object::parse(text.into()).map_err(|error| format!("it is not a JSON object: {error}"))
}

#[cfg(test)]
mod tests;
