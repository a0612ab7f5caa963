//! A process for each run: started for it, and gone with it.

use std::fs::DirBuilder;
use std::io;
use std::os::unix::fs::DirBuilderExt;
use std::path::PathBuf;
use std::pin::pin;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use bytes::Bytes;
use futures_util::FutureExt;
use futures_util::future::FusedFuture;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWriteExt};
use tokio::net::unix::pipe::Sender;
use tokio::time::{sleep, timeout};
use toolbus_model::{BoxFuture, Call, Cause, Error, Line, Object};
use uuid::Uuid;

use super::process::{Process, Streams};
use super::run::{End, Order, Ran, Runs};
use super::side;
use super::spec::{RunSpec, Tool};
use super::warm::Warm;
use crate::process::{Command, Confined, Ended, Tail};

/// How long what is still in the pipes is read after everything that wrote to them is gone. Only a pipe that was handed to
/// a stranger is open then.
const LAST_WORDS: Duration = Duration::from_secs(2);

/// A process for each run.
#[derive(Debug, Default)]
pub(super) struct Cold;

impl Runs for Cold {
    fn run<'a>(&'a self, order: Order, call: &'a Call) -> BoxFuture<'a, Result<Ran, Error>> {
        Box::pin(async move {
            let line = Some(call.line());
            execute(
                None,
                &order.tool.run,
                &order.arguments,
                line,
                call.cancelled(),
            )
            .await
        })
    }

    fn renew(&self, _tools: &[Arc<Tool>]) {
        // Each run reads its script anew.
    }

    fn stop(&self) -> BoxFuture<'_, ()> {
        Box::pin(std::future::ready(()))
    }
}

/// Why a run is over.
enum Over {
    Ended(Ended),
    Timeout(Duration),
    Output,
    Stopped,
}

/// What a run has said so far.
#[derive(Debug, Default)]
struct Said {
    stdout: Mutex<Vec<u8>>,
    stderr: Tail,
}

/// More was written than may be.
struct TooMuch;

/// Has a process, a new one or one that is ready, and sees it to its end, or to its being stopped.
pub(super) async fn execute(
    warm: Option<&Warm>,
    spec: &RunSpec,
    arguments: &Object,
    to: Option<&Line>,
    stop: impl Future<Output = ()>,
) -> Result<Ran, Error> {
    let (line, stdin) = spec.line.with(arguments)?;
    let mut command = Command {
        line,
        env: spec.env.clone(),
        cwd: spec.cwd.clone(),
    };
    let shown = command.shown();
    let begun = begin(warm, &mut command, spec).await;
    let (mut process, streams) = begun.map_err(|error| not_started(&shown, &error))?;
    let said = Said::default();
    let over = {
        let limit = spec.limits.output;
        let mut talk = pin!(said.talk(stdin, streams, to, limit).fuse());
        let over = tokio::select! {
            ended = process.ended() => Over::Ended(ended),
            Err(TooMuch) = &mut talk => Over::Output,
            limit = elapsed(spec.limits.timeout) => Over::Timeout(limit),
            () = stop => Over::Stopped,
        };
        let over = settle(over, process).await;
        if !talk.is_terminated()
            && timeout(LAST_WORDS, &mut talk)
                .await
                .is_ok_and(|t| t.is_err())
        {
            Over::Output
        } else {
            over
        }
    };
    let end = match over {
        Over::Ended(ended) => End::Ended(ended),
        Over::Timeout(limit) => End::Timeout(limit),
        Over::Output => End::Output(spec.limits.output),
        Over::Stopped => return Err(stopped(shown, &said)),
    };
    Ok(Ran {
        end,
        stdout: said.take(),
        stderr: said.stderr.text(),
        command: shown,
    })
}

/// Has the process, in a folder of its own where no other is given.
async fn begin(
    warm: Option<&Warm>,
    command: &mut Command,
    spec: &RunSpec,
) -> io::Result<(Process, Streams)> {
    if let Some(warm) = warm
        && let Some((running, streams)) = warm.start(command, spec).await?
    {
        return Ok((Process::Ready(running.into()), streams));
    }
    let mut confined = Confined {
        limits: spec.limits.process,
        folder: None,
    };
    if command.cwd.is_none() {
        let folder = private_folder()?;
        command.in_own_folder(&folder);
        confined.folder = Some(folder);
    }
    let begun = command.start_confined(&confined).await;
    if let (Err(_), Some(folder)) = (&begun, confined.folder) {
        // Perhaps there never was a warden to remove it.
        let _ = std::fs::remove_dir_all(folder);
    }
    let (child, streams, side) = begun?;
    Ok((Process::New(child.into()), Streams::of_child(streams, side)))
}

/// A new folder that nobody else may look into.
fn private_folder() -> io::Result<PathBuf> {
    let folder = std::env::temp_dir().join(format!("toolbus-call-{}", Uuid::new_v4()));
    let made = DirBuilder::new().mode(0o700).create(&folder);
    let shown = folder.display();
    made.map_err(|error| io::Error::other(format!("the working folder {shown}: {error}")))?;
    Ok(folder)
}

/// Waits until nothing of the process is left.
async fn settle(over: Over, process: Process) -> Over {
    if !matches!(over, Over::Ended(_)) {
        process.end().await;
    }
    over
}

async fn elapsed(limit: Option<Duration>) -> Duration {
    match limit {
        Some(limit) => sleep(limit).await,
        None => std::future::pending().await,
    }
    limit.unwrap_or_default()
}

impl Said {
    /// Writes and reads until all pipes are closed, or too much was said.
    async fn talk(
        &self,
        stdin: Bytes,
        streams: Streams,
        line: Option<&Line>,
        limit: u64,
    ) -> Result<(), TooMuch> {
        let Streams {
            stdin: pipe,
            stdout,
            stderr,
            side,
        } = streams;
        let feed = feed(pipe, stdin).map(Ok);
        let hear = hear(stderr, &self.stderr).map(Ok);
        let follow = side::follow(side, line).map(Ok);
        tokio::try_join!(feed, self.collect(stdout, limit), hear, follow)?;
        Ok(())
    }

    async fn collect(&self, mut from: impl AsyncRead + Unpin, limit: u64) -> Result<(), TooMuch> {
        let mut buffer = vec![0; 16 * 1024];
        while let Ok(count @ 1..) = from.read(&mut buffer).await {
            let mut all = self.stdout.lock().unwrap_or_else(PoisonError::into_inner);
            if (all.len() + count) as u64 > limit {
                return Err(TooMuch);
            }
            all.extend_from_slice(&buffer[..count]);
        }
        Ok(())
    }

    fn take(&self) -> Bytes {
        let mut all = self.stdout.lock().unwrap_or_else(PoisonError::into_inner);
        std::mem::take(&mut *all).into()
    }
}

async fn feed(mut pipe: Sender, stdin: Bytes) {
    // Who does not read it does not want it.
    let _ = pipe.write_all(&stdin).await;
}

async fn hear(mut from: impl AsyncRead + Unpin, tail: &Tail) {
    let mut buffer = vec![0; 4096];
    while let Ok(count @ 1..) = from.read(&mut buffer).await {
        tail.push(&buffer[..count]);
    }
}

fn not_started(command: &Arc<str>, error: &io::Error) -> Error {
    let cause = Cause {
        command: Some(Arc::clone(command)),
        remedy: Some("check the program in `run`, its PATH and its working folder".to_owned()),
        ..Cause::new(format!("the script could not be started: {error}"))
    };
    Error::Unavailable(cause.into())
}

fn stopped(command: Arc<str>, said: &Said) -> Error {
    let cause = Cause {
        command: Some(command),
        status: Some("it was still running, and was ended with all it had started".to_owned()),
        stderr: said.stderr.text(),
        ..Cause::new("the call was stopped")
    };
    Error::OutcomeUnknown(cause.into())
}
