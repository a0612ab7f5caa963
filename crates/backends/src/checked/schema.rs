//! A schema that has been read: nodes that name each other by number, ready to be held against values.

use std::collections::HashMap;

use super::number::Step;
use super::pattern::Pattern;
use super::set::Set;
use super::value::Value;

/// Which node of a schema.
pub(super) type NodeId = usize;

/// Which of the schemas with an identifier of its own a node stands in.
pub(super) type ResourceId = usize;

/// A whole schema.
#[derive(Debug)]
pub(super) struct Schema {
    pub(super) nodes: Vec<Node>,
    pub(super) root: NodeId,
    /// What `$dynamicRef` may lead to.
    pub(super) dynamic: HashMap<(ResourceId, Box<str>), NodeId>,
    /// About what it holds, in bytes.
    pub(super) weight: usize,
}

/// One schema within the whole.
#[derive(Debug)]
pub(super) struct Node {
    pub(super) resource: ResourceId,
    /// What it asks for, in an order in which `unevaluated...` comes last.
    pub(super) keywords: Vec<Keyword>,
    /// It must know what its other keywords looked at.
    pub(super) tracks: bool,
}

/// One thing that a schema asks for.
#[derive(Debug)]
pub(super) enum Keyword {
    /// Nothing fits.
    Never,
    Type(Types),
    Const(Value<'static>),
    Enum(Set),
    Limit(Side, Box<str>),
    MultipleOf(Step, Box<str>),
    Length(Bound),
    Pattern(Pattern),
    Items(Bound),
    Unique,
    /// The first ones, and all further ones.
    Elements(Vec<NodeId>, Option<NodeId>),
    Contains(NodeId, u64, Option<u64>),
    Members(Bound),
    Required(Vec<Box<str>>),
    Properties(Properties),
    PropertyNames(NodeId),
    DependentRequired(Vec<(Box<str>, Vec<Box<str>>)>),
    DependentSchemas(Vec<(Box<str>, NodeId)>),
    AllOf(Vec<NodeId>),
    AnyOf(Vec<NodeId>),
    OneOf(Vec<NodeId>),
    Not(NodeId),
    If(NodeId, Option<NodeId>, Option<NodeId>),
    Ref(NodeId),
    /// Where it leads unless a schema further out has an anchor of this name.
    DynamicRef(NodeId, Box<str>),
    UnevaluatedElements(NodeId),
    UnevaluatedMembers(NodeId),
}

/// Which side of a number is meant, and whether it is in.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Side {
    AtLeast,
    Above,
    AtMost,
    Below,
}

/// How many of something there may be.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Bound {
    Min(u64),
    Max(u64),
}

impl Bound {
    /// Whether so many are right.
    pub(super) fn admits(self, count: usize) -> bool {
        let count = count as u64;
        match self {
            Self::Min(min) => count >= min,
            Self::Max(max) => count <= max,
        }
    }
}

/// What `properties`, `patternProperties` and `additionalProperties` ask for together.
#[derive(Debug, Default)]
pub(super) struct Properties {
    /// Sorted by name.
    pub(super) named: Vec<(Box<str>, NodeId)>,
    pub(super) patterns: Vec<(Pattern, NodeId)>,
    pub(super) additional: Option<NodeId>,
}

impl Properties {
    pub(super) fn named(&self, name: &str) -> Option<NodeId> {
        let at = self
            .named
            .binary_search_by(|(known, _)| (**known).cmp(name));
        at.ok().map(|at| self.named[at].1)
    }
}

/// A set of the seven types, one bit each.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(super) struct Types(u8);

impl Types {
    const NAMES: [&'static str; 7] = [
        "null", "boolean", "object", "array", "number", "string", "integer",
    ];

    /// The type of this name.
    pub(super) fn of(name: &str) -> Option<Self> {
        let at = Self::NAMES.iter().position(|known| *known == name)?;
        Some(Self(1 << at))
    }

    pub(super) fn and(self, other: Self) -> Self {
        Self(self.0 | other.0)
    }

    /// Whether a value is of one of them.
    pub(super) fn admit(self, value: &Value<'_>) -> bool {
        let bit = match value {
            Value::Null => 0,
            Value::Bool(_) => 1,
            Value::Object(_) => 2,
            Value::List(_) => 3,
            Value::Text(_) => 5,
            Value::Number(number) => {
                let integer = self.0 & (1 << 6) != 0;
                return self.0 & (1 << 4) != 0
                    || integer && super::number::Decimal::of(number).is_integer();
            }
        };
        self.0 & (1 << bit) != 0
    }

    /// The names, as one reads them.
    pub(super) fn names(self) -> String {
        let named = Self::NAMES.iter().enumerate();
        let names: Vec<&str> = named
            .filter(|(at, _)| self.0 & (1 << at) != 0)
            .map(|(_, name)| *name)
            .collect();
        names.join(" or ")
    }
}
