//! Finding the end of a JSON value: every byte is looked at once, nothing is built.
//!
//! serde_json does the same for `RawValue`; this checks the depth on the way, cuts nested objects in the same pass, and
//! takes less time for objects and prose (`docs/decisions/0008-json-scanner.md` has the measurement).

use std::ops::Range;

use super::{Cut, JsonError, MAX_DEPTH, MAX_MEMBERS, Member};

/// Reads JSON text from its start.
#[derive(Debug)]
pub struct Reader<'a> {
    text: &'a [u8],
    at: usize,
    depth: usize,
}

/// The text is not JSON, or too deep. What is wrong is found out anew for the message.
#[derive(Debug)]
struct Broken;

impl<'a> Reader<'a> {
    /// A reader of `text`, which must be UTF-8.
    pub fn new(text: &'a [u8]) -> Result<Self, JsonError> {
        match std::str::from_utf8(text) {
            Ok(_) => Ok(Self {
                text,
                at: 0,
                depth: 0,
            }),
            Err(error) => Err(JsonError::Syntax(error.to_string())),
        }
    }

    /// Passes over one value; where it lies.
    pub fn value(&mut self) -> Result<Range<usize>, JsonError> {
        self.at = space(self.text, self.at);
        let start = self.at;
        self.at = skip(self.text, start, self.depth).map_err(|Broken| self.explain())?;
        Ok(start..self.at)
    }

    /// Passes over an object and cuts it along its members.
    pub fn object(&mut self) -> Result<Cut, JsonError> {
        let mut members = Vec::with_capacity(8);
        let whole = self.members(|reader, key| {
            if members.len() == MAX_MEMBERS {
                return Err(JsonError::Shape(format!(
                    "an object with more than {MAX_MEMBERS} members"
                )));
            }
            members.push(Member {
                key,
                value: reader.value()?,
            });
            Ok(())
        })?;
        Ok(Cut { whole, members })
    }

    /// Passes over an object, giving each member's key (with its quotes) to `each`, which must pass over its value.
    pub fn members(
        &mut self,
        mut each: impl FnMut(&mut Self, Range<usize>) -> Result<(), JsonError>,
    ) -> Result<Range<usize>, JsonError> {
        self.at = space(self.text, self.at);
        let start = self.at;
        if self.text.get(start) != Some(&b'{') {
            // Broken text is told apart from a value of another kind.
            self.value()?;
            return Err(JsonError::Shape("an object is expected".to_owned()));
        }
        self.depth += 1;
        self.at = space(self.text, start + 1);
        if self.text.get(self.at) == Some(&b'}') {
            self.at += 1;
        } else {
            loop {
                let key = self.at;
                self.at = string(self.text, key).map_err(|Broken| self.explain())?;
                let key = key..self.at;
                self.expect(b':')?;
                each(self, key)?;
                self.at = space(self.text, self.at);
                match self.text.get(self.at) {
                    Some(b',') => self.at = space(self.text, self.at + 1),
                    Some(b'}') => break self.at += 1,
                    _ => return Err(self.explain()),
                }
            }
        }
        self.depth -= 1;
        Ok(start..self.at)
    }

    /// Nothing but white space is left.
    pub fn end(&mut self) -> Result<(), JsonError> {
        if space(self.text, self.at) == self.text.len() {
            Ok(())
        } else {
            Err(self.explain())
        }
    }

    fn expect(&mut self, byte: u8) -> Result<(), JsonError> {
        self.at = space(self.text, self.at);
        if self.text.get(self.at) != Some(&byte) {
            return Err(self.explain());
        }
        self.at += 1;
        Ok(())
    }

    /// Says what is wrong with the text, in the words and with the places of serde_json.
    fn explain(&self) -> JsonError {
        match serde_json::from_slice::<serde::de::IgnoredAny>(self.text) {
            Err(error) => JsonError::Syntax(error.to_string()),
            Ok(_) => JsonError::TooDeep,
        }
    }
}

/// Which of the open brackets are braces: one bit a level.
struct Open {
    braces: [u64; MAX_DEPTH / 64],
    depth: usize,
    limit: usize,
}

impl Open {
    fn push(&mut self, is_brace: bool) -> Result<(), Broken> {
        if self.depth == self.limit {
            return Err(Broken);
        }
        let bit = 1 << (self.depth % 64);
        let word = &mut self.braces[self.depth / 64];
        *word = if is_brace { *word | bit } else { *word & !bit };
        self.depth += 1;
        Ok(())
    }

    fn is_brace(&self) -> bool {
        let top = self.depth - 1;
        self.braces[top / 64] >> (top % 64) & 1 == 1
    }
}

/// Where the value that begins at `at` ends.
fn skip(text: &[u8], mut at: usize, depth: usize) -> Result<usize, Broken> {
    let mut open = Open {
        braces: [0; MAX_DEPTH / 64],
        depth: 0,
        limit: MAX_DEPTH - depth,
    };
    loop {
        at = space(text, at);
        match text.get(at).ok_or(Broken)? {
            b'"' => at = string(text, at)?,
            b'{' => {
                open.push(true)?;
                at = space(text, at + 1);
                if text.get(at) != Some(&b'}') {
                    at = key(text, at)?;
                    continue;
                }
                open.depth -= 1;
                at += 1;
            }
            b'[' => {
                open.push(false)?;
                at = space(text, at + 1);
                if text.get(at) != Some(&b']') {
                    continue;
                }
                open.depth -= 1;
                at += 1;
            }
            b't' => at = literal(text, at, b"true")?,
            b'f' => at = literal(text, at, b"false")?,
            b'n' => at = literal(text, at, b"null")?,
            _ => at = number(text, at)?,
        }
        // The value is over, and with it perhaps what it stands in.
        loop {
            if open.depth == 0 {
                return Ok(at);
            }
            at = space(text, at);
            match (text.get(at), open.is_brace()) {
                (Some(b','), true) => break at = key(text, space(text, at + 1))?,
                (Some(b','), false) => break at += 1,
                (Some(b'}'), true) | (Some(b']'), false) => {
                    open.depth -= 1;
                    at += 1;
                }
                _ => return Err(Broken),
            }
        }
    }
}

#[inline]
fn space(text: &[u8], mut at: usize) -> usize {
    while matches!(text.get(at), Some(b' ' | b'\n' | b'\r' | b'\t')) {
        at += 1;
    }
    at
}

/// A key and its colon.
fn key(text: &[u8], at: usize) -> Result<usize, Broken> {
    let at = space(text, string(text, at)?);
    if text.get(at) == Some(&b':') {
        Ok(at + 1)
    } else {
        Err(Broken)
    }
}

fn literal(text: &[u8], at: usize, word: &[u8]) -> Result<usize, Broken> {
    if text[at..].starts_with(word) {
        Ok(at + word.len())
    } else {
        Err(Broken)
    }
}

/// RFC 8259, section 6.
fn number(text: &[u8], at: usize) -> Result<usize, Broken> {
    let at = if text.get(at) == Some(&b'-') {
        at + 1
    } else {
        at
    };
    let mut at = if text.get(at) == Some(&b'0') {
        at + 1
    } else {
        digits(text, at)?
    };
    // Most numbers end here.
    if !matches!(text.get(at), Some(b'.' | b'e' | b'E')) {
        return Ok(at);
    }
    if text[at] == b'.' {
        at = digits(text, at + 1)?;
    }
    if matches!(text.get(at), Some(b'e' | b'E')) {
        let signed = matches!(text.get(at + 1), Some(b'+' | b'-'));
        at = digits(text, at + 1 + usize::from(signed))?;
    }
    Ok(at)
}

/// At least one digit.
fn digits(text: &[u8], start: usize) -> Result<usize, Broken> {
    let mut at = start;
    while text.get(at).is_some_and(u8::is_ascii_digit) {
        at += 1;
    }
    if at == start { Err(Broken) } else { Ok(at) }
}

/// Where the string that begins at `at` ends, its quote included.
fn string(text: &[u8], at: usize) -> Result<usize, Broken> {
    if text.get(at) != Some(&b'"') {
        return Err(Broken);
    }
    let mut at = at + 1;
    loop {
        while let Some(word) = text.get(at..at + 8).and_then(|bytes| bytes.try_into().ok()) {
            let special = specials(u64::from_le_bytes(word));
            if special != 0 {
                at += special.trailing_zeros() as usize / 8;
                break;
            }
            at += 8;
        }
        match text.get(at).ok_or(Broken)? {
            b'"' => return Ok(at + 1),
            b'\\' => at = escape(text, at + 1)?,
            0..0x20 => return Err(Broken),
            _ => at += 1,
        }
    }
}

/// The highest bit of each byte that is a quote, a backslash or a control character; the lowest such bit is exact,
/// those above it may be false. Eight bytes a step.
fn specials(word: u64) -> u64 {
    const ONES: u64 = 0x0101_0101_0101_0101;
    const HIGH: u64 = 0x8080_8080_8080_8080;
    let below_space = word.wrapping_sub(ONES * 0x20) & !word;
    let quote = word ^ (ONES * b'"' as u64);
    let backslash = word ^ (ONES * b'\\' as u64);
    let is_quote = quote.wrapping_sub(ONES) & !quote;
    let is_backslash = backslash.wrapping_sub(ONES) & !backslash;
    (below_space | is_quote | is_backslash) & HIGH
}

fn escape(text: &[u8], at: usize) -> Result<usize, Broken> {
    match text.get(at).ok_or(Broken)? {
        b'"' | b'\\' | b'/' | b'b' | b'f' | b'n' | b'r' | b't' => Ok(at + 1),
        b'u' => {
            let hex = text.get(at + 1..at + 5).ok_or(Broken)?;
            if hex.iter().all(u8::is_ascii_hexdigit) {
                Ok(at + 5)
            } else {
                Err(Broken)
            }
        }
        _ => Err(Broken),
    }
}
