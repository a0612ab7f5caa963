//! One prompt: a Markdown file with front matter and `{{argument}}` placeholders.

use std::sync::Arc;

use serde_json::{Map, Value as Json, json};
use toolbus_model::{Error, Item, Object};

use super::matter::{Node, split};
use super::placeholders::{Part, parts};

/// The most arguments: more than anybody fills in.
const MAX_ARGUMENTS: usize = 64;

/// The most values of one argument.
const MAX_VALUES: usize = 1_000;

/// Longest name of a prompt or an argument, in bytes.
const MAX_NAME: usize = 128;

/// Largest text that a prompt becomes, in bytes. A placeholder that stands often makes much of a long value.
const MAX_EXPANDED: usize = 4 * 1024 * 1024;

/// What a prompt's argument is.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Argument {
    pub(super) name: String,
    title: Option<String>,
    description: Option<String>,
    required: bool,
    default: Option<String>,
    /// What it can be completed to.
    pub(super) values: Vec<String>,
    /// It can be nothing else.
    only: bool,
}

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
        let arguments = arguments(&matter)?;
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
        let argument = |argument: &Argument| {
            let mut told = Map::new();
            put(&mut told, "name", Some(&argument.name));
            put(&mut told, "title", argument.title.as_deref());
            put(&mut told, "description", argument.description.as_deref());
            told.insert("required".to_owned(), argument.required.into());
            Json::Object(told)
        };
        if !self.arguments.is_empty() {
            let arguments = self.arguments.iter().map(argument).collect();
            definition.insert("arguments".to_owned(), arguments);
        }
        Item {
            key: Arc::clone(&self.name),
            definition: Object::of(&definition),
        }
    }

    /// The prompt with these arguments.
    pub(super) fn expand(&self, given: &Object) -> Result<Object, Error> {
        let wrong = |why: String| {
            Error::InvalidParams(format!("Invalid params: prompt {:?}: {why}", self.name))
        };
        if let Some((unknown, _)) = given
            .iter()
            .find(|(name, _)| !self.arguments.iter().any(|a| a.name == **name))
        {
            let known: Vec<_> = self
                .arguments
                .iter()
                .map(|argument| argument.name.as_str())
                .collect();
            let known = if known.is_empty() {
                "none".to_owned()
            } else {
                known.join(", ")
            };
            return Err(wrong(format!(
                "it has no argument {unknown:?}; its arguments: {known}"
            )));
        }
        let values: Result<Vec<_>, _> = self
            .arguments
            .iter()
            .map(|argument| argument.value(given))
            .collect();
        let values = values.map_err(wrong)?;
        let length = |part: &Part| match part {
            Part::Text(text) => text.len(),
            Part::Value(at) => values[*at].len(),
        };
        if self.parts.iter().map(length).sum::<usize>() > MAX_EXPANDED {
            return Err(Error::TooLarge {
                what: "prompt with its arguments",
                limit: MAX_EXPANDED,
            });
        }
        let text: String = self
            .parts
            .iter()
            .map(|part| match part {
                Part::Text(text) => text.as_str(),
                Part::Value(at) => values[*at].as_str(),
            })
            .collect();
        let message = json!({"role": "user", "content": {"type": "text", "text": text}});
        let mut result = Map::new();
        put(&mut result, "description", self.description.as_deref());
        result.insert("messages".to_owned(), json!([message]));
        Ok(Object::of(&result))
    }
}

impl Argument {
    /// What stands for its placeholder. An error says what is missing.
    fn value(&self, given: &Object) -> Result<String, String> {
        let name = &self.name;
        let value = match given.raw(name) {
            None if self.required => return Err(format!("the argument {name:?} is missing")),
            None => return Ok(self.default.clone().unwrap_or_default()),
            Some(raw) => raw.as_str().map(std::borrow::Cow::into_owned),
        };
        let value = value.ok_or_else(|| format!("the argument {name:?} must be a string"))?;
        if self.only && !self.values.contains(&value) {
            return Err(format!(
                "the argument {name:?} must be one of: {}",
                self.values.join(", ")
            ));
        }
        Ok(value)
    }

    fn read(node: &Node) -> Result<Self, String> {
        const KNOWN: [&str; 7] = [
            "name",
            "title",
            "description",
            "required",
            "default",
            "values",
            "enum",
        ];
        if let Ok(name) = node.as_text("arguments") {
            return Self::named(name, node);
        }
        let members = node.members("arguments")?;
        if let Some((unknown, value)) = members
            .iter()
            .find(|(name, _)| !KNOWN.contains(&name.as_str()))
        {
            return Err(value.wrong(
                unknown,
                &format!(
                    "is not known of an argument; known are {}",
                    KNOWN.join(", ")
                ),
            ));
        }
        let name = node
            .text("name")?
            .ok_or_else(|| node.wrong("arguments", "has an entry without a `name`"))?;
        let own = |name| Ok::<_, String>(node.text(name)?.map(str::to_owned));
        let only = node.get("enum");
        let values = only
            .or(node.get("values"))
            .map(values)
            .transpose()?
            .unwrap_or_default();
        let argument = Self {
            title: own("title")?,
            description: own("description")?,
            required: node
                .get("required")
                .map_or(Ok(false), |required| required.as_bool("required"))?,
            default: own("default")?,
            only: only.is_some(),
            values,
            ..Self::named(name, node)?
        };
        let misfit = argument
            .default
            .as_ref()
            .filter(|default| argument.only && !argument.values.contains(default));
        match misfit {
            Some(default) => Err(node.wrong(
                "default",
                &format!("is {default:?}, which is none of `enum`"),
            )),
            None => Ok(argument),
        }
    }

    fn named(name: &str, node: &Node) -> Result<Self, String> {
        if !super::placeholders::is_name(name) || name.len() > MAX_NAME {
            let why = format!(
                "is {name:?}: use letters, digits, `_` and `-`, at most {MAX_NAME}, and no digit first"
            );
            return Err(node.wrong("name", &why));
        }
        Ok(Self {
            name: name.to_owned(),
            title: None,
            description: None,
            required: false,
            default: None,
            values: Vec::new(),
            only: false,
        })
    }
}

fn arguments(matter: &Node) -> Result<Vec<Argument>, String> {
    let Some(list) = matter.get("arguments") else {
        return Ok(Vec::new());
    };
    let nodes = list.as_list("arguments")?;
    if nodes.len() > MAX_ARGUMENTS {
        return Err(list.wrong(
            "arguments",
            &format!("has more than {MAX_ARGUMENTS} entries"),
        ));
    }
    let mut read: Vec<Argument> = Vec::new();
    for node in nodes {
        let argument = Argument::read(node)?;
        if read.iter().any(|known| known.name == argument.name) {
            return Err(node.wrong("arguments", &format!("has {:?} twice", argument.name)));
        }
        read.push(argument);
    }
    Ok(read)
}

fn values(node: &Node) -> Result<Vec<String>, String> {
    let list = node.as_list("values")?;
    if list.len() > MAX_VALUES {
        return Err(node.wrong("values", &format!("has more than {MAX_VALUES} entries")));
    }
    list.iter()
        .map(|value| value.as_text("values").map(str::to_owned))
        .collect()
}

fn put(object: &mut Map<String, Json>, name: &str, value: Option<&str>) {
    object.extend(value.map(|value| (name.to_owned(), value.into())));
}

#[cfg(test)]
mod tests;
