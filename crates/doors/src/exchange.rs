//! A request of any era and wire, up to the point where the gateway has it.

use std::sync::Arc;

use http::HeaderMap;
use serde_json::{Value, json};
use toolbus_gateway::capability::TASKS;
use toolbus_gateway::catalog::{Abilities, Shelf};
use toolbus_gateway::{Gateway, Running, Scope};
use toolbus_model::{
    CallSeed, Caller, Era, Error, Freshness, LogLevel, Method, Object, Raw, Request, Revision,
    Trace,
};
use toolbus_protocol::meta::{self, Modern};
use toolbus_protocol::params::ParamHeaders;
use toolbus_protocol::{Envelope, trace, write};

use crate::encode;
use crate::listen::{self, Listening};

/// On what terms a request was made: by whom, in which revision, with what abilities.
#[derive(Debug, Clone)]
pub(crate) struct Terms {
    pub(crate) caller: Caller,
    pub(crate) door: &'static str,
    pub(crate) scope: Scope,
    pub(crate) revision: Revision,
    pub(crate) capabilities: Raw,
    pub(crate) client: Option<Raw>,
    pub(crate) log_level: Option<LogLevel>,
    /// The client of a session answers requests of the server's.
    pub(crate) answers: bool,
}

/// A request that the gateway has.
pub(crate) enum Work {
    /// It is answered: the whole response.
    Answered(Vec<u8>),
    /// It is on its way.
    Running(Box<Call>),
    /// It tells of changes from now on.
    Listening(Box<Listening>),
}

/// A call on its way, and what is needed to write its messages.
pub(crate) struct Call {
    pub(crate) running: Running,
    pub(crate) id: Raw,
    pub(crate) era: Era,
    pub(crate) token: Option<Raw>,
    pub(crate) is_read: bool,
    /// How to go on with it, where its session's client can be asked something in between.
    pub(crate) again: Option<Box<Again>>,
}

/// A call's next round.
pub(crate) struct Again {
    scope: Scope,
    seed: CallSeed,
    method: Method,
    target: Option<Arc<str>>,
    meta: Object,
    pub(crate) params: Object,
}

impl Again {
    /// Goes on with the call.
    pub(crate) fn call(&self, gateway: &Arc<Gateway>, params: Object) -> Running {
        let request = Request {
            method: self.method.clone(),
            target: self.target.clone(),
            params,
            meta: self.meta.clone(),
        };
        gateway.call(self.scope.clone(), request, self.seed.clone())
    }
}

impl Terms {
    /// The terms of a modern request, which says them itself.
    pub(crate) fn modern(
        envelope: &Envelope,
        said: Modern,
        caller: Caller,
        scope: Scope,
        door: &'static str,
    ) -> Result<Self, Error> {
        Ok(Self {
            caller,
            door,
            scope,
            revision: said.revision()?,
            capabilities: said.capabilities,
            client: said.client,
            log_level: meta::log_level(&envelope.meta)?,
            answers: false,
        })
    }

    /// What the gateway is told of a request on these terms.
    pub(crate) fn seed(&self, token: Option<Raw>, trace: Trace) -> CallSeed {
        CallSeed {
            caller: self.caller.clone(),
            revision: self.revision,
            door: self.door,
            capabilities: self.capabilities.clone(),
            client: self.client.clone(),
            log_level: self.log_level,
            progress_token: token,
            trace,
        }
    }
}

/// Brings a request to the gateway. `headers` are checked where the wire has them.
pub(crate) async fn begin(
    gateway: &Arc<Gateway>,
    terms: Terms,
    envelope: Envelope,
    id: Raw,
    headers: Option<&HeaderMap>,
) -> Result<Work, Error> {
    let method = Method::parse(&envelope.method);
    let shelf = match method {
        Method::ToolsList => Shelf::Tools,
        Method::PromptsList => Shelf::Prompts,
        Method::ResourcesList => Shelf::Resources,
        Method::TemplatesList => Shelf::Templates,
        Method::Discover if terms.revision.era() == Era::Modern => {
            gateway.started().await;
            return discover(gateway, &terms, &id).map(Work::Answered);
        }
        Method::ToolsCall | Method::PromptsGet | Method::ResourcesRead | Method::Complete => {
            return call(gateway, terms, method, envelope, id, headers)
                .map(|call| Work::Running(Box::new(call)));
        }
        Method::Other(name) if &*name == listen::METHOD && terms.revision.era() == Era::Modern => {
            gateway.started().await;
            let listening = Listening::open(gateway, &terms, &envelope, id).await?;
            return Ok(Work::Listening(Box::new(listening)));
        }
        Method::Other(name) if passes(&name, terms.revision.era()) => {
            let method = Method::Other(name);
            return call(gateway, terms, method, envelope, id, headers)
                .map(|call| Work::Running(Box::new(call)));
        }
        Method::Discover | Method::Other(_) => return Err(Error::MethodNotFound(envelope.method)),
    };
    gateway.started().await;
    let cursor = match envelope.params.raw("cursor") {
        None => None,
        Some(cursor) => {
            let text = cursor.as_str().map(|text| text.into_owned());
            Some(text.ok_or_else(|| {
                Error::InvalidParams("Invalid params: \"cursor\" must be a string".to_owned())
            })?)
        }
    };
    let page = gateway.list(&terms.scope, &terms.caller, shelf, cursor.as_deref())?;
    Ok(Work::Answered(encode::page(
        &id,
        terms.revision.era(),
        shelf,
        &page,
    )))
}

/// A method that we do not know may be one that a server knows. Those of the protocol itself end here: what one revision
/// has and another has not is no server's to decide, and tasks as an extension are not for sessions.
fn passes(method: &str, era: Era) -> bool {
    let removed = matches!(
        method,
        "initialize"
            | "ping"
            | "logging/setLevel"
            | "resources/subscribe"
            | "resources/unsubscribe"
    );
    let of_clients = ["notifications/", "sampling/", "elicitation/", "roots/"];
    let task = method.starts_with("tasks/") && era == Era::Legacy;
    !removed
        && !task
        && method != listen::METHOD
        && !of_clients.iter().any(|family| method.starts_with(family))
}

fn call(
    gateway: &Arc<Gateway>,
    terms: Terms,
    method: Method,
    envelope: Envelope,
    id: Raw,
    headers: Option<&HeaderMap>,
) -> Result<Call, Error> {
    let target = match method.target_member() {
        None => None,
        Some(member) => Some(named(&envelope.params, member)?),
    };
    if let Some(arguments) = envelope.params.get("arguments")
        && arguments.first() != Some(&b'{')
    {
        return Err(Error::InvalidParams(
            "Invalid params: \"arguments\" must be an object".to_owned(),
        ));
    }
    if let (Method::ToolsCall, Some(headers), Some(name)) = (&method, headers, &target)
        && let Some(tool) = gateway.tool(&terms.scope, &terms.caller, name)
    {
        let mirrored = ParamHeaders::of_definition(&tool.definition).unwrap_or_default();
        mirrored.check(headers, envelope.params.raw("arguments").as_ref())?;
    }
    let token = meta::progress_token(&envelope.meta)?;
    let seed = terms.seed(token.clone(), trace::read(&envelope.meta, headers));
    let is_read = method == Method::ResourcesRead;
    let again = terms.answers.then(|| {
        Box::new(Again {
            scope: terms.scope.clone(),
            seed: seed.clone(),
            method: method.clone(),
            target: target.clone(),
            meta: envelope.meta.clone(),
            params: envelope.params.clone(),
        })
    });
    let request = Request {
        method,
        target,
        params: envelope.params,
        meta: envelope.meta,
    };
    let running = gateway.call(terms.scope, request, seed);
    Ok(Call {
        running,
        id,
        era: terms.revision.era(),
        token,
        is_read,
        again,
    })
}

/// What the request is for. A name that stands twice could mean one thing to us and another to the server.
fn named(params: &Object, member: &str) -> Result<Arc<str>, Error> {
    if params.duplicate(&[member, "arguments", "_meta"]).is_some() {
        return Err(Error::InvalidParams(
            "Invalid params: a member stands twice".to_owned(),
        ));
    }
    let name = params.str(member).ok_or_else(|| {
        Error::InvalidParams(format!("Invalid params: {member:?} must be a string"))
    })?;
    Ok(name.as_ref().into())
}

fn discover(gateway: &Gateway, terms: &Terms, id: &Raw) -> Result<Vec<u8>, Error> {
    let (instructions, shared) = gateway.instructions(&terms.scope, &terms.caller)?;
    let mut head = json!({
        "supportedVersions": [Revision::V2026_07_28.as_str()],
        "capabilities": capabilities(&gateway.catalog().view(&terms.scope)?.abilities, Era::Modern),
    });
    if let Some(instructions) = instructions {
        head["instructions"] = instructions.into();
    }
    let head = Raw::of(&head);
    let payload = |out: &mut Vec<u8>| {
        out.extend_from_slice(&head.bytes()[..head.bytes().len() - 1]);
        encode::complete(Freshness::default().ttl_ms, shared, out);
        out.push(b'}');
    };
    Ok(write::result(id, payload, head.bytes().len() + 256))
}

/// What this gateway can do, whichever servers are there now: a client is not told again when they change. What only
/// some servers can is said as they say it.
pub(crate) fn capabilities(abilities: &Abilities, era: Era) -> Value {
    let mut capabilities = json!({
        "tools": {"listChanged": true},
        "prompts": {"listChanged": true},
        "resources": {"listChanged": true},
        "logging": {},
    });
    if abilities.subscribes {
        capabilities["resources"]["subscribe"] = true.into();
    }
    if abilities.completes {
        capabilities["completions"] = json!({});
    }
    let own = [
        ("extensions", &abilities.extensions),
        ("experimental", &abilities.experimental),
    ];
    for (member, named) in own {
        let carried = |name: &str| era == Era::Modern || name != TASKS;
        let named: serde_json::Map<String, Value> = named
            .iter()
            .filter(|(name, _)| carried(name))
            .filter_map(|(name, settings)| Some((name.clone(), settings.read().ok()?)))
            .collect();
        if !named.is_empty() {
            capabilities[member] = named.into();
        }
    }
    capabilities
}
