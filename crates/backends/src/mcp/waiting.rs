//! Requests that wait for their answers, and who is meant by what a server says meanwhile on a stream that all share.

use std::collections::HashMap;
use std::sync::Mutex;

use tokio::sync::oneshot;
use toolbus_model::{Error, Object};
use toolbus_protocol::{Envelope, Reply, meta};

use super::ear::{Ear, REQUEST, refusal};
use super::lock;
use super::news::News;

/// Questions that are kept for the first call.
const MAX_EARLY: usize = 8;

/// The requests of one session, by id.
#[derive(Debug, Default)]
pub(super) struct Waiting {
    table: Mutex<HashMap<u64, Waiter>>,
    /// Questions that came before the first call, where they are kept for it. Some servers ask for roots at once.
    early: Mutex<Option<Vec<Envelope>>>,
}

#[derive(Debug)]
struct Waiter {
    answer: oneshot::Sender<Result<Object, Error>>,
    ear: Option<Ear>,
    /// Where the request ends in all that is written to a child; none while it waits to be written.
    ends_at: Option<u64>,
}

/// One request's wait. Dropped, it is over: whatever ends it, nobody must stay in the table.
#[derive(Debug)]
pub(super) struct Wait<'a> {
    waiting: &'a Waiting,
    id: u64,
    answer: oneshot::Receiver<Result<Object, Error>>,
}

impl Waiting {
    pub(super) fn enter(&self, id: u64, ear: Option<Ear>) -> Wait<'_> {
        let (sender, answer) = oneshot::channel();
        let waiter = Waiter {
            answer: sender,
            ear,
            ends_at: None,
        };
        lock(&self.table).insert(id, waiter);
        Wait {
            waiting: self,
            id,
            answer,
        }
    }

    /// A request was written to a child, up to here in all that was written.
    pub(super) fn written(&self, id: u64, ends_at: u64) {
        if let Some(waiter) = lock(&self.table).get_mut(&id) {
            waiter.ends_at = Some(ends_at);
        }
    }

    /// Hands an answer to whoever waits for it.
    pub(super) fn answered(&self, reply: Reply) {
        let id = reply.id.as_ref().and_then(|id| id.read::<u64>().ok());
        match id.and_then(|id| lock(&self.table).remove(&id)) {
            // The caller may have gone in this moment, which is its right.
            Some(waiter) => drop(waiter.answer.send(reply.result)),
            None => tracing::debug!(?id, "an answer that nobody waits for"),
        }
    }

    /// Takes what the server says beside its answers, on the stream of the request that `own` belongs to, or on one that
    /// all share. Answers with what is to be sent back at once.
    pub(super) fn told(&self, said: &Envelope, own: Option<&Ear>, news: &News) -> Option<Vec<u8>> {
        let ear = own.cloned().or_else(|| self.ear(said));
        let is_stray = ear.is_none() && said.meta.get(meta::SUBSCRIPTION).is_some();
        if is_stray && said.id.is_none() {
            // The end of a listen and its last notices can cross.
            return None;
        }
        if !matches!(ear, Some(Ear::Changes(_))) && news.take(said) {
            return None;
        }
        match (ear, &said.id) {
            (Some(ear), _) => ear.hear(said),
            (None, Some(id)) if !self.keep(said) => Some(refusal(id, &said.method)),
            (None, _) => None,
        }
    }

    /// Who is to hear this. Progress and notices of a subscription name their request, as do log lines of our SDK; with several calls under way
    /// anything else could reach the wrong caller.
    fn ear(&self, said: &Envelope) -> Option<Ear> {
        let table = lock(&self.table);
        let named = match said.method.as_str() {
            "notifications/progress" => said.params.raw(meta::PROGRESS),
            "notifications/message" if said.meta.get(REQUEST).is_some() => said.meta.raw(REQUEST),
            _ => said.meta.raw(meta::SUBSCRIPTION),
        };
        if let Some(id) = named {
            return table.get(&id.read().ok()?)?.ear.clone();
        }
        let mut calls = table
            .values()
            .filter_map(|waiter| waiter.ear.as_ref())
            .filter(|ear| !matches!(ear, Ear::Changes(_)));
        let only = calls.next()?;
        calls.next().is_none().then(|| only.clone())
    }

    /// From now on questions are kept for the first call.
    pub(super) fn hold_questions(&self) {
        *lock(&self.early) = Some(Vec::new());
    }

    /// The first call hears what was kept for it. Answers with what is to be sent back at once.
    pub(super) fn hear_early(&self, ear: &Ear) -> Vec<Vec<u8>> {
        let early = lock(&self.early).take();
        early
            .iter()
            .flatten()
            .filter_map(|said| ear.hear(said))
            .collect()
    }

    /// Keeps a question for the first call, where there was none yet.
    fn keep(&self, said: &Envelope) -> bool {
        let mut early = lock(&self.early);
        let room = early.as_mut().filter(|early| early.len() < MAX_EARLY);
        room.filter(|_| said.id.is_some() && said.method != "ping")
            .map(|early| early.push(said.clone()))
            .is_some()
    }

    /// Everyone who waits learns that nothing will come; the error may depend on where a request ended.
    pub(super) fn fail(&self, error: impl Fn(Option<u64>) -> Error) {
        for (_, waiter) in lock(&self.table).drain() {
            let _ = waiter.answer.send(Err(error(waiter.ends_at)));
        }
    }
}

impl Wait<'_> {
    /// The answer; nothing where it was taken before.
    pub(super) async fn answer(&mut self) -> Option<Result<Object, Error>> {
        (&mut self.answer).await.ok()
    }
}

impl Drop for Wait<'_> {
    fn drop(&mut self) {
        lock(&self.waiting.table).remove(&self.id);
    }
}
