//! Waiting for a call, and what is done about one that does not end although nobody waits for it any more.
//!
//! A back end has five seconds to stop its work (`gateway/deadline.rs`); all of this is done within four.

use std::sync::Arc;
use std::time::Duration;

use pyo3::prelude::*;
use tokio::sync::oneshot;
use tokio::time::timeout;
use toolbus_backends::tools::Job;
use toolbus_model::{Call, Error, Outcome};

use super::{Module, Server, failed, outcome, refused};
use crate::calls::Answer;
use crate::looping::{self, Door, NoLoop};
use crate::pool::{Refused, Run};

/// For a function that looks whether its caller is gone, and for a coroutine to end.
const BY_ITSELF: Duration = Duration::from_secs(1);

/// For one in whose thread an exception was raised.
const INTERRUPTED: Duration = Duration::from_secs(2);

impl Server {
    /// Calls a plain function in a thread of the pool.
    pub(super) async fn in_thread(
        &self,
        module: &Module,
        function: &Arc<Py<PyAny>>,
        job: Job,
        call: &Call,
    ) -> Result<Outcome, Error> {
        let taken = self.pool.run(Arc::clone(function), job.arguments);
        let (run, mut answer) = taken.map_err(|why| self.full(why))?;
        let _abandoned = Abandon(&*run);
        let written = tokio::select! {
            biased;
            written = &mut answer => written,
            () = call.cancelled() => {
                run.abandon();
                return Err(self.stop_thread(module, &run, answer, &job.tool).await);
            }
        };
        let gone =
            |_| self.unavailable("the call did not begin: there is no thread for it any more");
        outcome(written.map_err(gone)?.map_err(failed)?)
    }

    /// Has a function end that nobody waits for. A call that did not begin never does.
    async fn stop_thread(
        &self,
        module: &Module,
        run: &Arc<Run>,
        mut answer: oneshot::Receiver<crate::pool::Written>,
        tool: &str,
    ) -> Error {
        if !run.has_begun() || timeout(BY_ITSELF, &mut answer).await.is_ok() {
            return Error::Cancelled;
        }
        let (interpreter, own) = (module.interpreter, Arc::clone(run));
        interpreter.housekeeper.order(move |py| {
            let interrupt = interpreter.glue(py).map(|glue| glue.interrupt.bind(py));
            if let Err(error) = interrupt.and_then(|interrupt| own.interrupt(interrupt)) {
                tracing::warn!("a thread of Python cannot be interrupted: {error}");
            }
        });
        if timeout(INTERRUPTED, &mut answer).await.is_ok() || !self.pool.give_up(run) {
            let what = format!("{tool} did not end by itself, and was interrupted");
            return Error::OutcomeUnknown(self.cause(what).into());
        }
        let what = format!("{tool} cannot be stopped: its thread is given up, and goes on");
        tracing::warn!(server = self.name, "{what}");
        Error::OutcomeUnknown(self.cause(what).into())
    }

    /// Calls what runs on the event loop: coroutines, what knows of its call, and servers of other packages.
    pub(super) async fn in_loop(
        &self,
        module: &Module,
        job: Job,
        call: &Call,
    ) -> Result<Outcome, Error> {
        let interpreter = module.interpreter;
        let place = self.place()?;
        let door = interpreter.looping.door(interpreter);
        let door = door.map_err(|why| self.no_loop(&why))?;
        let (entry, mut answer) = interpreter.calls.open(door.number(), job.request, call);
        let id = entry.id;
        let _abandoned = Abandon(&*entry);
        door.begin(looping::Job {
            begin: Arc::clone(&module.begin),
            entry: Arc::clone(&entry),
            tool: Arc::clone(&job.tool),
            arguments: job.arguments,
        });
        let answered = tokio::select! {
            biased;
            answered = &mut answer => answered,
            () = call.cancelled() => {
                entry.abandon();
                return Err(self.stop_coroutine(module, &door, id, answer, &job.tool).await);
            }
        };
        drop(place);
        let gone = |_| failed("nobody answered".to_owned());
        self.read_answer(answered.map_err(gone)?)
    }

    fn read_answer(&self, answer: Answer) -> Result<Outcome, Error> {
        match answer.kind {
            Answer::RESULT => outcome(answer.text),
            Answer::ERROR => Err(refused(&answer.text)),
            Answer::CANCELLED => {
                let what = "the coroutine was cancelled by something in the module itself";
                Err(Error::OutcomeUnknown(self.cause(what).into()))
            }
            Answer::LOST => {
                let what = "another call blocked the event loop for good, and it was given up";
                Err(Error::OutcomeUnknown(self.cause(what).into()))
            }
            kind => Err(failed(format!("an answer of the kind {kind}"))),
        }
    }

    /// Has a coroutine end that nobody waits for. A loop that does not even take the word is blocked by one of its
    /// coroutines; whatever that is, is interrupted, and at last the loop is given up.
    async fn stop_coroutine(
        &self,
        module: &Module,
        door: &Arc<Door>,
        id: u64,
        mut answer: oneshot::Receiver<Answer>,
        tool: &str,
    ) -> Error {
        let letter = door.cancel(id);
        if timeout(BY_ITSELF, &mut answer).await.is_ok() {
            return Error::Cancelled;
        }
        if door.has_taken(letter) {
            let what = format!("{tool} was cancelled, and goes on nevertheless");
            return Error::OutcomeUnknown(self.cause(what).into());
        }
        let (interpreter, own) = (module.interpreter, Arc::clone(door));
        interpreter.housekeeper.order(move |py| {
            let interrupt = interpreter.glue(py).map(|glue| glue.interrupt.bind(py));
            if let Err(error) = interrupt.and_then(|interrupt| own.interrupt(interrupt)) {
                tracing::warn!("the event loop of Python cannot be interrupted: {error}");
            }
        });
        let ended = timeout(INTERRUPTED, &mut answer).await.is_ok();
        if !ended && !door.has_taken(letter) && interpreter.looping.give_up(door) {
            tracing::warn!(
                server = self.name,
                "the event loop is blocked, and given up"
            );
            interpreter.calls.lose(door.number());
        }
        let what = format!("the event loop was blocked while {tool} was to be stopped");
        Error::OutcomeUnknown(self.cause(what).into())
    }

    fn full(&self, why: Refused) -> Error {
        match why {
            Refused::Full(running, waiting) => self.busy(format!(
                "{running} calls run and {waiting} wait, which is what `threads` and `queue` allow"
            )),
            Refused::Lost(lost) => {
                let what = format!(
                    "{lost} threads are in calls that never ended, and no more are replaced"
                );
                let mut cause = self.cause(what);
                cause.remedy =
                    Some("restart the gateway, and see to it that these calls end".into());
                Error::Unavailable(cause.into())
            }
            Refused::System(why) => self.busy(format!("no thread: {why}")),
            Refused::Closed => self.unavailable("the server was stopped"),
        }
    }

    fn no_loop(&self, why: &NoLoop) -> Error {
        match why {
            NoLoop::Lost(_) => {
                let mut cause = self.cause(why.to_string());
                cause.remedy = Some("restart the gateway, and have coroutines only await".into());
                Error::Unavailable(cause.into())
            }
            NoLoop::System(_) => self.busy(why.to_string()),
        }
    }
}

/// Whoever waited is gone when this is dropped.
struct Abandon<'a, T: Abandoned>(&'a T);

trait Abandoned {
    fn gone(&self);
}

impl Abandoned for Run {
    fn gone(&self) {
        self.abandon();
    }
}

impl Abandoned for crate::calls::Entry {
    fn gone(&self) {
        self.abandon();
    }
}

impl<T: Abandoned> Drop for Abandon<'_, T> {
    fn drop(&mut self) {
        self.0.gone();
    }
}
