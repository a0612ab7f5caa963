//! Arrays.

use super::super::problem::Step;
use super::super::schema::{Keyword, NodeId};
use super::super::set;
use super::scalars::counted;
use super::{Held, Marks, Run, Scope, Value};

/// Whether a keyword is about arrays alone.
pub(super) fn concerns(keyword: &Keyword) -> bool {
    matches!(
        keyword,
        Keyword::Items(_)
            | Keyword::Unique
            | Keyword::Elements(..)
            | Keyword::Contains(..)
            | Keyword::UnevaluatedElements(_)
    )
}

impl<'s, 'v> Run<'s, 'v> {
    pub(super) fn list(
        &mut self,
        keyword: &'s Keyword,
        list: &'v [Value<'v>],
        scope: &Scope<'_>,
        marks: Option<&mut Marks>,
    ) -> Held {
        match keyword {
            Keyword::Items(bound) => self.held(bound.admits(list.len()), || {
                counted(*bound, list.len(), "elements")
            }),
            Keyword::Unique => self.unique(list),
            Keyword::Elements(first, rest) => self.elements(first, *rest, list, scope, marks),
            Keyword::Contains(id, min, max) => self.contains(*id, (*min, *max), list, scope, marks),
            Keyword::UnevaluatedElements(id) => self.other_elements(*id, list, scope, marks),
            _ => Ok(true),
        }
    }

    fn unique(&mut self, list: &'v [Value<'v>]) -> Held {
        for value in list {
            // Hashed, sorted by hash, and of equal hashes compared.
            self.spend(4)?;
            self.spend_on(value)?;
        }
        match set::twins(list) {
            None => Ok(true),
            Some((a, b)) => {
                self.fail(|| format!("must not have equal elements, but {a} and {b} are"))
            }
        }
    }

    fn elements(
        &mut self,
        first: &'s [NodeId],
        rest: Option<NodeId>,
        list: &'v [Value<'v>],
        scope: &Scope<'_>,
        mut marks: Option<&mut Marks>,
    ) -> Held {
        let mut fits = true;
        for (at, value) in list.iter().enumerate() {
            let Some(id) = first.get(at).copied().or(rest) else {
                break;
            };
            if let Some(marks) = marks.as_deref_mut() {
                marks.0[at] = true;
            }
            if self.is_never(id) {
                return self.fail(|| format!("must have at most {at} elements"));
            }
            fits &= self.within(id, Step::Element(at), value, scope)?;
            if !fits && self.quiet > 0 {
                return Ok(false);
            }
        }
        Ok(fits)
    }

    fn contains(
        &mut self,
        id: NodeId,
        (min, max): (u64, Option<u64>),
        list: &'v [Value<'v>],
        scope: &Scope<'_>,
        mut marks: Option<&mut Marks>,
    ) -> Held {
        let mut count = 0;
        for (at, value) in list.iter().enumerate() {
            if self.quietly(id, value, scope, None)? {
                count += 1;
                match marks.as_deref_mut() {
                    Some(marks) => marks.0[at] = true,
                    None if count >= min && max.is_none() => return Ok(true),
                    None => {}
                }
            }
        }
        let holds = count >= min && max.is_none_or(|max| count <= max);
        self.held(holds, || {
            let max = max.map_or_else(String::new, |max| format!(" and at most {max}"));
            format!("must have at least {min}{max} elements of a certain form, but has {count}")
        })
    }

    fn other_elements(
        &mut self,
        id: NodeId,
        list: &'v [Value<'v>],
        scope: &Scope<'_>,
        marks: Option<&mut Marks>,
    ) -> Held {
        let Some(marks) = marks else { return Ok(true) };
        let mut fits = true;
        for (at, value) in list.iter().enumerate() {
            if !std::mem::replace(&mut marks.0[at], true) {
                fits &= self.within(id, Step::Element(at), value, scope)?;
            }
        }
        Ok(fits)
    }
}
