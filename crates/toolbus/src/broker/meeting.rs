//! Where the processes of one user on one machine meet: who keeps the nats-server, and where it is.

use std::fs::{self, DirBuilder, File, OpenOptions};
use std::io::Write as _;
use std::os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _};
use std::path::PathBuf;

use rustix::fs::{FlockOperation, flock};
use rustix::io::Errno;
use serde::{Deserialize, Serialize};

use crate::state;

/// A place in the state folder.
#[derive(Debug)]
pub(super) struct Meeting {
    folder: PathBuf,
}

/// Where the nats-server is, and how to come in.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Found {
    /// `nats://127.0.0.1:39211`.
    pub(super) url: String,
    /// Whoever has it may come in.
    pub(super) token: String,
}

/// The right to keep the nats-server. The system takes it back when the process ends, however it does.
#[derive(Debug)]
pub(super) struct Right(#[expect(dead_code, reason = "the lock goes with the file")] File);

impl Meeting {
    pub(super) fn open() -> Result<Self, String> {
        Ok(Self {
            folder: state::folder()?,
        })
    }

    /// The nats-server's own folder, only for its owner's eyes.
    pub(super) fn server_folder(&self) -> Result<PathBuf, String> {
        let folder = self.folder.join("mesh");
        let made = DirBuilder::new()
            .recursive(true)
            .mode(0o700)
            .create(&folder);
        made.map_err(|error| format!("the folder {} cannot be made: {error}", folder.display()))?;
        Ok(folder)
    }

    /// The right to keep the server, where nobody has it.
    pub(super) fn try_keep(&self) -> Result<Option<Right>, String> {
        let path = self.folder.join("mesh.lock");
        let explain =
            |error: std::io::Error| format!("{} cannot be locked: {error}", path.display());
        let mut options = OpenOptions::new();
        let options = options.create(true).truncate(false).write(true).mode(0o600);
        let file = options.open(&path).map_err(explain)?;
        match flock(&file, FlockOperation::NonBlockingLockExclusive) {
            Ok(()) => Ok(Some(Right(file))),
            Err(Errno::WOULDBLOCK) => Ok(None),
            Err(error) => Err(explain(error.into())),
        }
    }

    /// Somebody keeps it.
    pub(super) fn is_kept(&self) -> Result<bool, String> {
        Ok(self.try_keep()?.is_none())
    }

    /// What was written down last.
    pub(super) fn found(&self) -> Option<Found> {
        let text = fs::read(self.folder.join("mesh.json")).ok()?;
        serde_json::from_slice(&text).ok()
    }

    /// Writes down where the server is. Only the user can read it, for it holds the token.
    pub(super) fn tell(&self, found: &Found) -> Result<(), String> {
        let path = self.folder.join("mesh.json");
        let aside = path.with_extension("new");
        let write = || {
            let _ = fs::remove_file(&aside);
            let mut options = OpenOptions::new();
            let mut file = options
                .write(true)
                .create_new(true)
                .mode(0o600)
                .open(&aside)?;
            file.write_all(&serde_json::to_vec(found)?)?;
            fs::rename(&aside, &path)
        };
        write().map_err(|error| format!("{} cannot be written: {error}", path.display()))
    }
}
