//! What a caller brings back with a retry, as the server is to see it.

use std::borrow::Cow;

use serde_json::json;
use toolbus_model::json::{Edit, write_string};
use toolbus_model::{Call, Era, Error, Object, Raw, Request, Revision};

use super::asked::refused;

/// The state of a request that an older server refused until pages were opened: the retry is a new request there.
pub(super) const AFRESH: &str = "afresh";

const STATE: &str = "requestState";
const ANSWERS: &str = "inputResponses";

/// A request as a server of this revision is to see it.
pub(crate) fn towards<'r>(
    revision: Revision,
    request: &'r Request,
    call: &Call,
) -> Result<Cow<'r, Request>, Error> {
    let state = request.params.str(STATE);
    if state.is_none() && request.params.get(ANSWERS).is_none() {
        return Ok(Cow::Borrowed(request));
    }
    match (revision.era(), call.seed.revision.era()) {
        (Era::Legacy, _) => as_new(request, state.as_deref()),
        (Era::Modern, Era::Legacy) => with_memory(request, state.as_deref()),
        (Era::Modern, Era::Modern) => Ok(Cow::Borrowed(request)),
    }
}

/// An older server knows no retries.
fn as_new<'r>(request: &Request, state: Option<&str>) -> Result<Cow<'r, Request>, Error> {
    if state.is_some_and(|state| state != AFRESH) {
        let why = "The server that asked has been replaced by one of an older revision. Make the request anew, without \
                   requestState";
        return Err(Error::StateLost(why.to_owned()));
    }
    let answers = request.params.object(ANSWERS).and_then(Result::ok);
    let refusal = answers.as_ref().and_then(|answers| {
        let action = |value: &[u8]| {
            let answer = Object::parse(bytes::Bytes::copy_from_slice(value)).ok();
            answer.and_then(|answer| Some(answer.str("action")?.into_owned()))
        };
        answers
            .iter()
            .filter_map(|(_, value)| action(value))
            .find(|action| action != "accept")
    });
    if let Some(action) = refusal {
        // The server would only ask the same again.
        let message =
            format!("The server needs a page to be opened first; the answer was {action:?}");
        return Err(Error::Upstream {
            code: -32603,
            message,
            data: None,
        });
    }
    Ok(Cow::Owned(edited(
        request,
        &[(STATE, Edit::Drop), (ANSWERS, Edit::Drop)],
    )))
}

/// A result that asks, on its way to a caller of an older revision: it remembers what was asked, because such a caller
/// can answer with an error.
pub(super) fn remember(result: &Object) -> Object {
    let asked = result.object("inputRequests").and_then(Result::ok);
    let methods: serde_json::Map<_, _> = asked
        .iter()
        .flat_map(Object::iter)
        .filter_map(|(key, value)| {
            let question = Object::parse(bytes::Bytes::copy_from_slice(value)).ok()?;
            Some((
                key.into_owned(),
                question.str("method")?.into_owned().into(),
            ))
        })
        .collect();
    let memory = json!({"asked": methods, "state": result.str(STATE)}).to_string();
    let mut quoted = Vec::with_capacity(memory.len() + 32);
    write_string(&memory, &mut quoted);
    result.edited(&[(STATE, Edit::Put(&quoted))])
}

/// The retry of a caller of an older revision, with the server's own state. An elicitation that its client refused with
/// an error was cancelled; where anything else was refused, the call fails with that error.
fn with_memory<'r>(request: &'r Request, state: Option<&str>) -> Result<Cow<'r, Request>, Error> {
    let memory = state.and_then(|text| Object::parse(text.to_owned().into()).ok());
    let Some((memory, Some(Ok(asked)))) = memory.map(|memory| {
        let asked = memory.object("asked");
        (memory, asked)
    }) else {
        return Ok(Cow::Borrowed(request));
    };
    let given = request.params.object(ANSWERS).and_then(Result::ok);
    let mut answers = given.clone().unwrap_or_else(Object::empty);
    for (key, value) in given.iter().flat_map(Object::iter) {
        let Some((code, message, data)) = Raw::parse(bytes::Bytes::copy_from_slice(value))
            .ok()
            .as_ref()
            .and_then(refused)
        else {
            continue;
        };
        if asked.str(&key).as_deref() != Some("elicitation/create") {
            return Err(Error::Upstream {
                code,
                message,
                data,
            });
        }
        answers = answers.edited(&[(&key, Edit::Put(br#"{"action":"cancel"}"#))]);
    }
    let state = memory.raw("state").filter(|state| state.as_str().is_some());
    let state = state
        .as_ref()
        .map_or(Edit::Drop, |state| Edit::Put(state.bytes()));
    Ok(Cow::Owned(edited(
        request,
        &[(STATE, state), (ANSWERS, Edit::Put(answers.bytes()))],
    )))
}

fn edited(request: &Request, edits: &[(&str, Edit<'_>)]) -> Request {
    Request {
        params: request.params.edited(edits),
        ..request.clone()
    }
}

#[cfg(test)]
mod tests;
