//! What the operator wants otherwise, and a definition in which it is so.

use std::collections::BTreeMap;

use toolbus_model::json::{Edit, write_string};
use toolbus_model::{Item, Object, Raw};

use super::glob;

/// How a server's tools are shown.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Settings {
    /// Patterns of the tools that are shown, by the server's own names, with `*` for any text; all of them without.
    pub show: Option<Vec<String>>,
    /// Patterns of tools that are not shown, whatever `show` says.
    pub hide: Vec<String>,
    /// Changes of single tools, by the server's own names.
    pub tools: BTreeMap<String, Edits>,
}

/// What is otherwise with one tool.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Edits {
    /// The name it is shown under.
    pub name: Option<String>,
    /// Its title.
    pub title: Option<String>,
    /// Its description.
    pub description: Option<String>,
    /// What is added to its description, as a paragraph of its own.
    pub extra_description: Option<String>,
    /// Hints among its annotations, by MCP's names for them.
    pub annotations: BTreeMap<&'static str, bool>,
}

impl Settings {
    /// Nothing is changed by them.
    pub fn is_nothing(&self) -> bool {
        self.show.is_none() && self.hide.is_empty() && self.tools.is_empty()
    }

    /// Whether the tool of this name is shown.
    pub(super) fn shows(&self, name: &str) -> bool {
        let hit = |pattern: &String| glob(pattern.as_bytes(), name.as_bytes());
        self.show.as_ref().is_none_or(|show| show.iter().any(hit)) && !self.hide.iter().any(hit)
    }

    /// The other name that the tool of this name is to have.
    pub(super) fn alias(&self, name: &str) -> Option<&str> {
        let alias = self.tools.get(name)?.name.as_deref()?;
        (alias != name).then_some(alias)
    }

    /// The tool under this name, and with its changes.
    pub(super) fn edited(&self, tool: &Item, name: &str) -> Item {
        let Some(edits) = self.tools.get(&*tool.key) else {
            return tool.clone();
        };
        Item {
            key: tool.key.clone(),
            definition: edits.apply(&tool.definition, name),
        }
    }
}

impl Edits {
    fn apply(&self, definition: &Object, name: &str) -> Object {
        let own = |member| definition.str(member).map(std::borrow::Cow::into_owned);
        let mut changed: Vec<(&str, Vec<u8>)> = vec![("name", text(name))];
        if let Some(title) = &self.title {
            changed.push(("title", text(title)));
        }
        let base = self.description.clone().or_else(|| own("description"));
        let whole = match (base, &self.extra_description) {
            (Some(base), Some(extra)) if !base.is_empty() => Some(format!("{base}\n\n{extra}")),
            (base, extra) => extra.clone().or(base),
        };
        if let Some(whole) = whole.filter(|_| self.describes()) {
            changed.push(("description", text(&whole)));
        }
        if !self.annotations.is_empty() {
            changed.push(("annotations", self.annotated(definition)));
        }
        let edits = changed
            .iter()
            .map(|(member, value)| (*member, Edit::Put(value)));
        definition.edited(&edits.collect::<Vec<_>>())
    }

    fn describes(&self) -> bool {
        self.description.is_some() || self.extra_description.is_some()
    }

    fn annotated(&self, definition: &Object) -> Vec<u8> {
        let own = definition.object("annotations").and_then(Result::ok);
        let own = own.unwrap_or_else(Object::empty);
        let value = |is: &bool| if *is { &b"true"[..] } else { &b"false"[..] };
        let hints = self.annotations.iter();
        let edits: Vec<_> = hints
            .map(|(hint, is)| (*hint, Edit::Put(value(is))))
            .collect();
        let annotated: Raw = own.edited(&edits).to_raw();
        annotated.bytes().to_vec()
    }
}

fn text(text: &str) -> Vec<u8> {
    let mut out = Vec::new();
    write_string(text, &mut out);
    out
}
