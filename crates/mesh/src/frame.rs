//! What travels in the headers of a message: requests, replies to them, and the steering of workers.
//!
//! Times travel as durations, never as clock times: clocks differ.
//!
//! - A body that is too large for one message goes in chunks, numbered from 0. The `end` or `err` after them has no body,
//!   and their number in `Toolbus-Seq`. Where the chunks cannot be brought to their end it has `Toolbus-Object` instead:
//!   then the whole body lies there, and the chunks count for nothing.
//! - What is said on a control subject is answered in the body with `ok`, or with `Nats-Service-Error` and a code: 404
//!   where the call is not there or not in a state for it, 400 where the message is none.
//! - `Toolbus-Caller` holds the claims `sub` (the caller), `tenant`, `scope`, `call` (the call's id) and `exp`.
//! - `busy` and `late` have a JSON-RPC error as their body: the reason.
//! - `subscriptions/listen` goes to its server as a direct request with `params` as 2026-07-28 has them, of which
//!   `resourceSubscriptions` and `taskIds` count. Its first `msg` is `notifications/subscriptions/acknowledged`, the others
//!   are the notices; it has an `end` when no more come, and `cancel` stops it.

use std::fmt;
use std::time::Duration;

use bytes::Bytes;
use toolbus_model::{CallId, Trace};

use crate::bus::{Headers, Message};

/// The version of this wire.
pub const WIRE: &str = "1";

/// How long a request may take to start, where it does not say.
pub const START_WITHIN: Duration = Duration::from_secs(1);

/// How long the gateway waits beyond that for a sign before it asks another worker.
pub const START_GRACE: Duration = Duration::from_millis(250);

/// A worker that runs a call directly says so when no end is out after this time.
pub const ACK_AFTER: Duration = Duration::from_millis(50);

/// How often a worker says that a call is still under way.
pub const KEEP_ALIVE: Duration = Duration::from_secs(2);

/// After this many missing keep-alives the outcome of a call is unknown.
pub const MISSED: u32 = 3;

/// What a message's headers may take of the server's `max_payload`, in bytes.
pub const HEADROOM: usize = 8 * 1024;

/// The size of a chunk, in bytes.
pub const CHUNK: usize = 512 * 1024;

/// How many chunks may be under way without a credit.
pub const WINDOW: u32 = 8;

/// The largest result in chunks, in bytes. What is larger lies in the object store.
pub const LARGEST_IN_CHUNKS: usize = 32 * 1024 * 1024;

/// The headers of the wire.
pub mod header {
    #![expect(
        missing_docs,
        reason = "the table in the contract of the mesh says what each holds"
    )]
    pub const WIRE: &str = "Toolbus-Wire";
    pub const CALL: &str = "Toolbus-Call";
    pub const ATTEMPT: &str = "Toolbus-Attempt";
    pub const START: &str = "Toolbus-Start";
    pub const START_WITHIN: &str = "Toolbus-Start-Within-Ms";
    pub const DEADLINE: &str = "Toolbus-Deadline-In-Ms";
    pub const IDEMPOTENCY_KEY: &str = "Toolbus-Idempotency-Key";
    pub const CALLER: &str = "Toolbus-Caller";
    pub const FRAME: &str = "Toolbus-Frame";
    pub const DIGEST: &str = "Toolbus-Digest";
    pub const OBJECT: &str = "Toolbus-Object";
    pub const WORKER: &str = "Toolbus-Worker";
    pub const SEQ: &str = "Toolbus-Seq";
    pub const CONTROL: &str = "Toolbus-Control";
    /// On `err`: the label of an error of ours. An upstream's own has none.
    pub const ERROR: &str = "Toolbus-Error";
    /// On `end`: the worker holds what a later request goes on with.
    pub const HOLDS: &str = "Toolbus-Holds";
    /// On `credit`: how many more chunks may come.
    pub const CREDIT: &str = "Toolbus-Credit";
    pub const METHOD: &str = "Mcp-Method";
    pub const NAME: &str = "Mcp-Name";
    pub const VERSION: &str = "MCP-Protocol-Version";
    pub const TRACE_PARENT: &str = "traceparent";
    pub const TRACE_STATE: &str = "tracestate";
    pub const SERVICE_ERROR: &str = "Nats-Service-Error";
    pub const SERVICE_ERROR_CODE: &str = "Nats-Service-Error-Code";
}

/// When a request's work begins.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Start {
    /// At once. Doing it again does no harm.
    Direct,
    /// After the worker claimed it and was told to go, so that no other worker does it as well.
    #[default]
    Claim,
}

/// What the headers of a request say.
#[derive(Debug, Clone, PartialEq)]
pub struct Ask {
    /// The call, the same whenever it is dispatched again.
    pub call: CallId,
    /// 1, 2, ...
    pub attempt: u32,
    /// When the work begins.
    pub start: Start,
    /// A worker that gets to it later does not do it.
    pub start_within: Duration,
    /// What is left of the call's time; none where it has no limit.
    pub deadline: Option<Duration>,
    /// From the caller, where it gave one.
    pub idempotency_key: Option<String>,
    /// Who calls: a JWT.
    pub caller: Option<String>,
    /// The version that is wanted.
    pub digest: Option<String>,
    /// The body lies in the object store under this name.
    pub object: Option<String>,
    /// The MCP method.
    pub method: String,
    /// What the method is for, encoded as MCP's own header has it.
    pub name: Option<String>,
    /// Where the call stands in its caller's trace.
    pub trace: Trace,
}

/// A reply's kind. Of the last four exactly one ends a request.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Frame {
    /// It runs.
    Ack,
    /// The worker would run it.
    Claim,
    /// A notification of the server's.
    Msg,
    /// It still runs.
    KeepAlive,
    /// A part of a result that is too large for one message.
    Chunk,
    /// The response.
    End,
    /// The response, an error.
    Err,
    /// Not run: the worker has no room, or another version.
    Busy,
    /// Not run: too late.
    Late,
}

/// What a worker is told.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Control {
    /// Run what was claimed.
    Go,
    /// Stop it.
    Cancel,
    /// So many more chunks may come. None more is the question whether the worker is there.
    Credit(u32),
    /// Take nothing new, finish, and end.
    Drain,
}

/// A reply.
#[derive(Debug, Clone)]
pub struct Reply {
    /// Its kind.
    pub frame: Frame,
    /// The worker that sent it.
    pub worker: Option<String>,
    /// To which attempt it belongs.
    pub attempt: u32,
    /// The number of a chunk, from 0.
    pub seq: Option<u32>,
    /// The body lies in the object store under this name.
    pub object: Option<String>,
    /// The label of an error of ours.
    pub error: Option<String>,
    /// The worker holds what a later request goes on with.
    pub holds: bool,
    /// The body.
    pub body: Bytes,
}

impl Frame {
    const NAMES: [(&'static str, Self); 9] = [
        ("ack", Self::Ack),
        ("claim", Self::Claim),
        ("msg", Self::Msg),
        ("ka", Self::KeepAlive),
        ("chunk", Self::Chunk),
        ("end", Self::End),
        ("err", Self::Err),
        ("busy", Self::Busy),
        ("late", Self::Late),
    ];

    /// Its name on the wire.
    pub fn as_str(self) -> &'static str {
        Self::NAMES[self as usize].0
    }

    /// The frame of this name.
    pub fn parse(name: &str) -> Option<Self> {
        let mut all = Self::NAMES.into_iter();
        all.find(|(known, _)| *known == name)
            .map(|(_, frame)| frame)
    }

    /// No other frame of the request comes after it.
    pub fn is_terminal(self) -> bool {
        matches!(self, Self::End | Self::Err | Self::Busy | Self::Late)
    }
}

/// Why a message is none of this wire.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Malformed(pub String);

impl fmt::Display for Malformed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl Ask {
    /// The headers that say this.
    pub fn headers(&self) -> Headers {
        let mut headers = Headers::default();
        headers.put(header::WIRE, WIRE);
        headers.put(header::CALL, self.call.to_string());
        if self.attempt > 1 {
            headers.put(header::ATTEMPT, self.attempt.to_string());
        }
        let start = if self.start == Start::Direct {
            "direct"
        } else {
            "claim"
        };
        headers.put(header::START, start);
        if self.start_within != START_WITHIN {
            headers.put(header::START_WITHIN, millis(self.start_within));
        }
        if let Some(left) = self.deadline {
            headers.put(header::DEADLINE, millis(left));
        }
        headers.put(header::METHOD, self.method.clone());
        let optional = [
            (header::IDEMPOTENCY_KEY, &self.idempotency_key),
            (header::CALLER, &self.caller),
            (header::DIGEST, &self.digest),
            (header::OBJECT, &self.object),
            (header::NAME, &self.name),
            (header::TRACE_PARENT, &self.trace.parent),
            (header::TRACE_STATE, &self.trace.state),
        ];
        for (name, value) in optional {
            if let Some(value) = value {
                headers.put(name, value.clone());
            }
        }
        headers
    }

    /// Reads a request's headers.
    pub fn read(headers: &Headers) -> Result<Self, Malformed> {
        check_wire(headers)?;
        let text = |name| headers.get(name).map(str::to_owned);
        let start = match headers.get(header::START) {
            Some("direct") => Start::Direct,
            Some("claim") | None => Start::Claim,
            Some(other) => return Err(wrong(header::START, other, "use direct or claim")),
        };
        let deadline = number(headers, header::DEADLINE)?.map(Duration::from_millis);
        let start_within = number(headers, header::START_WITHIN)?.map(Duration::from_millis);
        let method = text(header::METHOD);
        Ok(Self {
            call: call(headers)?,
            attempt: attempt(headers)?,
            start,
            start_within: start_within.unwrap_or(START_WITHIN),
            deadline,
            idempotency_key: text(header::IDEMPOTENCY_KEY),
            caller: text(header::CALLER),
            digest: text(header::DIGEST),
            object: text(header::OBJECT),
            method: method.ok_or_else(|| Malformed(format!("{} is missing", header::METHOD)))?,
            name: text(header::NAME),
            trace: Trace {
                parent: text(header::TRACE_PARENT),
                state: text(header::TRACE_STATE),
                baggage: None,
            },
        })
    }
}

impl Reply {
    /// A reply of this kind, to the first attempt.
    pub fn new(frame: Frame, worker: &str) -> Self {
        Self {
            frame,
            worker: Some(worker.to_owned()),
            attempt: 1,
            seq: None,
            object: None,
            error: None,
            holds: false,
            body: Bytes::new(),
        }
    }

    /// The headers that say this.
    pub fn headers(&self) -> Headers {
        let mut headers = Headers::default();
        headers.put(header::WIRE, WIRE);
        headers.put(header::FRAME, self.frame.as_str());
        if let Some(worker) = &self.worker {
            headers.put(header::WORKER, worker.clone());
        }
        if self.attempt > 1 {
            headers.put(header::ATTEMPT, self.attempt.to_string());
        }
        if let Some(seq) = self.seq {
            headers.put(header::SEQ, seq.to_string());
        }
        if let Some(object) = &self.object {
            headers.put(header::OBJECT, object.clone());
        }
        if let Some(error) = &self.error {
            headers.put(header::ERROR, error.clone());
        }
        if self.holds {
            headers.put(header::HOLDS, "1");
        }
        headers
    }

    /// Reads a reply.
    pub fn read(message: Message) -> Result<Self, Malformed> {
        let headers = &message.headers;
        check_wire(headers)?;
        let text = |name| headers.get(name).map(str::to_owned);
        let name = headers.get(header::FRAME).unwrap_or_default();
        let frame = Frame::parse(name).ok_or_else(|| wrong(header::FRAME, name, "unknown"))?;
        let seq = number(headers, header::SEQ)?.map(u32::try_from);
        Ok(Self {
            frame,
            worker: text(header::WORKER),
            attempt: attempt(headers)?,
            seq: seq
                .transpose()
                .map_err(|_| wrong(header::SEQ, "", "too large"))?,
            object: text(header::OBJECT),
            error: text(header::ERROR),
            holds: headers.get(header::HOLDS).is_some(),
            body: message.payload,
        })
    }
}

impl Control {
    /// The headers that tell a worker this of an attempt of a call. `Drain` is about none.
    pub fn headers(self, about: Option<(CallId, u32)>) -> Headers {
        let mut headers = Headers::default();
        headers.put(header::WIRE, WIRE);
        let name = match self {
            Self::Go => "go",
            Self::Cancel => "cancel",
            Self::Credit(_) => "credit",
            Self::Drain => "drain",
        };
        headers.put(header::CONTROL, name);
        if let Self::Credit(more) = self {
            headers.put(header::CREDIT, more.to_string());
        }
        if let Some((call, attempt)) = about {
            headers.put(header::CALL, call.to_string());
            headers.put(header::ATTEMPT, attempt.to_string());
        }
        headers
    }

    /// Reads what a worker is told, and of which attempt.
    pub fn read(headers: &Headers) -> Result<(Self, Option<(CallId, u32)>), Malformed> {
        check_wire(headers)?;
        let about = || Ok(Some((call(headers)?, attempt(headers)?)));
        let name = headers.get(header::CONTROL).unwrap_or_default();
        match name {
            "go" => Ok((Self::Go, about()?)),
            "cancel" => Ok((Self::Cancel, about()?)),
            "credit" => {
                let more = number(headers, header::CREDIT)?.unwrap_or(1);
                let more = u32::try_from(more).unwrap_or(WINDOW).min(WINDOW);
                Ok((Self::Credit(more), about()?))
            }
            "drain" => Ok((Self::Drain, None)),
            other => Err(wrong(header::CONTROL, other, "unknown")),
        }
    }
}

/// A duration on the wire: whole milliseconds, at least one, so that none reads as "now".
fn millis(time: Duration) -> String {
    time.as_millis().max(1).to_string()
}

fn check_wire(headers: &Headers) -> Result<(), Malformed> {
    match headers.get(header::WIRE) {
        Some(WIRE) => Ok(()),
        Some(other) => Err(wrong(header::WIRE, other, "this side speaks 1")),
        None => Err(Malformed(format!("{} is missing", header::WIRE))),
    }
}

fn call(headers: &Headers) -> Result<CallId, Malformed> {
    let text = headers.get(header::CALL).unwrap_or_default();
    CallId::parse(text).ok_or_else(|| wrong(header::CALL, text, "use a UUID"))
}

fn attempt(headers: &Headers) -> Result<u32, Malformed> {
    let attempt = number(headers, header::ATTEMPT)?.unwrap_or(1);
    u32::try_from(attempt).map_err(|_| wrong(header::ATTEMPT, "", "too large"))
}

fn number(headers: &Headers, name: &str) -> Result<Option<u64>, Malformed> {
    let text = headers.get(name);
    let read = text.map(|text| {
        text.parse()
            .map_err(|_| wrong(name, text, "use a whole number"))
    });
    read.transpose()
}

fn wrong(name: &str, value: &str, why: &str) -> Malformed {
    Malformed(format!("{name} {value:?}: {why}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ask() -> Ask {
        Ask {
            call: CallId::new(),
            attempt: 2,
            start: Start::Direct,
            start_within: Duration::from_millis(300),
            deadline: Some(Duration::from_secs(4)),
            idempotency_key: Some("once".into()),
            caller: Some("a.b.c".into()),
            digest: Some("0123".into()),
            object: None,
            method: "tools/call".into(),
            name: Some("add".into()),
            trace: Trace::default(),
        }
    }

    #[test]
    fn a_request_is_read_as_it_was_written() {
        let all = ask();
        assert_eq!(Ask::read(&all.headers()), Ok(all));
        let plain = Ask {
            attempt: 1,
            start: Start::Claim,
            start_within: START_WITHIN,
            deadline: None,
            idempotency_key: None,
            caller: None,
            digest: None,
            name: None,
            ..ask()
        };
        assert_eq!(plain.headers().iter().count(), 4);
        assert_eq!(Ask::read(&plain.headers()), Ok(plain));
    }

    #[test]
    fn frames_have_names() {
        for (name, frame) in Frame::NAMES {
            assert_eq!((frame.as_str(), Frame::parse(name)), (name, Some(frame)));
        }
        assert_eq!(Frame::parse("ask"), None);
    }

    #[test]
    fn steering_is_read_as_it_was_written() {
        let about = Some((CallId::new(), 3));
        for control in [Control::Go, Control::Cancel, Control::Credit(4)] {
            assert_eq!(Control::read(&control.headers(about)), Ok((control, about)));
        }
        let drain = Control::Drain.headers(None);
        assert_eq!(Control::read(&drain), Ok((Control::Drain, None)));
    }

    #[test]
    fn what_is_wrong_is_named() {
        for (name, value) in [
            (header::WIRE, "2"),
            (header::CALL, "x"),
            (header::START, "now"),
            (header::DEADLINE, "-1"),
            (header::ATTEMPT, "99999999999"),
        ] {
            let mut headers = ask().headers();
            headers.put(name, value);
            let Malformed(why) = Ask::read(&headers).expect_err("refused");
            assert!(why.starts_with(name), "{why}");
        }
    }
}
