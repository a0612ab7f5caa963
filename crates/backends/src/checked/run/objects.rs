//! Objects.

use std::borrow::Cow;

use super::super::problem::{self, Problems, Step};
use super::super::schema::{Keyword, NodeId, Properties};
use super::super::value::find;
use super::scalars::counted;
use super::{Held, Marks, Run, Scope, Value};

type Members<'v> = [(Cow<'v, str>, Value<'v>)];

/// Whether a keyword is about objects alone.
pub(super) fn concerns(keyword: &Keyword) -> bool {
    matches!(
        keyword,
        Keyword::Members(_)
            | Keyword::Required(_)
            | Keyword::Properties(_)
            | Keyword::PropertyNames(_)
            | Keyword::DependentRequired(_)
            | Keyword::DependentSchemas(_)
            | Keyword::UnevaluatedMembers(_)
    )
}

impl<'s, 'v> Run<'s, 'v> {
    pub(super) fn object(
        &mut self,
        keyword: &'s Keyword,
        value: &'v Value<'v>,
        members: &'v Members<'v>,
        scope: &Scope<'_>,
        marks: Option<&mut Marks>,
    ) -> Held {
        match keyword {
            Keyword::Members(bound) => self.held(bound.admits(members.len()), || {
                counted(*bound, members.len(), "fields")
            }),
            Keyword::Required(names) => self.required(names, members, None),
            Keyword::Properties(properties) => self.properties(properties, members, scope, marks),
            Keyword::PropertyNames(id) => self.names(*id, members, scope),
            Keyword::DependentRequired(all) => self.dependent_fields(all, members),
            Keyword::DependentSchemas(all) => self.dependent(all, value, members, scope, marks),
            Keyword::UnevaluatedMembers(id) => self.other_members(*id, members, scope, marks),
            _ => Ok(true),
        }
    }

    fn required(
        &mut self,
        names: &'s [Box<str>],
        members: &'v Members<'v>,
        because: Option<&str>,
    ) -> Held {
        self.spend(names.len())?;
        let mut fits = true;
        for name in names.iter().filter(|name| find(members, name).is_none()) {
            let missing = problem::name(name);
            fits = self.fail(|| match because {
                None => format!("Missing required field: {missing}"),
                Some(other) => format!(
                    "Missing required field: {missing}, which must stand beside {}",
                    problem::name(other)
                ),
            })?;
        }
        Ok(fits)
    }

    fn properties(
        &mut self,
        properties: &'s Properties,
        members: &'v Members<'v>,
        scope: &Scope<'_>,
        mut marks: Option<&mut Marks>,
    ) -> Held {
        let mut fits = true;
        for (at, (name, value)) in members.iter().enumerate() {
            self.spend(1 + name.len() / 8)?;
            let named = properties.named(name);
            let mut is_known = named.is_some();
            if let Some(id) = named {
                fits &= self.member(id, name, value, properties, scope)?;
            }
            for (pattern, id) in &properties.patterns {
                let cost = usize::try_from(pattern.cost(name.len())).unwrap_or(usize::MAX);
                self.spend(cost)?;
                if pattern.is_in(name) {
                    is_known = true;
                    fits &= self.member(*id, name, value, properties, scope)?;
                }
            }
            let others = properties.additional.filter(|_| !is_known);
            if let Some(id) = others {
                fits &= self.member(id, name, value, properties, scope)?;
            }
            if let Some(marks) = marks.as_deref_mut() {
                marks.0[at] |= is_known || others.is_some();
            }
            if !fits && self.quiet > 0 {
                return Ok(false);
            }
        }
        Ok(fits)
    }

    fn member(
        &mut self,
        id: NodeId,
        name: &'v str,
        value: &'v Value<'v>,
        properties: &'s Properties,
        scope: &Scope<'_>,
    ) -> Held {
        if self.is_never(id) {
            return self.fail(|| {
                let known = properties.named.iter().map(|(known, _)| &**known);
                let name = problem::name(name);
                format!("Unexpected field: {name}{}", problem::known(known))
            });
        }
        self.within(id, Step::Member(name), value, scope)
    }

    fn names(&mut self, id: NodeId, members: &'v Members<'v>, scope: &Scope<'_>) -> Held {
        let mut fits = true;
        for (name, _) in members {
            let value = Value::Text(Cow::Borrowed(name));
            let mut inner = Run {
                schema: self.schema,
                left: self.left,
                depth: self.depth,
                quiet: self.quiet,
                path: Vec::new(),
                problems: Problems::default(),
            };
            let held = inner.node(id, &value, scope, None);
            self.left = inner.left;
            if !held? {
                let why = inner.problems.told;
                let why = why.first().map(|why| why.what.clone());
                let name = problem::name(name);
                let why = why.unwrap_or_else(|| "is not allowed".to_owned());
                fits = self.fail(|| format!("the field name {name} {why}"))?;
                if self.quiet > 0 {
                    break;
                }
            }
        }
        Ok(fits)
    }

    fn dependent_fields(
        &mut self,
        all: &'s [(Box<str>, Vec<Box<str>>)],
        members: &'v Members<'v>,
    ) -> Held {
        self.spend(all.len())?;
        let mut fits = true;
        for (name, names) in all {
            if find(members, name).is_some() {
                fits &= self.required(names, members, Some(name))?;
            }
        }
        Ok(fits)
    }

    fn dependent(
        &mut self,
        all: &'s [(Box<str>, NodeId)],
        value: &'v Value<'v>,
        members: &'v Members<'v>,
        scope: &Scope<'_>,
        mut marks: Option<&mut Marks>,
    ) -> Held {
        self.spend(all.len())?;
        let mut fits = true;
        for (name, id) in all {
            if find(members, name).is_some() {
                fits &= self.node(*id, value, scope, marks.as_deref_mut())?;
            }
        }
        Ok(fits)
    }

    fn other_members(
        &mut self,
        id: NodeId,
        members: &'v Members<'v>,
        scope: &Scope<'_>,
        marks: Option<&mut Marks>,
    ) -> Held {
        let Some(marks) = marks else { return Ok(true) };
        let mut fits = true;
        for (at, (name, value)) in members.iter().enumerate() {
            if std::mem::replace(&mut marks.0[at], true) {
                continue;
            }
            fits &= match self.is_never(id) {
                true => self.fail(|| format!("Unexpected field: {}", problem::name(name)))?,
                false => self.within(id, Step::Member(name), value, scope)?,
            };
        }
        Ok(fits)
    }
}
