//! Revisions up to 2025-11-25: `initialize`, sessions, and the methods that 2026-07-28 removed.
//!
//! A session is its id: what is needed to serve it is sealed into it, so that any replica with the same key can. Only
//! what a session may do without is kept here: which ids were ended, and the log levels that were set.

use std::collections::{HashMap, VecDeque};
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use serde::{Deserialize, Serialize};
use serde_json::json;
use serde_json::value::RawValue;
use tokio_util::sync::CancellationToken;
use toolbus_gateway::{Gateway, Scope};
use toolbus_model::{Caller, Era, Error, LogLevel, Object, Raw, Revision};
use toolbus_protocol::{Envelope, write};

use crate::encode::server_info;
use crate::exchange::{Terms, capabilities};
use toolbus_gateway::Key;

/// How long a session lasts. A client that comes later is asked to initialize anew, as the specification has it.
const LIFETIME: Duration = Duration::from_secs(7 * 24 * 3600);

/// The most that a client's description of itself may add to its session id, which travels in a header.
const MAX_DESCRIPTION: usize = 2 * 1024;

/// Ended sessions and log levels that are remembered; the oldest are forgotten first.
const REMEMBERED: usize = 100_000;

const PURPOSE: &str = "toolbus session 1";

/// What a session id holds.
#[derive(Debug, Serialize, Deserialize)]
struct Sealed<'a> {
    version: &'a str,
    caller: &'a str,
    /// Seconds since 1970.
    opened: u64,
    #[serde(borrow)]
    client: Option<&'a RawValue>,
}

/// A session as its id tells it.
#[derive(Debug, Clone)]
pub(crate) struct Session {
    pub(crate) id: String,
    pub(crate) revision: Revision,
    client: Option<Raw>,
}

/// Everything that is remembered of sessions.
#[derive(Debug)]
pub(crate) struct Sessions {
    key: Key,
    ended: Mutex<Memory<()>>,
    levels: Mutex<Memory<LogLevel>>,
    running: Mutex<Cancellable>,
}

/// Calls that can be cancelled, by session and request id. Those that are over are cleared out when there are many.
#[derive(Debug, Default)]
struct Cancellable {
    calls: HashMap<(String, Raw), CancellationToken>,
    look_at: usize,
}

/// A bounded map that forgets the oldest.
#[derive(Debug)]
struct Memory<T> {
    known: HashMap<String, T>,
    order: VecDeque<String>,
}

impl<T> Default for Memory<T> {
    fn default() -> Self {
        Self {
            known: HashMap::new(),
            order: VecDeque::new(),
        }
    }
}

impl<T> Memory<T> {
    fn put(&mut self, id: &str, value: T) {
        if self.known.insert(id.to_owned(), value).is_none() {
            self.order.push_back(id.to_owned());
        }
        if self.order.len() > REMEMBERED
            && let Some(oldest) = self.order.pop_front()
        {
            self.known.remove(&oldest);
        }
    }
}

impl Sessions {
    pub(crate) fn new(key: Key) -> Self {
        Self {
            key,
            ended: Mutex::default(),
            levels: Mutex::default(),
            running: Mutex::default(),
        }
    }

    /// Opens a session: its id, and the result of `initialize`.
    pub(crate) fn open(
        &self,
        envelope: &Envelope,
        caller: &Caller,
        scope: &Scope,
        gateway: &Gateway,
    ) -> Result<(Session, Raw), Error> {
        let (revision, client) = read_initialize(&envelope.params)?;
        let described = client
            .as_ref()
            .filter(|client| client.bytes().len() <= MAX_DESCRIPTION);
        let sealed = Sealed {
            version: revision.as_str(),
            caller: caller.as_str(),
            opened: now(),
            client: described.and_then(|client| client.read().ok()),
        };
        let id = self.key.seal(PURPOSE, Raw::of(&sealed).bytes());
        let id =
            id.ok_or_else(|| Error::Internal("a session id could not be sealed".to_owned()))?;
        Ok((
            Session {
                id,
                revision,
                client,
            },
            initialized(revision, caller, scope, gateway)?,
        ))
    }

    /// The session of this id, where it is ours, this caller's, and alive.
    pub(crate) fn find(&self, id: &str, caller: &Caller) -> Result<Session, Error> {
        let text = self.key.open(PURPOSE, id).ok_or(Error::SessionUnknown)?;
        let sealed: Sealed<'_> =
            serde_json::from_slice(&text).map_err(|_| Error::SessionUnknown)?;
        let alive = now().saturating_sub(sealed.opened) < LIFETIME.as_secs();
        let ended = lock(&self.ended).known.contains_key(id);
        match Revision::parse(sealed.version) {
            Some(revision) if alive && !ended && sealed.caller == caller.as_str() => Ok(Session {
                id: id.to_owned(),
                revision,
                client: sealed.client.map(Raw::of),
            }),
            _ => Err(Error::SessionUnknown),
        }
    }

    /// Ends a session.
    pub(crate) fn end(&self, session: &Session) {
        lock(&self.ended).put(&session.id, ());
    }

    /// Remembers how a call can be cancelled, until it is over.
    pub(crate) fn running(&self, session: &Session, id: &Raw, cancel: CancellationToken) {
        let mut running = lock(&self.running);
        if running.calls.len() >= running.look_at {
            // The token of a call that is over is cancelled.
            running.calls.retain(|_, cancel| !cancel.is_cancelled());
            running.look_at = 2 * running.calls.len() + 64;
        }
        running
            .calls
            .insert((session.id.clone(), id.clone()), cancel);
    }

    /// Takes a notification of the client's.
    pub(crate) fn notified(&self, session: &Session, envelope: &Envelope) {
        if envelope.method == "notifications/cancelled"
            && let Some(id) = envelope.params.raw("requestId")
            && let Some(cancel) = lock(&self.running).calls.get(&(session.id.clone(), id))
        {
            cancel.cancel();
        }
    }

    /// The terms on which this session's requests are made.
    pub(crate) fn terms(
        &self,
        session: &Session,
        caller: Caller,
        scope: Scope,
        door: &'static str,
    ) -> Terms {
        let level = lock(&self.levels).known.get(&session.id).copied();
        Terms {
            caller,
            door,
            scope,
            revision: session.revision,
            // What a server may ask of a client is not offered: the answers could not be carried.
            capabilities: Object::empty().to_raw(),
            client: session.client.clone(),
            // A client that never set a level leaves the choice to the server (2025-11-25, server/utilities/logging).
            log_level: Some(level.unwrap_or(LogLevel::Info)),
        }
    }

    /// Answers the methods that only these revisions have, and that need no server.
    pub(crate) fn answer(
        &self,
        session: &Session,
        envelope: &Envelope,
        id: &Raw,
    ) -> Option<Result<Vec<u8>, Error>> {
        let empty = || write::result(id, |out| out.extend_from_slice(b"{}"), 2);
        match envelope.method.as_str() {
            "ping" => Some(Ok(empty())),
            "logging/setLevel" => Some(
                match envelope
                    .params
                    .str("level")
                    .and_then(|name| LogLevel::parse(&name))
                {
                    Some(level) => {
                        lock(&self.levels).put(&session.id, level);
                        Ok(empty())
                    }
                    None => Err(Error::InvalidParams(
                        "Invalid params: \"level\" must be a log level".to_owned(),
                    )),
                },
            ),
            "initialize" => Some(Err(Error::InvalidRequest(
                "Invalid request: this session is open already".to_owned(),
            ))),
            _ => None,
        }
    }
}

/// What a client says when it opens a session. A revision that we do not know is answered with our newest.
fn read_initialize(params: &Object) -> Result<(Revision, Option<Raw>), Error> {
    let version = params.str("protocolVersion");
    let version = version.ok_or_else(|| {
        Error::InvalidParams("Invalid params: \"protocolVersion\" must be a string".to_owned())
    })?;
    let revision = Revision::parse(&version).filter(|revision| is_served(*revision));
    Ok((
        revision.unwrap_or(Revision::NEWEST_LEGACY),
        params.raw("clientInfo"),
    ))
}

/// The revisions that sessions are opened in.
pub(crate) fn is_served(revision: Revision) -> bool {
    revision.era() == Era::Legacy && revision >= Revision::V2025_06_18
}

fn initialized(
    revision: Revision,
    caller: &Caller,
    scope: &Scope,
    gateway: &Gateway,
) -> Result<Raw, Error> {
    let info: serde_json::Value = server_info().read().unwrap_or_default();
    let mut result = json!({
        "protocolVersion": revision.as_str(),
        "capabilities": capabilities(gateway.catalog().view(scope)?.abilities.completes),
        "serverInfo": info,
    });
    if let (Some(instructions), _) = gateway.instructions(scope, caller)? {
        result["instructions"] = instructions.into();
    }
    Ok(Raw::of(&result))
}

fn now() -> u64 {
    SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .unwrap_or_default()
        .as_secs()
}

fn lock<T>(mutex: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
