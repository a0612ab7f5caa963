//! What is wrong with a value, in words that whoever wrote it can act on; bounded in number and length.

use std::borrow::Cow;
use std::fmt::Write as _;

use super::value::Value;

/// Problems that are told; further ones are counted.
pub(super) const TOLD: usize = 10;

/// Longest text of one problem, and of a value or name in it, in characters.
const LONGEST: usize = 300;
const QUOTED: usize = 60;

/// Values of an `enum` that are listed.
const LISTED: usize = 12;

/// One step from a value to a value in it.
#[derive(Debug, Clone, Copy)]
pub(super) enum Step<'v> {
    Member(&'v str),
    Element(usize),
}

/// One thing that is wrong.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Problem {
    /// Where, as a JSON pointer (RFC 6901); empty for the whole.
    pub(super) path: String,
    pub(super) what: String,
}

impl Problem {
    pub(super) fn new(path: &[Step<'_>], what: String) -> Self {
        Self {
            path: pointer(path),
            what: shortened(&what, LONGEST),
        }
    }

    /// As one line.
    pub(super) fn line(&self) -> String {
        match &*self.path {
            "" => self.what.clone(),
            path => format!("{path}: {}", self.what),
        }
    }
}

/// What was found wrong.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Problems {
    pub(super) told: Vec<Problem>,
    pub(super) more: usize,
    /// The search was given up: there may be more.
    pub(super) is_cut: bool,
}

impl Problems {
    pub(super) fn add(&mut self, problem: impl FnOnce() -> Problem) {
        if self.told.len() < TOLD {
            self.told.push(problem());
        } else {
            self.more += 1;
        }
    }

    pub(super) fn count(&self) -> usize {
        self.told.len() + self.more
    }

    /// A line for each, below each other.
    pub(super) fn lines(&self) -> String {
        let mut out = String::new();
        for problem in &self.told {
            let _ = write!(out, "\n- {}", problem.line());
        }
        match (self.more, self.is_cut) {
            (0, false) => {}
            (0, true) => out.push_str("\n- and perhaps more"),
            (more, false) => {
                let _ = write!(out, "\n- and {more} more");
            }
            (more, true) => {
                let _ = write!(out, "\n- and more than {more} more");
            }
        }
        out
    }
}

fn pointer(path: &[Step<'_>]) -> String {
    let mut out = String::new();
    for step in path {
        match step {
            Step::Member(name) => {
                let name = shortened(name, QUOTED);
                let _ = write!(out, "/{}", name.replace('~', "~0").replace('/', "~1"));
            }
            Step::Element(at) => {
                let _ = write!(out, "/{at}");
            }
        }
    }
    // Of a long way its end is told.
    let surplus = out.chars().count().saturating_sub(LONGEST);
    match surplus {
        0 => out,
        _ => format!("…{}", out.chars().skip(surplus).collect::<String>()),
    }
}

/// A name as it is quoted in a message.
pub(super) fn name(text: &str) -> String {
    format!("'{}'", shortened(text, QUOTED))
}

/// The names that are known, for whoever used another one.
pub(super) fn known<'a>(names: impl ExactSizeIterator<Item = &'a str>) -> String {
    let count = names.len();
    let mut listed: Vec<Cow<'_, str>> = names
        .take(LISTED)
        .map(|known| Cow::Owned(name(known)))
        .collect();
    if count > LISTED {
        listed.push(format!("and {} more", count - LISTED).into());
    }
    match count {
        0 => "; there are no fields".to_owned(),
        _ => format!("; there are {}", listed.join(", ")),
    }
}

/// A value as it is shown in a message.
pub(super) fn shown(value: &Value<'_>) -> String {
    match value {
        Value::Null => "null".to_owned(),
        Value::Bool(is) => is.to_string(),
        Value::Number(number) => shortened(number, QUOTED),
        Value::Text(text) => format!("{:?}", shortened(text, QUOTED)),
        Value::List(list) => format!("an array of {}", list.len()),
        Value::Object(members) => format!("an object of {} fields", members.len()),
    }
}

/// The values of an `enum`.
pub(super) fn listed(values: &[Value<'_>]) -> String {
    let all: Vec<String> = values.iter().take(LISTED).map(shown).collect();
    match values.len().saturating_sub(LISTED) {
        0 => all.join(", "),
        more => format!("{}, and {more} more", all.join(", ")),
    }
}

/// The type that a value has, in the schema's words.
pub(super) fn kind(value: &Value<'_>) -> &'static str {
    match value {
        Value::Null => "null",
        Value::Bool(_) => "boolean",
        Value::Number(_) => "number",
        Value::Text(_) => "string",
        Value::List(_) => "array",
        Value::Object(_) => "object",
    }
}

/// The beginning of a text, without what would break a line.
fn shortened(text: &str, longest: usize) -> String {
    let mut chars = text.chars();
    let plain = |char: char| if char.is_control() { ' ' } else { char };
    let mut out: String = chars.by_ref().take(longest).map(plain).collect();
    if chars.next().is_some() {
        out.push('…');
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn places_are_pointers() {
        let path = [Step::Member("a/b"), Step::Element(3), Step::Member("~")];
        assert_eq!(pointer(&path), "/a~1b/3/~0");
        assert_eq!(pointer(&[]), "");
        let long = vec![Step::Element(123); 200];
        assert_eq!(pointer(&long).chars().count(), LONGEST + 1);
    }

    #[test]
    fn a_message_has_its_bounds() {
        let mut problems = Problems::default();
        for _ in 0..25 {
            problems.add(|| Problem::new(&[Step::Element(1)], "x".repeat(5_000)));
        }
        let lines = problems.lines();
        assert!(lines.ends_with("\n- and 15 more"), "{lines}");
        assert!(lines.chars().count() < 10 * (LONGEST + 20) + 40);
        assert_eq!(shortened("a\nb", 9), "a b");
    }
}
