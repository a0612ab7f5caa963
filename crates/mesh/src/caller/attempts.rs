//! The dispatches of one call.

use std::sync::Arc;

use super::gather::Gather;
use crate::catalog::peer::{AtWork, Peer};

/// One dispatch.
#[derive(Debug)]
pub(super) struct Attempt {
    pub(super) number: u32,
    /// The worker, once it is known.
    pub(super) worker: Option<Arc<str>>,
    pub(super) gather: Gather,
    /// Its worker was told that nobody wants it any more.
    pub(super) is_cancelled: bool,
    at_work: Option<AtWork>,
}

/// The dispatches that may still bring something.
#[derive(Debug, Default)]
pub(super) struct Attempts(Vec<Attempt>);

impl Attempts {
    /// A dispatch to a worker that was chosen, or to whoever takes it.
    pub(super) fn begin(&mut self, number: u32, peer: Option<&Arc<Peer>>) {
        self.0.push(Attempt {
            number,
            worker: peer.map(|peer| Arc::clone(&peer.id)),
            gather: Gather::default(),
            is_cancelled: false,
            at_work: peer.map(Peer::at_work),
        });
    }

    pub(super) fn get(&mut self, number: u32) -> Option<&mut Attempt> {
        self.0.iter_mut().find(|attempt| attempt.number == number)
    }

    /// Nothing comes from this one any more. Answers its worker.
    pub(super) fn end(&mut self, number: u32) -> Option<Attempt> {
        let at = self.0.iter().position(|attempt| attempt.number == number)?;
        Some(self.0.swap_remove(at))
    }

    /// Those that nobody wants any more: their workers are to be told.
    pub(super) fn unwanted(&mut self, wanted: Option<u32>) -> Vec<(u32, Arc<str>)> {
        let mut unwanted = Vec::new();
        for attempt in &mut self.0 {
            if Some(attempt.number) != wanted
                && !attempt.is_cancelled
                && let Some(worker) = &attempt.worker
            {
                attempt.is_cancelled = true;
                unwanted.push((attempt.number, Arc::clone(worker)));
            }
        }
        unwanted
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = &Attempt> {
        self.0.iter()
    }
}

impl Attempt {
    /// The worker, where it was chosen here.
    pub(super) fn peer(&self) -> Option<&Arc<Peer>> {
        self.at_work.as_ref().map(AtWork::peer)
    }
}
