//! Front matter: the YAML between two lines of `---` at the beginning of a Markdown file.
//!
//! The grammar is read by `saphyr-parser`, which gives events. The tree is made here, with its bounds, and without what
//! makes YAML dangerous to read: anchors, aliases and tags are refused.

use saphyr_parser::{Event, Parser, ScalarStyle, ScanError};

/// Largest front matter, in bytes: some hundred arguments with their descriptions.
const MAX_MATTER: usize = 16 * 1024;

/// Deepest nesting.
const MAX_DEPTH: usize = 8;

/// A value, and the line of the file where it stands.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Node {
    pub(super) line: usize,
    pub(super) value: Value,
}

/// What stands in front matter.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Value {
    /// Nothing, `null` or `~`.
    Nothing,
    /// A scalar, as it is written.
    Text(String),
    /// A sequence.
    List(Vec<Node>),
    /// A mapping, in its order.
    Map(Vec<(String, Node)>),
}

/// A file's front matter, if it has one, and what stands below it.
pub(super) fn split(text: &str) -> Result<(Option<Node>, &str), String> {
    let text = text.strip_prefix('\u{feff}').unwrap_or(text);
    let mut lines = text.split_inclusive('\n');
    if lines.next().map(str::trim_end) != Some("---") {
        return Ok((None, text));
    }
    let begin = text.find('\n').map_or(text.len(), |at| at + 1);
    let mut end = begin;
    for line in lines {
        if line.trim_end() == "---" {
            let matter = &text[begin..end];
            let body = &text[end + line.len()..];
            return Ok((Some(read(matter)?), body));
        }
        end += line.len();
        if end - begin > MAX_MATTER {
            return Err(format!(
                "the front matter is larger than {MAX_MATTER} bytes, or no line of `---` ends it"
            ));
        }
    }
    Err("no line of `---` ends the front matter".to_owned())
}

/// Reads YAML that begins in the second line of a file.
fn read(matter: &str) -> Result<Node, String> {
    let mut reader = Reader {
        parser: Parser::new_from_str(matter),
        line: 1,
    };
    let mut whole = Node {
        line: 1,
        value: Value::Map(Vec::new()),
    };
    loop {
        match reader.next()? {
            Event::StreamEnd => break,
            Event::Nothing | Event::StreamStart | Event::DocumentStart(_) | Event::DocumentEnd => {}
            event => whole = reader.node(event, 0)?,
        }
    }
    match whole.value {
        Value::Map(_) => Ok(whole),
        Value::Nothing => Ok(Node {
            line: 1,
            value: Value::Map(Vec::new()),
        }),
        _ => Err(format!(
            "line {}: the front matter must be `name: value` lines",
            whole.line
        )),
    }
}

struct Reader<'m> {
    parser: Parser<'m, saphyr_parser::StrInput<'m>>,
    line: usize,
}

impl<'m> Reader<'m> {
    fn next(&mut self) -> Result<Event<'m>, String> {
        let wrong =
            |error: ScanError| format!("line {}: {}", error.marker().line() + 1, error.info());
        let (event, span) = self
            .parser
            .next()
            .unwrap_or(Ok((Event::StreamEnd, saphyr_parser::Span::default())))
            .map_err(wrong)?;
        self.line = span.start.line() + 1;
        Ok(event)
    }

    fn node(&mut self, event: Event<'m>, depth: usize) -> Result<Node, String> {
        let line = self.line;
        let refuse = |what: &str| Err(format!("line {line}: {what}"));
        if depth > MAX_DEPTH {
            return refuse(&format!("nested deeper than {MAX_DEPTH} levels"));
        }
        let value = match event {
            Event::Scalar(_, _, _, Some(_))
            | Event::SequenceStart(_, Some(_))
            | Event::MappingStart(_, Some(_)) => {
                return refuse("tags (`!name`) are not read here");
            }
            Event::Alias(_) => {
                return refuse("aliases (`*name`) are not read here: write the value out");
            }
            Event::Scalar(_, _, 1.., _)
            | Event::SequenceStart(1.., _)
            | Event::MappingStart(1.., _) => {
                return refuse("anchors (`&name`) are not read here");
            }
            Event::Scalar(text, ScalarStyle::Plain, ..) if matches!(&*text, "" | "~" | "null") => {
                Value::Nothing
            }
            Event::Scalar(text, ..) => Value::Text(text.into_owned()),
            Event::SequenceStart(..) => Value::List(self.list(depth)?),
            Event::MappingStart(..) => Value::Map(self.map(depth)?),
            other => return refuse(&format!("unexpected {other:?}")),
        };
        Ok(Node { line, value })
    }

    fn list(&mut self, depth: usize) -> Result<Vec<Node>, String> {
        let mut list = Vec::new();
        loop {
            match self.next()? {
                Event::SequenceEnd => return Ok(list),
                event => list.push(self.node(event, depth + 1)?),
            }
        }
    }

    fn map(&mut self, depth: usize) -> Result<Vec<(String, Node)>, String> {
        let mut map: Vec<(String, Node)> = Vec::new();
        loop {
            let event = self.next()?;
            if matches!(event, Event::MappingEnd) {
                return Ok(map);
            }
            let key = self.node(event, depth + 1)?;
            let Value::Text(name) = key.value else {
                return Err(format!("line {}: a name must be text", key.line));
            };
            if map.iter().any(|(known, _)| *known == name) {
                return Err(format!("line {}: `{name}` stands twice", key.line));
            }
            let event = self.next()?;
            map.push((name, self.node(event, depth + 1)?));
        }
    }
}

impl Node {
    /// The members of a mapping.
    pub(super) fn members(&self, what: &str) -> Result<&[(String, Node)], String> {
        match &self.value {
            Value::Map(members) => Ok(members),
            _ => Err(self.wrong(what, "must be a mapping")),
        }
    }

    /// A member of a mapping that says something.
    pub(super) fn get(&self, name: &str) -> Option<&Node> {
        let Value::Map(members) = &self.value else {
            return None;
        };
        let member = members.iter().find(|(known, _)| known == name);
        member
            .map(|(_, node)| node)
            .filter(|node| node.value != Value::Nothing)
    }

    /// A member that is text.
    pub(super) fn text(&self, name: &str) -> Result<Option<&str>, String> {
        self.get(name).map(|node| node.as_text(name)).transpose()
    }

    /// A scalar, as it is written.
    pub(super) fn as_text(&self, what: &str) -> Result<&str, String> {
        match &self.value {
            Value::Text(text) => Ok(text),
            _ => Err(self.wrong(what, "must be text")),
        }
    }

    /// A sequence.
    pub(super) fn as_list(&self, what: &str) -> Result<&[Node], String> {
        match &self.value {
            Value::List(list) => Ok(list),
            _ => Err(self.wrong(what, "must be a list, with `- ` before each entry")),
        }
    }

    /// `true` or `false`.
    pub(super) fn as_bool(&self, what: &str) -> Result<bool, String> {
        match &self.value {
            Value::Text(text) if text == "true" => Ok(true),
            Value::Text(text) if text == "false" => Ok(false),
            _ => Err(self.wrong(what, "must be true or false")),
        }
    }

    /// An error about this value.
    pub(super) fn wrong(&self, what: &str, why: &str) -> String {
        format!("line {}: `{what}` {why}", self.line)
    }
}

#[cfg(test)]
mod tests;
