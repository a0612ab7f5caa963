//! Calls whose servers wait for an answer of the caller: they go on when the caller asks again with it.

use std::collections::HashMap;
use std::sync::{Mutex, MutexGuard};
use std::time::Duration;

use tokio::time::Instant;
use toolbus_model::{Caller, Error, Request};
use uuid::Uuid;

use super::asked::Conversation;
use super::lock;

/// Parked calls of one server at once: as many as the calls that a server gets at once. Each holds a task, and a place
/// at the server.
const MAX_PARKED: usize = 256;

/// How our states begin, so that they are told from a server's own.
const PREFIX: &str = "parked-";

/// The parked calls of one server, by the state that their callers bring back.
#[derive(Debug)]
pub(super) struct Parked {
    calls: Mutex<HashMap<String, Waiting>>,
    patience: Duration,
}

#[derive(Debug)]
struct Waiting {
    conversation: Conversation,
    until: Instant,
}

impl Parked {
    pub(super) fn new(patience: Duration) -> Self {
        Self {
            calls: Mutex::default(),
            patience,
        }
    }

    /// Parks a call: the state by which it is found again. Without a place it is given back.
    pub(super) fn park(&self, conversation: Conversation) -> Result<String, Box<Conversation>> {
        let mut calls = self.calls();
        if calls.len() >= MAX_PARKED {
            return Err(Box::new(conversation));
        }
        let state = format!("{PREFIX}{}", Uuid::now_v7().simple());
        let until = Instant::now() + self.patience;
        calls.insert(
            state.clone(),
            Waiting {
                conversation,
                until,
            },
        );
        Ok(state)
    }

    /// A call is parked that this request goes on with.
    pub(super) fn holds(&self, request: &Request) -> bool {
        let state = request.params.str("requestState").unwrap_or_default();
        state.starts_with(PREFIX) && self.calls().contains_key(&*state)
    }

    /// The parked call that this request goes on with; none where it is a request of another kind.
    pub(super) fn take(
        &self,
        request: &Request,
        caller: &Caller,
    ) -> Result<Option<Conversation>, Error> {
        let state = request.params.str("requestState").unwrap_or_default();
        if !state.starts_with(PREFIX) {
            return Ok(None);
        }
        let mut calls = self.calls();
        let own = calls
            .get(&*state)
            .filter(|call| call.conversation.is_of(caller));
        let found = own.is_some().then(|| calls.remove(&*state)).flatten();
        found.map(|waiting| Some(waiting.conversation)).ok_or_else(|| {
            let minutes = self.patience.as_secs().div_ceil(60);
            Error::StateLost(format!(
                "No call waits for these answers: it was answered already, or its caller took longer than {minutes} min, \
                 or it ended with its server. Make the request anew, without requestState"
            ))
        })
    }

    /// Lets go of the calls whose callers took too long.
    pub(super) fn sweep(&self) {
        let now = Instant::now();
        let overdue: Vec<_> = self
            .calls()
            .extract_if(|_, call| call.until <= now)
            .collect();
        for (state, _) in overdue {
            tracing::info!(
                state,
                "a caller did not answer in time; its call is cancelled"
            );
        }
    }

    pub(super) fn is_empty(&self) -> bool {
        self.calls().is_empty()
    }

    /// Lets go of all.
    pub(super) fn clear(&self) {
        self.calls().clear();
    }

    fn calls(&self) -> MutexGuard<'_, HashMap<String, Waiting>> {
        lock(&self.calls)
    }
}
