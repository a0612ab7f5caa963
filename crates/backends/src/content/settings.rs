//! What is served, as it is configured, and what cannot be right about it.

use std::path::{Path, PathBuf};

use super::files::Files;
use super::glob::Glob;
use super::system;

/// What skills' URIs begin with.
pub(super) const SKILLS: &str = "omni://skill/";

/// The template of skills' URIs.
pub(super) const SKILL_TEMPLATE: &str = "omni://skill/{skill}/{name}";

/// What of a skill is code, and no document.
const NOT_OF_SKILLS: [&str; 2] = ["*/scripts", "__pycache__"];

/// Files that are served, and prompts.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Settings {
    /// Folders whose files are resources.
    pub folders: Vec<Files>,
    /// The folder of prompts.
    pub prompts: Option<PathBuf>,
    /// The folder of skills.
    pub skills: Option<PathBuf>,
    /// Serve `omni://system/context`, `omni://system/memory` and `omni://system/stats`.
    pub omni: bool,
    /// The file behind `omni://system/memory`.
    pub memory: Option<PathBuf>,
}

impl Settings {
    /// What cannot be right, whatever the folders hold later.
    pub fn check(&self) -> Result<(), String> {
        let folders = self.folders.iter().map(|files| ("folders", &files.path));
        let prompts = self.prompts.iter().map(|path| ("prompts", path));
        let skills = self.skills.iter().map(|path| ("skills", path));
        for (key, path) in folders.chain(prompts).chain(skills) {
            is_folder(path).map_err(|why| format!("{key}: {}: {why}", path.display()))?;
        }
        let uris = self.folders.iter().map(|files| files.uri.as_str());
        let skills = self.skills.iter().map(|_| SKILLS);
        let system = self.omni.then_some(system::PREFIX);
        let uris: Vec<_> = uris.chain(skills).chain(system).collect();
        for (at, uri) in uris.iter().enumerate() {
            is_prefix(uri).map_err(|why| format!("folders: uri = {uri:?} {why}"))?;
            let overlaps = |other: &&&str| other.starts_with(uri) || uri.starts_with(*other);
            if let Some(other) = uris[..at].iter().find(overlaps) {
                return Err(format!(
                    "folders: uri = {other:?} and {uri:?} begin alike: give each folder a `uri` of its own"
                ));
            }
        }
        Ok(())
    }

    /// All folders whose files are resources.
    pub(super) fn spaces(&self) -> Vec<Space> {
        let folders = self.folders.iter().cloned().map(|files| Space {
            files,
            is_skills: false,
        });
        let skills = self.skills.iter().map(|path| Space {
            files: skills(path),
            is_skills: true,
        });
        skills.chain(folders).collect()
    }
}

/// A folder whose files are resources.
#[derive(Debug, Clone)]
pub(super) struct Space {
    pub(super) files: Files,
    /// Each folder in it is a skill, if it has a `SKILL.md`.
    pub(super) is_skills: bool,
}

impl Space {
    /// The template of its URIs.
    pub(super) fn template(&self) -> String {
        match self.is_skills {
            true => SKILL_TEMPLATE.to_owned(),
            false => self.files.template(),
        }
    }
}

impl Files {
    /// A folder of which all files are served, within the usual bounds.
    pub fn of(path: PathBuf, uri: String) -> Self {
        Self {
            path,
            uri,
            title: None,
            description: None,
            include: Vec::new(),
            exclude: Vec::new(),
            max_files: 1_000,
            max_bytes: 1024 * 1024,
            max_depth: 8,
        }
    }
}

fn skills(path: &Path) -> Files {
    let exclude = NOT_OF_SKILLS
        .into_iter()
        .filter_map(|pattern| Glob::parse(pattern).ok());
    Files {
        exclude: exclude.collect(),
        ..Files::of(path.to_owned(), SKILLS.to_owned())
    }
}

/// The prompts of a folder. A file that is too large is read as a broken one, so that the version before it stays.
pub(super) fn prompts(path: &Path) -> Files {
    let include = Glob::parse("*.md").into_iter().collect();
    Files {
        include,
        max_bytes: usize::MAX,
        ..Files::of(path.to_owned(), String::new())
    }
}

fn is_folder(path: &Path) -> Result<(), String> {
    match std::fs::metadata(path) {
        Ok(found) if found.is_dir() => Ok(()),
        Ok(_) => Err("it is not a folder".to_owned()),
        Err(error) => Err(format!("it does not exist ({error})")),
    }
}

/// What URIs can begin with: a scheme, and then names.
fn is_prefix(uri: &str) -> Result<(), &'static str> {
    let scheme = |scheme: &str| {
        let fits = |c: char| c.is_ascii_alphanumeric() || "+.-".contains(c);
        scheme.starts_with(|c: char| c.is_ascii_lowercase()) && scheme.chars().all(fits)
    };
    let plain = |c: char| c.is_ascii_alphanumeric() || "-._~/".contains(c);
    match uri.split_once(':') {
        Some((before, after))
            if scheme(before)
                && after.starts_with("//")
                && after.chars().all(plain)
                && after.ends_with('/') =>
        {
            Ok(())
        }
        _ => Err(
            "cannot begin a URI: write it like \"docs://\" or \"docs://handbook/\", with a slash at its end",
        ),
    }
}
