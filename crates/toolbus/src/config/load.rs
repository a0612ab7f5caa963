//! Finding and reading the file; an error says where it is and what was probably meant.

use std::fmt;
use std::path::{Path, PathBuf};

use super::{Config, clients};

/// Files that a folder is searched for, best first.
const KNOWN_FILES: [&str; 6] = [
    "toolbus.toml",
    "mcp.json",
    ".mcp.json",
    ".vscode/mcp.json",
    ".cursor/mcp.json",
    "claude_desktop_config.json",
];

/// How far a misspelt key may be from the one that is suggested: 1 is equal, 0 has nothing in common.
const LIKENESS: f64 = 0.6;

/// Where a configuration comes from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Source {
    /// A file.
    File(PathBuf),
    /// There is none, which is a working gateway without servers.
    Nothing,
}

impl fmt::Display for Source {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::File(path) => write!(f, "{}", path.display()),
            Self::Nothing => f.write_str("no configuration"),
        }
    }
}

/// What is wrong with a configuration.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Problem(pub(crate) String);

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// The file that is meant by what was given on the command line.
pub(crate) fn find(given: Option<&Path>) -> Result<Source, Problem> {
    let Some(path) = given else {
        let here = PathBuf::from("toolbus.toml");
        return Ok(if here.is_file() {
            Source::File(here)
        } else {
            Source::Nothing
        });
    };
    if !path.is_dir() {
        return Ok(Source::File(path.to_owned()));
    }
    let found = KNOWN_FILES
        .iter()
        .map(|name| path.join(name))
        .find(|path| path.is_file());
    let nothing = || {
        Problem(format!(
            "{}: no configuration in this folder; looked for {}",
            path.display(),
            KNOWN_FILES.join(", ")
        ))
    };
    found.map(Source::File).ok_or_else(nothing)
}

/// Reads a configuration.
pub(crate) fn load(source: &Source) -> Result<Config, Problem> {
    let Source::File(path) = source else {
        return Ok(Config::default());
    };
    let shown = path.display();
    let text =
        std::fs::read_to_string(path).map_err(|error| Problem(format!("{shown}: {error}")))?;
    parse(path, &text)
}

/// Reads a configuration's text. `path` tells its form, and is named in errors.
pub(crate) fn parse(path: &Path, text: &str) -> Result<Config, Problem> {
    let shown = path.display();
    let config = if path
        .extension()
        .is_some_and(|extension| extension == "json")
    {
        clients::parse(text).map_err(|error| Problem(format!("{shown}: {error}")))?
    } else {
        toml::from_str(text).map_err(|error| Problem(explain(&shown.to_string(), text, &error)))?
    };
    check(&config).map_err(|error| Problem(format!("{shown}: {error}")))?;
    Ok(config)
}

/// What the types cannot say.
pub(crate) fn check(config: &Config) -> Result<(), String> {
    config.mesh.check()?;
    for (name, server) in &config.servers {
        toolbus_model::ServerName::parse(name)?;
        server
            .check()
            .map_err(|why| format!("[servers.{name}{why}"))?;
    }
    if !config.gateway.listen.ip().is_loopback() && config.callers.is_empty() {
        return Err(format!(
            "[gateway] listen = \"{}\" is open to other machines, but nobody has to authenticate: \
             add [callers.NAME] with a token, or listen on 127.0.0.1",
            config.gateway.listen
        ));
    }
    Ok(())
}

fn explain(path: &str, text: &str, error: &toml::de::Error) -> String {
    let message = error.message();
    let hint = suggestion(message)
        .map(|key| format!("\n  did you mean `{key}`?"))
        .unwrap_or_default();
    let Some(span) = error.span() else {
        return format!("{path}: {message}{hint}");
    };
    let before = &text[..span.start.min(text.len())];
    let line_number = before.matches('\n').count() + 1;
    let column = before.len() - before.rfind('\n').map_or(0, |at| at + 1) + 1;
    let line = text.lines().nth(line_number - 1).unwrap_or_default();
    let mark = "^".repeat(
        span.len()
            .clamp(1, line.len().saturating_sub(column - 1).max(1)),
    );
    format!(
        "{path}:{line_number}:{column}: {message}\n  {line}\n  {}{mark}{hint}",
        " ".repeat(column - 1)
    )
}

/// The known key that is nearest to the unknown one in serde's message.
fn suggestion(message: &str) -> Option<String> {
    let mut quoted = message
        .strip_prefix("unknown field ")?
        .split('`')
        .skip(1)
        .step_by(2);
    let unknown = quoted.next()?;
    quoted
        .map(|known| (strsim::jaro_winkler(unknown, known), known))
        .filter(|(likeness, _)| *likeness > LIKENESS)
        .max_by(|a, b| a.0.total_cmp(&b.0))
        .map(|(_, known)| known.to_owned())
}
