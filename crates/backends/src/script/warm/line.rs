//! What a command asks of Python, where an interpreter that runs already can do it as well.

use std::path::Path;

use serde::Serialize;

/// What Python is to run, in the words of `toolbus.warm`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub(super) struct Invocation {
    #[serde(flatten)]
    what: What,
    arguments: Vec<String>,
    /// `-u`
    unbuffered: bool,
    /// `-P`
    safe_path: bool,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
enum What {
    /// `python -m MODULE`
    Module(String),
    /// `python FILE`
    Path(String),
    /// `python -c CODE`
    Code(String),
}

impl Invocation {
    /// Reads a command. None where its program is not this interpreter, or where it has options that only a new
    /// interpreter can have.
    pub(super) fn parse(python: &Path, line: &[String]) -> Option<Self> {
        let (program, mut words) = line.split_first()?;
        if Path::new(program) != python {
            return None;
        }
        let (mut unbuffered, mut safe_path) = (false, false);
        while let [option, rest @ ..] = words {
            match &**option {
                "-u" => unbuffered = true,
                "-P" => safe_path = true,
                _ => break,
            }
            words = rest;
        }
        let (first, rest) = words.split_first()?;
        let (what, arguments) = match (&**first, rest) {
            ("-m", [module, rest @ ..]) => (What::Module(module.clone()), rest),
            ("-c", [code, rest @ ..]) => (What::Code(code.clone()), rest),
            (option, _) if option.starts_with('-') => return None,
            (path, rest) => (What::Path(path.to_owned()), rest),
        };
        Some(Self {
            what,
            arguments: arguments.to_vec(),
            unbuffered,
            safe_path,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(line: &str) -> Option<String> {
        let line: Vec<_> = line.split(' ').map(str::to_owned).collect();
        let parsed = Invocation::parse(Path::new("/v/bin/python"), &line)?;
        Some(serde_json::to_string(&parsed).expect("JSON"))
    }

    #[test]
    fn what_an_interpreter_that_runs_can_do() {
        let expected =
            r#"{"module":"a.b","arguments":["c","-u"],"unbuffered":false,"safe_path":false}"#;
        assert_eq!(
            parse("/v/bin/python -m a.b c -u").as_deref(),
            Some(expected)
        );
        let expected = r#"{"path":"x.py","arguments":[],"unbuffered":true,"safe_path":true}"#;
        assert_eq!(parse("/v/bin/python -u -P x.py").as_deref(), Some(expected));
        let expected = r#"{"code":"1","arguments":["-m"],"unbuffered":false,"safe_path":false}"#;
        assert_eq!(parse("/v/bin/python -c 1 -m").as_deref(), Some(expected));
    }

    #[test]
    fn what_only_a_new_interpreter_can_do() {
        for line in [
            "/other/python x.py",
            "python x.py",
            "/v/bin/python",
            "/v/bin/python -",
            "/v/bin/python -m",
            "/v/bin/python -O x.py",
            "/v/bin/python -X utf8 -m a",
        ] {
            assert_eq!(parse(line), None, "{line}");
        }
    }
}
