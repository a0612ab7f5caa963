//! Run-specs: how the process of a tool is started, and what it may use.

use std::path::PathBuf;
use std::time::Duration;

use bytes::Bytes;
use toolbus_model::{Error, Object};

use crate::process;

/// The longest word of a command line that Linux takes, in bytes, without its closing zero (`MAX_ARG_STRLEN`).
const LONGEST_WORD: usize = 128 * 1024 - 1;

/// A tool, and how it is run.
#[derive(Debug, Clone, PartialEq)]
pub struct Tool {
    /// Its name.
    pub name: String,
    /// Its definition, as it is listed.
    pub definition: Object,
    /// How it is run.
    pub run: RunSpec,
}

/// How the process of a tool is started.
#[derive(Debug, Clone, PartialEq)]
pub struct RunSpec {
    /// The program and its arguments, with what is known of the tool filled in. Only `{arguments}` is left.
    pub line: Template,
    /// Variables on top of the clean environment.
    pub env: Vec<(String, String)>,
    /// The working folder. Without one each call gets a folder of its own, which is removed when it is over.
    pub cwd: Option<PathBuf>,
    /// What a call may use.
    pub limits: Limits,
}

/// What a call may use. `None` turns a limit off.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limits {
    /// The longest time of a run, which ends in a result that says so.
    pub timeout: Option<Duration>,
    /// The most bytes on stdout.
    pub output: u64,
    /// What the warden holds it to.
    pub process: process::Limits,
}

/// The words of a command, of which some wait for a call's arguments.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Template(Vec<Vec<Part>>);

/// A part of a word.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Part {
    Text(String),
    Arguments,
}

/// What is known of a tool and can stand in its command. What is `None` is not known of it.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Facts<'a> {
    /// `{tool}`
    pub(super) tool: &'a str,
    /// `{skill}`
    pub(super) skill: Option<&'a str>,
    /// `{command}`
    pub(super) command: Option<&'a str>,
    /// `{function}`
    pub(super) function: Option<&'a str>,
    /// `{file}`
    pub(super) file: Option<&'a str>,
    /// `{base}`: the folder in which we were started.
    pub(super) base: &'a str,
}

impl<'a> Facts<'a> {
    /// What a tool's name tells. The skill and the command are what is before and after its first dot.
    pub(super) fn of_name(tool: &'a str, base: &'a str) -> Self {
        let (skill, command) = tool.split_once('.').unzip();
        Self {
            tool,
            skill,
            command,
            base,
            ..Self::default()
        }
    }

    fn part(&self, name: &str) -> Result<Part, String> {
        let known = match name {
            "arguments" => return Ok(Part::Arguments),
            "tool" => Some(self.tool),
            "base" => Some(self.base),
            "skill" => self.skill,
            "command" => self.command,
            "function" => self.function,
            "file" => self.file,
            _ => {
                return Err(format!(
                    "{{{name}}} is no placeholder; there are {{arguments}}, {{tool}}, {{skill}}, {{command}}, \
                     {{function}}, {{file}} and {{base}}; for the text itself double the braces, {{{{{name}}}}}"
                ));
            }
        };
        let known = known.map(|known| Part::Text(known.to_owned()));
        known.ok_or_else(|| {
            let why = match name {
                "skill" | "command" => "its name has no dot (\"skill.command\")",
                _ => "only an index tells it",
            };
            format!("{{{name}}} is not known of the tool {:?}: {why}", self.tool)
        })
    }
}

impl Template {
    /// Fills in what is known of a tool.
    pub(super) fn fill(words: &[String], facts: &Facts<'_>) -> Result<Self, String> {
        if words.first().is_none_or(String::is_empty) {
            return Err("`run` is empty; give a program and its arguments".to_owned());
        }
        let word =
            |word: &String| fill(word, facts).map_err(|why| format!("`run`, {word:?}: {why}"));
        words.iter().map(word).collect::<Result<_, _>>().map(Self)
    }

    /// The words of a call's command, and what its stdin holds: the arguments, unless a word has them.
    pub(super) fn with(&self, arguments: &Object) -> Result<(Vec<String>, Bytes), Error> {
        let mut in_a_word = false;
        let mut words = Vec::with_capacity(self.0.len());
        for parts in &self.0 {
            let mut word = String::new();
            for part in parts {
                match part {
                    Part::Text(text) => word.push_str(text),
                    Part::Arguments => {
                        in_a_word = true;
                        word.push_str(&String::from_utf8_lossy(arguments.bytes()));
                    }
                }
            }
            if word.len() > LONGEST_WORD {
                return Err(Error::TooLarge {
                    what: "arguments, which this tool takes on its command line,",
                    limit: LONGEST_WORD,
                });
            }
            words.push(word);
        }
        let stdin = match in_a_word {
            true => Bytes::new(),
            false => Bytes::copy_from_slice(arguments.bytes()),
        };
        Ok((words, stdin))
    }

    /// The words as far as they are known, for messages and to see which files they name.
    pub fn words(&self) -> impl Iterator<Item = String> + '_ {
        let text = |part: &Part| match part {
            Part::Text(text) => text.clone(),
            Part::Arguments => "{arguments}".to_owned(),
        };
        self.0
            .iter()
            .map(move |word| word.iter().map(text).collect())
    }
}

/// Cuts a word at its placeholders: a name of small letters in braces. With doubled braces the name stands for itself, and
/// so do all other braces, of which shells and JSON are full.
fn fill(word: &str, facts: &Facts<'_>) -> Result<Vec<Part>, String> {
    let (mut parts, mut text, mut rest) = (Vec::new(), String::new(), word);
    while let Some(at) = rest.find('{') {
        text.push_str(&rest[..at]);
        rest = &rest[at..];
        let inner = rest.strip_prefix("{{").and_then(|after| name(after, "}}"));
        if let Some(name) = inner {
            text.push_str(&rest[1..name.len() + 3]);
            rest = &rest[name.len() + 4..];
            continue;
        }
        let Some(name) = name(&rest[1..], "}") else {
            text.push('{');
            rest = &rest[1..];
            continue;
        };
        match facts.part(name)? {
            Part::Text(known) => text.push_str(&known),
            Part::Arguments => {
                parts.push(Part::Text(std::mem::take(&mut text)));
                parts.push(Part::Arguments);
            }
        }
        rest = &rest[name.len() + 2..];
    }
    text.push_str(rest);
    parts.push(Part::Text(text));
    Ok(parts)
}

/// The name at the beginning of a text that goes on with `end`.
fn name<'t>(text: &'t str, end: &str) -> Option<&'t str> {
    let other = text.find(|c: char| !c.is_ascii_lowercase() && c != '_')?;
    let name = &text[..other];
    (!name.is_empty() && text[other..].starts_with(end)).then_some(name)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn filled(words: &[&str], facts: &Facts<'_>) -> Result<Template, String> {
        let words: Vec<_> = words.iter().map(|word| (*word).to_owned()).collect();
        Template::fill(&words, facts)
    }

    fn arguments(text: &str) -> Object {
        Object::parse(Bytes::copy_from_slice(text.as_bytes())).expect("JSON")
    }

    #[test]
    fn both_published_commands_can_be_said() {
        let facts = Facts::of_name("git.commit", "/srv");
        let run = [
            "python",
            "-m",
            "omni.agent.run_tool",
            "{skill}",
            "{command}",
        ];
        let given = arguments(r#"{"a": "{skill}"}"#);
        let (line, stdin) = filled(&run, &facts)
            .expect("filled")
            .with(&given)
            .expect("a line");
        assert_eq!(line[3..], ["git", "commit"]);
        assert_eq!(stdin, given.bytes());
        let run = [
            "python",
            "-m",
            "omni.skills.run",
            "{skill}",
            "{command}",
            "--args",
            "{arguments}",
        ];
        let (line, stdin) = filled(&run, &facts)
            .expect("filled")
            .with(&given)
            .expect("a line");
        assert_eq!(
            line[3..],
            ["git", "commit", "--args", r#"{"a": "{skill}"}"#]
        );
        assert!(stdin.is_empty());
    }

    #[test]
    fn braces_stand_for_themselves_when_doubled() {
        let facts = Facts::of_name("a.b.c", "/srv");
        let words = [
            "{base}/x",
            "{{tool}} is {tool}",
            "--a={arguments}!",
            r#"f() { echo "${A-b}" '{"a": {}}' {1..3}; }; {"#,
        ];
        let template = filled(&words, &facts).expect("filled");
        let (line, _) = template.with(&arguments("{}")).expect("a line");
        let expected = ["/srv/x", "{tool} is a.b.c", "--a={}!", words[3]];
        assert_eq!(line, expected);
        let facts = Facts::of_name("plain", "/srv");
        for (words, part) in [
            (
                vec!["{argument}"],
                "{argument} is no placeholder; there are {arguments}",
            ),
            (
                vec!["x", "${name}"],
                "for the text itself double the braces, {{name}}",
            ),
            (
                vec!["{skill}"],
                "{skill} is not known of the tool \"plain\": its name has no dot",
            ),
            (
                vec!["{file}"],
                "{file} is not known of the tool \"plain\": only an index tells it",
            ),
            (vec![], "`run` is empty"),
            (vec![""], "`run` is empty"),
        ] {
            let error = filled(&words, &facts).expect_err("wrong");
            assert!(error.contains(part), "{error}");
        }
    }

    #[test]
    fn arguments_that_no_command_line_holds_are_refused() {
        let facts = Facts::of_name("a", "/");
        let large = arguments(&format!("{{\"a\":\"{}\"}}", "x".repeat(LONGEST_WORD)));
        let error = filled(&["p", "{arguments}"], &facts)
            .expect("filled")
            .with(&large);
        let error = error.expect_err("too large").to_string();
        assert!(
            error.contains("command line, is larger than 131071 bytes"),
            "{error}"
        );
        assert!(filled(&["p"], &facts).expect("filled").with(&large).is_ok());
    }
}
