//! Schemas about the same value: references, alternatives, conditions.

use super::super::problem::{Problem, Problems};
use super::super::schema::{Keyword, NodeId};
use super::{Held, Marks, Run, Scope, Spent, Value};

/// Alternatives that are told when none fits.
const TOLD: usize = 5;

impl<'s, 'v> Run<'s, 'v> {
    pub(super) fn way(
        &mut self,
        keyword: &'s Keyword,
        value: &'v Value<'v>,
        scope: &Scope<'_>,
        marks: Option<&mut Marks>,
    ) -> Held {
        match keyword {
            Keyword::Ref(id) => self.node(*id, value, scope, marks),
            Keyword::DynamicRef(id, name) => {
                let id = self.outermost(name, scope)?.unwrap_or(*id);
                self.node(id, value, scope, marks)
            }
            Keyword::AllOf(all) => self.all_of(all, value, scope, marks),
            Keyword::AnyOf(all) => self.any_of(all, value, scope, marks),
            Keyword::OneOf(all) => self.one_of(all, value, scope, marks),
            Keyword::Not(id) => {
                let held = !self.quietly(*id, value, scope, None)?;
                self.held(held, || "is of a form that is excluded".to_owned())
            }
            Keyword::If(test, then, otherwise) => {
                self.branch((*test, *then, *otherwise), value, scope, marks)
            }
            _ => Ok(true),
        }
    }

    /// The anchor of this name in the outermost schema that has one.
    fn outermost(&mut self, name: &str, scope: &Scope<'_>) -> Result<Option<NodeId>, Spent> {
        let (mut found, mut at) = (None, Some(scope));
        while let Some(scope) = at {
            self.spend(2)?;
            let key = (scope.resource, name.into());
            found = self.schema.dynamic.get(&key).copied().or(found);
            at = scope.outer;
        }
        Ok(found)
    }

    fn all_of(
        &mut self,
        all: &'s [NodeId],
        value: &'v Value<'v>,
        scope: &Scope<'_>,
        mut marks: Option<&mut Marks>,
    ) -> Held {
        let mut fits = true;
        for id in all {
            fits &= self.node(*id, value, scope, marks.as_deref_mut())?;
            if !fits && self.quiet > 0 {
                return Ok(false);
            }
        }
        Ok(fits)
    }

    fn any_of(
        &mut self,
        all: &'s [NodeId],
        value: &'v Value<'v>,
        scope: &Scope<'_>,
        mut marks: Option<&mut Marks>,
    ) -> Held {
        let mut fits = false;
        for id in all {
            fits |= self.quietly(*id, value, scope, marks.as_deref_mut())?;
            // Who asks what was looked at must hear of every form that fits.
            if fits && marks.is_none() {
                return Ok(true);
            }
        }
        match fits {
            true => Ok(true),
            false => self.none_fits(all, value, scope),
        }
    }

    fn one_of(
        &mut self,
        all: &'s [NodeId],
        value: &'v Value<'v>,
        scope: &Scope<'_>,
        mut marks: Option<&mut Marks>,
    ) -> Held {
        let mut first = None;
        for (at, id) in all.iter().enumerate() {
            if !self.quietly(*id, value, scope, marks.as_deref_mut())? {
                continue;
            }
            if let Some(first) = first.replace(at) {
                let (a, b) = (first + 1, at + 1);
                return self.fail(|| {
                    format!(
                        "must fit exactly one of {} forms, but fits form {a} and form {b}",
                        all.len()
                    )
                });
            }
        }
        match first {
            Some(_) => Ok(true),
            None => self.none_fits(all, value, scope),
        }
    }

    fn branch(
        &mut self,
        (test, then, otherwise): (NodeId, Option<NodeId>, Option<NodeId>),
        value: &'v Value<'v>,
        scope: &Scope<'_>,
        mut marks: Option<&mut Marks>,
    ) -> Held {
        let next = match self.quietly(test, value, scope, marks.as_deref_mut())? {
            true => then,
            false => otherwise,
        };
        match next {
            Some(id) => self.node(id, value, scope, marks),
            None => Ok(true),
        }
    }

    /// Says what is missing for each form, or for the nearest where that is too much.
    fn none_fits(&mut self, all: &'s [NodeId], value: &'v Value<'v>, scope: &Scope<'_>) -> Held {
        if self.quiet > 0 || self.problems.told.len() >= super::problem::TOLD {
            return self.fail(String::new);
        }
        let mut each = Vec::new();
        for id in all {
            let outer = std::mem::take(&mut self.problems);
            let held = self.node(*id, value, scope, None);
            each.push(std::mem::replace(&mut self.problems, outer));
            held?;
        }
        let here = Problem::new(&self.path, String::new()).path;
        self.fail(|| worded(&each, &here))
    }
}

fn worded(each: &[Problems], here: &str) -> String {
    let is_here = |problem: &Problem| problem.path == here;
    let single = |problems: &Problems| match &problems.told[..] {
        [only] if is_here(only) && problems.more == 0 => Some(only.what.clone()),
        _ => None,
    };
    let short: Option<Vec<String>> = each.iter().map(single).collect();
    if let Some(mut short) = short.filter(|short| short.len() <= TOLD) {
        short.dedup();
        return format!("fits none of {} forms: {}", each.len(), short.join("; "));
    }
    // A form that asks for another type, or another constant, is hardly the one that was meant.
    let far = |problems: &Problems| {
        let elsewhere = |problem: &Problem| {
            problem.what.starts_with("must be of type") && is_here(problem)
                || problem.what.starts_with("must be \"")
        };
        problems.told.iter().any(elsewhere)
    };
    let nearest = each
        .iter()
        .min_by_key(|problems| (far(problems), problems.count()));
    let lines = nearest.map(|problems| {
        let lines: Vec<String> = problems.told.iter().take(TOLD).map(Problem::line).collect();
        lines.join("; ")
    });
    let nearest = lines.unwrap_or_default();
    format!(
        "fits none of {} forms; of the nearest one: {nearest}",
        each.len()
    )
}
