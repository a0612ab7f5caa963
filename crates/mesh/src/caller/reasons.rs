//! Why a call could not be served, in words.

use std::time::Duration;

use toolbus_model::{CallId, Cause, Error};

use crate::bus::NotSent;
use crate::subject::Work;

/// When to come back where the connection takes no more.
const COME_BACK: Duration = Duration::from_millis(100);

/// Nobody is there.
pub(super) fn nobody(work: &Work<'_>, absence: &str) -> Error {
    let cause = Cause {
        what: format!("nobody serves {}: {absence}", named(work)),
        remedy: Some("start a worker that has it, with `toolbus worker`".to_owned()),
        ..Cause::default()
    };
    Error::Unavailable(cause.into())
}

/// What is asked for, as a person calls it.
fn named(work: &Work<'_>) -> String {
    match work {
        Work::Tool(..) => format!("this tool ({work})"),
        Work::Method(..) => work.to_string(),
    }
}

/// Nobody who was asked gave a sign.
pub(super) fn silent(work: &Work<'_>, attempts: u32, last: Option<&str>) -> Error {
    let last = last.map_or_else(String::new, |id| format!(", the last of them {id}"));
    let what = format!(
        "{work} was not started: workers were asked {attempts} times and none gave a sign{last}"
    );
    Error::Unavailable(Cause::new(what).into())
}

/// It runs, or ran, and nobody can say what became of it.
pub(super) fn unknown(call: CallId, work: &Work<'_>, worker: Option<&str>, why: &str) -> Error {
    let worker = worker.unwrap_or("of unknown name");
    let what = format!("call {call} of {work} at worker {worker}: {why}");
    Error::OutcomeUnknown(Cause::new(what).into())
}

/// The only worker that could go on is not there.
pub(super) fn lost(worker: &str, work: &Work<'_>) -> Error {
    Error::StateLost(format!(
        "the worker {worker}, which holds what this request to {work} goes on with, is gone; begin anew"
    ))
}

/// The state that a server kept for a caller is lost with its worker.
pub(super) fn unpinned(worker: &str, server: &str) -> Error {
    Error::StateLost(format!(
        "the worker {worker}, which kept what server {server:?} knows of this caller, is gone; the next call begins anew at another one"
    ))
}

/// A message was not sent.
pub(super) fn not_sent(why: &NotSent, link: Option<String>) -> Error {
    let unavailable = |what: String| Error::Unavailable(Cause::new(what).into());
    match why {
        NotSent::Disconnected => {
            let link = link.unwrap_or_else(|| "the connection was just lost".to_owned());
            unavailable(format!("the mesh cannot be reached: {link}"))
        }
        NotSent::Full => Error::Busy {
            what: why.to_string(),
            retry_after: COME_BACK,
        },
        NotSent::TooLarge(limit) => Error::TooLarge {
            what: "request with its headers",
            limit: *limit,
        },
        NotSent::Subject(why) => Error::Internal(why.clone()),
    }
}

/// The server does not permit what this gateway has to do.
pub(super) fn denied(subject: &str) -> Error {
    let cause = Cause {
        what: format!("the NATS server does not permit this gateway to publish to {subject:?}"),
        remedy: Some("add it to what the gateway's NATS user may publish".to_owned()),
        ..Cause::default()
    };
    Error::Unavailable(cause.into())
}
