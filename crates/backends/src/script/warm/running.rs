//! A call in a slot: handed over with its pipes, and watched until nothing of it is left.

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use serde::{Deserialize, Serialize};
use serde_json::json;
use tokio::net::unix::pipe::{Receiver, Sender};
use tokio::time::timeout;

use super::line::Invocation;
use super::server::Server;
use super::wire::Wire;
use crate::process::{Ended, Limits};
use crate::script::process::Streams;

/// How long a slot may take to begin a call: it forks for it, also on a machine that does much else.
const BEGIN_WITHIN: Duration = Duration::from_secs(10);

/// How long a slot may take to end a call: the grace of what runs, the hunt of what it started, and a little more.
const END_WITHIN: Duration = Duration::from_secs(12);

/// A call, in the words of `toolbus.warm`.
#[derive(Debug, Serialize)]
pub(super) struct Request<'a> {
    #[serde(flatten)]
    invocation: &'a Invocation,
    env: BTreeMap<&'a str, &'a str>,
    cwd: &'a Path,
    limits: BTreeMap<&'static str, u64>,
    /// Removed when the call is over.
    folder: Option<&'a Path>,
}

/// What a slot says of a call.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "lowercase")]
enum Said {
    /// It began, in this process.
    Began(u32),
    /// It could not begin.
    Failed(String),
    /// It ended, as wardens say it, and nothing of it is left.
    Ended(String),
}

/// A call that runs. Dropping it ends it and everything it started.
#[derive(Debug)]
pub(in crate::script) struct Running {
    /// None once its slot is gone.
    slot: Option<Wire>,
    server: Arc<Server>,
}

/// Why a call did not begin.
#[derive(Debug)]
pub(super) enum NotBegun {
    /// The server or the slot could not take it: another one can.
    Elsewhere(io::Error),
    /// It cannot be begun anywhere.
    Failed(io::Error),
}

impl From<io::Error> for NotBegun {
    fn from(error: io::Error) -> Self {
        Self::Elsewhere(error)
    }
}

impl<'a> Request<'a> {
    /// A request. None where its environment is not text.
    pub(super) fn new(
        invocation: &'a Invocation,
        env: &'a [(OsString, OsString)],
        cwd: &'a Path,
        limits: &Limits,
        folder: Option<&'a Path>,
    ) -> Option<Self> {
        let env = env
            .iter()
            .map(|(name, value)| Some((name.to_str()?, value.to_str()?)));
        let limits = limits.named().into_iter();
        Some(Self {
            invocation,
            env: env.collect::<Option<_>>()?,
            cwd,
            limits: limits
                .filter_map(|(name, limit)| Some((name, limit?)))
                .collect(),
            folder,
        })
    }
}

impl Running {
    /// Has a call begun by a server.
    pub(super) async fn begin(
        server: Arc<Server>,
        request: &Request<'_>,
    ) -> Result<(Self, Streams), NotBegun> {
        let mut slot = server.slot().await?;
        let (its_stdin, stdin) = io::pipe()?;
        let (stdout, its_stdout) = io::pipe()?;
        let (stderr, its_stderr) = io::pipe()?;
        let (side, its_side) = io::pipe()?;
        let streams = Streams {
            stdin: Sender::from_owned_fd(OwnedFd::from(stdin))?,
            stdout: Box::new(Receiver::from_owned_fd(OwnedFd::from(stdout))?),
            stderr: Box::new(Receiver::from_owned_fd(OwnedFd::from(stderr))?),
            side: Receiver::from_owned_fd(OwnedFd::from(side))?,
        };
        let theirs = [
            its_stdin.as_fd(),
            its_stdout.as_fd(),
            its_stderr.as_fd(),
            its_side.as_fd(),
        ];
        slot.send(request, &theirs).await?;
        let late = |_| io::Error::other("the slot did not begin in time");
        let said = timeout(BEGIN_WITHIN, slot.receive())
            .await
            .map_err(late)??;
        match said {
            Some(Said::Began(pid)) => {
                tracing::trace!(pid, "a call began at an interpreter that was kept ready");
                let slot = Some(slot);
                Ok((Self { slot, server }, streams))
            }
            // Of what could be wrong by now the working folder is the likeliest.
            Some(Said::Failed(why)) => Err(NotBegun::Failed(io::Error::new(
                io::ErrorKind::NotFound,
                why,
            ))),
            // It ended before it could say that it began: killed from outside, perhaps for want of memory.
            Some(Said::Ended(_)) | None => Err(io::Error::other("the slot is gone").into()),
        }
    }

    /// Waits until the call and everything it started is gone.
    pub(in crate::script) async fn ended(&mut self) -> Ended {
        let Some(slot) = &mut self.slot else {
            return Ended::Lost;
        };
        let said = loop {
            match slot.receive().await {
                Ok(Some(Said::Ended(verdict))) => break Some(verdict),
                Ok(Some(Said::Began(_) | Said::Failed(_))) => {}
                Ok(None) | Err(_) => break None,
            }
        };
        let slot = self.slot.take();
        match (said, slot) {
            (Some(verdict), Some(slot)) => {
                self.server.take_back(slot);
                Ended::parse(&verdict)
            }
            _ => Ended::Lost,
        }
    }

    /// Has the call and everything it started ended, and waits for it.
    pub(in crate::script) async fn end(mut self) -> Ended {
        if let Some(slot) = &self.slot {
            // A slot that is gone has ended it.
            let _ = slot.send(&json!({"end": true}), &[]).await;
        }
        timeout(END_WITHIN, self.ended())
            .await
            .unwrap_or(Ended::Lost)
    }
}
