//! Lines that say how a call is doing: of a script's side channel, and of a runner's streamed answer.
//!
//! `{"heartbeat": true}`, `{"progress": n, "total": m, "message": "..."}`, `{"log": {params of notifications/message}}`, and
//! in a stream as the last one `{"result": {...}}`, or `{"error": {"code", "message", "data"}}` where MCP has an error.

use bytes::Bytes;
use toolbus_model::json::Edit;
use toolbus_model::{Error, Event, EventKind, LogLevel, Object, Raw};

/// How much of a line that is none of these is shown.
const SHOWN: usize = 120;

/// What a line says.
#[derive(Debug, Clone, PartialEq)]
pub enum Pulse {
    /// The call is alive; `call.line().tell(event)` moves its idle limit, and shows what is to be shown.
    Sign(Event),
    /// The call has ended with this result.
    Result(Raw),
    /// The call has ended with an error of the protocol.
    Failed(Error),
}

impl Pulse {
    /// Reads a line, with its line break or without. The error says what is wrong with it.
    pub fn read(line: Bytes) -> Result<Self, String> {
        let text = line.trim_ascii();
        let read = Object::parse(line.slice_ref(text));
        let line = read.map_err(|error| format!("{} is no JSON object: {error}", shown(text)))?;
        if let Some(result) = line.raw("result") {
            return Ok(Self::Result(result));
        }
        if let Some(error) = line.object("error") {
            let error = error.ok().and_then(|error| upstream(&error));
            return error
                .map(Self::Failed)
                .ok_or_else(|| wrong(&line, "\"error\" has no code and message"));
        }
        if line.get("progress").is_some() {
            return progress(&line).map(|params| Self::sign(EventKind::Progress, params));
        }
        if let Some(log) = line.raw("log") {
            return logged(&line, &log).map(|params| Self::sign(EventKind::Log, params));
        }
        if line.get("heartbeat").is_some() {
            // No number in it: it counts as a sign of life, and is not shown.
            return Ok(Self::sign(EventKind::Progress, Object::empty()));
        }
        Err(wrong(
            &line,
            "it has none of heartbeat, progress, log, result and error",
        ))
    }

    fn sign(kind: EventKind, params: Object) -> Self {
        Self::Sign(Event { kind, params })
    }
}

/// The parts of a report that MCP knows. Who is to hear it is not the sender's business.
fn progress(line: &Object) -> Result<Object, String> {
    let number = |name: &'static str| {
        let value = line.raw(name).filter(|value| value.bytes() != b"null");
        let value = value.map(|value| (value.read::<f64>().map(|_| value)).map_err(|_| name));
        value.transpose()
    };
    let wrong_number = |name: &'static str| wrong(line, &format!("{name:?} is no number"));
    let done = number("progress").map_err(wrong_number)?;
    let done = done.ok_or_else(|| wrong_number("progress"))?;
    let total = number("total").map_err(wrong_number)?;
    let message = line
        .raw("message")
        .filter(|message| message.as_str().is_some());
    let mut edits = vec![("progress", Edit::Put(done.bytes()))];
    edits.extend(
        total
            .iter()
            .map(|total| ("total", Edit::Put(total.bytes()))),
    );
    edits.extend(
        message
            .iter()
            .map(|message| ("message", Edit::Put(message.bytes()))),
    );
    Ok(Object::empty().edited(&edits))
}

/// The params of a log line; bare text is one of level `info`.
fn logged(line: &Object, log: &Raw) -> Result<Object, String> {
    let info: &[u8] = br#""info""#;
    let Ok(params) = Object::from_raw(log) else {
        let edits = [("level", Edit::Put(info)), ("data", Edit::Put(log.bytes()))];
        return Ok(Object::empty().edited(&edits));
    };
    if params.get("data").is_none() {
        return Err(wrong(line, "\"log\" has no data"));
    }
    match params.str("level") {
        None => Ok(params.edited(&[("level", Edit::Put(info))])),
        Some(level) if LogLevel::parse(&level).is_some() => Ok(params),
        Some(level) => Err(wrong(line, &format!("{level:?} is no log level of MCP"))),
    }
}

/// An error as JSON-RPC writes it.
pub fn upstream(error: &Object) -> Option<Error> {
    Some(Error::Upstream {
        code: error.raw("code")?.read().ok()?,
        message: error.str("message")?.into_owned(),
        data: error.raw("data").filter(|data| data.bytes() != b"null"),
    })
}

fn wrong(line: &Object, why: &str) -> String {
    format!("{}: {why}", shown(line.bytes()))
}

fn shown(text: &[u8]) -> String {
    let cut = String::from_utf8_lossy(&text[..text.len().min(SHOWN)]).into_owned();
    match text.len() > SHOWN {
        true => format!("the line {cut}..."),
        false => format!("the line {cut}"),
    }
}

#[cfg(test)]
mod tests;
