//! One request of the wire, from its headers to its last frame.

use std::panic::AssertUnwindSafe;
use std::sync::Arc;
use std::sync::atomic::Ordering;

use futures_util::FutureExt as _;
use toolbus_model::{Cause, Error};

use super::calls::Entered;
use super::conduct;
use super::intake::Job;
use super::terminal::{Terminal, id_of};
use super::{Shared, listen};
use crate::frame::{Ask, Frame, Malformed, Start};

/// What a caller is told of a panic.
pub(super) const PANICKED: &str = "a back end panicked; the worker's log says where";

/// Serves one request.
pub(super) async fn handle(shared: Arc<Shared>, job: Job) {
    let Job {
        message,
        place,
        arrived,
        pass,
    } = job;
    let Some(reply) = &message.reply else {
        tracing::debug!(
            subject = message.subject,
            "a request that nobody waits for is not run"
        );
        return;
    };
    let ask = match Ask::read(&message.headers) {
        Ok(ask) => ask,
        Err(Malformed(why)) => {
            let error = Error::InvalidRequest(format!("Invalid request: {why}"));
            return shared.answer(reply, 1, Terminal::err(&id_of(&message.payload), &error));
        }
    };
    let listens = ask.method == listen::METHOD;
    let running = match shared.calls.enter(&ask, reply, arrived, listens) {
        Entered::New(running) => running,
        Entered::Adopted(running) => return shared.greet(&running),
        // The attempt that came first is answered.
        Entered::Duplicate => return,
        Entered::HasRun => {
            let error = has_run(&ask);
            let terminal = Terminal::err(&id_of(&message.payload), &error);
            return shared.answer(reply, ask.attempt, terminal);
        }
    };
    if shared.rests.load(Ordering::SeqCst) {
        shared.wake.notify_one();
    }
    let id = ask.call;
    let body = message.payload.clone();
    let work = conduct::conduct(&shared, &running, ask, &message, &place);
    let terminal = AssertUnwindSafe(work).catch_unwind().await;
    let terminal = terminal.unwrap_or_else(|_| {
        tracing::error!(call = %id, "{PANICKED}");
        Terminal::err(&id_of(&body), &Error::Internal(PANICKED.to_owned()))
    });
    shared.deliver(&running, terminal).await;
    shared.calls.leave(&running);
    drop(pass);
}

fn has_run(ask: &Ask) -> Error {
    let cause = Cause::new(format!(
        "the call {} has run at this worker, and its answer is gone; it is not run again",
        ask.call
    ));
    Error::OutcomeUnknown(cause.into())
}

impl Shared {
    /// Says of a call that is here already how it is, to the attempt that it answers from now on.
    fn greet(&self, running: &super::calls::Running) {
        let state = running.state();
        let frame = match running.start {
            Start::Claim => Frame::Claim,
            Start::Direct => Frame::Ack,
        };
        self.sign(running.id, &state, frame, None);
    }
}
