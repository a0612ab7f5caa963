//! Files and folders that are followed by looking at them: every second, for their marks, not their content.

use std::collections::BTreeMap;
use std::fs::{self, Metadata};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use tokio::time::sleep;

/// How often the files are looked at. A change counts once it is the same in two looks, so that a file that is being
/// written is not taken.
const LOOK_EVERY: Duration = Duration::from_secs(1);

/// Files that are followed, all folders together: a look at this many takes some 20 ms.
const MOST_FILES: usize = 10_000;

/// How deep folders are followed below the one that was given.
const DEEPEST: usize = 16;

/// Follows files and folders with all that is in them, but hidden files and what Python keeps for itself. Nothing runs
/// unless somebody waits in [`Watch::changed`].
#[derive(Debug)]
pub(crate) struct Watch {
    roots: Arc<[PathBuf]>,
    /// As it was told last.
    told: Look,
    /// As it was seen last.
    seen: Look,
    is_over: bool,
}

/// The files of one look.
type Look = BTreeMap<PathBuf, Mark>;

/// What changes when a file does: its times of change and of writing, its length, and which file it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Mark {
    changed: (i64, i64),
    written: (i64, i64),
    length: u64,
    number: u64,
}

impl Watch {
    /// Follows these from now on. To be made before they are read, so that no change falls between.
    pub(crate) fn new(roots: impl IntoIterator<Item = PathBuf>) -> Self {
        let roots: Arc<[PathBuf]> = roots.into_iter().collect();
        let now = look(&roots);
        let mut watch = Self {
            roots,
            told: now.clone(),
            seen: now,
            is_over: false,
        };
        watch.warn();
        watch
    }

    /// Follows these and no others from now on. What was followed before and has changed since is still told.
    pub(crate) fn follow(&mut self, roots: impl IntoIterator<Item = PathBuf>) {
        let roots: Arc<[PathBuf]> = roots.into_iter().collect();
        if roots == self.roots {
            return;
        }
        let now = look(&roots);
        self.roots = roots;
        let is_new = |path: &PathBuf| !self.told.contains_key(path);
        let new: Vec<_> = now.iter().filter(|(path, _)| is_new(path)).collect();
        let new: Look = new
            .into_iter()
            .map(|(p, mark)| (p.clone(), *mark))
            .collect();
        // What is not followed any more must not be told as gone.
        self.told.retain(|path, _| now.contains_key(path));
        self.told.extend(new);
        self.seen = now;
        self.warn();
    }

    /// Waits until files have changed, appeared or gone, and are at rest again; tells which, in order. May be dropped and
    /// called anew: nothing is lost by it.
    pub(crate) async fn changed(&mut self) -> Vec<PathBuf> {
        loop {
            sleep(LOOK_EVERY).await;
            let roots = Arc::clone(&self.roots);
            // Files may lie on a disk that is slow to answer.
            let Ok(now) = tokio::task::spawn_blocking(move || look(&roots)).await else {
                continue;
            };
            let changed = self.compare(now);
            if !changed.is_empty() {
                return changed;
            }
        }
    }

    /// What is the same as in the look before, and another than was told.
    fn compare(&mut self, now: Look) -> Vec<PathBuf> {
        let before = std::mem::replace(&mut self.seen, now);
        self.warn();
        let paths = self.told.keys().chain(self.seen.keys());
        let changed = |path: &&PathBuf| {
            let mark = self.seen.get(*path);
            mark == before.get(*path) && mark != self.told.get(*path)
        };
        let mut changed: Vec<_> = paths.filter(changed).cloned().collect();
        changed.sort_unstable();
        changed.dedup();
        for path in &changed {
            match self.seen.get(path) {
                Some(mark) => self.told.insert(path.clone(), *mark),
                None => self.told.remove(path),
            };
        }
        changed
    }

    /// Says once that there are too many files.
    fn warn(&mut self) {
        let is_over = self.seen.len() >= MOST_FILES;
        if is_over && !self.is_over {
            tracing::warn!(
                folders = ?self.roots,
                "only the first {MOST_FILES} files are followed; changes of others need a restart to be seen"
            );
        }
        self.is_over = is_over;
    }
}

fn look(roots: &[PathBuf]) -> Look {
    let mut found = Look::new();
    for root in roots {
        match fs::metadata(root) {
            Ok(of) if of.is_dir() => look_into(root, &mut found),
            Ok(of) => note(root, &of, &mut found),
            // One that is not there yet may come.
            Err(_) => {}
        }
    }
    found
}

fn look_into(root: &Path, found: &mut Look) {
    let mut folders = vec![(root.to_owned(), 0)];
    while let Some((folder, depth)) = folders.pop() {
        let Ok(entries) = fs::read_dir(folder) else {
            continue;
        };
        for entry in entries.flatten().filter(|entry| !is_private(entry)) {
            let path = entry.path();
            // A link to a folder is not followed, for it may lead round in a circle; a link to a file is.
            let is_folder = entry.file_type().is_ok_and(|kind| kind.is_dir());
            if is_folder && depth < DEEPEST {
                folders.push((path, depth + 1));
            } else if let Ok(of) = fs::metadata(&path)
                && of.is_file()
            {
                note(&path, &of, found);
            }
        }
    }
}

fn note(path: &Path, of: &Metadata, found: &mut Look) {
    if found.len() < MOST_FILES {
        let mark = Mark {
            changed: (of.ctime(), of.ctime_nsec()),
            written: (of.mtime(), of.mtime_nsec()),
            length: of.len(),
            number: of.ino(),
        };
        found.insert(path.to_owned(), mark);
    }
}

/// Hidden files belong to editors and to version control; what Python compiles is written by every run.
fn is_private(entry: &fs::DirEntry) -> bool {
    let name = entry.file_name();
    name.as_encoded_bytes().starts_with(b".") || name == "__pycache__"
}

#[cfg(test)]
mod tests;
