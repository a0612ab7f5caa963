//! The command index: an array of records, one for each tool.

use toolbus_model::Object;

use super::field::Fields;
use super::{Record, definition};

/// What each record says of its format.
pub(super) const SCHEMA: &str = "omni.skill.command_index.v1";

/// The fields of a record, all of them required.
const FIELDS: [&str; 12] = [
    "schema",
    "tool_name",
    "description",
    "skill_name",
    "file_path",
    "function_name",
    "execution_mode",
    "keywords",
    "input_schema",
    "docstring",
    "file_hash",
    "category",
];

/// Reads a record.
pub(super) fn read(number: usize, of: &Object) -> Result<Vec<Record>, String> {
    let name = of.str("tool_name").filter(|name| !name.is_empty());
    let called = match name {
        Some(name) => format!("record {number} ({name:?})"),
        None => format!("record {number}"),
    };
    let fields = Fields { of, called };
    fields.only(&FIELDS)?;
    let schema = fields.text("schema")?;
    if schema != SCHEMA {
        return Err(fields.wrong(
            "schema",
            &format!("it is {schema:?}, but must be {SCHEMA:?}"),
        ));
    }
    let name = fields.name("tool_name")?;
    let skill = fields.name("skill_name")?;
    let command = name
        .strip_prefix(&skill)
        .and_then(|rest| rest.strip_prefix('.'));
    if command.is_none_or(str::is_empty) {
        let why = format!("it must be \"skill.command\", and begin with {skill:?} and a dot");
        return Err(fields.wrong("tool_name", &why));
    }
    let description = fields.text("description")?;
    for field in ["execution_mode", "docstring", "file_hash", "category"] {
        fields.text(field)?;
    }
    fields.texts("keywords")?;
    let schema = fields.schema_text("input_schema")?;
    let definition = definition(&name, &description, &schema);
    Ok(vec![Record {
        definition: definition.map_err(|why| fields.wrong("input_schema", &why))?,
        function: Some(fields.name("function_name")?),
        file: Some(fields.name("file_path")?),
        name,
    }])
}
