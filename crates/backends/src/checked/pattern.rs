//! Patterns in the dialect of ECMA-262, matched in time that grows with the text alone, whatever the pattern is.

use regex_automata::Input;
use regex_automata::dfa::{Automaton as _, dense};
use regex_automata::nfa::thompson::{NFA, WhichCaptures, pikevm::PikeVM};
use regex_automata::util::syntax;

/// Longest pattern that is read, in bytes.
const MAX_PATTERN: usize = 4 * 1024;

/// What the machine of one pattern may hold, in bytes; a class of all letters repeated some ten times is at the limit.
const MAX_MACHINE: usize = 256 * 1024;

/// What the table of one pattern may hold, in bytes, and what may be held while it is made.
const MAX_TABLE: (usize, usize) = (64 * 1024, 256 * 1024);

/// What is left of a schema's bound on all its patterns.
#[derive(Debug)]
pub(super) struct Room {
    /// Bytes of machines. Making one costs a microsecond for some hundred bytes.
    machines: usize,
    /// Bytes that may be held while tables are made.
    tables: usize,
}

impl Default for Room {
    fn default() -> Self {
        Self {
            machines: 512 * 1024,
            tables: 1024 * 1024,
        }
    }
}

/// A pattern that texts are searched for.
#[derive(Debug)]
pub(super) struct Pattern {
    written: Box<str>,
    engine: Engine,
}

#[derive(Debug)]
enum Engine {
    /// One step a byte.
    Table(Box<dense::DFA<Vec<u32>>>),
    /// For patterns whose table would be too large: at most one step a byte and state.
    Machine { vm: Box<PikeVM>, states: u64 },
}

impl Pattern {
    /// Reads a pattern. What looks around or back cannot be matched in bounded time, and is an error.
    pub(super) fn new(written: &str, room: &mut Room) -> Result<Self, String> {
        let wrong = |why: &str| format!("the pattern {written:?} {why}");
        if written.len() > MAX_PATTERN {
            return Err(format!("a pattern has more than {MAX_PATTERN} bytes"));
        }
        let limit = MAX_MACHINE.min(room.machines);
        let config = NFA::config()
            .nfa_size_limit(Some(limit))
            .utf8(false)
            .which_captures(WhichCaptures::None);
        let nfa = NFA::compiler()
            .syntax(syntax::Config::new().utf8(false).nest_limit(64))
            .configure(config)
            .build(&translated(written))
            .map_err(|error| match error.size_limit() {
                Some(_) => wrong("is too large"),
                None => wrong(&format!(
                    "is not one that can be matched: {}",
                    brief(&error)
                )),
            })?;
        room.machines = room.machines.saturating_sub(nfa.memory_usage());
        Ok(Self {
            written: written.into(),
            engine: Engine::of(nfa, room)?,
        })
    }

    /// The pattern as the schema has it.
    pub(super) fn written(&self) -> &str {
        &self.written
    }

    /// What a search of a text of this length takes at most, in steps of some nanoseconds.
    pub(super) fn cost(&self, length: usize) -> u64 {
        let length = length as u64;
        match &self.engine {
            Engine::Table(_) => length / 4 + 1,
            Engine::Machine { states, .. } => (length + 1).saturating_mul(*states),
        }
    }

    /// Whether it is found in the text.
    pub(super) fn is_in(&self, text: &str) -> bool {
        match &self.engine {
            Engine::Table(table) => {
                let input = Input::new(text).earliest(true);
                // A table that stops in the middle has no answer; none of ours does.
                table.try_search_fwd(&input).is_ok_and(|hit| hit.is_some())
            }
            Engine::Machine { vm, .. } => vm.is_match(&mut vm.create_cache(), text),
        }
    }

    /// What it holds, in bytes.
    pub(super) fn weight(&self) -> usize {
        match &self.engine {
            Engine::Table(table) => table.memory_usage(),
            Engine::Machine { vm, .. } => vm.get_nfa().memory_usage(),
        }
    }
}

impl Engine {
    fn of(nfa: NFA, room: &mut Room) -> Result<Self, String> {
        let config = dense::Config::new()
            .start_kind(regex_automata::dfa::StartKind::Unanchored)
            .dfa_size_limit(Some(MAX_TABLE.0))
            .determinize_size_limit(Some(MAX_TABLE.1.min(room.tables)));
        let table = dense::Builder::new().configure(config).build_from_nfa(&nfa);
        match table {
            Ok(table) => {
                room.tables = room.tables.saturating_sub(table.memory_usage());
                Ok(Self::Table(Box::new(table)))
            }
            Err(_) => {
                room.tables = room.tables.saturating_sub(MAX_TABLE.1);
                let states = nfa.states().len() as u64;
                let vm = PikeVM::new_from_nfa(nfa).map_err(|error| error.to_string())?;
                Ok(Self::Machine {
                    vm: Box::new(vm),
                    states,
                })
            }
        }
    }
}

/// The last line of what the parser says: the reason without its drawing.
fn brief(error: &impl std::error::Error) -> String {
    let reason =
        std::error::Error::source(error).map_or_else(|| error.to_string(), ToString::to_string);
    let last = reason.lines().last().unwrap_or_default();
    last.trim_start_matches("error: ").to_owned()
}

/// The pattern in the dialect of our engine, where the two differ: ECMA's `\d`, `\w` and `\b` know ASCII alone, `/` may
/// be escaped anywhere, and within brackets only `]`, `\`, `^` and `-` are special.
fn translated(written: &str) -> String {
    let mut out = String::with_capacity(written.len() + 16);
    let mut chars = written.chars().peekable();
    let mut in_class = false;
    while let Some(char) = chars.next() {
        match char {
            '\\' => match chars.next() {
                Some('c') => {
                    let control = chars.next().map_or(0, |letter| u32::from(letter) % 32);
                    out.push_str(&format!("\\x{control:02x}"));
                }
                Some(escaped) => escape(escaped, in_class, &mut out),
                None => out.push('\\'),
            },
            '[' if !in_class => {
                in_class = true;
                out.push('[');
                if chars.peek() == Some(&'^') {
                    out.extend(chars.next());
                }
                // `[]` is nothing and `[^]` everything; here a bracket in this place would be one of the class.
                if chars.peek() == Some(&']') {
                    chars.next();
                    in_class = false;
                    let everything = out.ends_with('^');
                    out.truncate(out.len() - if everything { 2 } else { 1 });
                    out.push_str(if everything {
                        "(?s:.)"
                    } else {
                        "[^\\x{0}-\\x{10ffff}]"
                    });
                }
            }
            ']' if in_class => {
                in_class = false;
                out.push(']');
            }
            '[' | '&' | '~' if in_class => out.extend(['\\', char]),
            _ => out.push(char),
        }
    }
    out
}

fn escape(escaped: char, in_class: bool, out: &mut String) {
    const SPACES: &str = r"\t\n\x0b\x0c\r \xa0\x{1680}\x{2000}-\x{200a}\x{2028}\x{2029}\x{202f}\x{205f}\x{3000}\x{feff}";
    let mut class = |set: &str, negated: bool| match (in_class, negated) {
        (true, false) => out.push_str(set),
        (_, true) => out.push_str(&format!("[^{set}]")),
        (false, false) => out.push_str(&format!("[{set}]")),
    };
    match escaped {
        'd' | 'D' => class("0-9", escaped == 'D'),
        'w' | 'W' => class("0-9A-Za-z_", escaped == 'W'),
        's' | 'S' => class(SPACES, escaped == 'S'),
        'b' if in_class => out.push_str("\\x08"),
        'b' | 'B' => out.push_str(&format!("(?-u:\\{escaped})")),
        '0' => out.push_str("\\x00"),
        '/' => out.push('/'),
        _ => out.extend(['\\', escaped]),
    }
}
