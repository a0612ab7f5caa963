//! One server of interpreters: the process that has imported the modules, and the slots that were forked from it.

use std::fs::DirBuilder;
use std::io;
use std::os::fd::AsFd;
use std::os::unix::fs::DirBuilderExt;
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use serde::Deserialize;
use serde_json::json;
use tokio_util::sync::{CancellationToken, DropGuard};
use tokio_util::task::TaskTracker;
use uuid::Uuid;

use super::setup::Setup;
use super::wire::Wire;
use crate::process::{Child, Tail};

/// How long the modules may take to be imported: the largest packages take some ten seconds on a busy machine.
const READY_WITHIN: Duration = Duration::from_secs(120);

/// A server that runs. When nobody holds it any more, its process ends with all that descends from it.
#[derive(Debug)]
pub(super) struct Server {
    /// Where slots are asked for, one at a time.
    asking: tokio::sync::Mutex<Wire>,
    /// Slots that run no call.
    idle: Mutex<Vec<Wire>>,
    kept: usize,
    folder: PathBuf,
    gone: CancellationToken,
    _held: DropGuard,
}

/// What a server says.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(super) enum News {
    /// It has imported the modules, and is this process.
    Ready(u32),
    /// It cannot serve.
    Error(String),
    /// This file is another one than the one that was imported.
    Changed(String),
}

impl Server {
    /// Starts one, and waits until it has imported the modules. On the wire it says what changes, until it is gone.
    pub(super) async fn start(
        setup: &Setup,
        tasks: &TaskTracker,
    ) -> Result<(Arc<Self>, Wire), String> {
        let folder = private_folder().map_err(|error| error.to_string())?;
        let command = setup.command(&folder);
        let failed = |why: String| format!("{command}: {why}");
        let started = command.start_serving(&folder).await;
        let (child, tail, socket) = started.map_err(|error| {
            // Perhaps there never was a warden to remove it.
            let _ = std::fs::remove_dir_all(&folder);
            failed(format!("it could not be started: {error}"))
        })?;
        let (gone, held) = (CancellationToken::new(), CancellationToken::new());
        tasks.spawn(guard(child, held.clone(), gone.clone()));
        let _held = held.drop_guard();
        let mut news = Wire::new(socket).map_err(|error| failed(error.to_string()))?;
        let ready = ready(&mut news, &gone, &tail);
        let pid = ready.await.map_err(failed)?;
        tracing::info!(server = &*setup.name, pid, "interpreters are kept ready");
        let server = Self {
            asking: tokio::sync::Mutex::new(news.sender()),
            idle: Mutex::default(),
            kept: setup.settings.processes,
            folder,
            gone,
            _held,
        };
        Ok((Arc::new(server), news))
    }

    /// Its process has ended.
    pub(super) fn is_gone(&self) -> bool {
        self.gone.is_cancelled()
    }

    /// A folder of its own for a call. What is left of it goes with the server.
    pub(super) fn call_folder(&self) -> PathBuf {
        self.folder.join(Uuid::new_v4().to_string())
    }

    /// A slot that runs no call: one that has run others, or a new one.
    pub(super) async fn slot(&self) -> io::Result<Wire> {
        let idle = self
            .idle
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .pop();
        if let Some(idle) = idle {
            return Ok(idle);
        }
        let (ours, theirs) = UnixStream::pair()?;
        let asking = self.asking.lock().await;
        asking
            .send(&json!({"slot": true}), &[theirs.as_fd()])
            .await?;
        Wire::new(ours)
    }

    /// Takes back a slot whose call is over. One that is dropped instead ends, and its call with it.
    pub(super) fn take_back(&self, slot: Wire) {
        let mut idle = self.idle.lock().unwrap_or_else(PoisonError::into_inner);
        if idle.len() < self.kept {
            idle.push(slot);
        }
    }
}

/// Holds the process until it ends, or until nobody holds the server.
async fn guard(mut child: Child, held: CancellationToken, gone: CancellationToken) {
    let released = tokio::select! {
        _ = child.ended() => false,
        () = held.cancelled() => true,
    };
    if released {
        child.end().await;
    }
    gone.cancel();
}

/// Waits for a server's first word.
async fn ready(news: &mut Wire, gone: &CancellationToken, tail: &Tail) -> Result<u32, String> {
    match tokio::time::timeout(READY_WITHIN, news.receive()).await {
        Ok(Ok(Some(News::Ready(pid)))) => Ok(pid),
        Ok(Ok(Some(News::Error(why)))) => Err(why),
        Ok(_) => {
            gone.cancelled().await;
            let last = tail.text();
            let last = last.unwrap_or_else(|| "without a word on stderr".to_owned());
            Err(format!("it ended before it was ready: {last}"))
        }
        Err(_) => Err(format!(
            "the modules were not imported within {READY_WITHIN:?}"
        )),
    }
}

/// A new folder that nobody else may look into.
fn private_folder() -> io::Result<PathBuf> {
    let folder = std::env::temp_dir().join(format!("toolbus-warm-{}", Uuid::new_v4()));
    make(&folder)?;
    Ok(folder)
}

/// Makes a folder that nobody else may look into.
pub(super) fn make(folder: &Path) -> io::Result<()> {
    let made = DirBuilder::new().mode(0o700).create(folder);
    let shown = folder.display();
    made.map_err(|error| io::Error::other(format!("the working folder {shown}: {error}")))
}
