//! What outlives a run: the lists that servers gave, so that they are served before any server runs, and the names that were
//! given, so that who held one keeps it.

mod names;
mod page;

use std::fs::{self, DirBuilder, File, OpenOptions};
use std::io::{self, Read as _, Write as _};
use std::os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, SystemTime};

use sha2::{Digest as _, Sha256};
use tokio::sync::watch;
use tokio::time::sleep;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use toolbus_backends::mcp::Target;
use toolbus_gateway::Gateway;
use toolbus_gateway::catalog::Holders;
use toolbus_model::{Offer, ServerName};

use crate::config::Source;
use crate::state;

/// Largest file that is written or read: some hundred times the lists of a large server.
const MAX_FILE: u64 = 16 * 1024 * 1024;

/// Files of each kind that are kept; those that were not used for longest go first. Each server of each configuration has
/// one, and leaves one behind when it is reached in another way.
const MAX_FILES: usize = 1_000;

/// Changes that come within this time are written once.
const DEBOUNCE: Duration = Duration::from_secs(1);

/// Files in the state folder.
pub(crate) struct Memory {
    folder: PathBuf,
    key: [u8; 32],
    tasks: TaskTracker,
    closing: CancellationToken,
}

/// Where the lists of one server are kept, for as long as it is reached in the same way.
#[derive(Debug, Clone)]
pub(crate) struct Place {
    server: ServerName,
    fingerprint: String,
    path: PathBuf,
}

impl Memory {
    /// Opens the memory of the state folder.
    pub(crate) fn open() -> Result<Arc<Self>, String> {
        let key = state::key_bytes()?;
        let memory = Self::at(state::folder()?.join("catalog"), key);
        memory.map_err(|error| format!("the catalog cannot be kept in the state folder: {error}"))
    }

    fn at(folder: PathBuf, key: [u8; 32]) -> io::Result<Arc<Self>> {
        for kind in ["servers", "names"] {
            let folder = folder.join(kind);
            DirBuilder::new()
                .recursive(true)
                .mode(0o700)
                .create(&folder)?;
            tidy(&folder)?;
        }
        Ok(Arc::new(Self {
            folder,
            key,
            tasks: TaskTracker::new(),
            closing: CancellationToken::new(),
        }))
    }

    /// The place of a server that is reached like this. Values of secrets are part of what it goes by, and cannot be read
    /// from it without the key.
    pub(crate) fn place(&self, server: &ServerName, target: &Target) -> Place {
        let fingerprint = hex(&fingerprint(&self.key, target));
        let file = format!("{server}-{}.json", &fingerprint[..16]);
        Place {
            server: server.clone(),
            path: self.folder.join("servers").join(file),
            fingerprint,
        }
    }

    /// What the server offered last.
    pub(crate) fn recall(&self, place: &Place) -> Option<Offer> {
        let text = read(&place.path)?;
        page::read(place.server.as_str(), &place.fingerprint, &text)
            .inspect_err(|error| ignored(&place.path, error))
            .ok()
    }

    /// Keeps what a server offers, whenever it changes.
    pub(crate) fn follow(&self, place: Place, offers: watch::Receiver<Arc<Offer>>) {
        let path = place.path.clone();
        let text =
            move |offer: &Arc<Offer>| page::write(place.server.as_str(), &place.fingerprint, offer);
        self.tasks
            .spawn(keep(path, offers, text, self.closing.clone()));
    }

    /// The names that were given under a configuration.
    pub(crate) fn recall_names(&self, source: &Source) -> Holders {
        let path = self.names_of(source);
        let names = read(&path).map(|text| names::read(&text));
        names
            .and_then(|names| names.inspect_err(|error| ignored(&path, error)).ok())
            .unwrap_or_default()
    }

    /// Keeps the names that a gateway gives, whenever they change.
    pub(crate) fn follow_names(&self, source: &Source, gateway: Arc<Gateway>) {
        let (path, catalogs) = (self.names_of(source), gateway.renewed());
        let text = move |_: &bool| Some(names::write(&gateway.names()));
        self.tasks
            .spawn(keep(path, catalogs, text, self.closing.clone()));
    }

    fn names_of(&self, source: &Source) -> PathBuf {
        let source = match source {
            Source::File(path) => fs::canonicalize(path).unwrap_or_else(|_| path.clone()),
            Source::Nothing => PathBuf::new(),
        };
        let digest = hex(&Sha256::digest(source.as_os_str().as_encoded_bytes()));
        self.folder
            .join("names")
            .join(format!("{}.json", &digest[..16]))
    }

    /// Writes what has changed and was not written yet.
    pub(crate) async fn close(&self) {
        self.closing.cancel();
        self.tasks.close();
        self.tasks.wait().await;
    }
}

/// Writes a text whenever it has changed, until there are no more changes or `closing`.
async fn keep<T: Clone + Send + Sync>(
    path: PathBuf,
    mut changes: watch::Receiver<T>,
    text: impl Fn(&T) -> Option<Vec<u8>>,
    closing: CancellationToken,
) {
    let digest = |text: &[u8]| <[u8; 32]>::from(Sha256::digest(text));
    let mut kept = tokio::task::block_in_place(|| read(&path).map(|text| digest(&text)));
    loop {
        let now = changes.borrow_and_update().clone();
        if let Some(text) = text(&now).filter(|text| kept != Some(digest(text))) {
            kept = Some(digest(&text));
            tokio::task::block_in_place(|| write(&path, &text)).unwrap_or_else(|error| {
                tracing::warn!(path = %path.display(), %error, "the catalog cannot be kept");
            });
        }
        if closing.is_cancelled() {
            return;
        }
        let ended = closing.run_until_cancelled(changes.changed()).await;
        if matches!(ended, Some(Err(_))) {
            return;
        }
        closing.run_until_cancelled(sleep(DEBOUNCE)).await;
    }
}

/// Writes aside and then gives the name, so that nobody ever reads half a file. Two may write the same one: other
/// processes, and a server's successor while it ends.
fn write(path: &Path, text: &[u8]) -> io::Result<()> {
    static COUNT: AtomicU64 = AtomicU64::new(0);
    if text.len() as u64 > MAX_FILE {
        return Err(io::Error::other(format!(
            "it has more than {MAX_FILE} bytes"
        )));
    }
    let count = COUNT.fetch_add(1, Ordering::Relaxed);
    let aside = path.with_extension(format!("{}-{count}.new", std::process::id()));
    let mut file = OpenOptions::new()
        .write(true)
        .create(true)
        .truncate(true)
        .mode(0o600)
        .open(&aside)?;
    let written = file.write_all(text).and_then(|()| fs::rename(&aside, path));
    if written.is_err() {
        let _ = fs::remove_file(&aside);
    }
    written
}

/// The file's content, where there is one; it counts as used from now on.
fn read(path: &Path) -> Option<Vec<u8>> {
    let file = match File::open(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return None,
        opened => opened,
    };
    let text = file.and_then(|file| {
        // Without a new time of change the file is still good.
        let _ = file.set_modified(SystemTime::now());
        let mut text = Vec::new();
        match file.take(MAX_FILE + 1).read_to_end(&mut text)? as u64 > MAX_FILE {
            true => Err(io::Error::other("it is too large")),
            false => Ok(text),
        }
    });
    text.inspect_err(|error| ignored(path, &error.to_string()))
        .ok()
}

fn ignored(path: &Path, why: &str) {
    tracing::warn!(path = %path.display(), why, "what was kept of the catalog is not used");
}

/// Removes the files that were not used for longest, where there are too many.
fn tidy(folder: &Path) -> io::Result<()> {
    let mut files: Vec<_> = fs::read_dir(folder)?
        .filter_map(|entry| {
            let entry = entry.ok()?;
            Some((entry.metadata().ok()?.modified().ok()?, entry.path()))
        })
        .collect();
    files.sort();
    let too_many = files.len().saturating_sub(MAX_FILES);
    files
        .iter()
        .take(too_many)
        .try_for_each(|(_, path)| fs::remove_file(path))
}

fn fingerprint(key: &[u8; 32], target: &Target) -> [u8; 32] {
    let mut digest = Sha256::new_with_prefix(key);
    // With its length before each part, two definitions never read the same.
    let mut put = |part: &[u8]| {
        digest.update((part.len() as u64).to_be_bytes());
        digest.update(part);
    };
    match target {
        Target::Stdio(command) => {
            put(b"stdio");
            put(&command.line.len().to_be_bytes());
            command.line.iter().for_each(|word| put(word.as_bytes()));
            let cwd = command.cwd.as_deref().unwrap_or(Path::new(""));
            put(cwd.as_os_str().as_encoded_bytes());
            for (name, value) in &command.env {
                put(name.as_bytes());
                put(value.as_bytes());
            }
        }
        Target::Unix(path) => {
            put(b"unix");
            put(path.as_os_str().as_encoded_bytes());
        }
        Target::Http(http) => {
            put(b"http");
            put(http.url.to_string().as_bytes());
            for (name, value) in &http.headers {
                put(name.as_str().as_bytes());
                put(value.as_bytes());
            }
        }
    }
    digest.finalize().into()
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

#[cfg(test)]
mod tests;
