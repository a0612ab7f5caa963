//! Receipts that could not be sent yet, as lines of a file that outlives the process.

use std::fs::File;
use std::io;
use std::path::{Path, PathBuf};

use tokio::fs::{self, OpenOptions};
use tokio::io::AsyncWriteExt as _;
use toolbus_protocol::capability::Receipt;

/// The largest file, in bytes: some 50,000 receipts.
pub(super) const LARGEST: u64 = 16 * 1024 * 1024;

/// Processes that share one folder, each with a file of its own.
const SHARERS: usize = 16;

/// The file. A lock beside it keeps other processes away from it for as long as this is held.
#[derive(Debug)]
pub(super) struct Spool {
    path: PathBuf,
    size: u64,
    _lock: File,
}

impl Spool {
    /// The first file of a folder that no other process has; what it holds was left by an earlier one.
    pub(super) fn open(folder: &Path) -> io::Result<Self> {
        for number in 0..SHARERS {
            let lock = folder.join(format!("receipts-{number}.lock"));
            let mut options = File::options();
            options.create(true).truncate(false).write(true);
            std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
            let lock = options.open(lock)?;
            if lock.try_lock().is_err() {
                continue;
            }
            let path = folder.join(format!("receipts-{number}.jsonl"));
            let size = path.metadata().map_or(0, |file| file.len());
            return Ok(Self {
                path,
                size,
                _lock: lock,
            });
        }
        Err(io::Error::other(
            "16 other processes keep receipts in this folder",
        ))
    }

    pub(super) fn is_empty(&self) -> bool {
        self.size == 0
    }

    /// Bytes that it holds.
    pub(super) fn size(&self) -> u64 {
        self.size
    }

    /// Drops the older half where it is full.
    pub(super) async fn make_room(&mut self) -> io::Result<()> {
        if self.size < LARGEST {
            return Ok(());
        }
        let all = self.read().await?;
        let (older, newer) = all.split_at(all.len() / 2);
        tracing::warn!(
            dropped = older.len(),
            "the oldest receipts are dropped: no stream took them"
        );
        self.keep(newer).await
    }

    /// Adds receipts.
    pub(super) async fn append(&mut self, receipts: &[Receipt]) -> io::Result<()> {
        let lines = lines(receipts);
        let mut options = OpenOptions::new();
        let mut file = options
            .create(true)
            .append(true)
            .mode(0o600)
            .open(&self.path)
            .await?;
        file.write_all(&lines).await?;
        file.flush().await?;
        self.size += lines.len() as u64;
        Ok(())
    }

    /// Everything that it holds. A line that broke off with its process is left out.
    pub(super) async fn read(&self) -> io::Result<Vec<Receipt>> {
        let text = match fs::read(&self.path).await {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
            text => text?,
        };
        let lines = text.split(|byte| *byte == b'\n');
        Ok(lines
            .filter_map(|line| serde_json::from_slice(line).ok())
            .collect())
    }

    /// Holds only these from now on. The file is never seen half written.
    pub(super) async fn keep(&mut self, receipts: &[Receipt]) -> io::Result<()> {
        let lines = lines(receipts);
        let aside = self.path.with_extension("new");
        let mut options = OpenOptions::new();
        options.create(true).truncate(true).write(true).mode(0o600);
        let mut file = options.open(&aside).await?;
        file.write_all(&lines).await?;
        file.flush().await?;
        fs::rename(&aside, &self.path).await?;
        self.size = lines.len() as u64;
        Ok(())
    }
}

fn lines(receipts: &[Receipt]) -> Vec<u8> {
    let mut lines = Vec::new();
    for receipt in receipts {
        // Writing to memory cannot fail.
        let _ = serde_json::to_writer(&mut lines, receipt);
        lines.push(b'\n');
    }
    lines
}
