//! A folder whose files are served: which of them, and what is there now.

use std::collections::BTreeMap;
use std::io;
use std::path::PathBuf;

use super::beneath::{Entry, Folder, Stamp};
use super::glob::Glob;
use super::path::Inner;

/// The most entries of a folder that are looked at, at each look. Looking at one takes a microsecond or two.
const MAX_VISITED: usize = 100_000;

/// A folder whose files are served, and which of them.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Files {
    /// The folder.
    pub path: PathBuf,
    /// What the files' URIs begin with; it ends with a slash.
    pub uri: String,
    /// A name for people.
    pub title: Option<String>,
    /// What the folder holds.
    pub description: Option<String>,
    /// Which files; all where it is empty.
    pub include: Vec<Glob>,
    /// Which files and folders not, whatever `include` says.
    pub exclude: Vec<Glob>,
    /// The most files that are listed.
    pub max_files: usize,
    /// The largest file that is served, in bytes.
    pub max_bytes: usize,
    /// How deep a file may lie: 1 is in the folder itself.
    pub max_depth: usize,
}

/// What a folder held at one look.
#[derive(Debug, Default)]
pub(super) struct Seen {
    pub(super) files: BTreeMap<Inner, Stamp>,
    /// What there is to say about it.
    pub(super) complaints: Vec<String>,
}

impl Files {
    /// The path of what this URI names, if it is one of this folder's.
    pub(super) fn path_of(&self, uri: &str) -> Option<Inner> {
        let path = Inner::decode(uri.strip_prefix(&self.uri)?)?;
        self.serves(&path).then_some(path)
    }

    /// The URI of a file.
    pub(super) fn uri_of(&self, path: &Inner) -> String {
        format!("{}{}", self.uri, path.encoded())
    }

    /// The template from which the URIs of all files come.
    pub(super) fn template(&self) -> String {
        format!("{}{{+path}}", self.uri)
    }

    /// A file of this path is one to be served.
    pub(super) fn serves(&self, path: &Inner) -> bool {
        let is_included =
            self.include.is_empty() || self.include.iter().any(|glob| glob.is_for(path));
        is_included && path.names().count() <= self.max_depth && self.enters(path)
    }

    /// What lies at or below this path may be served.
    fn enters(&self, path: &Inner) -> bool {
        let is_hidden = path.names().any(|name| name.starts_with('.'));
        !is_hidden && !self.exclude.iter().any(|glob| glob.is_above(path))
    }

    /// Looks at everything in the folder. The files are those that may be listed.
    pub(super) fn look(&self) -> io::Result<Seen> {
        let mut walk = Walk {
            files: self,
            seen: Seen::default(),
            left: MAX_VISITED,
            too_large: None,
        };
        walk.enter(&Folder::open(&self.path)?, None, 1);
        if walk.left == 0 {
            walk.complain(&format!(
                "it has over {MAX_VISITED} entries: files behind those are not listed"
            ));
        } else if walk.seen.files.len() > self.max_files {
            walk.complain(&format!(
                "it has more files than max_files = {}: the rest is not listed",
                self.max_files
            ));
        }
        while walk.seen.files.len() > self.max_files {
            walk.seen.files.pop_last();
        }
        if let Some((first, count)) = walk.too_large.take() {
            let others = match count {
                1 => String::new(),
                count => format!(" and {} more", count - 1),
            };
            let limit = self.max_bytes;
            walk.complain(&format!(
                "not served, because larger than max_bytes = {limit}: {first}{others}"
            ));
        }
        Ok(walk.seen)
    }
}

/// One look through a folder.
struct Walk<'f> {
    files: &'f Files,
    seen: Seen,
    left: usize,
    /// The first file that is too large, and how many are.
    too_large: Option<(Inner, usize)>,
}

impl Walk<'_> {
    fn complain(&mut self, what: &str) {
        self.seen
            .complaints
            .push(format!("{}: {what}", self.files.path.display()));
    }

    /// Looks at one folder. What goes away meanwhile, or may not be read, is not there.
    fn enter(&mut self, folder: &Folder, at: Option<&Inner>, depth: usize) {
        let Ok(names) = folder.names(self.left) else {
            return;
        };
        for name in names {
            self.left = self.left.saturating_sub(1);
            // One more than is listed, so that it can be said.
            if self.left == 0 || self.seen.files.len() > self.files.max_files {
                return;
            }
            let Some(path) = Inner::below(at, &name) else {
                continue;
            };
            match folder.entry(&name) {
                Ok(Some(Entry::File(stamp))) => self.take(path, stamp),
                Ok(Some(Entry::Folder))
                    if depth < self.files.max_depth && self.files.enters(&path) =>
                {
                    if let Ok(folder) = folder.folder(&name) {
                        self.enter(&folder, Some(&path), depth + 1);
                    }
                }
                _ => {}
            }
        }
    }

    fn take(&mut self, path: Inner, stamp: Stamp) {
        if !self.files.serves(&path) {
            return;
        }
        if stamp.size > self.files.max_bytes as u64 {
            let (_, count) = self.too_large.get_or_insert((path, 0));
            *count += 1;
            return;
        }
        self.seen.files.insert(path, stamp);
    }
}
