//! `[servers.NAME.content]`: resources, prompts and completions from files.

use std::path::PathBuf;

use schemars::JsonSchema;
use serde::Deserialize;
use toolbus_backends::content::{Files, Glob, Settings};

/// `[servers.NAME.content]`
#[derive(Debug, Clone, Default, PartialEq, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub(crate) struct Content {
    /// Folders whose files are resources.
    pub(crate) folders: Vec<ContentFolder>,
    /// A folder of prompts: Markdown files with front matter.
    pub(crate) prompts: Option<PathBuf>,
    /// A folder of skills, each a folder with a `SKILL.md`: they are resources at `omni://skill/`.
    pub(crate) skills: Option<PathBuf>,
    /// Serve `omni://system/context`, `omni://system/memory` and `omni://system/stats`.
    pub(crate) omni: bool,
    /// The file behind `omni://system/memory`. It may come later.
    pub(crate) memory: Option<PathBuf>,
}

/// One of `[[servers.NAME.content.folders]]`
#[derive(Debug, Clone, PartialEq, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct ContentFolder {
    /// The folder.
    pub(crate) path: PathBuf,
    /// What the files' URIs begin with, such as `docs://`. `toolbus://SERVER/FOLDER/` where it is not set.
    pub(crate) uri: Option<String>,
    /// A name for people.
    pub(crate) title: Option<String>,
    /// What the folder holds.
    pub(crate) description: Option<String>,
    /// Which files, as patterns such as `*.md` or `notes/**`. All where it is empty.
    #[serde(default)]
    pub(crate) include: Vec<String>,
    /// Which files and folders not, whatever `include` says.
    #[serde(default)]
    pub(crate) exclude: Vec<String>,
    /// The most files that are listed.
    #[serde(default = "max_files")]
    #[schemars(range(min = 1, max = 100_000))]
    pub(crate) max_files: usize,
    /// The largest file that is served, in bytes.
    #[serde(default = "max_bytes")]
    #[schemars(range(min = 1, max = 16_777_216))]
    pub(crate) max_bytes: usize,
    /// How deep a file may lie: 1 is in the folder itself.
    #[serde(default = "max_depth")]
    #[schemars(range(min = 1, max = 32))]
    pub(crate) max_depth: usize,
}

/// More than a client shows; the template reaches the rest.
fn max_files() -> usize {
    1_000
}

/// What fits into a model's context, and some pictures.
fn max_bytes() -> usize {
    1024 * 1024
}

fn max_depth() -> usize {
    8
}

/// The largest values: a list is held in memory, a file is as well while it is read, and each level is an open folder.
const LARGEST: [(&str, usize); 3] = [
    ("max_files", 100_000),
    ("max_bytes", 16 * 1024 * 1024),
    ("max_depth", 32),
];

impl Content {
    /// What the types cannot say.
    pub(super) fn check(&self) -> Result<(), String> {
        let has_files = !self.folders.is_empty() || self.skills.is_some();
        if !has_files && !self.omni && self.prompts.is_none() {
            return Err(
                "it is empty: set one of `folders`, `prompts`, `skills` and `omni`".to_owned(),
            );
        }
        if self.memory.is_some() && !self.omni {
            return Err(
                "`memory` is served at omni://system/memory: set `omni = true` with it".to_owned(),
            );
        }
        for folder in &self.folders {
            let values = [folder.max_files, folder.max_bytes, folder.max_depth];
            for ((key, largest), value) in LARGEST.into_iter().zip(values) {
                if !(1..=largest).contains(&value) {
                    return Err(format!(
                        "folders: {}: {key} = {value}: use 1 to {largest}",
                        folder.path.display()
                    ));
                }
            }
        }
        Ok(())
    }

    /// What is served by the server of this name. An error names the key.
    pub(crate) fn settings(&self, server: &str) -> Result<Settings, String> {
        let folders = self.folders.iter().map(|folder| folder.files(server));
        let settings = Settings {
            folders: folders.collect::<Result<_, _>>()?,
            prompts: self.prompts.clone(),
            skills: self.skills.clone(),
            omni: self.omni,
            memory: self.memory.clone(),
        };
        settings.check()?;
        Ok(settings)
    }
}

impl ContentFolder {
    fn files(&self, server: &str) -> Result<Files, String> {
        let globs = |key: &str, patterns: &[String]| -> Result<Vec<Glob>, String> {
            let globs = patterns.iter().map(|pattern| Glob::parse(pattern));
            let globs: Result<_, _> = globs.collect();
            globs.map_err(|why| format!("folders: {}: {key}: {why}", self.path.display()))
        };
        let folder = self.path.file_name().unwrap_or_default().to_string_lossy();
        let own = || format!("toolbus://{server}/{folder}/");
        Ok(Files {
            path: self.path.clone(),
            uri: self.uri.clone().unwrap_or_else(own),
            title: self.title.clone(),
            description: self.description.clone(),
            include: globs("include", &self.include)?,
            exclude: globs("exclude", &self.exclude)?,
            max_files: self.max_files,
            max_bytes: self.max_bytes,
            max_depth: self.max_depth,
        })
    }
}
