//! The two published indexes of tools: a file is read exactly, and an error names file, record and field.

mod command;
mod field;
mod skill;

use std::collections::HashSet;
use std::path::Path;

use bytes::Bytes;
use serde_json::value::RawValue;
use toolbus_model::Object;
use toolbus_model::json::{Edit, write_string};

use super::spec::Facts;

/// The largest index: some hundred bytes for each of the most tools.
const LARGEST: u64 = 64 * 1024 * 1024;

/// The most tools of one server, as many as are listed of any.
pub(super) const MOST_TOOLS: usize = 100_000;

/// A tool of an index.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Record {
    /// `skill.command`
    pub(super) name: String,
    /// Its definition, as it is listed.
    pub(super) definition: Object,
    /// The function behind it.
    pub(super) function: Option<String>,
    /// Its file, or its skill's folder, as the index has it.
    pub(super) file: Option<String>,
}

impl Record {
    /// What can stand in its command.
    pub(super) fn facts<'a>(&'a self, base: &'a str) -> Facts<'a> {
        Facts {
            function: self.function.as_deref(),
            file: self.file.as_deref(),
            ..Facts::of_name(&self.name, base)
        }
    }
}

/// Reads an index of either format.
pub(super) fn read(path: &Path) -> Result<Vec<Record>, String> {
    let shown = path.display();
    let told = |error: std::io::Error| format!("{shown}: {error}");
    let size = std::fs::metadata(path).map_err(told)?.len();
    if size > LARGEST {
        return Err(format!(
            "{shown}: it has {size} bytes; an index has {LARGEST} at most"
        ));
    }
    let text = std::fs::read(path).map_err(told)?;
    parse(text.into()).map_err(|why| format!("{shown}: {why}"))
}

/// Reads an index's text.
fn parse(text: Bytes) -> Result<Vec<Record>, String> {
    let entries: Vec<&RawValue> = serde_json::from_slice(&text).map_err(|error| {
        let what = if error.is_data() {
            "it is not an array of records"
        } else {
            "it is not JSON"
        };
        format!("{what}: {error}")
    })?;
    let mut entries = entries.into_iter().map(object).enumerate();
    let Some((_, first)) = entries.next() else {
        return Ok(Vec::new());
    };
    let first = first.map_err(|why| format!("record 1: {why}"))?;
    let one = format_of(&first)?;
    let mut records = one(1, &first)?;
    for (number, entry) in entries {
        let entry = entry.map_err(|why| format!("record {}: {why}", number + 1))?;
        records.extend(one(number + 1, &entry)?);
        if records.len() > MOST_TOOLS {
            return Err(format!("it has more than {MOST_TOOLS} tools"));
        }
    }
    unique(&records)?;
    Ok(records)
}

/// Reads one record, which may hold several tools.
type One = fn(usize, &Object) -> Result<Vec<Record>, String>;

/// Which format a record is of.
fn format_of(record: &Object) -> Result<One, String> {
    if record.get("tools").is_some() {
        return Ok(skill::read);
    }
    if record.get("schema").is_some() || record.get("tool_name").is_some() {
        return Ok(command::read);
    }
    Err(format!(
        "record 1: neither a command index ({:?}, whose records have \"tool_name\") nor a skill index (whose records have \
         \"tools\")",
        command::SCHEMA
    ))
}

fn object(entry: &RawValue) -> Result<Object, String> {
    let text = Bytes::copy_from_slice(entry.get().as_bytes());
    Object::parse(text).map_err(|error| format!("it is not an object: {error}"))
}

fn unique(records: &[Record]) -> Result<(), String> {
    let mut known = HashSet::new();
    match records.iter().find(|record| !known.insert(&record.name)) {
        Some(twice) => Err(format!("the tool {:?} stands in it twice", twice.name)),
        None => Ok(()),
    }
}

/// A definition as it is listed. MCP wants the schema of arguments to say that they are an object.
fn definition(name: &str, description: &str, schema: &Object) -> Result<Object, String> {
    let schema = of_object(schema)?;
    let mut text = b"{\"name\":".to_vec();
    write_string(name, &mut text);
    text.extend_from_slice(b",\"description\":");
    write_string(description, &mut text);
    text.extend_from_slice(b",\"inputSchema\":");
    text.extend_from_slice(schema.bytes());
    text.push(b'}');
    Object::parse(text.into()).map_err(|error| error.to_string())
}

/// A schema of arguments, which are always an object.
pub(super) fn of_object(schema: &Object) -> Result<Object, String> {
    match schema.get("type") {
        None => Ok(schema.edited(&[("type", Edit::Put(b"\"object\""))])),
        Some(b"\"object\"") => Ok(schema.clone()),
        Some(other) => Err(format!(
            "its type is {}, but a tool's arguments are an \"object\"",
            String::from_utf8_lossy(other)
        )),
    }
}

#[cfg(test)]
mod tests;
