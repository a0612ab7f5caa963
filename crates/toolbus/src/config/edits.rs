//! Single tools: their limits, and how they are shown.

use std::collections::{BTreeMap, HashMap};

use schemars::JsonSchema;
use serde::Deserialize;
use toolbus_backends::edited::{Edits, Settings};

use super::Server;
use super::values::Span;

/// `[servers.NAME.tools.TOOL]`
#[derive(Debug, Clone, Default, PartialEq, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub(crate) struct Tool {
    /// Longest silence of a call of this tool.
    pub(crate) idle_timeout: Option<Span>,
    /// Longest time of a call of this tool in all.
    pub(crate) total_timeout: Option<Span>,
    /// The name it is shown under: 1 to 64 letters, digits, `_`, `.` or `-`.
    pub(crate) name: Option<String>,
    /// The title it is shown with.
    pub(crate) title: Option<String>,
    /// The description it is shown with, in place of its own.
    pub(crate) description: Option<String>,
    /// What is added to its description, as a paragraph of its own.
    pub(crate) extra_description: Option<String>,
    /// Hints among its annotations, in place of its own.
    pub(crate) annotations: Option<Hints>,
}

/// `annotations` of a tool, in MCP's words.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
#[expect(non_snake_case, reason = "the names are MCP's")]
pub(crate) struct Hints {
    /// It changes nothing.
    pub(crate) readOnlyHint: Option<bool>,
    /// It may destroy something.
    pub(crate) destructiveHint: Option<bool>,
    /// Doing it again changes nothing more.
    pub(crate) idempotentHint: Option<bool>,
    /// It deals with what is outside of its own world.
    pub(crate) openWorldHint: Option<bool>,
}

impl Hints {
    fn given(self) -> BTreeMap<&'static str, bool> {
        let all = [
            ("readOnlyHint", self.readOnlyHint),
            ("destructiveHint", self.destructiveHint),
            ("idempotentHint", self.idempotentHint),
            ("openWorldHint", self.openWorldHint),
        ];
        let given = all.into_iter().filter_map(|(name, is)| Some((name, is?)));
        given.collect()
    }
}

impl Tool {
    fn edits(&self) -> Edits {
        Edits {
            name: self.name.clone(),
            title: self.title.clone(),
            description: self.description.clone(),
            extra_description: self.extra_description.clone(),
            annotations: self.annotations.unwrap_or_default().given(),
        }
    }

    /// It says something about time.
    pub(crate) fn has_limits(&self) -> bool {
        self.idle_timeout.is_some() || self.total_timeout.is_some()
    }
}

impl Server {
    /// How its tools are shown.
    pub(crate) fn edits(&self) -> Settings {
        let tools = self.tools.iter();
        Settings {
            show: self.show.clone(),
            hide: self.hide.clone(),
            tools: tools
                .map(|(name, tool)| (name.clone(), tool.edits()))
                .collect(),
        }
    }

    /// What the types cannot say of aliases. The answer goes on behind `[servers.NAME`.
    pub(super) fn check_edits(&self) -> Result<(), String> {
        let mut given = HashMap::new();
        let aliases = self.tools.iter();
        for (tool, alias) in aliases.filter_map(|(tool, own)| Some((tool, own.name.as_ref()?))) {
            let fits = |c: char| c.is_ascii_alphanumeric() || "_.-".contains(c);
            if !(1..=64).contains(&alias.len()) || !alias.chars().all(fits) {
                return Err(format!(
                    ".tools.{tool:?}]: name {alias:?}: use 1 to 64 letters, digits, '_', '.' or '-'"
                ));
            }
            if let Some(other) = given.insert(alias, tool) {
                return Err(format!(
                    ".tools.{tool:?}]: name {alias:?} is the one of the tool {other:?} as well; give each another one"
                ));
            }
        }
        Ok(())
    }
}
