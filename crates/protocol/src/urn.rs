//! The URNs of capabilities: their grammar, the subject that each has, and the names under which MCP shows them.
//!
//! A URN fits neither a tool's name nor most model APIs, so it is called by an alias. A URN of the strict form is told by
//! its alias alone; the alias of any other ends in a hash, and only a [`Register`] leads back from it.

use std::collections::HashMap;
use std::fmt;
use std::sync::Arc;

use sha2::{Digest, Sha256};
use toolbus_model::{Object, ServerName};

/// The shortest and the longest URN, in bytes.
const LENGTHS: std::ops::RangeInclusive<usize> = 20..=256;

/// The longest alias: what tool names may have everywhere.
const LONGEST_ALIAS: usize = 64;

/// What stands between an alias and its hash. No alias of a strict URN holds it, so that the two kinds never meet.
const HASHED: &str = "--";

/// Hex digits of a hash.
const HASH_DIGITS: usize = 16;

/// The member of a tool's `_meta` that names its URN.
pub const META_URN: &str = "toolbus/urn";

/// What the URNs begin with that tools have by themselves. With a server and a tool of one letter they have the 20
/// bytes that a URN needs.
const OWN: &str = "urn:toolbus:tool:";

/// The name of a capability: `urn:{authority}:actionspace:{category}:{name}:v{N}`, or a looser legacy form.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Urn(Arc<str>);

/// What a capability does, in URNs of the strict form.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Category {
    /// Reads.
    Oracle,
    /// Computes.
    Solver,
    /// Writes.
    Effector,
    /// Environment.
    Substrate,
    /// Projects.
    Sensory,
    /// Orchestrates.
    Node,
}

impl Category {
    /// All of them.
    pub const ALL: [Self; 6] = [
        Self::Oracle,
        Self::Solver,
        Self::Effector,
        Self::Substrate,
        Self::Sensory,
        Self::Node,
    ];

    /// Its name.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Oracle => "oracle",
            Self::Solver => "solver",
            Self::Effector => "effector",
            Self::Substrate => "substrate",
            Self::Sensory => "sensory",
            Self::Node => "node",
        }
    }

    fn parse(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|known| known.as_str() == name)
    }
}

/// The parts of a URN of the strict form.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Parts<'a> {
    /// Whose it is.
    pub authority: &'a str,
    /// What it does.
    pub category: Category,
    /// What it is called.
    pub name: &'a str,
    /// The digits after `v`.
    pub version: &'a str,
}

impl Urn {
    /// Reads a URN of any form.
    pub fn parse(text: &str) -> Result<Self, String> {
        let wrong = |why: &str| {
            Err(format!(
                "{:?} is not the URN of a capability: {why}",
                cut(text)
            ))
        };
        if !LENGTHS.contains(&text.len()) {
            return wrong("it must have 20 to 256 characters");
        }
        let Some(rest) = text.strip_prefix("urn:") else {
            return wrong("it must begin with \"urn:\"");
        };
        let (authority, names) = rest.split_once(':').unwrap_or((rest, ""));
        if authority.is_empty() || !authority.bytes().all(is_word) {
            return wrong("after \"urn:\" comes an authority of [A-Za-z0-9_]");
        }
        let fits =
            |piece: &str| !piece.is_empty() && piece.bytes().all(|b| is_word(b) || b == b'-');
        if names.split([':', '.']).all(fits) {
            Ok(Self(text.into()))
        } else {
            wrong("after the authority come names of [A-Za-z0-9_-], with ':' or '.' between them")
        }
    }

    /// Reads a URN of the strict form.
    pub fn parse_strict(text: &str) -> Result<Self, String> {
        let urn = Self::parse(text)?;
        if urn.parts().is_some() {
            return Ok(urn);
        }
        Err(format!(
            "{:?} is not a URN of the strict form, which is urn:{{authority}}:actionspace:{{category}}:{{name}}:v{{N}} \
             of [a-z0-9_], with one of the categories oracle, solver, effector, substrate, sensory, node",
            cut(text)
        ))
    }

    /// The URN that a tool of ours has where nobody gave it one: `urn:toolbus:tool:{server}:{tool}`. What a URN cannot
    /// hold of the tool's name is replaced by a hash.
    pub fn of_tool(server: &ServerName, tool: &str) -> Self {
        let plain = format!("{OWN}{server}:{tool}");
        if !tool.contains(':')
            && let Ok(urn) = Self::parse(&plain)
        {
            return urn;
        }
        Self::of_tool_apart(server, tool)
    }

    /// The same with a hash, for where that one is taken.
    pub fn of_tool_apart(server: &ServerName, tool: &str) -> Self {
        let fits = |c: char| {
            if c.is_ascii_alphanumeric() || c == '-' {
                c
            } else {
                '_'
            }
        };
        let kept: String = tool.chars().take(64).map(fits).collect();
        Self(format!("{OWN}{server}:{kept}{HASHED}{}", hash(tool)).into())
    }

    /// It is one of those that tools have by themselves, here or at another gateway.
    pub fn is_of_tool(&self) -> bool {
        self.0.starts_with(OWN)
    }

    /// The URN that a tool's own definition gives it.
    pub fn of_definition(definition: &Object) -> Option<Result<Self, String>> {
        let meta = definition.object("_meta")?.ok()?;
        let named = meta.raw(META_URN)?;
        let text = named.as_str();
        Some(text.map_or_else(
            || Err(format!("_meta[{META_URN:?}] must be a string")),
            |text| Self::parse(&text),
        ))
    }

    /// Its text.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// Its parts, where it is of the strict form.
    pub fn parts(&self) -> Option<Parts<'_>> {
        let mut pieces = self.0.split(':').skip(1);
        let mut next = || pieces.next();
        let (authority, space, category, name, version) =
            (next()?, next()?, next()?, next()?, next()?);
        let version = version.strip_prefix('v')?;
        let strict = |text: &str| {
            let fits = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'_';
            !text.is_empty() && text.bytes().all(fits)
        };
        let is_number = !version.is_empty() && version.bytes().all(|b| b.is_ascii_digit());
        let whole = next().is_none() && space == "actionspace" && is_number;
        (whole && strict(authority) && strict(name)).then_some(Parts {
            authority,
            category: Category::parse(category)?,
            name,
            version,
        })
    }

    /// The tokens that stand for it in subjects, and its key in the registry. Two URNs can share them.
    pub fn subject(&self) -> String {
        self.0.replace(':', ".")
    }

    /// The name under which MCP shows it: of `[A-Za-z0-9_-]`, at most 64 characters. Of the strict form
    /// `{authority}-{category}-{name}-v{N}`; of any other, and where that is too long, with a hash of the URN.
    pub fn alias(&self) -> String {
        let plain = match self.parts() {
            Some(Parts {
                authority,
                category,
                name,
                version,
            }) => {
                let plain = format!("{authority}-{}-{name}-v{version}", category.as_str());
                if plain.len() <= LONGEST_ALIAS {
                    return plain;
                }
                plain
            }
            None => self.0["urn:".len()..].replace([':', '.'], "-"),
        };
        let room = LONGEST_ALIAS - HASHED.len() - HASH_DIGITS;
        format!("{:.room$}{HASHED}{}", plain, hash(&self.0))
    }

    /// The URN of the strict form that has this alias.
    pub fn of_alias(alias: &str) -> Option<Self> {
        let mut pieces = alias.split('-');
        let mut next = || pieces.next();
        let (authority, category, name, version) = (next()?, next()?, next()?, next()?);
        let text = format!("urn:{authority}:actionspace:{category}:{name}:{version}");
        let urn = Self::parse_strict(&text).ok()?;
        (urn.alias() == alias).then_some(urn)
    }
}

impl fmt::Display for Urn {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// The URNs that are taken, each with what it stands for. No two of them share a subject or an alias.
#[derive(Debug)]
pub struct Register<T> {
    by_subject: HashMap<String, (Urn, T)>,
    subjects: HashMap<String, String>,
}

impl<T> Default for Register<T> {
    fn default() -> Self {
        Self {
            by_subject: HashMap::new(),
            subjects: HashMap::new(),
        }
    }
}

impl<T> Register<T> {
    /// Takes a URN. Where another one has its subject already, the second is refused, and the first is named.
    pub fn take(&mut self, urn: Urn, value: T) -> Result<(), String> {
        let (subject, alias) = (urn.subject(), urn.alias());
        if let Some((first, _)) = self.by_subject.get(&subject) {
            return Err(if *first == urn {
                format!("{urn} is registered already")
            } else {
                format!("{urn} is refused: {first} came first, and both have the subject {subject}")
            });
        }
        if let Some(first) = self
            .subjects
            .get(&alias)
            .and_then(|s| self.by_subject.get(s))
        {
            let first = &first.0;
            return Err(format!(
                "{urn} is refused: {first} came first, and both have the alias {alias}"
            ));
        }
        self.subjects.insert(alias, subject.clone());
        self.by_subject.insert(subject, (urn, value));
        Ok(())
    }

    /// What a URN stands for. One that merely shares the subject of another is not found.
    pub fn get(&self, urn: &Urn) -> Option<&T> {
        let (known, value) = self.by_subject.get(&urn.subject())?;
        (known == urn).then_some(value)
    }

    /// The URN that holds the subject of this one.
    pub fn holder(&self, urn: &Urn) -> Option<&Urn> {
        self.by_subject.get(&urn.subject()).map(|(known, _)| known)
    }

    /// The URN of an alias, and what it stands for.
    pub fn by_alias(&self, alias: &str) -> Option<(&Urn, &T)> {
        let (urn, value) = self.by_subject.get(self.subjects.get(alias)?)?;
        Some((urn, value))
    }

    /// All of them, in no order.
    pub fn iter(&self) -> impl Iterator<Item = (&Urn, &T)> {
        self.by_subject.values().map(|(urn, value)| (urn, value))
    }

    /// Gives a URN back.
    pub fn release(&mut self, urn: &Urn) -> Option<T> {
        self.get(urn)?;
        self.subjects.remove(&urn.alias());
        self.by_subject
            .remove(&urn.subject())
            .map(|(_, value)| value)
    }

    /// How many there are.
    pub fn len(&self) -> usize {
        self.by_subject.len()
    }

    /// There are none.
    pub fn is_empty(&self) -> bool {
        self.by_subject.is_empty()
    }
}

fn is_word(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || byte == b'_'
}

/// What of a text can be shown in an error.
fn cut(text: &str) -> String {
    let mut shown: String = text.chars().take(100).collect();
    if shown.len() < text.len() {
        shown.push_str("...");
    }
    shown
}

fn hash(text: &str) -> String {
    let digest = Sha256::digest(text.as_bytes());
    let digits = digest.iter().take(HASH_DIGITS / 2);
    digits.map(|byte| format!("{byte:02x}")).collect()
}

#[cfg(test)]
mod tests;
