//! Holds the documents to the program: configurations are checked, commands are run, tables are compared with the code.

mod support;

use std::collections::BTreeSet;
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::Output;
use std::time::Duration;

use serde_json::{Value, json};
use support::{Gateway, command, text, wait_for, workspace};
use tempfile::TempDir;
use toolbus_doors::reply::Wire;
use toolbus_model::{Cause, Era, Error, Kind, Raw};

/// Files that commands in the documents speak of and that no document shows.
const UNSHOWN: [(&str, &str); 2] = [
    (
        "search.py",
        "import os\n\nkey = os.environ[\"SEARCH_API_KEY\"]\n",
    ),
    (
        "typo.toml",
        "[servers.calc.stdio]\ncomand = [\"python3\", \"calc.py\"]\n",
    ),
];

/// What `check` may complain of: it is about the reader's machine, not about the file.
const NOT_HERE: [&str; 5] = [
    ": no program ",
    " is not set",
    " cannot be read: ",
    " does not exist",
    ": this build has no Python inside",
];

/// Variables by which a reader's shell could change what commands print.
const VARIABLES: [&str; 3] = ["SEARCH_API_KEY", "CI_TOKEN", "REMOTE_KEY"];

struct Document {
    path: PathBuf,
    text: String,
}

/// A fenced block: the words after its fence, and its lines.
struct Block {
    info: Vec<String>,
    body: String,
}

/// A command as a document shows it.
struct Shown {
    words: Vec<String>,
    /// It needs what a test has not: a terminal, a network, a gateway.
    is_marked: bool,
    /// The first line of its output.
    output: Option<String>,
}

impl Document {
    fn read(path: PathBuf) -> Self {
        let text = std::fs::read_to_string(&path)
            .unwrap_or_else(|error| panic!("{}: {error}", path.display()));
        Self { path, text }
    }

    fn named(path: &str) -> Self {
        Self::read(workspace(path))
    }

    /// Every document that a reader may follow.
    fn all() -> Vec<Self> {
        let mut paths = [
            "README.md",
            "ARCHITECTURE.md",
            "CONTRIBUTING.md",
            "CHANGELOG.md",
        ]
        .map(workspace)
        .to_vec();
        for folder in ["docs", "docs/decisions"] {
            let entries = std::fs::read_dir(workspace(folder)).expect("a folder");
            let pages = entries.map(|entry| entry.expect("an entry").path());
            paths.extend(pages.filter(|path| path.extension().is_some_and(|e| e == "md")));
        }
        paths.sort();
        paths.into_iter().map(Self::read).collect()
    }

    fn blocks(&self) -> Vec<Block> {
        let (mut blocks, mut open): (Vec<Block>, Option<Block>) = (Vec::new(), None);
        for line in self.text.lines() {
            match (line.strip_prefix("```"), open.take()) {
                (Some(_), Some(block)) => blocks.push(block),
                (Some(info), None) => {
                    let info = info.split_whitespace().map(str::to_owned).collect();
                    let body = String::new();
                    open = Some(Block { info, body });
                }
                (None, Some(mut block)) => {
                    block.body += line;
                    block.body.push('\n');
                    open = Some(block);
                }
                (None, None) => {}
            }
        }
        assert!(open.is_none(), "{}: a fence is open", self.shown());
        blocks
    }

    fn commands(&self) -> Vec<Shown> {
        let mut shown = Vec::new();
        for block in self.blocks().iter().filter(|block| block.is("console")) {
            let mut lines = block.body.lines().peekable();
            while let Some(line) = lines.next() {
                let Some(line) = line.strip_prefix("$ toolbus ") else {
                    continue;
                };
                let (typed, comment) = line.split_once(" # ").unwrap_or((line, ""));
                shown.push(Shown {
                    words: typed.split_whitespace().map(str::to_owned).collect(),
                    is_marked: comment.starts_with("needs "),
                    output: lines
                        .next_if(|next| !next.starts_with("$ "))
                        .map(str::to_owned),
                });
            }
        }
        shown
    }

    /// The cells of all table rows below a heading, up to the next one.
    fn rows(&self, heading: &str) -> Vec<Vec<String>> {
        let lines = self
            .text
            .lines()
            .skip_while(|line| *line != heading)
            .skip(1);
        let rows = lines
            .take_while(|line| !line.starts_with("## "))
            .filter(|line| line.starts_with("| `"));
        let cells = |row: &str| {
            row.trim_matches('|')
                .split(" | ")
                .map(|cell| cell.trim().to_owned())
                .collect()
        };
        let rows: Vec<Vec<String>> = rows.map(cells).collect();
        assert!(
            !rows.is_empty(),
            "{}: no table below {heading:?}",
            self.shown()
        );
        rows
    }

    /// The words in the first cells of those rows.
    fn keys(&self, heading: &str) -> BTreeSet<String> {
        self.rows(heading)
            .iter()
            .map(|row| row[0].trim_matches('`').to_owned())
            .collect()
    }

    fn shown(&self) -> String {
        let name = self.path.file_name().unwrap_or_default();
        name.to_string_lossy().into_owned()
    }
}

impl Block {
    fn is(&self, language: &str) -> bool {
        self.info.first().is_some_and(|first| first == language)
    }

    /// The file that the block is the content of, as in `toml toolbus.toml`.
    fn file(&self) -> Option<&str> {
        self.info.get(1).map(String::as_str)
    }
}

/// A folder with the files that this document's commands speak of.
fn folder_for(document: &Document) -> TempDir {
    let folder = tempfile::tempdir().expect("a folder");
    let put = |name: &str, text: &str| {
        std::fs::write(folder.path().join(name), text).expect("written");
    };
    for (name, text) in UNSHOWN {
        put(name, text);
    }
    let first_tool = Document::named("docs/first-tool.md").blocks();
    for block in first_tool.iter().filter(|block| block.is("python")) {
        block
            .file()
            .into_iter()
            .for_each(|name| put(name, &block.body));
    }
    for block in &document.blocks() {
        block
            .file()
            .into_iter()
            .for_each(|name| put(name, &block.body));
    }
    folder
}

/// Runs `toolbus` in a folder, with the Python that has the MCP packages.
fn run(folder: &Path, words: &[String]) -> Output {
    let python = workspace(".venv/bin");
    let path = std::env::var_os("PATH").unwrap_or_default();
    let path = std::env::join_paths(std::iter::once(python).chain(std::env::split_paths(&path)));
    let mut toolbus = command(folder);
    VARIABLES.iter().for_each(|name| {
        toolbus.env_remove(name);
    });
    toolbus
        .args(words)
        .current_dir(folder)
        .env("PATH", path.expect("a PATH"));
    toolbus.output().expect("toolbus starts")
}

fn utf8(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

#[test]
fn every_configuration_shown_is_one() {
    let mut seen = 0;
    for document in Document::all() {
        for block in document.blocks().iter().filter(|block| block.is("toml")) {
            let folder = tempfile::tempdir().expect("a folder");
            let file = folder.path().join("toolbus.toml");
            std::fs::write(&file, &block.body).expect("written");
            let checked = run(folder.path(), &["check".to_owned(), text(&file)]);
            let complaints = utf8(&checked.stderr);
            let mut lines = complaints.lines();
            let is_only_not_here = lines.next() == Some(&*format!("toolbus: {}:", text(&file)))
                && lines.all(|line| NOT_HERE.iter().any(|part| line.contains(part)));
            assert!(
                checked.status.success() || is_only_not_here,
                "{}: {complaints}\n{}",
                document.shown(),
                block.body
            );
            seen += 1;
        }
        for block in document.blocks().iter().filter(|block| block.is("json")) {
            let parsed = serde_json::from_str::<Value>(&block.body);
            assert!(
                parsed.is_ok(),
                "{}: {parsed:?}\n{}",
                document.shown(),
                block.body
            );
        }
    }
    assert!(seen > 3, "{seen} configurations were found");
}

#[test]
fn every_command_shown_prints_what_is_shown() {
    if !workspace(".venv/bin/python3").exists() {
        let _ = writeln!(
            std::io::stderr(),
            "skipped: no .venv with the MCP packages; run `make setup`"
        );
        return;
    }
    let mut seen = 0;
    for document in Document::all() {
        let folder = folder_for(&document);
        for shown in document.commands().iter().filter(|shown| !shown.is_marked) {
            let ended = run(folder.path(), &shown.words);
            let (stdout, stderr) = (utf8(&ended.stdout), utf8(&ended.stderr));
            let what = format!("{}: toolbus {}", document.shown(), shown.words.join(" "));
            assert!(!stderr.starts_with("error: "), "{what}: {stderr}");
            let first = if stdout.is_empty() { &stderr } else { &stdout };
            let first = first.lines().next().unwrap_or_default();
            match shown
                .output
                .as_deref()
                .map(|line| (line, line.strip_suffix(" ...")))
            {
                Some((_, Some(beginning))) => {
                    assert!(first.starts_with(beginning), "{what}: {first}")
                }
                Some((line, None)) => assert_eq!(first, line, "{what}: {stderr}"),
                None => {}
            }
            seen += 1;
        }
    }
    assert!(seen > 5, "{seen} commands were found");
}

#[test]
fn every_command_and_flag_shown_exists() {
    let folder = tempfile::tempdir().expect("a folder");
    for document in Document::all() {
        for shown in document.commands() {
            let help = run(folder.path(), &["help".to_owned(), shown.words[0].clone()]);
            let what = format!("{}: toolbus {}", document.shown(), shown.words.join(" "));
            assert!(help.status.success(), "{what}: {}", utf8(&help.stderr));
            let help = utf8(&help.stdout);
            for flag in shown.words.iter().filter(|word| word.starts_with("--")) {
                assert!(
                    help.contains(&format!("{flag} ")),
                    "{what}: no flag {flag} in\n{help}"
                );
            }
        }
    }
}

#[test]
fn every_key_of_the_configuration_is_explained() {
    let document = Document::named("docs/configuration.md");
    let folder = tempfile::tempdir().expect("a folder");
    let schema: Value = serde_json::from_slice(&run(folder.path(), &["schema".to_owned()]).stdout)
        .expect("a schema");
    for (heading, section) in [
        ("## `[gateway]`", "Gateway"),
        ("## `[callers.NAME]`", "Caller"),
        ("## `[capabilities]`", "Capabilities"),
        ("## `[federation]`", "Federation"),
        ("## `[federation.peers.NAME]`", "Peer"),
        ("## `[audit]`", "Audit"),
        ("## `[servers.NAME]`", "Server"),
        ("## `[servers.NAME.stdio]`", "Stdio"),
        ("## `[servers.NAME.http]`", "Http"),
        ("## `[servers.NAME.content]`", "Content"),
        ("## `[[servers.NAME.content.folders]]`", "ContentFolder"),
        ("## `[servers.NAME.script]`", "Script"),
        ("## `[servers.NAME.script.limits]`", "ScriptLimits"),
        ("## `[servers.NAME.script.tools.TOOL]`", "ScriptTool"),
        ("## `[servers.NAME.runner]`", "Runner"),
        ("## `[servers.NAME.python]`", "Python"),
        ("## `[servers.NAME.embedded]`", "Embedded"),
        ("## `[servers.NAME.tools.TOOL]`", "Tool"),
    ] {
        let properties = schema["$defs"][section]["properties"]
            .as_object()
            .expect("properties");
        // Sections of their own have tables of their own.
        let known: BTreeSet<String> = properties
            .keys()
            .filter(|key| {
                let own: &[&str] = match section {
                    "Server" => &[
                        "stdio", "http", "runner", "python", "script", "embedded", "content",
                        "tools",
                    ],
                    "Script" => &["limits", "tools", "warm"],
                    "ScriptTool" => &["limits"],
                    "Content" => &["folders"],
                    "Federation" => &["peers"],
                    _ => &[],
                };
                !own.contains(&key.as_str())
            })
            .cloned()
            .collect();
        assert_eq!(document.keys(heading), known, "{heading}");
        for row in document.rows(heading) {
            let default = &properties[row[0].trim_matches('`')]["default"];
            if !default.is_null() {
                assert_eq!(row[1], format!("`{default}`"), "{heading} {}", row[0]);
            }
        }
    }
}

/// One error of each kind, and what stands in its row's first cell.
fn errors() -> Vec<(&'static str, Error)> {
    let unknown = |kind| Error::Unknown {
        kind,
        name: String::new(),
    };
    let cause = || Box::new(Cause::default());
    let busy = Error::Busy {
        what: String::new(),
        retry_after: Duration::ZERO,
    };
    let upstream = Error::Upstream {
        code: 0,
        message: String::new(),
        data: None,
    };
    let version = Error::UnsupportedVersion {
        requested: String::new(),
        supported: Vec::new(),
    };
    vec![
        ("`parse`", Error::Parse(String::new())),
        ("`invalid_request`", Error::InvalidRequest(String::new())),
        ("`invalid_params`", Error::InvalidParams(String::new())),
        ("`method_not_found`", Error::MethodNotFound(String::new())),
        ("`header_mismatch`", Error::HeaderMismatch(String::new())),
        (
            "`missing_client_capability`",
            Error::MissingClientCapability(Raw::of(&json!({}))),
        ),
        ("`unsupported_version`", version),
        ("`unknown`", unknown(Kind::Tool)),
        ("`unknown`", unknown(Kind::Prompt)),
        ("`unknown`", unknown(Kind::Cursor)),
        ("`unknown` resource", unknown(Kind::Resource)),
        ("`unknown` server", unknown(Kind::Server)),
        ("`unauthenticated`", Error::Unauthenticated(String::new())),
        ("`session_unknown`", Error::SessionUnknown),
        ("`too_large`", Error::TooLarge { what: "", limit: 0 }),
        ("`busy`", busy),
        ("`unavailable`", Error::Unavailable(cause())),
        ("`deadline_exceeded`", Error::DeadlineExceeded(cause())),
        ("`outcome_unknown`", Error::OutcomeUnknown(cause())),
        ("`state_lost`", Error::StateLost(String::new())),
        ("`cancelled`", Error::Cancelled),
        ("`upstream`", upstream),
        ("`internal`", Error::Internal(String::new())),
    ]
}

#[test]
fn the_table_of_errors_is_the_one_of_the_code() {
    let rows = Document::named("docs/errors.md").rows("## All of them");
    for (first, error) in errors() {
        let (modern, legacy) = (
            Wire::of(&error, Era::Modern, None),
            Wire::of(&error, Era::Legacy, None),
        );
        let code = match error {
            Error::Upstream { .. } => "the server's".to_owned(),
            _ => modern.code.to_string(),
        };
        let status = |wire: &Wire| wire.status.as_u16().to_string();
        let expected = [first.to_owned(), code, status(&modern), status(&legacy)];
        assert!(
            rows.iter().any(|row| row[..4] == expected),
            "no row {expected:?}"
        );
        assert!(
            first.starts_with(&format!("`{}`", error.label())),
            "{first}"
        );
    }
    let source = Document::named("crates/model/src/error.rs").text;
    let words = source
        .lines()
        .filter_map(|line| line.trim().strip_suffix("\",")?.split_once("=> \""));
    let words: BTreeSet<String> = words.map(|(_, word)| format!("`{word}`")).collect();
    let first_words = rows
        .iter()
        .map(|row| row[0].split(' ').next().unwrap_or_default().to_owned());
    assert_eq!(first_words.collect::<BTreeSet<_>>(), words);
}

#[test]
fn the_audit_and_the_metrics_are_those_explained() {
    let document = Document::named("docs/operate.md");
    let gateway = Gateway::start(&Gateway::server("fx", "fixture", &["stdio"]));
    assert_eq!(gateway.call("echo", json!({"message": "m"})).status, 200);
    wait_for("the record is written", || gateway.records().len() == 1);
    let record = &gateway.records()[0];
    let fields: BTreeSet<String> = record
        .as_object()
        .expect("an object")
        .keys()
        .cloned()
        .collect();
    assert_eq!(document.keys("## Audit"), fields);
    let metrics = gateway.get("/metrics").text();
    let names = metrics
        .lines()
        .filter_map(|line| line.strip_prefix("# TYPE "));
    let names = names.map(|line| match line.split_once(' ') {
        Some((name, "counter")) => format!("{name}_total"),
        Some((name, _)) => name.to_owned(),
        None => line.to_owned(),
    });
    assert_eq!(document.keys("## Metrics"), names.collect());
    let labels = metrics
        .lines()
        .find_map(|line| Some(line.split_once("_seconds_count{")?.1));
    let labels = labels
        .and_then(|rest| rest.split_once('}'))
        .expect("labels")
        .0;
    for (label, _) in labels.split(',').filter_map(|label| label.split_once('=')) {
        assert!(
            document.text.contains(&format!("`{label}`")),
            "label {label} is not explained"
        );
    }
}

/// Every source file as the architecture names it: `gateway/spine.rs` for `crates/gateway/src/spine.rs`.
fn sources(folder: &Path) -> Vec<String> {
    let entries = std::fs::read_dir(folder).expect("a folder");
    let paths = entries.map(|entry| entry.expect("an entry").path());
    let named = |path: PathBuf| match path.is_dir() {
        true => sources(&path),
        false => vec![text(&path).replace("/src/", "/")],
    };
    paths.flat_map(named).collect()
}

#[test]
fn files_that_the_architecture_names_exist() {
    let (sources, mut seen) = (sources(&workspace("crates")), 0);
    let architecture = Document::named("ARCHITECTURE.md").text;
    for word in architecture.split('`').filter(|word| word.ends_with(".rs")) {
        let end = format!("/{word}");
        assert!(
            sources.iter().any(|path| path.ends_with(&end)),
            "{word} is no file"
        );
        seen += 1;
    }
    assert!(seen > 30, "{seen} files were found");
}

#[test]
fn links_lead_somewhere() {
    for document in Document::all() {
        let links = document
            .text
            .split("](")
            .skip(1)
            .filter_map(|rest| rest.split_once(')'));
        for (link, _) in
            links.filter(|(link, _)| !link.starts_with("http") && !link.starts_with('#'))
        {
            let file = link.split_once('#').map_or(link, |(file, _)| file);
            let target = document.path.parent().expect("a folder").join(file);
            assert!(
                target.exists(),
                "{}: {link} leads nowhere",
                document.shown()
            );
        }
    }
}
