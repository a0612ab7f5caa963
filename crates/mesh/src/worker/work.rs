//! What a request asks for: its body, checked against its headers and its subject.

use std::sync::Arc;

use bytes::Bytes;
use serde_json::json;
use toolbus_model::{
    CallSeed, Caller, Error, Method, Object, Outcome, Raw, Request, Revision, ServerName, Trace,
};
use toolbus_protocol::meta::{self, Modern};
use toolbus_protocol::{Envelope, Message, headers, trace};

use super::intake::Place;
use super::offered::{Meant, Tool, meant};
use super::terminal::{Terminal, id_of};
use super::{Served, Shared, assertion};
use crate::frame::Ask;
use crate::subject::{self, Work as Named};

/// The door that calls of the mesh came through, for records.
const DOOR: &str = "mesh";

/// What a back end is to do.
#[derive(Debug)]
pub(super) struct Work {
    /// The request's id, as the answer has it.
    pub(super) id: Raw,
    /// Which of the worker's servers does it.
    pub(super) server: usize,
    pub(super) tool: Option<Arc<Tool>>,
    pub(super) request: Request,
    pub(super) seed: CallSeed,
}

impl Shared {
    /// Reads a request's body. What is refused ends the request.
    pub(super) fn work(
        &self,
        ask: &Ask,
        body: &Bytes,
        place: &Place,
        subject: &str,
    ) -> Result<Work, Box<Terminal>> {
        let refused = |error: &Error| Box::new(Terminal::err(&id_of(body), error));
        let (envelope, id) = read(body).map_err(|error| refused(&error))?;
        let method = Method::parse(&envelope.method);
        let target = target(&method, &envelope.params).map_err(|error| refused(&error))?;
        agree(ask, &envelope, target.as_deref()).map_err(|error| refused(&error))?;
        let asked = (&method, target.as_deref());
        let last = subject.rsplit('.').next().unwrap_or_default();
        let found = self.resolve(place, last, asked);
        let (server, tool) = found.map_err(|error| refused(&error))?;
        self.is_version(ask, tool.as_deref())
            .map_err(|what| Box::new(Terminal::busy(&id, what)))?;
        let caller = self.caller(ask).map_err(|error| refused(&error))?;
        let trace = trace_of(&envelope.meta, &ask.trace);
        let seed = seed(caller, &envelope.meta, trace).map_err(|error| refused(&error))?;
        let request = Request {
            method,
            target,
            params: envelope.params,
            meta: envelope.meta,
        };
        let work = Work {
            id,
            server,
            tool,
            request,
            seed,
        };
        // Who drains still goes on with what it holds: nobody else can.
        if self.refuses() && !self.servers[server].backend.holds(&work.request) {
            let busy = Terminal::busy(&work.id, "this worker is draining");
            return Err(Box::new(busy));
        }
        Ok(work)
    }

    /// Who does what came in at a place.
    fn resolve(
        &self,
        place: &Place,
        last: &str,
        asked: (&Method, Option<&str>),
    ) -> Result<(usize, Option<Arc<Tool>>), Error> {
        match place {
            Place::Tool(tool) | Place::Compat(tool, _) => of_tool(tool, asked),
            Place::Server(server) => {
                if subject::token(asked.0.as_str()) != last {
                    return Err(mismatch("method", last, asked.0.as_str()));
                }
                Ok((*server, self.listed(*server, asked)))
            }
            Place::Instance => match self.offered().tool(last) {
                Some(tool) => of_tool(tool, asked),
                None => self.unlisted(last, asked),
            },
        }
    }

    /// A server with very many tools is asked for them at its own subject.
    fn listed(
        &self,
        server: usize,
        (method, target): (&Method, Option<&str>),
    ) -> Option<Arc<Tool>> {
        let (name, _) = self.servers.get_index(server)?;
        let tool = target.filter(|_| *method == Method::ToolsCall)?;
        let token = Named::Tool(name, tool.into()).token();
        self.offered().tool(&token).map(Arc::clone)
    }

    fn unlisted(
        &self,
        last: &str,
        asked: (&Method, Option<&str>),
    ) -> Result<(usize, Option<Arc<Tool>>), Error> {
        let (method, target) = asked;
        let servers = self.servers.keys();
        let found = meant(last, servers, asked).map_err(Error::InvalidRequest)?;
        match found {
            Some(Meant::Tool(server, tool)) if *method == Method::ToolsCall => match target {
                Some(target) if Some(target) == tool.as_deref() => Ok((server, None)),
                _ => Err(mismatch("tool", last, target.unwrap_or_default())),
            },
            Some(Meant::Method(server, name)) if name == method.as_str() => {
                Ok((server, self.listed(server, asked)))
            }
            Some(_) => Err(mismatch("method", last, method.as_str())),
            None => Err(not_here(last, target.unwrap_or(method.as_str()))),
        }
    }

    /// A worker does not run another version than the one that is wanted.
    fn is_version(&self, ask: &Ask, tool: Option<&Tool>) -> Result<(), String> {
        match (&ask.digest, tool) {
            (Some(wanted), Some(tool)) if *wanted != tool.digest => Err(format!(
                "this worker has version {} of {:?}, not {wanted:?}",
                tool.digest, tool.name
            )),
            // Nothing of this name is listed, so of no version.
            (Some(wanted), None) if ask.method == Method::ToolsCall.as_str() => Err(format!(
                "this worker does not have version {wanted:?} of the tool"
            )),
            _ => Ok(()),
        }
    }

    fn caller(&self, ask: &Ask) -> Result<Caller, Error> {
        let keys = &self.settings.caller_keys;
        assertion::caller(
            ask.caller.as_deref(),
            keys,
            self.subjects.tenant(),
            ask.call,
        )
        .map_err(Error::Unauthenticated)
    }
}

impl Served {
    /// A later request that goes on with this outcome must come to this worker.
    pub(super) fn holds(
        &self,
        method: Method,
        target: Option<Arc<str>>,
        outcome: &Outcome,
    ) -> bool {
        let (method, target, member, object) = match outcome {
            Outcome::Complete(_) | Outcome::Extended(_) => return false,
            Outcome::InputRequired(object) => (method, target, "requestState", object),
            Outcome::Task(object) => (Method::Other("tasks/get".into()), None, "taskId", object),
        };
        let value = object.str(member).unwrap_or_default();
        let request = Request {
            method,
            target,
            params: Object::of(&json!({ member: value })),
            meta: Object::empty(),
        };
        self.options.stateful || self.backend.holds(&request)
    }
}

/// A request and its id.
pub(super) fn read(body: &Bytes) -> Result<(Envelope, Raw), Error> {
    let invalid = |why: &str| Error::InvalidRequest(format!("Invalid request: {why}"));
    match Message::parse(body) {
        Err(refusal) => Err(refusal.error),
        Ok(Message::Reply(_)) => Err(invalid("a response is no request")),
        Ok(Message::Call(envelope)) => match envelope.id.clone() {
            Some(id) => Ok((envelope, id)),
            None => Err(invalid("member \"id\" is missing")),
        },
    }
}

/// What a request is for. A name that stands twice could mean one thing to us and another to the server.
pub(super) fn target(method: &Method, params: &Object) -> Result<Option<Arc<str>>, Error> {
    if matches!(
        method,
        Method::ToolsList
            | Method::PromptsList
            | Method::ResourcesList
            | Method::TemplatesList
            | Method::Discover
    ) {
        // What a worker offers stands in the catalog.
        return Err(Error::MethodNotFound(method.as_str().to_owned()));
    }
    let Some(member) = method.target_member() else {
        return Ok(None);
    };
    let invalid = |why: String| Error::InvalidParams(format!("Invalid params: {why}"));
    if params.duplicate(&[member, "arguments", "_meta"]).is_some() {
        return Err(invalid("a member stands twice".to_owned()));
    }
    let name = params.str(member);
    let name = name.ok_or_else(|| invalid(format!("{member:?} must be a string")))?;
    Ok(Some(name.as_ref().into()))
}

/// Headers and body must say the same: policies and permissions go by the headers.
fn agree(ask: &Ask, envelope: &Envelope, target: Option<&str>) -> Result<(), Error> {
    if ask.method != envelope.method {
        return Err(mismatch("method", &ask.method, &envelope.method));
    }
    let (Some(name), Some(target)) = (&ask.name, target) else {
        return Ok(());
    };
    let name = headers::decode(name)?;
    if name == target {
        Ok(())
    } else {
        Err(mismatch("name", &name, target))
    }
}

fn of_tool(
    tool: &Arc<Tool>,
    (method, target): (&Method, Option<&str>),
) -> Result<(usize, Option<Arc<Tool>>), Error> {
    if *method != Method::ToolsCall {
        return Err(mismatch("method", &tool.token, method.as_str()));
    }
    match target {
        Some(target) if target == &*tool.name => Ok((tool.server, Some(Arc::clone(tool)))),
        _ => Err(mismatch("tool", &tool.token, target.unwrap_or_default())),
    }
}

fn mismatch(what: &str, told: &str, body: &str) -> Error {
    Error::HeaderMismatch(format!(
        "Header mismatch: the subject or the headers are for {what} {told:?}, the body is for {body:?}"
    ))
}

fn not_here(last: &str, name: &str) -> Error {
    let named = subject::name(last).ok().flatten();
    let place = named.unwrap_or_else(|| name.to_owned());
    let server = place.split(['.', '/']).next().unwrap_or_default();
    let name = ServerName::from_foreign(server).to_string();
    Error::Unknown {
        kind: toolbus_model::Kind::Server,
        name,
    }
}

/// What `_meta` says of itself counts; where it says nothing the headers do.
fn trace_of(meta: &Object, told: &Trace) -> Trace {
    let own = trace::read(meta, None);
    let (None, Some(parent)) = (&own.parent, &told.parent) else {
        return own;
    };
    let told = Object::of(&json!({"traceparent": parent, "tracestate": told.state}));
    Trace {
        baggage: own.baggage,
        ..trace::read(&told, None)
    }
}

/// What is known of a call before it begins. A request that does not say what its client can do is one of a client that
/// can do nothing.
pub(super) fn seed(caller: Caller, meta: &Object, trace: Trace) -> Result<CallSeed, Error> {
    let (capabilities, client) = if meta.get(meta::VERSION).is_some() {
        let said = Modern::read(meta)?;
        said.revision()?;
        (said.capabilities, said.client)
    } else {
        (Object::empty().to_raw(), meta.raw(meta::CLIENT))
    };
    Ok(CallSeed {
        caller,
        revision: Revision::V2026_07_28,
        door: DOOR,
        capabilities,
        client,
        log_level: meta::log_level(meta)?,
        progress_token: meta::progress_token(meta)?,
        trace,
    })
}
