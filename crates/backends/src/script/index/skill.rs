//! The skill index: an array of skills, each with its tools.

use toolbus_model::Object;

use super::field::Fields;
use super::{Record, definition};

/// The fields of a tool, all of them required.
const TOOL: [&str; 5] = [
    "name",
    "description",
    "category",
    "input_schema",
    "file_hash",
];

/// The fields of a skill that are read. It may have others.
const SKILL: [&str; 9] = [
    "name",
    "description",
    "version",
    "path",
    "tools",
    "routingKeywords",
    "intents",
    "authors",
    "docsAvailable",
];

/// Reads a skill with its tools.
pub(super) fn read(number: usize, of: &Object) -> Result<Vec<Record>, String> {
    let called = match of.str("name").filter(|name| !name.is_empty()) {
        Some(name) => format!("record {number} ({name:?})"),
        None => format!("record {number}"),
    };
    let fields = Fields { of, called };
    fields.once(&SKILL)?;
    let skill = fields.name("name")?;
    fields.text("description")?;
    fields.text("version")?;
    let path = fields.name("path")?;
    for field in ["routingKeywords", "intents", "authors"] {
        if of.get(field).is_some() {
            fields.texts(field)?;
        }
    }
    let tools = fields.list("tools")?;
    let tools = tools.iter().enumerate().map(|(at, tool)| {
        let called = format!("{}, tool {}", fields.called, at + 1);
        let tool = Object::from_raw(tool).map_err(|_| format!("{called}: it is not an object"))?;
        read_tool(called, &tool, &skill, &path)
    });
    tools.collect()
}

fn read_tool(called: String, of: &Object, skill: &str, path: &str) -> Result<Record, String> {
    let called = match of.str("name").filter(|name| !name.is_empty()) {
        Some(name) => format!("{called} ({name:?})"),
        None => called,
    };
    let fields = Fields { of, called };
    fields.only(&TOOL)?;
    let own = fields.name("name")?;
    let name = match own.split_once('.') {
        None => format!("{skill}.{own}"),
        Some((of, command)) if of == skill && !command.is_empty() => own,
        Some(_) => {
            let why = format!("it must be a command of {skill:?}, as \"{skill}.command\"");
            return Err(fields.wrong("name", &why));
        }
    };
    let description = fields.text("description")?;
    fields.text("category")?;
    fields.text("file_hash")?;
    // As in the command index, where it is text; an object is understood as well.
    let schema = match of.object("input_schema") {
        Some(Ok(schema)) => schema,
        _ => fields.schema_text("input_schema")?,
    };
    let definition = definition(&name, &description, &schema);
    Ok(Record {
        definition: definition.map_err(|why| fields.wrong("input_schema", &why))?,
        function: None,
        file: Some(path.to_owned()),
        name,
    })
}
