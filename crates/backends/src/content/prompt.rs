//! One prompt: a Markdown file with front matter and `{{argument}}` placeholders.

use std::sync::Arc;

use serde_json::{Map, Value as Json, json};
use toolbus_model::{Error, Item, Object};

use super::argument::{Argument, MAX_NAME};
use super::matter::split;
use super::placeholders::{Part, parts};

/// Largest text that a prompt becomes, in bytes. A placeholder that stands often makes much of a long value.
const MAX_EXPANDED: usize = 4 * 1024 * 1024;

/// A prompt.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Prompt {
    pub(super) name: Arc<str>,
    title: Option<String>,
    description: Option<String>,
    pub(super) arguments: Vec<Argument>,
    parts: Vec<Part>,
}

impl Prompt {
    /// Reads a file; `stem` is the prompt's name where the front matter has none. Also what should be said about it.
    pub(super) fn parse(stem: &str, text: &str) -> Result<(Self, Vec<String>), String> {
        let (matter, body) = split(text)?;
        let matter = matter
            .ok_or("it has no front matter: begin it with `---`, `description: ...` and `---`")?;
        let own = |name| Ok::<_, String>(matter.text(name)?.map(str::to_owned));
        let name = own("name")?.unwrap_or_else(|| stem.to_owned());
        if name.is_empty() || name.len() > MAX_NAME || name.contains(char::is_control) {
            return Err(format!(
                "`name` must have 1 to {MAX_NAME} bytes, without control characters"
            ));
        }
        let arguments = Argument::all(&matter)?;
        let body = body.trim_start_matches(['\r', '\n']).trim_end();
        let at_line = text[..text.len() - body.len()].matches('\n').count();
        let names: Vec<_> = arguments
            .iter()
            .map(|argument| argument.name.as_str())
            .collect();
        let parts = parts(body, at_line.min(text.lines().count()) + 1, &names)?;
        let unused = |at: &usize| !parts.contains(&Part::Value(*at));
        let unused = (0..arguments.len()).filter(unused);
        let said =
            unused.map(|at| format!("the argument {:?} stands nowhere in the text", names[at]));
        let said = said.collect();
        let prompt = Self {
            name: name.into(),
            title: own("title")?,
            description: own("description")?,
            arguments,
            parts,
        };
        Ok((prompt, said))
    }

    /// Its entry in the list.
    pub(super) fn item(&self) -> Item {
        let mut definition = Map::new();
        put(&mut definition, "name", Some(&*self.name));
        put(&mut definition, "title", self.title.as_deref());
        put(&mut definition, "description", self.description.as_deref());
        if !self.arguments.is_empty() {
            let arguments = self.arguments.iter().map(Argument::listed).collect();
            definition.insert("arguments".to_owned(), arguments);
        }
        Item {
            key: Arc::clone(&self.name),
            definition: Object::of(&definition),
        }
    }

    /// The prompt with these arguments.
    pub(super) fn expand(&self, given: &Object) -> Result<Object, Error> {
        let text = self.fill(&self.values(given).map_err(|why| {
            Error::InvalidParams(format!("Invalid params: prompt {:?}: {why}", self.name))
        })?)?;
        let message = json!({"role": "user", "content": {"type": "text", "text": text}});
        let mut result = Map::new();
        put(&mut result, "description", self.description.as_deref());
        result.insert("messages".to_owned(), json!([message]));
        Ok(Object::of(&result))
    }

    /// A value for each argument.
    fn values(&self, given: &Object) -> Result<Vec<String>, String> {
        let names: Vec<_> = self
            .arguments
            .iter()
            .map(|argument| argument.name.as_str())
            .collect();
        if let Some((unknown, _)) = given.iter().find(|(name, _)| !names.contains(&&**name)) {
            let known = match &names[..] {
                [] => "none".to_owned(),
                names => names.join(", "),
            };
            return Err(format!(
                "it has no argument {unknown:?}; its arguments: {known}"
            ));
        }
        self.arguments
            .iter()
            .map(|argument| argument.value(given))
            .collect()
    }

    /// The text with these values. Its length is known before any of it is made.
    fn fill(&self, values: &[String]) -> Result<String, Error> {
        let length: usize = self.parts.iter().map(|part| part.with(values).len()).sum();
        if length > MAX_EXPANDED {
            return Err(Error::TooLarge {
                what: "prompt with its arguments",
                limit: MAX_EXPANDED,
            });
        }
        Ok(self.parts.iter().map(|part| part.with(values)).collect())
    }
}

fn put(object: &mut Map<String, Json>, name: &str, value: Option<&str>) {
    object.extend(value.map(|value| (name.to_owned(), value.into())));
}

#[cfg(test)]
mod tests;
