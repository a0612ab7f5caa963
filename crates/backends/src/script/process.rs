//! The process of a run, whichever way it was had, and its pipes.

use tokio::io::AsyncRead;
use tokio::net::unix::pipe::{Receiver, Sender};

use super::warm::Running;
use crate::process::{self, Child, Ended};

/// The process of a run. Dropping it ends it and everything it started.
#[derive(Debug)]
pub(super) enum Process {
    /// Started for it.
    New(Box<Child>),
    /// Forked from, or being, one that was ready.
    Ready(Box<Running>),
}

/// The pipes to the process of a run.
pub(super) struct Streams {
    pub(super) stdin: Sender,
    pub(super) stdout: Box<dyn AsyncRead + Send + Unpin>,
    pub(super) stderr: Box<dyn AsyncRead + Send + Unpin>,
    /// Its descriptor 3.
    pub(super) side: Receiver,
}

impl Process {
    /// Waits until it and everything it started is gone.
    pub(super) async fn ended(&mut self) -> Ended {
        match self {
            Self::New(child) => child.ended().await,
            Self::Ready(running) => running.ended().await,
        }
    }

    /// Has it and everything it started ended, and waits for it.
    pub(super) async fn end(self) -> Ended {
        match self {
            Self::New(child) => child.end().await,
            Self::Ready(running) => running.end().await,
        }
    }
}

impl Streams {
    /// Those of a child. Our own hold on its stdin is let go: with it a write would wait for a child that never reads.
    pub(super) fn of_child(streams: process::Streams, side: Receiver) -> Self {
        Self {
            stdin: streams.stdin,
            stdout: Box::new(streams.stdout),
            stderr: Box::new(streams.stderr),
            side,
        }
    }
}
