//! The rules about files: each opens with what it is for, none is a room where everything meets, and none names a machine.

use std::fs;
use std::process::Command;

use anyhow::Result;

use crate::place::Place;
use crate::run::capture;

/// No source file outside the tests is longer: by then it holds more than one thought.
const MAX_LINES: usize = 600;

/// Files that hold code.
const CODE: [&str; 7] = ["rs", "py", "lua", "go", "js", "ts", "sh"];

/// Text that belongs to one machine or one registry; written in two pieces, so that this file passes its own rule.
const MACHINE_WORDS: [&str; 7] = [
    concat!("/", "work/"),
    concat!("/", "root/"),
    concat!("/tmp/", "bash_jobs"),
    concat!("registry.", "npmjs.org"),
    concat!("files.", "pythonhosted.org"),
    concat!("index.", "crates.io"),
    concat!("static.", "crates.io"),
];

/// Every text file that git tracks or would track.
pub(super) struct Files {
    files: Vec<SourceFile>,
    /// Paths of this machine that are in no list: the checkout, and the home of whoever works in it.
    here: Vec<String>,
}

struct SourceFile {
    path: String,
    text: String,
}

impl Files {
    /// Reads them all.
    pub(super) fn read(place: &Place) -> Result<Self> {
        let mut list = Command::new("git");
        list.args("ls-files -z --cached --others --exclude-standard".split(' '));
        let list = capture(list.current_dir(place.root()))?;
        let read = |path: &str| {
            // Gone from the folder but not from the index yet, or no text: nothing to check.
            let text = fs::read_to_string(place.root().join(path)).ok()?;
            let path = path.to_owned();
            Some(SourceFile { path, text })
        };
        let home = std::env::var("HOME").unwrap_or_default();
        let here = [place.root().display().to_string(), home];
        Ok(Self {
            files: list.split_terminator('\0').filter_map(read).collect(),
            here: here
                .into_iter()
                .filter(|path| path.len() > 1)
                .map(|path| path + "/")
                .collect(),
        })
    }

    /// Rust files that do not say in their first line what they are for.
    pub(super) fn openings(&self) -> Vec<String> {
        let silent = |file: &&SourceFile| file.has_ending(&["rs"]) && !file.text.starts_with("//!");
        let breach = |file: &SourceFile| {
            format!(
                "{}: begin with a `//!` sentence: what is this file for?",
                file.path
            )
        };
        self.files.iter().filter(silent).map(breach).collect()
    }

    /// Files that are too long.
    pub(super) fn lengths(&self) -> Vec<String> {
        let breach = |file: &SourceFile| {
            let lines = file.text.lines().count();
            (lines > MAX_LINES).then(|| {
                format!(
                    "{}: {lines} lines, at most {MAX_LINES}: split it along its thoughts",
                    file.path
                )
            })
        };
        let code = self
            .files
            .iter()
            .filter(|file| file.has_ending(&CODE) && !file.is_test());
        code.filter_map(breach).collect()
    }

    /// Lines that name a machine's paths or a registry's host.
    pub(super) fn machine_words(&self) -> Vec<String> {
        let mut breaches = Vec::new();
        for file in &self.files {
            for (number, line) in (1..).zip(file.text.lines()) {
                let words = MACHINE_WORDS
                    .into_iter()
                    .chain(self.here.iter().map(String::as_str));
                if let Some(word) = words.into_iter().find(|word| line.contains(word)) {
                    breaches.push(format!(
                        "{}:{number}: names {word}, which others do not have",
                        file.path
                    ));
                }
            }
        }
        breaches
    }
}

impl SourceFile {
    fn has_ending(&self, endings: &[&str]) -> bool {
        self.path
            .rsplit_once('.')
            .is_some_and(|(_, ending)| endings.contains(&ending))
    }

    fn is_test(&self) -> bool {
        self.path
            .split('/')
            .any(|part| part == "tests" || part == "tests.rs")
    }
}
