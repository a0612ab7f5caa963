//! What a caller takes away and brings back: request states and task ids. Both are sealed, so that they mean here what
//! they meant when they were given out, to the same caller only, on whichever replica shares the key.

use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use toolbus_model::json::{Edit, write_string};
use toolbus_model::{
    CallId, Caller, Error, Kind, Method, Object, Outcome, Raw, Request, ServerName,
};

use crate::sealed::Key;

const STATE: &str = "toolbus request state 1";
const TASK: &str = "toolbus task 1";

/// How long a question may wait for its answer. A person may be asleep; what the server itself remembers ends earlier.
const ANSWER_WITHIN: Duration = Duration::from_secs(24 * 3600);

/// The member in which a result carries what the retry must bring back (2026-07-28, basic/patterns/mrtr).
const REQUEST_STATE: &str = "requestState";
const TASK_ID: &str = "taskId";

/// The parts of a request that a retry must repeat.
#[derive(Debug, Clone)]
pub(crate) struct Asked {
    method: Method,
    name: Option<Arc<str>>,
    arguments: Option<Raw>,
}

impl Asked {
    pub(crate) fn of(request: &Request) -> Self {
        Self {
            method: request.method.clone(),
            name: request.target.clone(),
            arguments: request.params.raw("arguments"),
        }
    }

    /// The name that the caller used.
    pub(crate) fn name(&self) -> &str {
        self.name.as_deref().unwrap_or_default()
    }

    fn digest(&self) -> String {
        let mut hasher = blake3::Hasher::new();
        for part in [self.method.as_str(), self.name()] {
            hasher.update(&part.len().to_le_bytes());
            hasher.update(part.as_bytes());
        }
        hasher.update(self.arguments.as_ref().map_or(&b"{}"[..], Raw::bytes));
        hasher.finalize().to_hex().to_string()
    }
}

/// Whom a ticket is for: the parties that it ties together.
pub(crate) struct Parties<'a> {
    pub(crate) key: &'a Key,
    pub(crate) caller: &'a Caller,
    pub(crate) server: &'a ServerName,
}

/// (server, caller, digest of the request, valid until in seconds since 1970, the first call's id, the server's state)
type State = (String, String, String, u64, String, String);

impl Parties<'_> {
    /// Gives a retry its server's own state back. Answers the id of the call that this one goes on with.
    pub(crate) fn resume(
        &self,
        request: &mut Request,
        asked: &Asked,
    ) -> Result<Option<String>, Error> {
        let Some(brought) = request.params.raw(REQUEST_STATE) else {
            return Ok(None);
        };
        let invalid = |why: &str| Error::InvalidParams(format!("Invalid params: {why}"));
        let unknown = || invalid("requestState is none that was given to this caller");
        let text = brought.as_str().ok_or_else(unknown)?;
        let opened = self.key.open(STATE, &text).ok_or_else(unknown)?;
        let (server, caller, digest, until, first, state): State =
            serde_json::from_slice(&opened).map_err(|_| unknown())?;
        if caller != self.caller.as_str() {
            return Err(unknown());
        }
        if server != self.server.as_str() || digest != asked.digest() {
            return Err(invalid("requestState belongs to another request"));
        }
        if until < now() {
            return Err(invalid(
                "requestState has expired; make the request anew, without it",
            ));
        }
        let mut own = Vec::new();
        write_string(&state, &mut own);
        request.params = request.params.edited(&[(REQUEST_STATE, Edit::Put(&own))]);
        Ok(Some(first))
    }

    /// Seals what the caller is to bring back.
    pub(crate) fn give(
        &self,
        outcome: Outcome,
        asked: &Asked,
        first: Option<&str>,
        call: CallId,
    ) -> Result<Outcome, Error> {
        match outcome {
            Outcome::InputRequired(result) => {
                let Some(state) = result.str(REQUEST_STATE) else {
                    return Ok(Outcome::InputRequired(result));
                };
                let until = now() + ANSWER_WITHIN.as_secs();
                let call = call.to_string();
                let first = first.unwrap_or(&call);
                let ticket = (
                    self.server.as_str(),
                    self.caller.as_str(),
                    asked.digest(),
                    until,
                    first,
                    &state,
                );
                let sealed = self.seal(STATE, &Raw::of(&ticket))?;
                Ok(Outcome::InputRequired(with(
                    &result,
                    REQUEST_STATE,
                    &sealed,
                )))
            }
            Outcome::Task(result) => {
                let Some(id) = result.str(TASK_ID) else {
                    return Ok(Outcome::Task(result));
                };
                let ticket = (self.server.as_str(), self.caller.as_str(), &id);
                let sealed = self.seal(TASK, &Raw::of(&ticket))?;
                Ok(Outcome::Task(with(&result, TASK_ID, &sealed)))
            }
            done @ (Outcome::Complete(_) | Outcome::Extended(_)) => Ok(done),
        }
    }

    fn seal(&self, purpose: &str, text: &Raw) -> Result<String, Error> {
        let sealed = self.key.seal(purpose, text.bytes());
        sealed.ok_or_else(|| Error::Internal("nothing could be sealed".to_owned()))
    }
}

/// The server of a task and its id there, where it is this caller's.
pub(crate) fn task(key: &Key, caller: &Caller, id: &str) -> Result<(ServerName, Arc<str>), Error> {
    let opened = key.open(TASK, id);
    let ticket = opened.and_then(|text| serde_json::from_slice(&text).ok());
    let found = ticket.and_then(|(server, owner, id): (String, String, String)| {
        let server = ServerName::parse(&server).ok()?;
        (owner == caller.as_str()).then(|| (server, id.into()))
    });
    found.ok_or_else(|| Error::Unknown {
        kind: Kind::Task,
        name: id.to_owned(),
    })
}

/// A request about a task goes to the server under the server's id. Answers the caller's, for the way back.
pub(crate) fn rename_task(request: &mut Request, own: &str) -> Option<Raw> {
    let callers = request.params.raw(TASK_ID);
    request.params = with(&request.params, TASK_ID, own);
    callers
}

/// A result about a task comes back under the id that the caller knows.
pub(crate) fn restore_task(outcome: Outcome, callers: &Raw) -> Outcome {
    match outcome {
        Outcome::Complete(result) if result.get(TASK_ID).is_some() => {
            Outcome::Complete(result.edited(&[(TASK_ID, Edit::Put(callers.bytes()))]))
        }
        other => other,
    }
}

/// The same for a notice.
pub(crate) fn named_task(params: &Object, id: &str) -> Object {
    with(params, TASK_ID, id)
}

fn with(object: &Object, member: &str, text: &str) -> Object {
    let mut quoted = Vec::with_capacity(text.len() + 2);
    write_string(text, &mut quoted);
    object.edited(&[(member, Edit::Put(&quoted))])
}

fn now() -> u64 {
    SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .unwrap_or_default()
        .as_secs()
}

#[cfg(test)]
mod tests;
