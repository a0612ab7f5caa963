//! One argument of a prompt, as its front matter has it.

use serde_json::{Map, Value as Json};
use toolbus_model::Object;

use super::matter::Node;
use super::placeholders;

/// The most arguments: more than anybody fills in.
const MAX_ARGUMENTS: usize = 64;

/// The most values of one argument.
const MAX_VALUES: usize = 1_000;

/// Longest name, in bytes.
pub(super) const MAX_NAME: usize = 128;

/// What front matter can say of an argument.
const KNOWN: [&str; 7] = [
    "name",
    "title",
    "description",
    "required",
    "default",
    "values",
    "enum",
];

#[derive(Debug, Clone, Default, PartialEq)]
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

impl Argument {
    /// All arguments of a prompt.
    pub(super) fn all(matter: &Node) -> Result<Vec<Self>, String> {
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
        let mut read: Vec<Self> = Vec::new();
        for node in nodes {
            let argument = Self::read(node)?;
            if read.iter().any(|known| known.name == argument.name) {
                return Err(node.wrong("arguments", &format!("has {:?} twice", argument.name)));
            }
            read.push(argument);
        }
        Ok(read)
    }

    fn read(node: &Node) -> Result<Self, String> {
        if let Ok(name) = node.as_text("arguments") {
            return Self::named(name, node);
        }
        let members = node.members("arguments")?;
        let unknown = members
            .iter()
            .find(|(name, _)| !KNOWN.contains(&name.as_str()));
        if let Some((unknown, value)) = unknown {
            let known = KNOWN.join(", ");
            return Err(value.wrong(
                unknown,
                &format!("is not known of an argument; known are {known}"),
            ));
        }
        let name = node.text("name")?;
        let name = name.ok_or_else(|| node.wrong("arguments", "has an entry without a `name`"))?;
        let own = |name| Ok::<_, String>(node.text(name)?.map(str::to_owned));
        let only = node.get("enum");
        let values = only.or(node.get("values")).map(values);
        let required = node
            .get("required")
            .map(|required| required.as_bool("required"));
        let argument = Self {
            title: own("title")?,
            description: own("description")?,
            required: required.transpose()?.unwrap_or_default(),
            default: own("default")?,
            only: only.is_some(),
            values: values.transpose()?.unwrap_or_default(),
            ..Self::named(name, node)?
        };
        argument.fits().map_err(|why| node.wrong("default", &why))?;
        Ok(argument)
    }

    fn named(name: &str, node: &Node) -> Result<Self, String> {
        if !placeholders::is_name(name) || name.len() > MAX_NAME {
            let why = format!(
                "is {name:?}: use letters, digits, `_` and `-`, at most {MAX_NAME} bytes, and no digit first"
            );
            return Err(node.wrong("name", &why));
        }
        Ok(Self {
            name: name.to_owned(),
            ..Self::default()
        })
    }

    /// What stands in its place by default can stand there.
    fn fits(&self) -> Result<(), String> {
        match &self.default {
            Some(default) if self.only && !self.values.contains(default) => {
                Err(format!("is {default:?}, which is none of `enum`"))
            }
            _ => Ok(()),
        }
    }

    /// Its entry in the list.
    pub(super) fn listed(&self) -> Json {
        let mut told = Map::new();
        let members = [
            ("name", Some(&self.name)),
            ("title", self.title.as_ref()),
            ("description", self.description.as_ref()),
        ];
        for (name, value) in members {
            told.extend(value.map(|value| (name.to_owned(), value.as_str().into())));
        }
        told.insert("required".to_owned(), self.required.into());
        Json::Object(told)
    }

    /// What stands for its placeholder. An error says what is missing.
    pub(super) fn value(&self, given: &Object) -> Result<String, String> {
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
