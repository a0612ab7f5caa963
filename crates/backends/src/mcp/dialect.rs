//! Requests and results between the inner dialect (2026-07-28) and what a server speaks.

use serde_json::value::RawValue;
use toolbus_model::json::{Edit, write_string};
use toolbus_model::{Call, Era, Error, Kind, Method, Object, Outcome, Raw, Request, Revision};
use toolbus_protocol::{meta, trace, write};

use super::abilities::{Abilities, TASKS};
use super::asked::input_required;
use super::ear::Question;
use super::link::Peer;
use super::retry;

/// The body of a caller's request, as this server is to see it. It always has a progress token, which is the request's
/// id: progress is a sign of life, also of a call whose caller does not want to see it.
pub(super) fn call_body(revision: Revision, id: u64, request: &Request, call: &Call) -> Vec<u8> {
    let meta = match revision.era() {
        Era::Modern => modern_meta(revision, id, &request.meta, call),
        Era::Legacy => legacy_meta(id, &request.meta, call),
    };
    let target = request.target.as_deref().map(quoted);
    let mut edits: Vec<(&str, Edit<'_>)> = Vec::with_capacity(2);
    if let (Some(member), Some(target)) = (request.method.target_member(), &target) {
        // Only a name that differs is written anew; the spelling of the caller's own stays.
        let same = request.params.str(member).as_deref() == request.target.as_deref();
        edits.extend((!same).then_some((member, Edit::Put(target))));
    }
    edits.push(("_meta", Edit::Put(&meta)));
    let size = request.params.bytes().len() + meta.len();
    write::request(
        Some(id),
        request.method.as_str(),
        |out| request.params.rewrite(&edits, out),
        size,
    )
}

pub(crate) fn modern_meta(revision: Revision, id: u64, given: &Object, call: &Call) -> Vec<u8> {
    let seed = &call.seed;
    let version = quoted(revision.as_str());
    let level = seed.log_level.map(|level| quoted(level.as_str()));
    let (token, trace) = (id.to_string(), Traced::of(call));
    let mut edits = trace.edits();
    edits.extend([
        (meta::VERSION, Edit::Put(&version)),
        (meta::CAPABILITIES, Edit::Put(seed.capabilities.bytes())),
        (
            meta::LOG_LEVEL,
            level.as_deref().map_or(Edit::Drop, Edit::Put),
        ),
        (meta::PROGRESS, Edit::Put(token.as_bytes())),
    ]);
    // A caller that does not say who it is came through us.
    let client = seed.client.as_ref().unwrap_or_else(|| us());
    edits.push((meta::CLIENT, Edit::Put(client.bytes())));
    let mut out = Vec::with_capacity(given.bytes().len() + 256);
    given.rewrite(&edits, &mut out);
    out
}

/// Older servers get what the caller put into `_meta` beyond the protocol's own keys, and a token for progress.
fn legacy_meta(id: u64, given: &Object, call: &Call) -> Vec<u8> {
    let (token, trace) = (id.to_string(), Traced::of(call));
    let mut edits = trace.edits();
    let own = meta::OWN_KEYS.iter().filter(|key| **key != meta::PROGRESS);
    edits.extend(own.map(|key| (*key, Edit::Drop)));
    edits.push((meta::PROGRESS, Edit::Put(token.as_bytes())));
    let mut out = Vec::with_capacity(given.bytes().len() + 64);
    given.rewrite(&edits, &mut out);
    out
}

/// The trace context as the server is to see it: our span as its parent, and what travels beside, which may have come
/// in headers.
struct Traced {
    parent: Option<Vec<u8>>,
    beside: [(&'static str, Option<Vec<u8>>); 2],
}

impl Traced {
    fn of(call: &Call) -> Self {
        let trace = &call.seed.trace;
        Self {
            parent: trace::onward(trace, call.id).map(|parent| quoted(&parent)),
            beside: [
                ("tracestate", trace.state.as_deref().map(quoted)),
                ("baggage", trace.baggage.as_deref().map(quoted)),
            ],
        }
    }

    fn edits(&self) -> Vec<(&str, Edit<'_>)> {
        let parent = self
            .parent
            .iter()
            .map(|parent| ("traceparent", Edit::Put(parent)));
        let beside = self
            .beside
            .iter()
            .filter_map(|(name, value)| Some((*name, Edit::Default(value.as_deref()?))));
        parent.chain(beside).collect()
    }
}

/// The body of a request of our own, with these members in `params`.
pub(super) fn own_body(
    revision: Revision,
    id: u64,
    method: &str,
    members: &[(&str, Edit<'_>)],
) -> Vec<u8> {
    body_for(b"{}", revision, id, method, members)
}

/// [`own_body`] for a client of these capabilities.
pub(super) fn body_for(
    capabilities: &[u8],
    revision: Revision,
    id: u64,
    method: &str,
    members: &[(&str, Edit<'_>)],
) -> Vec<u8> {
    let mut edits = members.to_vec();
    let meta = own_meta(capabilities, revision);
    if revision.era() == Era::Modern {
        edits.push(("_meta", Edit::Put(&meta)));
    }
    write::request(
        Some(id),
        method,
        |out| Object::empty().rewrite(&edits, out),
        meta.len() + 128,
    )
}

fn own_meta(capabilities: &[u8], revision: Revision) -> Vec<u8> {
    let (version, us) = (quoted(revision.as_str()), us());
    let edits = [
        (meta::VERSION, Edit::Put(&version[..])),
        (meta::CAPABILITIES, Edit::Put(capabilities)),
        (meta::CLIENT, Edit::Put(us.bytes())),
    ];
    let mut out = Vec::new();
    Object::empty().rewrite(&edits, &mut out);
    out
}

/// How we introduce ourselves to servers.
pub(super) fn us() -> &'static Raw {
    static US: std::sync::LazyLock<Raw> = std::sync::LazyLock::new(|| {
        Raw::of(&serde_json::json!({"name": "toolbus", "version": env!("CARGO_PKG_VERSION")}))
    });
    &US
}

/// Tells a server that nobody waits for a request any more.
pub(super) fn cancelled(id: u64) -> Vec<u8> {
    let params = format!(r#"{{"requestId":{id},"reason":"the caller is gone or its time is up"}}"#);
    write::notification(
        "notifications/cancelled",
        |out| out.extend_from_slice(params.as_bytes()),
        params.len(),
    )
}

/// What a server's result means.
pub(super) fn outcome(
    result: Object,
    request: &Request,
    call: &Call,
    peer: &Peer,
) -> Result<Outcome, Error> {
    if matches!(&request.method, Method::Other(name) if name.starts_with("tasks/")) {
        return Ok(Outcome::Complete(result));
    }
    let kind = match result.str("resultType").as_deref() {
        None | Some("complete") => return Ok(Outcome::Complete(result)),
        Some("input_required") => return Ok(Outcome::InputRequired(asks(result, call))),
        Some("task") if declares(&call.seed.capabilities, TASKS) => {
            return Ok(Outcome::Task(result));
        }
        Some(other) => other.to_owned(),
    };
    if kind != "task" && shares_an_extension(&call.seed.capabilities, peer) {
        return Ok(Outcome::Extended(result));
    }
    let message =
        format!("the server answered with a result of type {kind:?}, which was not negotiated");
    Err(Error::Upstream {
        code: -32603,
        message,
        data: None,
    })
}

/// A result that asks, as this caller takes it.
pub(crate) fn asks(result: Object, call: &Call) -> Object {
    match call.seed.revision.era() {
        Era::Modern => result,
        Era::Legacy => retry::remember(&result),
    }
}

fn extensions(capabilities: &Object) -> Option<Object> {
    capabilities.object("extensions")?.ok()
}

fn declares(capabilities: &Raw, extension: &str) -> bool {
    let declared = Object::from_raw(capabilities).ok();
    let known = declared.as_ref().and_then(extensions);
    known.is_some_and(|known| known.get(extension).is_some())
}

/// Caller and server have an extension in common which could define a kind of result. That of tasks is known here.
fn shares_an_extension(capabilities: &Raw, peer: &Peer) -> bool {
    let declared = Object::from_raw(capabilities).ok();
    let callers = declared.as_ref().and_then(extensions);
    let Some((callers, servers)) = callers.zip(extensions(&peer.capabilities)) else {
        return false;
    };
    callers
        .iter()
        .any(|(name, _)| name != TASKS && servers.get(&name).is_some())
}

/// What a server's error means. Older revisions have codes of their own: for an unknown resource, and for pages that have
/// to be opened first.
pub(super) fn failure(error: Error, request: &Request, call: &Call) -> Result<Outcome, Error> {
    match error {
        Error::Upstream { code: -32002, .. } if request.method == Method::ResourcesRead => {
            Err(Error::Unknown {
                kind: Kind::Resource,
                name: request.target.as_deref().unwrap_or_default().to_owned(),
            })
        }
        Error::Upstream {
            code: -32042,
            message,
            data,
        } if call.seed.revision.era() == Era::Modern => {
            pages(&call.seed.capabilities, message, data)
        }
        other => Err(other),
    }
}

/// The newer way to say that pages have to be opened before a request can be served.
fn pages(capabilities: &Raw, message: String, data: Option<Raw>) -> Result<Outcome, Error> {
    let declared = Object::from_raw(capabilities).unwrap_or_else(|_| Object::empty());
    if !Abilities::of(&declared).url {
        let needed = Raw::of(&serde_json::json!({"elicitation": {"url": {}}}));
        return Err(Error::MissingClientCapability(needed));
    }
    let given = data
        .as_ref()
        .and_then(|data| Object::from_raw(data).ok()?.raw("elicitations"));
    let pages: Vec<&RawValue> = given
        .as_ref()
        .and_then(|given| given.read().ok())
        .unwrap_or_default();
    if pages.is_empty() {
        return Err(Error::Upstream {
            code: -32603,
            message,
            data,
        });
    }
    let questions = pages.iter().enumerate().map(|(n, page)| {
        let params = Object::parse(page.get().to_owned().into()).ok()?;
        let (key, method) = (format!("url{}", n + 1), "elicitation/create".to_owned());
        Some(Question {
            key,
            id: Raw::of(&n),
            method,
            params,
        })
    });
    let questions: Vec<_> = questions.flatten().collect();
    Ok(Outcome::InputRequired(input_required(
        &questions,
        retry::AFRESH,
        Era::Modern,
    )))
}

pub(crate) fn quoted(text: &str) -> Vec<u8> {
    let mut out = Vec::with_capacity(text.len() + 2);
    write_string(text, &mut out);
    out
}

#[cfg(test)]
mod tests;
