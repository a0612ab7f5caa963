//! What can go wrong, by what the caller can do about it. Codes and statuses of the wires are not known here.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use crate::Raw;

/// Why a request has no outcome. Doors turn each variant into their wire's codes, in one table.
#[derive(Debug, Clone, PartialEq)]
pub enum Error {
    /// The bytes are not JSON.
    Parse(String),
    /// JSON, but not a request.
    InvalidRequest(String),
    /// A request whose parameters are not what the method asks for.
    InvalidParams(String),
    /// No such method, or one behind a capability that nobody here has.
    MethodNotFound(String),
    /// A header contradicts the body.
    HeaderMismatch(String),
    /// The request needs a capability that the client did not declare: the capabilities it would have to declare.
    MissingClientCapability(Raw),
    /// The revision asked for is none that we speak.
    UnsupportedVersion {
        /// What was asked for.
        requested: String,
        /// What can be had, newest first.
        supported: Vec<&'static str>,
    },
    /// There is nothing of this name, or this caller may not see it: the answer must not tell which.
    Unknown {
        /// What was looked for.
        kind: Kind,
        /// The name, URI, id or cursor that was given.
        name: String,
    },
    /// The caller did not show who it is.
    Unauthenticated(String),
    /// The session is not one of ours, or has ended.
    SessionUnknown,
    /// Larger than we carry.
    TooLarge {
        /// What is too large.
        what: &'static str,
        /// The most that is carried, in bytes.
        limit: usize,
    },
    /// A limit is reached; the request was not started.
    Busy {
        /// Which limit.
        what: String,
        /// When to come back.
        retry_after: Duration,
    },
    /// Nobody can serve it now; the request was not started.
    Unavailable(Box<Cause>),
    /// Time ran out; the text names the limits.
    DeadlineExceeded(Box<Cause>),
    /// It may have run, or not: the connection or the process was lost in mid-call.
    OutcomeUnknown(Box<Cause>),
    /// What the request refers to was lost with its owner.
    StateLost(String),
    /// The caller went away or cancelled. Never answered, only recorded.
    Cancelled,
    /// The server's own error, passed as it came.
    Upstream {
        /// Its code.
        code: i64,
        /// Its message.
        message: String,
        /// Its data, untouched.
        data: Option<Raw>,
    },
    /// Our own fault.
    Internal(String),
}

/// Kinds of things that can be unknown.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// A tool, by name.
    Tool,
    /// A prompt, by name.
    Prompt,
    /// A resource, by URI.
    Resource,
    /// A server, by name.
    Server,
    /// A list's cursor.
    Cursor,
    /// A task, by id.
    Task,
}

/// Whose fault an error is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fault {
    /// The caller's: the same request will fail again.
    Caller,
    /// Ours.
    Gateway,
    /// The back end's.
    Backend,
}

/// What happened at a back end, as a person needs it to find the cause.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Cause {
    /// One sentence: what happened.
    pub what: String,
    /// The command or URL that was asked.
    pub command: Option<Arc<str>>,
    /// How its process ended, such as `exit status 3` or `killed by signal 9`.
    pub status: Option<String>,
    /// The last lines it wrote to stderr.
    pub stderr: Option<String>,
    /// What to do about it.
    pub remedy: Option<String>,
}

impl Cause {
    /// A cause of which only this is known.
    pub fn new(what: impl Into<String>) -> Self {
        Self {
            what: what.into(),
            ..Self::default()
        }
    }
}

impl fmt::Display for Cause {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.what)?;
        if let Some(command) = &self.command {
            write!(f, "; command: {command}")?;
        }
        if let Some(status) = &self.status {
            write!(f, "; {status}")?;
        }
        if let Some(stderr) = &self.stderr {
            write!(f, "; last on stderr: {}", last_lines(stderr, 5))?;
        }
        if let Some(remedy) = &self.remedy {
            write!(f, "; {remedy}")?;
        }
        Ok(())
    }
}

/// How much of a back end's last words a message shows; all of what is kept stands in the error's data.
const LAST_WORDS: usize = 400;

/// The last lines of `text`, joined so that they fit a one-line message.
fn last_lines(text: &str, count: usize) -> String {
    let lines: Vec<&str> = text
        .lines()
        .map(str::trim_end)
        .filter(|line| !line.is_empty())
        .collect();
    let joined = lines[lines.len().saturating_sub(count)..].join(" | ");
    let surplus = joined.chars().count().saturating_sub(LAST_WORDS);
    if surplus == 0 {
        joined
    } else {
        format!("…{}", joined.chars().skip(surplus).collect::<String>())
    }
}

impl Error {
    /// Whose fault it is.
    pub fn fault(&self) -> Fault {
        match self {
            Self::Parse(_)
            | Self::InvalidRequest(_)
            | Self::InvalidParams(_)
            | Self::MethodNotFound(_)
            | Self::HeaderMismatch(_)
            | Self::MissingClientCapability(_)
            | Self::UnsupportedVersion { .. }
            | Self::Unknown { .. }
            | Self::Unauthenticated(_)
            | Self::SessionUnknown
            | Self::TooLarge { .. }
            | Self::Cancelled => Fault::Caller,
            Self::Busy { .. } | Self::Internal(_) => Fault::Gateway,
            Self::Unavailable(_)
            | Self::DeadlineExceeded(_)
            | Self::OutcomeUnknown(_)
            | Self::StateLost(_)
            | Self::Upstream { .. } => Fault::Backend,
        }
    }

    /// The same request may be sent again without running anything twice, and may then succeed.
    pub fn is_retryable(&self) -> bool {
        matches!(self, Self::Busy { .. } | Self::Unavailable(_))
    }

    /// What happened at the back end, where the error is about one.
    pub fn cause(&self) -> Option<&Cause> {
        match self {
            Self::Unavailable(cause)
            | Self::DeadlineExceeded(cause)
            | Self::OutcomeUnknown(cause) => Some(cause),
            _ => None,
        }
    }

    /// One word for records and metrics.
    pub fn label(&self) -> &'static str {
        match self {
            Self::Parse(_) => "parse",
            Self::InvalidRequest(_) => "invalid_request",
            Self::InvalidParams(_) => "invalid_params",
            Self::MethodNotFound(_) => "method_not_found",
            Self::HeaderMismatch(_) => "header_mismatch",
            Self::MissingClientCapability(_) => "missing_client_capability",
            Self::UnsupportedVersion { .. } => "unsupported_version",
            Self::Unknown { .. } => "unknown",
            Self::Unauthenticated(_) => "unauthenticated",
            Self::SessionUnknown => "session_unknown",
            Self::TooLarge { .. } => "too_large",
            Self::Busy { .. } => "busy",
            Self::Unavailable(_) => "unavailable",
            Self::DeadlineExceeded(_) => "deadline_exceeded",
            Self::OutcomeUnknown(_) => "outcome_unknown",
            Self::StateLost(_) => "state_lost",
            Self::Cancelled => "cancelled",
            Self::Upstream { .. } => "upstream",
            Self::Internal(_) => "internal",
        }
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Parse(why)
            | Self::InvalidRequest(why)
            | Self::InvalidParams(why)
            | Self::HeaderMismatch(why)
            | Self::Unauthenticated(why)
            | Self::StateLost(why) => f.write_str(why),
            Self::MethodNotFound(method) => write!(f, "Method not found: {method}"),
            Self::MissingClientCapability(_) => {
                f.write_str("The request needs a capability that the client did not declare")
            }
            Self::UnsupportedVersion {
                requested,
                supported,
            } => {
                write!(
                    f,
                    "Unsupported protocol version {requested:?}; supported: {}",
                    supported.join(", ")
                )
            }
            Self::Unknown {
                kind: Kind::Tool,
                name,
            } => write!(f, "Unknown tool: {name}"),
            Self::Unknown {
                kind: Kind::Prompt,
                name,
            } => write!(f, "Unknown prompt: {name}"),
            Self::Unknown {
                kind: Kind::Resource,
                name,
            } => write!(f, "Unknown resource: {name}"),
            Self::Unknown {
                kind: Kind::Server,
                name,
            } => write!(f, "Unknown server: {name}"),
            Self::Unknown {
                kind: Kind::Task,
                name,
            } => write!(f, "Unknown task: {name}"),
            Self::Unknown {
                kind: Kind::Cursor, ..
            } => f.write_str("Unknown cursor: list again from the start, without a cursor"),
            Self::SessionUnknown => {
                f.write_str("Session not found: send initialize to open a new one")
            }
            Self::TooLarge { what, limit } => write!(f, "The {what} is larger than {limit} bytes"),
            Self::Busy { what, retry_after } => {
                write!(
                    f,
                    "Busy: {what}; try again in {} ms",
                    retry_after.as_millis()
                )
            }
            Self::Unavailable(cause) => write!(f, "Unavailable: {cause}"),
            Self::DeadlineExceeded(cause) => write!(f, "Deadline exceeded: {cause}"),
            Self::OutcomeUnknown(cause) => {
                write!(f, "Outcome unknown, the call may have run: {cause}")
            }
            Self::Cancelled => f.write_str("Cancelled"),
            Self::Upstream { message, .. } => f.write_str(message),
            Self::Internal(what) => write!(f, "Internal error: {what}"),
        }
    }
}

impl std::error::Error for Error {}
