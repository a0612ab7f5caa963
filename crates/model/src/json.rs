//! JSON as bytes: values that are checked once, cut along their outermost members, and copied as they came.
//!
//! A gateway reads a handful of members and carries the rest. [`Object`] therefore remembers only *where* its members
//! lie; key order, unknown members, number spelling and escapes survive because nothing is ever written again.

use std::borrow::Cow;
use std::fmt;
use std::ops::Range;

use bytes::Bytes;
pub use scan::Reader;

mod scan;

/// Deepest nesting that is carried. Deeper text could exhaust the stack of a recursive parser behind us.
pub const MAX_DEPTH: usize = 256;

/// Most members of one object that is cut: 1 MiB of places.
const MAX_MEMBERS: usize = 65_536;

/// Why a text is not a JSON value that we carry.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum JsonError {
    /// Not JSON, or not UTF-8.
    Syntax(String),
    /// JSON, but not of the shape that was asked for.
    Shape(String),
    /// Nested deeper than [`MAX_DEPTH`].
    TooDeep,
}

impl fmt::Display for JsonError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Syntax(why) => write!(f, "not valid JSON: {why}"),
            Self::Shape(why) => f.write_str(why),
            Self::TooDeep => write!(f, "nested deeper than {MAX_DEPTH} levels"),
        }
    }
}

impl From<serde_json::Error> for JsonError {
    fn from(error: serde_json::Error) -> Self {
        match error.classify() {
            serde_json::error::Category::Data => Self::Shape(error.to_string()),
            _ => Self::Syntax(error.to_string()),
        }
    }
}

/// One JSON value as text, exactly as it came. Cheap to clone.
#[derive(Clone, PartialEq, Eq, Hash)]
pub struct Raw(Bytes);

impl Raw {
    /// Checks that `text` is one JSON value.
    pub fn parse(text: Bytes) -> Result<Self, JsonError> {
        let mut reader = Reader::new(&text)?;
        let span = reader.value()?;
        reader.end()?;
        Ok(Self(text.slice(span)))
    }

    /// A value that a [`Reader`] has just passed over.
    pub fn checked(text: Bytes) -> Self {
        Self(text)
    }

    /// Writes `value` as JSON.
    pub fn of<T: serde::Serialize + ?Sized>(value: &T) -> Self {
        Self(Bytes::from(
            serde_json::to_vec(value).unwrap_or_else(|_| b"null".to_vec()),
        ))
    }

    /// The text.
    pub fn bytes(&self) -> &[u8] {
        &self.0
    }

    /// The value where it is a string, unescaped.
    pub fn as_str(&self) -> Option<Cow<'_, str>> {
        unescape(&self.0)
    }

    /// Reads the value into a type.
    pub fn read<'a, T: serde::Deserialize<'a>>(&'a self) -> Result<T, JsonError> {
        Ok(serde_json::from_slice(&self.0)?)
    }
}

impl fmt::Debug for Raw {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&String::from_utf8_lossy(&self.0))
    }
}

#[derive(Debug, Clone, PartialEq, Eq)]
struct Member {
    /// With its quotes, as written.
    key: Range<usize>,
    value: Range<usize>,
}

/// One JSON object, cut along its outermost members.
#[derive(Clone)]
pub struct Object {
    source: Bytes,
    whole: Range<usize>,
    members: Vec<Member>,
}

/// What [`Object::rewrite`] does with a member.
#[derive(Debug, Clone, Copy)]
pub enum Edit<'a> {
    /// Leave it out.
    Drop,
    /// Give it this value, in its place, or at the end where the object has no such member.
    Put(&'a [u8]),
    /// Give it this value only where the object has no such member.
    Default(&'a [u8]),
}

impl Object {
    /// `{}`.
    pub fn empty() -> Self {
        Self {
            source: Bytes::from_static(b"{}"),
            whole: 0..2,
            members: Vec::new(),
        }
    }

    /// Cuts `source`, which must be one JSON object and nothing else.
    pub fn parse(source: Bytes) -> Result<Self, JsonError> {
        let mut reader = Reader::new(&source)?;
        let cut = reader.object()?;
        reader.end()?;
        Ok(cut.of(&source))
    }

    /// Cuts the object that `value` holds.
    pub fn from_raw(value: &Raw) -> Result<Self, JsonError> {
        Self::parse(value.0.clone())
    }

    /// Writes `value`, which must serialize to an object.
    pub fn of<T: serde::Serialize + ?Sized>(value: &T) -> Self {
        Self::parse(Raw::of(value).0).unwrap_or_else(|_| Self::empty())
    }

    /// The object's whole text.
    pub fn bytes(&self) -> &[u8] {
        &self.source[self.whole.clone()]
    }

    /// The object's whole text as a value.
    pub fn to_raw(&self) -> Raw {
        Raw(self.source.slice(self.whole.clone()))
    }

    /// True for `{}`.
    pub fn is_empty(&self) -> bool {
        self.members.is_empty()
    }

    /// The text of a member's value. Where a name stands twice, the last one counts, as most readers have it.
    pub fn get(&self, name: &str) -> Option<&[u8]> {
        self.find(name)
            .map(|member| &self.source[member.value.clone()])
    }

    /// A member's value.
    pub fn raw(&self, name: &str) -> Option<Raw> {
        self.find(name)
            .map(|member| Raw(self.source.slice(member.value.clone())))
    }

    /// A member's value where it is a string, unescaped.
    pub fn str(&self, name: &str) -> Option<Cow<'_, str>> {
        unescape(self.get(name)?)
    }

    /// A member's value where it is an object, cut in turn.
    pub fn object(&self, name: &str) -> Option<Result<Self, JsonError>> {
        self.raw(name).map(|value| Self::from_raw(&value))
    }

    /// The members in their order: name (unescaped) and value.
    pub fn iter(&self) -> impl Iterator<Item = (Cow<'_, str>, &[u8])> {
        self.members
            .iter()
            .map(|member| (self.name(member), &self.source[member.value.clone()]))
    }

    /// The first of `names` that stands more than once. Two readers could understand such an object differently.
    pub fn duplicate<'n>(&self, names: &[&'n str]) -> Option<&'n str> {
        names
            .iter()
            .find(|name| {
                self.members
                    .iter()
                    .filter(|m| self.name(m) == **name)
                    .count()
                    > 1
            })
            .copied()
    }

    /// Appends the object to `out` with some members changed and all others as they are. Without a change that
    /// applies, the text is copied whole.
    pub fn rewrite(&self, edits: &[(&str, Edit<'_>)], out: &mut Vec<u8>) {
        if !edits
            .iter()
            .any(|(name, edit)| self.is_changed_by(name, edit))
        {
            return out.extend_from_slice(self.bytes());
        }
        out.push(b'{');
        let opening = out.len();
        for member in &self.members {
            let name = self.name(member);
            let value = match edits.iter().find(|(edited, _)| *edited == name) {
                Some((_, Edit::Drop)) => continue,
                Some((_, Edit::Put(value))) => value,
                Some((_, Edit::Default(_))) | None => &self.source[member.value.clone()],
            };
            separate(out, opening);
            out.extend_from_slice(&self.source[member.key.clone()]);
            out.push(b':');
            out.extend_from_slice(value);
        }
        for (name, edit) in edits {
            if let Edit::Put(value) | Edit::Default(value) = edit
                && self.find(name).is_none()
            {
                separate(out, opening);
                write_string(name, out);
                out.push(b':');
                out.extend_from_slice(value);
            }
        }
        out.push(b'}');
    }

    /// [`Object::rewrite`] into an object of its own.
    pub fn edited(&self, edits: &[(&str, Edit<'_>)]) -> Self {
        let mut out = Vec::with_capacity(self.whole.len() + 128);
        self.rewrite(edits, &mut out);
        // What was cut from valid JSON and joined from valid values is valid JSON.
        Self::parse(out.into()).unwrap_or_else(|_| self.clone())
    }

    fn is_changed_by(&self, name: &str, edit: &Edit<'_>) -> bool {
        match edit {
            Edit::Drop => self.find(name).is_some(),
            Edit::Put(value) => self.get(name) != Some(value),
            Edit::Default(_) => self.find(name).is_none(),
        }
    }

    fn find(&self, name: &str) -> Option<&Member> {
        self.members.iter().rev().find(|member| {
            let key = &self.source[member.key.start + 1..member.key.end - 1];
            key == name.as_bytes() || (key.contains(&b'\\') && self.name(member) == name)
        })
    }

    fn name(&self, member: &Member) -> Cow<'_, str> {
        unescape(&self.source[member.key.clone()]).unwrap_or_default()
    }
}

impl fmt::Debug for Object {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&String::from_utf8_lossy(self.bytes()))
    }
}

impl PartialEq for Object {
    fn eq(&self, other: &Self) -> bool {
        self.bytes() == other.bytes()
    }
}

/// Where an object and its members lie in the text that was read.
#[derive(Debug)]
pub struct Cut {
    whole: Range<usize>,
    members: Vec<Member>,
}

impl Cut {
    /// The object, within the bytes that were read.
    pub fn of(self, source: &Bytes) -> Object {
        Object {
            source: source.clone(),
            whole: self.whole,
            members: self.members,
        }
    }
}

/// Appends `text` as a JSON string.
pub fn write_string(text: &str, out: &mut Vec<u8>) {
    // Writing to memory cannot fail.
    let _ = serde_json::to_writer(out, text);
}

fn separate(out: &mut Vec<u8>, opening: usize) {
    if out.len() > opening {
        out.push(b',');
    }
}

/// The text of a JSON string that is given with its quotes.
pub fn unescape(quoted: &[u8]) -> Option<Cow<'_, str>> {
    let inner = quoted.strip_prefix(b"\"")?.strip_suffix(b"\"")?;
    if inner.contains(&b'\\') {
        return serde_json::from_slice::<String>(quoted)
            .ok()
            .map(Cow::Owned);
    }
    std::str::from_utf8(inner).ok().map(Cow::Borrowed)
}

#[cfg(test)]
mod tests;
