//! What a caller declared that it can do, where the gateway itself must know.

use toolbus_model::{Error, Object, Raw};

/// The extension under which calls go on as tasks (SEP-2663).
pub const TASKS: &str = "io.modelcontextprotocol/tasks";

/// The caller declared this extension.
pub fn declares_extension(capabilities: &Raw, extension: &str) -> bool {
    let extensions = Object::from_raw(capabilities)
        .ok()
        .and_then(|c| c.object("extensions")?.ok());
    extensions.is_some_and(|extensions| extensions.get(extension).is_some())
}

/// Refuses what is about tasks to callers that did not declare the extension.
pub(crate) fn require_tasks(capabilities: &Raw) -> Result<(), Error> {
    if declares_extension(capabilities, TASKS) {
        return Ok(());
    }
    let required = serde_json::json!({"extensions": {TASKS: {}}});
    Err(Error::MissingClientCapability(Raw::of(&required)))
}
