//! The life of a call at a worker: it is checked, claimed where that is asked, run, and ends in one terminal frame.

use std::pin::pin;
use std::sync::Arc;
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use bytes::Bytes;
use tokio::time::{Instant, sleep_until, timeout};
use toolbus_model::{Call, Cause, Error, Event, EventKind, Events, Outcome, Raw};
use toolbus_protocol::{meta, write};

use super::calls::{Phase, Running, Stop};
use super::intake::Place;
use super::terminal::{Terminal, id_of};
use super::work::Work;
use super::{Shared, listen};
use crate::bus::Message;
use crate::frame::{Ask, Frame, Start};
use toolbus_model::json::Edit;

/// How long a claim waits for the word to go. The gateway gives it as soon as it has the claim.
const GO_WITHIN: Duration = Duration::from_secs(2);

/// How long a back end has to stop its work once a call is over, as at the gateway.
const STOP_WITHIN: Duration = Duration::from_secs(5);

/// How long the object store may take for a body.
const FETCH_WITHIN: Duration = Duration::from_secs(30);

/// The largest body that is fetched from the object store, in bytes.
const LARGEST_BODY: usize = 64 * 1024 * 1024;

/// From the headers to what ends the request.
pub(super) async fn conduct(
    shared: &Arc<Shared>,
    running: &Arc<Running>,
    ask: Ask,
    message: &Message,
    place: &Place,
) -> Terminal {
    let walked = walk(shared, running, ask, message, place).await;
    walked.unwrap_or_else(|refused| *refused)
}

async fn walk(
    shared: &Arc<Shared>,
    running: &Arc<Running>,
    ask: Ask,
    message: &Message,
    place: &Place,
) -> Result<Terminal, Box<Terminal>> {
    in_time(running, &ask, message)?;
    // What can be refused is refused before it is claimed. A body that lies elsewhere takes too long for that.
    let (mut work, subject) = (None, message.subject.as_str());
    if ask.object.is_none() {
        work = Some(shared.work(&ask, &message.payload, place, subject)?);
    }
    if ask.start == Start::Claim {
        claim(shared, running, &message.payload).await?;
        // The word may have been long on its way to a worker that was stopped.
        has_time(running, message)?;
        shared.calls.mark_run(running.id);
    }
    let work = match (work, &ask.object) {
        (None, Some(object)) => {
            let body = shared.fetch(running, object, &message.payload).await?;
            shared.work(&ask, &body, place, subject)?
        }
        (Some(work), _) => work,
        (None, None) => shared.work(&ask, &message.payload, place, subject)?,
    };
    if running.listens {
        return Ok(listen::serve(shared, running, work).await);
    }
    Ok(run(shared, running, work).await)
}

/// Work that is late is not begun: nobody waits for it any more, or another worker has it.
fn in_time(running: &Running, ask: &Ask, message: &Message) -> Result<(), Box<Terminal>> {
    if running.arrived.elapsed() > ask.start_within {
        let what = "the worker came to it later than the call may wait for its start";
        return Err(Box::new(Terminal::late(&id_of(&message.payload), what)));
    }
    has_time(running, message)
}

fn has_time(running: &Running, message: &Message) -> Result<(), Box<Terminal>> {
    if running.is_over() {
        let what = "the call's time was over before it was started";
        return Err(Box::new(Terminal::late(&id_of(&message.payload), what)));
    }
    Ok(())
}

/// Says that the worker would run a call, and waits for the word.
async fn claim(shared: &Shared, running: &Running, payload: &Bytes) -> Result<(), Box<Terminal>> {
    {
        let mut state = running.state();
        state.sign = Instant::now() + GO_WITHIN;
        shared.sign(running.id, &state, Frame::Claim, None);
    }
    loop {
        running.decided.notified().await;
        let (phase, stop) = {
            let state = running.state();
            (state.phase, state.stop)
        };
        let late = |what: &str| Err(Box::new(Terminal::late(&id_of(payload), what)));
        match (phase, stop) {
            (_, Some(Stop::Cancelled | Stop::Unheard)) => {
                let error = Error::Cancelled;
                return Err(Box::new(Terminal::err(&id_of(payload), &error)));
            }
            (_, Some(Stop::Deadline)) => {
                return late("the call's time was over before the word to run it came");
            }
            (_, Some(Stop::Drained)) => return late("the worker is draining"),
            (Phase::Runs, None) => return Ok(()),
            (Phase::Ended, None) => return late("the word to run what was claimed did not come"),
            (Phase::Claimed, None) => {}
        }
    }
}

/// Runs the work of a request.
pub(super) async fn run(shared: &Shared, running: &Arc<Running>, work: Work) -> Terminal {
    let Work {
        id,
        server,
        tool,
        request,
        seed,
    } = work;
    let token = seed.progress_token.clone();
    let (method, target) = (request.method.clone(), request.target.clone());
    let (call, mut end) = Call::begin_as(running.id, seed, running.cancel.clone());
    let served = &shared.servers[server];
    let answer = {
        let serving = served.backend.serve(request, &call);
        watch(shared, running, &call, &mut end.events, &token, serving).await
    };
    flush(shared, running, &mut end.events, &token);
    let counters = tool.as_ref().map_or(&served.counters, |t| &t.counters);
    counters.count(call.started.elapsed(), answer.as_ref().err());
    match answer {
        Ok(outcome) => {
            let holds = served.holds(method, target, &outcome);
            Terminal::end(&id, &outcome, holds)
        }
        Err(error) => Terminal::err(&id, &error),
    }
}

/// Waits for a back end; carries its notices, and stops it when the call is over. Time is told by the worker's one timer.
async fn watch(
    shared: &Shared,
    running: &Running,
    call: &Call,
    events: &mut Events,
    token: &Option<Raw>,
    serving: impl Future<Output = Result<Outcome, Error>>,
) -> Result<Outcome, Error> {
    let mut serving = pin!(serving);
    loop {
        tokio::select! {
            biased;
            answer = &mut serving => return stopped(running, answer),
            Some(event) = events.recv() => shared.notify(running, &event, token),
            () = call.cancelled() => break,
        }
    }
    let until = Instant::now() + STOP_WITHIN;
    tokio::select! {
        biased;
        answer = &mut serving => stopped(running, answer),
        () = sleep_until(until) => {
            let cause = Cause::new("its back end did not stop in time");
            stopped(running, Err(Error::OutcomeUnknown(cause.into())))
        }
    }
}

/// What is said of a call that was stopped. A result that came all the same counts.
fn stopped(running: &Running, answer: Result<Outcome, Error>) -> Result<Outcome, Error> {
    let Some(stop) = running.stopped() else {
        return answer;
    };
    let error = match answer {
        Ok(outcome) => return Ok(outcome),
        Err(error) => error,
    };
    let cause = error.cause().cloned().unwrap_or_default();
    let told = |what: String| Box::new(Cause { what, ..cause });
    let seconds = running.arrived.elapsed().as_secs_f64();
    Err(match stop {
        Stop::Cancelled | Stop::Unheard => Error::Cancelled,
        Stop::Deadline => Error::DeadlineExceeded(told(format!(
            "no result after {seconds:.1} s, which is all the time that the call had"
        ))),
        Stop::Drained => Error::OutcomeUnknown(told(format!(
            "the worker was stopped when the call had run for {seconds:.1} s"
        ))),
    })
}

/// Notices that were told before the end come before it.
fn flush(shared: &Shared, running: &Running, events: &mut Events, token: &Option<Raw>) {
    let mut context = Context::from_waker(Waker::noop());
    while let Poll::Ready(Some(event)) = events.poll_recv(&mut context) {
        shared.notify(running, &event, token);
    }
}

impl Shared {
    /// Sends a notice of a call. It is advice: where there is no way for it, it is lost.
    fn notify(&self, running: &Running, event: &Event, token: &Option<Raw>) {
        let params = &event.params;
        let (method, edit) = match (event.kind, token) {
            (EventKind::Progress, Some(token)) => {
                let edit = (meta::PROGRESS, Edit::Put(token.bytes()));
                ("notifications/progress", Some(edit))
            }
            (EventKind::Log, _) => ("notifications/message", None),
            // Nobody asked for it, or it is for sessions alone.
            (EventKind::Progress | EventKind::ElicitationComplete | EventKind::Paused, _) => return,
        };
        let size = params.bytes().len() + 64;
        let edits = edit.as_slice();
        let body = write::notification(method, |out| params.rewrite(edits, out), size);
        self.message(running, body);
    }

    /// Fetches the body of a request.
    async fn fetch(
        &self,
        running: &Running,
        object: &str,
        payload: &Bytes,
    ) -> Result<Bytes, Box<Terminal>> {
        let within = running.left().map_or(FETCH_WITHIN, |l| l.min(FETCH_WITHIN));
        let fetching = async {
            let store = self.objects().await?;
            store.get(object, LARGEST_BODY).await
        };
        let why = match timeout(within, fetching).await {
            Ok(Ok(body)) => return Ok(body),
            Ok(Err(error)) => error.to_string(),
            Err(_) => format!("it took longer than {:.1} s", within.as_secs_f64()),
        };
        let cause = Cause::new(format!(
            "the request's body, object {object:?}, could not be read: {why}"
        ));
        let error = Error::Unavailable(cause.into());
        Err(Box::new(Terminal::err(&id_of(payload), &error)))
    }
}
