//! A value held against a schema, within a bound of steps: whatever schema and value are, it ends in time.

use super::problem::{self, Problem, Problems, Step};
use super::schema::{Keyword, NodeId, ResourceId, Schema};
use super::set;
use super::value::Value;

mod lists;
mod objects;
mod scalars;
mod ways;

/// Steps of one look at a value, of some nanoseconds each; telling what is wrong is another look.
const STEPS: u64 = 1_000_000;

/// What it costs to word a problem, in steps.
const WORDING: u64 = 100;

/// Schemas within schemas at one moment: each costs stack.
const DEEPEST: usize = 160;

/// What became of a value.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Verdict {
    Fits,
    Wrong(Problems),
    /// Not known: it would take too long to find out.
    TooCostly,
}

/// Holds a value against a schema.
pub(super) fn check<'v>(schema: &Schema, value: &'v Value<'v>) -> Verdict {
    match Run::new(schema, 1).whole(value) {
        Ok(true) => return Verdict::Fits,
        Ok(false) => {}
        Err(Spent) => return Verdict::TooCostly,
    }
    // Most values fit; only for those that do not is it worth to gather words.
    let mut run = Run::new(schema, 0);
    let end = run.whole(value);
    let mut problems = run.problems;
    problems.is_cut = end.is_err();
    if problems.told.is_empty() {
        problems.add(|| Problem::new(&[], "does not fit the schema".to_owned()));
    }
    Verdict::Wrong(problems)
}

/// The steps or the depth are used up.
#[derive(Debug)]
struct Spent;

type Held = Result<bool, Spent>;

/// The schemas with identifiers that led here, innermost first: `$dynamicRef` asks for the outermost.
struct Scope<'o> {
    resource: ResourceId,
    outer: Option<&'o Scope<'o>>,
}

/// Which members or elements of one value were looked at.
#[derive(Debug, Default)]
struct Marks(Vec<bool>);

impl Marks {
    fn of(value: &Value<'_>) -> Self {
        Self(match value {
            Value::List(list) => vec![false; list.len()],
            Value::Object(members) => vec![false; members.len()],
            _ => Vec::new(),
        })
    }

    fn take(&mut self, other: &Self) {
        for (own, other) in self.0.iter_mut().zip(&other.0) {
            *own |= other;
        }
    }
}

/// One look at a value.
struct Run<'s, 'v> {
    schema: &'s Schema,
    left: u64,
    depth: usize,
    /// Nobody wants to know what is wrong, only whether something is.
    quiet: usize,
    path: Vec<Step<'v>>,
    problems: Problems,
}

impl<'s, 'v> Run<'s, 'v> {
    fn new(schema: &'s Schema, quiet: usize) -> Self {
        Self {
            schema,
            left: STEPS,
            depth: 0,
            quiet,
            path: Vec::new(),
            problems: Problems::default(),
        }
    }

    fn whole(&mut self, value: &'v Value<'v>) -> Held {
        let root = self.schema.root;
        let scope = Scope {
            resource: self.schema.nodes[root].resource,
            outer: None,
        };
        self.node(root, value, &scope, None)
    }

    fn spend(&mut self, steps: usize) -> Result<(), Spent> {
        self.left = self.left.checked_sub(steps as u64).ok_or(Spent)?;
        Ok(())
    }

    /// Holds a value against one schema. What it looked at is added to `marks` if it fits.
    fn node(
        &mut self,
        id: NodeId,
        value: &'v Value<'v>,
        scope: &Scope<'_>,
        marks: Option<&mut Marks>,
    ) -> Held {
        let node = &self.schema.nodes[id];
        self.spend(1 + node.keywords.len())?;
        if self.depth == DEEPEST {
            return Err(Spent);
        }
        self.depth += 1;
        let inner = Scope {
            resource: node.resource,
            outer: Some(scope),
        };
        let scope = match node.resource == scope.resource {
            true => scope,
            false => &inner,
        };
        let mut own = match node.tracks || marks.is_some() {
            true => Some(Marks::of(value)),
            false => None,
        };
        if let Some(own) = &own {
            self.spend(own.0.len() / 8)?;
        }
        let fits = self.keywords(&node.keywords, value, scope, own.as_mut())?;
        if let (true, Some(marks), Some(own)) = (fits, marks, own) {
            marks.take(&own);
        }
        self.depth -= 1;
        Ok(fits)
    }

    fn keywords(
        &mut self,
        keywords: &'s [Keyword],
        value: &'v Value<'v>,
        scope: &Scope<'_>,
        mut marks: Option<&mut Marks>,
    ) -> Held {
        let mut fits = true;
        for keyword in keywords {
            let is_last = matches!(
                keyword,
                Keyword::UnevaluatedElements(_) | Keyword::UnevaluatedMembers(_)
            );
            // Where something is wrong, what is left over says nothing.
            if is_last && !fits {
                break;
            }
            fits &= self.keyword(keyword, value, scope, marks.as_deref_mut())?;
            if !fits && self.quiet > 0 {
                return Ok(false);
            }
        }
        Ok(fits)
    }

    fn keyword(
        &mut self,
        keyword: &'s Keyword,
        value: &'v Value<'v>,
        scope: &Scope<'_>,
        marks: Option<&mut Marks>,
    ) -> Held {
        match keyword {
            Keyword::Never => self.fail(|| "nothing is allowed here".to_owned()),
            Keyword::Type(types) if types.admit(value) => Ok(true),
            Keyword::Type(types) => self.fail(|| {
                let is = match value {
                    Value::Number(_) => problem::shown(value),
                    _ => format!("of type {}", problem::kind(value)),
                };
                format!("must be of type {}, but is {is}", types.names())
            }),
            Keyword::Const(known) => {
                self.spend_on(value)?;
                self.held(set::same(known, value), || {
                    let (known, is) = (problem::shown(known), problem::shown(value));
                    format!("must be {known}, but is {is}")
                })
            }
            Keyword::Enum(known) => {
                self.spend(known.tries())?;
                self.spend_on(value)?;
                self.held(known.has(value), || {
                    let (known, is) = (problem::listed(known.values()), problem::shown(value));
                    format!("must be one of {known}, but is {is}")
                })
            }
            _ => match (keyword, value) {
                (Keyword::Limit(..) | Keyword::MultipleOf(..), Value::Number(number)) => {
                    self.number(keyword, number)
                }
                (Keyword::Length(_) | Keyword::Pattern(_), Value::Text(text)) => {
                    self.words(keyword, text)
                }
                (_, Value::List(list)) if lists::concerns(keyword) => {
                    self.list(keyword, list, scope, marks)
                }
                (_, Value::Object(members)) if objects::concerns(keyword) => {
                    self.object(keyword, value, members, scope, marks)
                }
                _ => self.way(keyword, value, scope, marks),
            },
        }
    }

    /// A value within the one that is looked at.
    fn within(
        &mut self,
        id: NodeId,
        step: Step<'v>,
        value: &'v Value<'v>,
        scope: &Scope<'_>,
    ) -> Held {
        self.path.push(step);
        let held = self.node(id, value, scope, None)?;
        self.path.pop();
        Ok(held)
    }

    /// Holds a value against a schema of which only the answer counts.
    fn quietly(
        &mut self,
        id: NodeId,
        value: &'v Value<'v>,
        scope: &Scope<'_>,
        marks: Option<&mut Marks>,
    ) -> Held {
        self.quiet += 1;
        let held = self.node(id, value, scope, marks)?;
        self.quiet -= 1;
        Ok(held)
    }

    fn is_never(&self, id: NodeId) -> bool {
        matches!(self.schema.nodes[id].keywords[..], [Keyword::Never])
    }

    /// Pays for looking at all of a value.
    fn spend_on(&mut self, value: &Value<'_>) -> Result<(), Spent> {
        let size = usize::try_from(set::size(value)).unwrap_or(usize::MAX);
        self.spend(size)
    }

    fn held(&mut self, holds: bool, what: impl FnOnce() -> String) -> Held {
        match holds {
            true => Ok(true),
            false => self.fail(what),
        }
    }

    fn fail(&mut self, what: impl FnOnce() -> String) -> Held {
        if self.quiet == 0 {
            if self.problems.told.len() < problem::TOLD {
                self.left = self.left.checked_sub(WORDING).ok_or(Spent)?;
            }
            let path = &self.path;
            self.problems.add(|| Problem::new(path, what()));
        }
        Ok(false)
    }
}
