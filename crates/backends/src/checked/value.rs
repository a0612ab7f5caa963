//! JSON as a tree over its text, made for one check: bounded in values and depth, numbers as they were written.

use std::borrow::Cow;

use toolbus_model::json::unescape;

/// Most text that is read for a check: half as much again as a request may have unless configured.
pub(super) const MAX_BYTES: usize = 16 * 1024 * 1024;

/// Why a tree is not made.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Unread {
    /// More text than [`MAX_BYTES`].
    TooLong,
    /// More values than the limit.
    TooMany(usize),
    /// Nested deeper than the limit.
    TooDeep(usize),
    /// Not JSON.
    Broken,
}

/// What a tree may have at most.
#[derive(Debug, Clone, Copy)]
pub(super) struct Bounds {
    pub(super) values: usize,
    pub(super) depth: usize,
}

/// One value.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Value<'a> {
    Null,
    Bool(bool),
    /// As written; `number.rs` says what it means.
    Number(Cow<'a, str>),
    Text(Cow<'a, str>),
    List(Vec<Value<'a>>),
    /// Sorted by name; of names that stand twice the last one counts, as most readers have it.
    Object(Vec<(Cow<'a, str>, Value<'a>)>),
}

impl<'a> Value<'a> {
    /// Reads `text`, which is one JSON value.
    pub(super) fn read(text: &'a [u8], bounds: Bounds) -> Result<Self, Unread> {
        if text.len() > MAX_BYTES {
            return Err(Unread::TooLong);
        }
        let mut parser = Parser {
            text: std::str::from_utf8(text).map_err(|_| Unread::Broken)?,
            at: 0,
            values: 0,
            depth: 0,
            bounds,
        };
        let value = parser.value()?;
        parser.space();
        (parser.at == text.len())
            .then_some(value)
            .ok_or(Unread::Broken)
    }

    /// The member of this name, where it is an object that has one.
    pub(super) fn get(&self, name: &str) -> Option<&Self> {
        match self {
            Self::Object(members) => find(members, name).map(|at| &members[at].1),
            _ => None,
        }
    }

    /// The text, where it is one.
    pub(super) fn text(&self) -> Option<&str> {
        match self {
            Self::Text(text) => Some(text),
            _ => None,
        }
    }

    /// The same, with all its text its own.
    pub(super) fn into_owned(self) -> Value<'static> {
        let own = |text: Cow<'_, str>| Cow::Owned(text.into_owned());
        match self {
            Self::Null => Value::Null,
            Self::Bool(is) => Value::Bool(is),
            Self::Number(number) => Value::Number(own(number)),
            Self::Text(text) => Value::Text(own(text)),
            Self::List(list) => Value::List(list.into_iter().map(Self::into_owned).collect()),
            Self::Object(members) => {
                let members = members.into_iter();
                Value::Object(members.map(|(k, v)| (own(k), v.into_owned())).collect())
            }
        }
    }
}

/// Where the member of this name stands.
pub(super) fn find(members: &[(Cow<'_, str>, Value<'_>)], name: &str) -> Option<usize> {
    members.binary_search_by(|(key, _)| (**key).cmp(name)).ok()
}

struct Parser<'a> {
    text: &'a str,
    at: usize,
    values: usize,
    depth: usize,
    bounds: Bounds,
}

impl<'a> Parser<'a> {
    fn peek(&self) -> Option<u8> {
        self.text.as_bytes().get(self.at).copied()
    }

    fn space(&mut self) {
        while matches!(self.peek(), Some(b' ' | b'\n' | b'\r' | b'\t')) {
            self.at += 1;
        }
    }

    fn value(&mut self) -> Result<Value<'a>, Unread> {
        self.values += 1;
        if self.values > self.bounds.values {
            return Err(Unread::TooMany(self.bounds.values));
        }
        self.space();
        match self.peek() {
            Some(b'{') => self.nested(Self::object),
            Some(b'[') => self.nested(Self::list),
            Some(b'"') => self.string().map(Value::Text),
            Some(b't') => self.word("true", Value::Bool(true)),
            Some(b'f') => self.word("false", Value::Bool(false)),
            Some(b'n') => self.word("null", Value::Null),
            Some(b'-' | b'0'..=b'9') => Ok(Value::Number(Cow::Borrowed(self.number()))),
            _ => Err(Unread::Broken),
        }
    }

    fn nested(
        &mut self,
        read: impl FnOnce(&mut Self) -> Result<Value<'a>, Unread>,
    ) -> Result<Value<'a>, Unread> {
        self.depth += 1;
        if self.depth > self.bounds.depth {
            return Err(Unread::TooDeep(self.bounds.depth));
        }
        self.at += 1;
        let value = read(self)?;
        self.depth -= 1;
        Ok(value)
    }

    fn list(&mut self) -> Result<Value<'a>, Unread> {
        let mut list = Vec::new();
        if self.ends(b']') {
            return Ok(Value::List(list));
        }
        loop {
            list.push(self.value()?);
            if !self.goes_on(b']')? {
                // A list of one must not hold room for four.
                list.shrink_to_fit();
                return Ok(Value::List(list));
            }
        }
    }

    fn object(&mut self) -> Result<Value<'a>, Unread> {
        let mut members = Vec::new();
        if self.ends(b'}') {
            return Ok(Value::Object(members));
        }
        loop {
            self.space();
            let name = self.string()?;
            self.space();
            if self.peek() != Some(b':') {
                return Err(Unread::Broken);
            }
            self.at += 1;
            members.push((name, self.value()?));
            if !self.goes_on(b'}')? {
                break;
            }
        }
        // Stable, so that of equal names the last one is the one that was written last.
        members.sort_by(|(a, _), (b, _)| a.cmp(b));
        members.reverse();
        members.dedup_by(|(later, _), (kept, _)| later == kept);
        members.reverse();
        members.shrink_to_fit();
        Ok(Value::Object(members))
    }

    fn ends(&mut self, close: u8) -> bool {
        self.space();
        let ends = self.peek() == Some(close);
        self.at += usize::from(ends);
        ends
    }

    fn goes_on(&mut self, close: u8) -> Result<bool, Unread> {
        self.space();
        let byte = self.peek();
        self.at += 1;
        match byte {
            Some(b',') => Ok(true),
            Some(byte) if byte == close => Ok(false),
            _ => Err(Unread::Broken),
        }
    }

    fn word(&mut self, word: &str, value: Value<'a>) -> Result<Value<'a>, Unread> {
        let is_it = self.text.as_bytes()[self.at..].starts_with(word.as_bytes());
        self.at += word.len();
        is_it.then_some(value).ok_or(Unread::Broken)
    }

    fn number(&mut self) -> &'a str {
        let start = self.at;
        while matches!(
            self.peek(),
            Some(b'-' | b'+' | b'.' | b'e' | b'E' | b'0'..=b'9')
        ) {
            self.at += 1;
        }
        &self.text[start..self.at]
    }

    fn string(&mut self) -> Result<Cow<'a, str>, Unread> {
        let bytes = self.text.as_bytes();
        let start = self.at;
        if bytes.get(start) != Some(&b'"') {
            return Err(Unread::Broken);
        }
        let mut at = start + 1;
        loop {
            let next = bytes.get(at..).and_then(special);
            at += next.ok_or(Unread::Broken)?;
            if bytes[at] == b'"' {
                break;
            }
            at += 2;
        }
        self.at = at + 1;
        // A lone surrogate is valid JSON and no text; it stands as what cannot be shown.
        let quoted = &bytes[start..=at];
        Ok(unescape(quoted).unwrap_or(Cow::Borrowed("\u{fffd}")))
    }
}

/// Where the next quote or backslash is.
fn special(bytes: &[u8]) -> Option<usize> {
    memchr::memchr2(b'"', b'\\', bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    const WIDE: Bounds = Bounds {
        values: 100,
        depth: 5,
    };

    fn read(text: &str) -> Result<Value<'_>, Unread> {
        Value::read(text.as_bytes(), WIDE)
    }

    #[test]
    fn members_are_sorted_and_of_equal_names_the_last_counts() {
        let value = read(r#" {"b": 1, "a": [true, null], "b": 1.50, "\u0063": "\n"} "#);
        let text = |text: &'static str| Cow::Borrowed(text);
        let expected = Value::Object(vec![
            (text("a"), Value::List(vec![Value::Bool(true), Value::Null])),
            (text("b"), Value::Number(text("1.50"))),
            (text("c"), Value::Text(text("\n"))),
        ]);
        assert_eq!(value, Ok(expected));
    }

    #[test]
    fn what_is_too_much_is_not_read() {
        assert_eq!(read("[[[[[[1]]]]]]"), Err(Unread::TooDeep(5)));
        assert_eq!(
            read(&format!("[{}1]", "1,".repeat(100))),
            Err(Unread::TooMany(100))
        );
        let long = format!("\"{}\"", "x".repeat(MAX_BYTES));
        assert_eq!(read(&long), Err(Unread::TooLong));
        for broken in [
            "",
            "[1",
            "{\"a\"}",
            "{\"a\":1,}",
            "\"abc",
            "tru",
            "1 2",
            "\"\\",
        ] {
            assert_eq!(read(broken), Err(Unread::Broken), "{broken:?}");
        }
    }
}
