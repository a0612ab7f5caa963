//! One record per call, as JSON lines, written in a straight line by the call's own task.
//!
//! Lines are put into a buffer that a thread of its own writes out, so that a call never waits for a disk. The buffer
//! is bounded: when it is full, calls are refused instead of going unrecorded. What a SIGKILL can lose is what was put
//! in since the last write, at most [`GATHER`] ago.

use std::fs::OpenOptions;
use std::io::{self, Write};
use std::path::Path;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;
use std::time::{Duration, SystemTime};

use serde::Serialize;
use tokio::time::Instant;
use toolbus_model::{Call, Error, Invalid, Outcome, Request};
use toolbus_protocol::trace;

/// Lines waiting to be written: some 14,000 calls.
const MAX_WAITING: usize = 8 * 1024 * 1024;

/// How long the writer gathers lines before it writes them with one system call.
const GATHER: Duration = Duration::from_millis(5);

/// How long it waits after a failed write, such as on a full disk.
const RETRY: Duration = Duration::from_millis(500);

/// Where records go.
#[derive(Debug)]
pub struct Audit {
    shared: Arc<Shared>,
    writer: Mutex<Option<JoinHandle<()>>>,
}

#[derive(Debug, Default)]
struct Shared {
    waiting: Mutex<Waiting>,
    wake: Condvar,
}

#[derive(Debug, Default)]
struct Waiting {
    lines: Vec<u8>,
    /// The last write failed, and why: shown to the callers who are refused.
    trouble: Option<String>,
    closing: bool,
    discard: bool,
}

/// A call that has been noted and must be closed.
#[derive(Debug)]
pub(crate) struct Entry {
    started: Instant,
    request_bytes: usize,
    digest: Option<String>,
    method: String,
    asked: Option<Arc<str>>,
}

/// What the walk of a call found out for its record.
#[derive(Debug, Default)]
pub(crate) struct Findings {
    pub(crate) server: Option<Arc<str>>,
    pub(crate) original: Option<Arc<str>>,
    pub(crate) denied: bool,
    /// The call that this one goes on with, where it brought answers.
    pub(crate) first: Option<String>,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Opening<'a> {
    event: &'static str,
    time: String,
    call_id: String,
    caller: &'a str,
    method: &'a str,
    asked: Option<&'a str>,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Record<'a> {
    event: &'static str,
    /// When the call ended, RFC 3339, UTC.
    time: String,
    call_id: String,
    caller: &'a str,
    door: &'static str,
    revision: &'static str,
    method: &'a str,
    /// The name that the caller used.
    asked: Option<&'a str>,
    server: Option<&'a str>,
    /// The name that the server uses: with `server` what policies are written in.
    name: Option<&'a str>,
    outcome: &'static str,
    duration_ms: f64,
    request_bytes: usize,
    response_bytes: usize,
    /// BLAKE3 of the arguments' text as received.
    arguments_blake3: Option<&'a str>,
    trace_id: Option<&'a str>,
    /// The first call of those that a question and its answers tie together.
    continues: Option<&'a str>,
}

impl Audit {
    /// Appends records to a file, which only its owner can read.
    pub fn to_file(path: &Path) -> io::Result<Self> {
        let mut options = OpenOptions::new();
        options.create(true).append(true);
        #[cfg(unix)]
        std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
        let file = options.open(path)?;
        Self::to_writer(file)
    }

    /// Writes records anywhere, by a thread of its own.
    pub fn to_writer(target: impl Write + Send + 'static) -> io::Result<Self> {
        let shared = Arc::new(Shared::default());
        let written = Arc::clone(&shared);
        let writer = std::thread::Builder::new()
            .name("audit".to_owned())
            .spawn(move || write_out(&written, target))?;
        Ok(Self {
            shared,
            writer: Mutex::new(Some(writer)),
        })
    }

    /// Records nothing: for commands that are their own record.
    pub fn none() -> Self {
        let shared = Shared {
            waiting: Mutex::new(Waiting {
                discard: true,
                ..Waiting::default()
            }),
            ..Shared::default()
        };
        Self {
            shared: Arc::new(shared),
            writer: Mutex::new(None),
        }
    }

    /// Notes that a call begins. Refused when records cannot be written fast enough.
    pub(crate) fn open(&self, call: &Call, request: &Request) -> Result<Entry, Error> {
        let asked = request.target.clone();
        let entry = Entry {
            started: call.started,
            request_bytes: request.params.bytes().len(),
            digest: request
                .params
                .get("arguments")
                .map(|arguments| blake3::hash(arguments).to_hex().to_string()),
            method: request.method.as_str().to_owned(),
            asked,
        };
        let line = Opening {
            event: "open",
            time: now(),
            call_id: call.id.to_string(),
            caller: call.seed.caller.as_str(),
            method: &entry.method,
            asked: entry.asked.as_deref(),
        };
        let mut waiting = self.shared.lock();
        if waiting.lines.len() >= MAX_WAITING {
            let why = waiting.trouble.as_deref().unwrap_or("the disk is too slow");
            let what = format!("the audit cannot keep up ({why}), and no call goes unrecorded");
            return Err(Error::Busy {
                what,
                retry_after: RETRY,
            });
        }
        self.put(&mut waiting, &line);
        Ok(entry)
    }

    /// Records how the call ended. Always taken: the calls in flight bound how many can come.
    pub(crate) fn close(
        &self,
        entry: &Entry,
        call: &Call,
        findings: &Findings,
        answer: &Result<Outcome, Error>,
    ) {
        let seed = &call.seed;
        let line = Record {
            event: "call",
            time: now(),
            call_id: call.id.to_string(),
            caller: seed.caller.as_str(),
            door: seed.door,
            revision: seed.revision.as_str(),
            method: &entry.method,
            asked: entry.asked.as_deref(),
            server: findings.server.as_deref(),
            name: findings.original.as_deref(),
            outcome: if findings.denied {
                "denied"
            } else {
                label(answer)
            },
            duration_ms: (entry.started.elapsed().as_secs_f64() * 1e6).round() / 1e3,
            request_bytes: entry.request_bytes,
            response_bytes: answer
                .as_ref()
                .map_or(0, |outcome| outcome.object().bytes().len()),
            arguments_blake3: entry.digest.as_deref(),
            trace_id: trace::id(&seed.trace),
            continues: findings.first.as_deref(),
        };
        let mut waiting = self.shared.lock();
        self.put(&mut waiting, &line);
    }

    fn put(&self, waiting: &mut Waiting, line: &impl Serialize) {
        if waiting.discard {
            return;
        }
        let was_empty = waiting.lines.is_empty();
        // Writing to memory cannot fail.
        let _ = serde_json::to_writer(&mut waiting.lines, line);
        waiting.lines.push(b'\n');
        if was_empty {
            self.shared.wake.notify_one();
        }
    }

    /// Writes what waits and ends the writer.
    pub fn finish(&self) {
        self.shared.lock().closing = true;
        self.shared.wake.notify_one();
        let writer = self
            .writer
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .take();
        if let Some(writer) = writer {
            let _ = writer.join();
        }
    }
}

impl Shared {
    fn lock(&self) -> MutexGuard<'_, Waiting> {
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Waits for lines; `None` when there will be none any more.
    fn take(&self, spare: Vec<u8>) -> Option<Vec<u8>> {
        let mut waiting = self.lock();
        while waiting.lines.is_empty() {
            if waiting.closing {
                return None;
            }
            waiting = self
                .wake
                .wait(waiting)
                .unwrap_or_else(PoisonError::into_inner);
        }
        if !waiting.closing {
            drop(waiting);
            std::thread::sleep(GATHER);
            waiting = self.lock();
        }
        Some(std::mem::replace(&mut waiting.lines, spare))
    }
}

fn write_out(shared: &Shared, mut target: impl Write) {
    let mut spare = Vec::new();
    while let Some(mut lines) = shared.take(std::mem::take(&mut spare)) {
        let mut written = 0;
        while written < lines.len() {
            match target.write(&lines[written..]) {
                Ok(0) => note(shared, "nothing can be written any more"),
                Ok(count) => written += count,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => note(shared, &error.to_string()),
            }
            if shared.lock().trouble.is_some() {
                if shared.lock().closing {
                    return;
                }
                std::thread::sleep(RETRY);
                shared.lock().trouble = None;
            }
        }
        lines.clear();
        // A burst must not keep its memory for ever.
        lines.shrink_to(256 * 1024);
        spare = lines;
    }
    let _ = target.flush();
}

fn note(shared: &Shared, trouble: &str) {
    tracing::error!(trouble, "the audit cannot be written; it is tried again");
    shared.lock().trouble = Some(trouble.to_owned());
}

/// One word for how a call ended.
pub(crate) fn label(answer: &Result<Outcome, Error>) -> &'static str {
    match answer {
        Ok(outcome) if outcome.is_tool_error() => match outcome.invalid() {
            Some(Invalid::Arguments) => "invalid_arguments",
            Some(Invalid::Result) => "invalid_result",
            None => "tool_error",
        },
        Ok(Outcome::Complete(_)) => "ok",
        Ok(Outcome::InputRequired(_)) => "input_required",
        Ok(Outcome::Task(_)) => "task",
        Ok(Outcome::Extended(_)) => "extended",
        Err(error) => error.label(),
    }
}

fn now() -> String {
    humantime::format_rfc3339_millis(SystemTime::now()).to_string()
}
