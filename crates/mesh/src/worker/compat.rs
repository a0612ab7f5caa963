//! The published subjects: a plain JSON-RPC request and one plain reply, for callers that know nothing else.

use std::collections::HashMap;
use std::panic::AssertUnwindSafe;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use futures_util::FutureExt as _;
use serde_json::{Map, Value};
use tokio::time::sleep;
use toolbus_model::json::{Edit, write_string};
use toolbus_model::{CallId, Caller, Error, Method, Raw, Request, ServerName};
use toolbus_protocol::trace;
use toolbus_protocol::urn::Urn;

use super::calls::{Entered, Running};
use super::intake::{Job, Place};
use super::offered::{Offered, Tool};
use super::terminal::{Terminal, id_of};
use super::work::{self, Work};
use super::{Shared, conduct, interest, requests};
use crate::bus::{BusError, Message, NotSent};
use crate::frame::{Ask, START_WITHIN, Start, header};
use crate::subject;

/// How long a plain call may take: its caller waits no longer.
const PLAIN_WITHIN: Duration = Duration::from_secs(30);

/// Questions for all tools that wait to be read.
const WAITING: usize = 64;

/// How soon a connection that takes no more is tried again.
const FULL: Duration = Duration::from_millis(5);

/// The published subjects under which a worker is to be found.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Compat {
    prefix: String,
}

impl Compat {
    /// Those under this prefix, a single plain token such as `coreason`.
    pub fn new(prefix: &str) -> Result<Self, String> {
        // The same rule as for our own prefix.
        subject::Subjects::new(prefix, subject::NO_TENANT)?;
        Ok(Self {
            prefix: prefix.to_owned(),
        })
    }

    fn discover(&self) -> String {
        format!("{}.tool.discover", self.prefix)
    }

    fn update(&self) -> String {
        format!("{}.registry.update", self.prefix)
    }

    fn invoke(&self, urn: &Urn) -> String {
        format!("{}.tool.{}.invoke", self.prefix, urn.subject())
    }
}

/// The URN of a tool: its definition's own, or one that is made from its name.
pub(super) fn urn_of(server: &ServerName, tool: &Tool) -> Urn {
    match Urn::of_definition(&tool.definition) {
        Some(Ok(urn)) => urn,
        Some(Err(_)) | None => Urn::of_tool(server, &tool.name),
    }
}

/// Begins to answer who asks for all tools.
pub(super) async fn open(shared: &Arc<Shared>) -> Result<(), BusError> {
    let Some(compat) = &shared.settings.compat else {
        return Ok(());
    };
    let subject = compat.discover();
    let mut asked = shared.bus.subscribe(&subject, None, WAITING).await?;
    let answerer = Arc::clone(shared);
    shared.tasks.spawn(async move {
        let answering = async {
            while let Some(message) = asked.next().await {
                if let Some(reply) = &message.reply {
                    let offered = answerer.offered();
                    answerer.publish_all(reply, &offered, None).await;
                }
            }
        };
        answerer.draining.run_until_cancelled(answering).await;
    });
    Ok(())
}

/// Adds the published subjects of the tools. Where two URNs have the same subject the first has it.
pub(super) fn wanted(shared: &Shared, offered: &Offered, wanted: &mut HashMap<String, Place>) {
    let Some(compat) = &shared.settings.compat else {
        return;
    };
    for tool in offered.tools.iter().take(interest::MOST_SUBJECTS) {
        let Some((server, _)) = shared.servers.get_index(tool.server) else {
            continue;
        };
        let urn = urn_of(server, tool);
        let subject = compat.invoke(&urn);
        if let Err(why) = subject::check(&subject, false) {
            tracing::warn!(%urn, "the tool has no published subject: {why}");
            continue;
        }
        if let Some(Place::Compat(first, _)) = wanted.get(&subject) {
            tracing::warn!(%urn, first = %first.name, "the tool has no published subject: another has it");
            continue;
        }
        wanted.insert(subject, Place::Compat(Arc::clone(tool), urn));
    }
}

/// Tells whoever keeps a register what this worker serves.
pub(super) fn announce(shared: &Arc<Shared>, offered: &Arc<Offered>) {
    let Some(compat) = &shared.settings.compat else {
        return;
    };
    let (subject, offered) = (compat.update(), Arc::clone(offered));
    let announcer = Arc::clone(shared);
    shared.tasks.spawn(async move {
        let telling = announcer.publish_all(&subject, &offered, Some("register"));
        announcer.draining.run_until_cancelled(telling).await;
    });
}

/// Serves one plain request.
pub(super) async fn handle(shared: Arc<Shared>, job: Job, tool: Arc<Tool>, urn: Urn) {
    let Job {
        message,
        place,
        arrived,
        pass,
    } = job;
    let Some(reply) = &message.reply else { return };
    let ask = plain_ask();
    let Entered::New(running) = shared.calls.enter(&ask, reply, arrived, false) else {
        return;
    };
    drop(place);
    // Whoever knows nothing else must not get signs of life.
    running.state().told = true;
    running.state().sign = arrived + 2 * PLAIN_WITHIN;
    let serving = serve(&shared, &running, &message.payload, &tool, &urn);
    let terminal = AssertUnwindSafe(serving).catch_unwind().await;
    let terminal = terminal.unwrap_or_else(|_| {
        let error = Error::Internal(requests::PANICKED.to_owned());
        Terminal::err(&id_of(&message.payload), &error)
    });
    running.state().end();
    shared.calls.leave(&running);
    shared.reply(reply, terminal.body, &message.payload).await;
    drop(pass);
}

/// A plain request runs at once, and for as long as its caller waits.
fn plain_ask() -> Ask {
    Ask {
        call: CallId::new(),
        attempt: 1,
        start: Start::Direct,
        start_within: START_WITHIN,
        deadline: Some(PLAIN_WITHIN),
        idempotency_key: None,
        caller: None,
        digest: None,
        object: None,
        method: Method::ToolsCall.as_str().to_owned(),
        name: None,
        trace: toolbus_model::Trace::default(),
    }
}

async fn serve(
    shared: &Arc<Shared>,
    running: &Arc<Running>,
    payload: &Bytes,
    tool: &Arc<Tool>,
    urn: &Urn,
) -> Terminal {
    if running.arrived.elapsed() > START_WITHIN {
        return Terminal::late(&id_of(payload), "the worker came to it too late");
    }
    if shared.refuses() {
        return Terminal::busy(&id_of(payload), "this worker is draining");
    }
    match plain_work(payload, tool, urn) {
        Ok(work) => conduct::run(shared, running, work).await,
        Err(error) => Terminal::err(&id_of(payload), &error),
    }
}

/// A plain request for a tool, which names it by its URN.
fn plain_work(payload: &Bytes, tool: &Arc<Tool>, urn: &Urn) -> Result<Work, Error> {
    let (envelope, id) = work::read(payload)?;
    if envelope.method != Method::ToolsCall.as_str() {
        return Err(Error::MethodNotFound(envelope.method));
    }
    let named = work::target(&Method::ToolsCall, &envelope.params)?.unwrap_or_default();
    if &*named != urn.as_str() {
        return Err(Error::InvalidParams(format!(
            "Invalid params: \"name\" must be {urn}, as the subject has it, not {named:?}"
        )));
    }
    let mut name = Vec::new();
    write_string(&tool.name, &mut name);
    let trace = trace::read(&envelope.meta, None);
    // Who calls is known to nobody here: what a foreign caller says of itself in headers is not believed.
    let mut seed = work::seed(Caller::named("foreign"), &envelope.meta, trace)?;
    // There is no way for notices.
    (seed.progress_token, seed.log_level) = (None, None);
    Ok(Work {
        id,
        server: tool.server,
        tool: Some(Arc::clone(tool)),
        request: Request {
            method: Method::ToolsCall,
            target: Some(Arc::clone(&tool.name)),
            params: envelope.params.edited(&[("name", Edit::Put(&name))]),
            meta: envelope.meta,
        },
        seed,
    })
}

impl Shared {
    /// Sends one plain reply, or says in its place that it is too large.
    async fn reply(&self, to: &str, payload: Bytes, asked: &Bytes) {
        let mut message = Message {
            subject: to.to_owned(),
            payload,
            ..Message::default()
        };
        if let Err(NotSent::TooLarge(limit)) = self.publish(&message).await {
            let what = "result of the call";
            let error = Error::TooLarge { what, limit };
            message.payload = Terminal::err(&id_of(asked), &error).body;
            let _ = self.publish(&message).await;
        }
    }

    /// Sends a message, waiting while the connection takes no more.
    async fn publish(&self, message: &Message) -> Result<(), NotSent> {
        for _ in 0..PLAIN_WITHIN.as_millis() / FULL.as_millis() {
            match self.bus.send(message.clone()) {
                Err(NotSent::Full | NotSent::Disconnected) => sleep(FULL).await,
                sent => return sent,
            }
        }
        Err(NotSent::Full)
    }

    /// Sends a description of each tool.
    async fn publish_all(&self, to: &str, offered: &Offered, action: Option<&str>) {
        for tool in &offered.tools {
            let Some((server, _)) = self.servers.get_index(tool.server) else {
                continue;
            };
            let mut described = describe(server, tool);
            if let Some(action) = action {
                described.insert("action".to_owned(), action.into());
                described.insert("worker".to_owned(), self.id.clone().into());
            }
            let mut message = Message {
                subject: to.to_owned(),
                payload: serde_json::to_vec(&described).unwrap_or_default().into(),
                ..Message::default()
            };
            // Gateways have it in their own catalog, and leave it out of that of foreign workers.
            message.headers.put(header::WORKER, self.id.clone());
            if let Err(why) = self.publish(&message).await {
                tracing::debug!(tool = %tool.name, "the tool's description was not sent: {why}");
            }
        }
    }
}

/// What the published contract has of a tool.
fn describe(server: &ServerName, tool: &Tool) -> Map<String, Value> {
    let definition = &tool.definition;
    let read = |member: &str| -> Option<Value> {
        let value: Raw = definition.raw(member)?;
        value.read().ok()
    };
    let mut described = Map::new();
    described.insert("name".to_owned(), urn_of(server, tool).to_string().into());
    let description = read("description").unwrap_or_else(|| "".into());
    described.insert("description".to_owned(), description);
    let schema = read("inputSchema").unwrap_or_else(|| serde_json::json!({"type": "object"}));
    described.insert("inputSchema".to_owned(), schema);
    described
}
