//! Sessions: what `initialize` opens. A session is its id: what is needed to serve it is sealed into it, so that any
//! replica with the same key can. Only what a session may do without is kept here: which ids were ended, the log levels
//! that were set, and what can be cancelled.

use std::collections::{HashMap, VecDeque};
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use serde::{Deserialize, Serialize};
use serde_json::json;
use serde_json::value::RawValue;
use tokio::sync::broadcast;
use tokio_util::sync::CancellationToken;
use toolbus_gateway::capability::TASKS;
use toolbus_gateway::{Gateway, Key, Scope};
use toolbus_model::json::Edit;
use toolbus_model::{Caller, Era, Error, LogLevel, Object, Raw, Revision};
use toolbus_protocol::{Envelope, write};

use crate::encode::server_info;
use crate::exchange::{Terms, capabilities};

/// How long a session lasts. A client that comes later is asked to initialize anew, as the specification has it.
pub(crate) const LIFETIME: Duration = Duration::from_secs(7 * 24 * 3600);

/// The most that a client's description of itself may add to its session id, which travels in a header.
const MAX_DESCRIPTION: usize = 2 * 1024;

/// The same of its capabilities, without which it cannot be served.
const MAX_CAPABILITIES: usize = 4 * 1024;

/// How much of an id tells sessions apart: it begins with the 96 random bits that it was sealed with.
const TAG: usize = 16;

/// What a server may ask of a client: the capability that says so, and the method.
const ASKED: [(&str, &str); 3] = [
    ("elicitation", "elicitation/create"),
    ("sampling", "sampling/createMessage"),
    ("roots", "roots/list"),
];

/// Ended sessions and log levels that are remembered; the oldest are forgotten first.
const REMEMBERED: usize = 100_000;

/// Ends of sessions that wait to be told to other replicas.
const FAREWELLS: usize = 4_096;

const PURPOSE: &str = "toolbus session 2";

/// What a session id holds.
#[derive(Debug, Serialize, Deserialize)]
struct Sealed<'a> {
    version: &'a str,
    caller: &'a str,
    /// Seconds since 1970.
    opened: u64,
    #[serde(borrow)]
    client: Option<&'a RawValue>,
    #[serde(borrow)]
    capabilities: &'a RawValue,
}

/// A session as its id tells it.
#[derive(Debug, Clone)]
pub(crate) struct Session {
    pub(crate) id: String,
    pub(crate) revision: Revision,
    client: Option<Raw>,
    capabilities: Object,
}

impl Session {
    /// A short name for the session, within this gateway.
    pub(crate) fn tag(&self) -> &str {
        &self.id[..TAG]
    }

    /// The client declared that it answers requests of this method.
    pub(crate) fn can_be_asked(&self, method: &str) -> bool {
        let declared = |(capability, asked): &(&str, &str)| {
            *asked == method && self.capabilities.get(capability).is_some()
        };
        ASKED.iter().any(declared)
    }

    /// Messages may come in batches: in this revision alone (2025-03-26, basic, "Batching").
    pub(crate) fn has_batches(&self) -> bool {
        self.revision == Revision::V2025_03_26
    }

    /// The client answers requests of some kind.
    pub(crate) fn answers(&self) -> bool {
        ASKED.iter().any(|(_, method)| self.can_be_asked(method))
    }
}

/// Everything that is remembered of sessions.
#[derive(Debug)]
pub(crate) struct Sessions {
    key: Key,
    ended: Mutex<Memory<()>>,
    /// Tells which sessions have ended here, by their tags.
    farewells: broadcast::Sender<String>,
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
            farewells: broadcast::Sender::new(FAREWELLS),
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
        let (revision, client, capabilities) = read_initialize(&envelope.params)?;
        let carried = capabilities.to_raw();
        let described = client
            .as_ref()
            .filter(|client| client.bytes().len() <= MAX_DESCRIPTION);
        let sealed = Sealed {
            version: revision.as_str(),
            caller: caller.as_str(),
            opened: now(),
            client: described.and_then(|client| client.read().ok()),
            capabilities: carried
                .read()
                .map_err(|error| Error::Internal(error.to_string()))?,
        };
        let id = self.key.seal(PURPOSE, Raw::of(&sealed).bytes());
        let id =
            id.ok_or_else(|| Error::Internal("a session id could not be sealed".to_owned()))?;
        Ok((
            Session {
                id,
                revision,
                client,
                capabilities,
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
        let tag = id.get(..TAG).ok_or(Error::SessionUnknown)?;
        let ended = lock(&self.ended).known.contains_key(tag);
        let capabilities = Object::from_raw(&Raw::of(sealed.capabilities));
        match Revision::parse(sealed.version) {
            Some(revision) if alive && !ended && sealed.caller == caller.as_str() => Ok(Session {
                id: id.to_owned(),
                revision,
                client: sealed.client.map(Raw::of),
                capabilities: capabilities.unwrap_or_else(|_| Object::empty()),
            }),
            _ => Err(Error::SessionUnknown),
        }
    }

    /// Ends a session.
    pub(crate) fn end(&self, session: &Session) {
        self.has_ended(session.tag());
        // Nobody may have to know.
        let _ = self.farewells.send(session.tag().to_owned());
    }

    /// The session of this tag has ended, here or at another replica.
    pub(crate) fn has_ended(&self, tag: &str) {
        lock(&self.ended).put(tag, ());
    }

    /// The tags of sessions that end here from now on.
    pub(crate) fn farewells(&self) -> broadcast::Receiver<String> {
        self.farewells.subscribe()
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
            .insert((session.tag().to_owned(), id.clone()), cancel);
    }

    /// Takes a notification of the client's.
    pub(crate) fn notified(&self, session: &Session, envelope: &Envelope) {
        if envelope.method == "notifications/cancelled"
            && let Some(id) = envelope.params.raw("requestId")
            && let Some(cancel) = lock(&self.running)
                .calls
                .get(&(session.tag().to_owned(), id))
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
        let level = lock(&self.levels).known.get(session.tag()).copied();
        Terms {
            caller,
            door,
            scope,
            revision: session.revision,
            capabilities: session.capabilities.to_raw(),
            client: session.client.clone(),
            // A client that never set a level leaves the choice to the server (2025-11-25, server/utilities/logging).
            log_level: Some(level.unwrap_or(LogLevel::Info)),
            answers: session.answers(),
        }
    }

    /// Answers the methods that only these revisions have, and that need no server.
    pub(crate) fn answer(
        &self,
        session: &Session,
        envelope: &Envelope,
        id: &Raw,
    ) -> Option<Result<Vec<u8>, Error>> {
        let empty = || write::empty_result(id);
        match envelope.method.as_str() {
            "ping" => Some(Ok(empty())),
            "logging/setLevel" => Some(
                match envelope
                    .params
                    .str("level")
                    .and_then(|name| LogLevel::parse(&name))
                {
                    Some(level) => {
                        lock(&self.levels).put(session.tag(), level);
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
fn read_initialize(params: &Object) -> Result<(Revision, Option<Raw>, Object), Error> {
    let version = params.str("protocolVersion");
    let version = version.ok_or_else(|| {
        Error::InvalidParams("Invalid params: \"protocolVersion\" must be a string".to_owned())
    })?;
    let revision = Revision::parse(&version).filter(|revision| is_served(*revision));
    Ok((
        revision.unwrap_or(Revision::NEWEST_LEGACY),
        params.raw("clientInfo"),
        carried(params)?,
    ))
}

/// Of the client's capabilities those that can be carried, as it wrote them. Tasks are none of them: those of 2025-11-25
/// are not what servers speak now, and theirs are not what such a client reads.
fn carried(params: &Object) -> Result<Object, Error> {
    let invalid =
        |why: &str| Error::InvalidParams(format!("Invalid params: \"capabilities\" {why}"));
    let declared = match params.object("capabilities") {
        None => Object::empty(),
        Some(declared) => declared.map_err(|_| invalid("must be an object"))?,
    };
    let extensions = declared.object("extensions").and_then(Result::ok);
    let rest = extensions.map(|extensions| extensions.edited(&[(TASKS, Edit::Drop)]));
    let mut edits = vec![("tasks", Edit::Drop)];
    edits.extend(
        rest.iter()
            .map(|rest| ("extensions", Edit::Put(rest.bytes()))),
    );
    let carried = declared.edited(&edits);
    if carried.bytes().len() > MAX_CAPABILITIES {
        return Err(invalid(&format!(
            "must not be larger than {MAX_CAPABILITIES} bytes"
        )));
    }
    Ok(carried)
}

/// The revisions that sessions are opened in.
fn is_served(revision: Revision) -> bool {
    revision.era() == Era::Legacy
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
        "capabilities": capabilities(&gateway.catalog().view(scope)?.abilities, Era::Legacy),
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
