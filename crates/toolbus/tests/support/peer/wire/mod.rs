//! The ways to a gateway: Streamable HTTP, HTTP+SSE, stdio. What comes back ends up in one queue, with where it came from.

mod follower;
mod older;
mod stdin;
mod streamable;

use std::net::SocketAddr;
use std::process::Command;
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::time::Duration;

use super::revision::Revision;
use older::Sse;
use stdin::Stdin;
use streamable::Streamable;

/// Messages that wait to be looked at; a reader that finds no room waits.
const QUEUE: usize = 1024;

/// Where a message came from.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Origin {
    /// The answer to the POST of this request.
    Call(u64),
    /// The stream of a session that belongs to no request.
    Standalone,
    /// The one channel of stdio and of HTTP+SSE.
    Shared,
}

/// What a reader found.
#[derive(Debug)]
pub enum Arrival {
    Message(Origin, String),
    /// The stream ended. With an event's id it can be taken up again, after so long a pause.
    Ended(Origin, Option<(String, Duration)>),
    /// What no revision allows.
    Trouble(String),
}

/// A way to the gateway.
pub enum Wire {
    Streamable(Streamable),
    Sse(Sse),
    Stdio(Stdin),
}

/// The queue of what arrives.
pub fn queue() -> (SyncSender<Arrival>, Receiver<Arrival>) {
    sync_channel(QUEUE)
}

impl Wire {
    pub fn streamable(
        address: SocketAddr,
        path: &str,
        revision: Revision,
        arrivals: SyncSender<Arrival>,
    ) -> Self {
        Self::Streamable(Streamable::new(address, path, revision, arrivals))
    }

    pub fn sse(address: SocketAddr, arrivals: SyncSender<Arrival>) -> Result<Self, String> {
        Sse::open(address, arrivals).map(Self::Sse)
    }

    pub fn stdio(command: Command, arrivals: SyncSender<Arrival>) -> Result<Self, String> {
        Stdin::start(command, arrivals).map(Self::Stdio)
    }

    /// Sends a request; its answer arrives.
    pub fn request(&mut self, id: u64, text: &str) -> Result<(), String> {
        match self {
            Self::Streamable(wire) => wire.request(id, text),
            Self::Sse(wire) => wire.post(text),
            Self::Stdio(wire) => wire.line(text),
        }
    }

    /// Sends a notification or an answer, which is accepted without one.
    pub fn tell(&mut self, text: &str) -> Result<(), String> {
        match self {
            Self::Streamable(wire) => wire.tell(text),
            Self::Sse(wire) => wire.post(text),
            Self::Stdio(wire) => wire.line(text),
        }
    }

    /// Opens a session with `initialize`, and returns the answer.
    pub fn open_session(&mut self, text: &str) -> Result<Option<String>, String> {
        match self {
            Self::Streamable(wire) => wire.open_session(text).map(Some),
            Self::Sse(_) | Self::Stdio(_) => Ok(None),
        }
    }

    /// Opens the stream of a session that belongs to no request, where there is such a thing.
    pub fn listen(&mut self) -> Result<(), String> {
        match self {
            Self::Streamable(wire) => wire.listen(),
            Self::Sse(_) | Self::Stdio(_) => Ok(()),
        }
    }

    /// Takes up a stream again that broke off.
    pub fn resume(&mut self, origin: Origin, last: String, pause: Duration) {
        if let Self::Streamable(wire) = self {
            wire.resume(origin, last, pause);
        }
    }

    /// Closes the connection of a request, which is how a client of 2026-07-28 cancels over HTTP. `false`: this wire has none.
    pub fn hang_up(&mut self, id: u64) -> bool {
        match self {
            Self::Streamable(wire) => {
                wire.hang_up(id);
                true
            }
            Self::Sse(_) | Self::Stdio(_) => false,
        }
    }
}

fn said(error: std::io::Error) -> String {
    error.to_string()
}
