//! Numbers and texts.

use super::super::number::Decimal;
use super::super::problem;
use super::super::schema::{Bound, Keyword, Side};
use super::{Held, Run};

impl<'s, 'v> Run<'s, 'v> {
    pub(super) fn number(&mut self, keyword: &'s Keyword, written: &str) -> Held {
        self.spend(2 + written.len() / 4)?;
        let number = Decimal::of(written);
        let shown = || problem::shown(&super::Value::Number(written.into()));
        match keyword {
            Keyword::Limit(side, limit) => {
                self.spend(limit.len() / 4)?;
                let order = number.compare(Decimal::of(limit));
                let (holds, words) = match side {
                    Side::AtLeast => (order.is_ge(), "at least"),
                    Side::Above => (order.is_gt(), "more than"),
                    Side::AtMost => (order.is_le(), "at most"),
                    Side::Below => (order.is_lt(), "less than"),
                };
                self.held(holds, || {
                    format!("must be {words} {limit}, but is {}", shown())
                })
            }
            Keyword::MultipleOf(step, written) => self.held(number.is_multiple_of(*step), || {
                format!("must be a multiple of {written}, but is {}", shown())
            }),
            _ => Ok(true),
        }
    }

    pub(super) fn words(&mut self, keyword: &'s Keyword, text: &str) -> Held {
        match keyword {
            Keyword::Length(bound) => {
                self.spend(1 + text.len() / 16)?;
                let count = text.chars().count();
                self.held(bound.admits(count), || counted(*bound, count, "characters"))
            }
            Keyword::Pattern(pattern) => {
                let cost = usize::try_from(pattern.cost(text.len())).unwrap_or(usize::MAX);
                self.spend(cost)?;
                self.held(pattern.is_in(text), || {
                    let is = problem::shown(&super::Value::Text(text.into()));
                    format!("must match the pattern {}, but is {is}", pattern.written())
                })
            }
            _ => Ok(true),
        }
    }
}

/// Too many or too few of something.
pub(super) fn counted(bound: Bound, count: usize, of: &str) -> String {
    match bound {
        Bound::Min(min) => format!("must have at least {min} {of}, but has {count}"),
        Bound::Max(max) => format!("must have at most {max} {of}, but has {count}"),
    }
}
