//! A server on the mesh, as a back end of the gateway.

use std::borrow::Cow;
use std::fmt;
use std::sync::{Arc, Weak};

use arc_swap::ArcSwap;
use bytes::Bytes;
use tokio::sync::watch;
use tokio::time::Instant;
use toolbus_model::{
    Backend, BoxFuture, Call, CallSeed, Error, Filter, Listening, Method, Offer, Outcome, Request,
    ServerName,
};
use toolbus_protocol::{headers, trace};

use super::course::{Ended, Job};
use super::{Core, answer, assertion, holder, listen, pins, reasons, request};
use crate::bus::BusError;
use crate::catalog::routes::{Listed, Routes};
use crate::frame::{Ask, HEADROOM, START_WITHIN, Start};
use crate::registry::bucket;
use crate::subject::Work;

/// The member of `_meta` in which a caller may give a key by which the server knows a call that it had already.
const IDEMPOTENCY_KEY: &str = "toolbus/idempotencyKey";

/// A server that workers have registered.
pub struct Remote {
    /// Its name.
    pub name: ServerName,
    pub(super) core: Arc<Core>,
    /// For what goes on when the call that began it is over.
    pub(super) myself: Weak<Self>,
    offer: watch::Sender<Arc<Offer>>,
    routes: ArcSwap<Routes>,
    /// Counts how often the workers changed.
    pub(super) renewed: watch::Sender<u64>,
}

impl fmt::Debug for Remote {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Remote({})", self.name)
    }
}

impl Remote {
    pub(crate) fn new(name: ServerName, core: Arc<Core>) -> Arc<Self> {
        Arc::new_cyclic(|myself| Self {
            name,
            core,
            myself: Weak::clone(myself),
            offer: watch::Sender::default(),
            routes: ArcSwap::default(),
            renewed: watch::Sender::new(0),
        })
    }

    /// What there is, and who serves it.
    pub(crate) fn publish(&self, mut routes: Routes, offer: Offer) {
        for (tool, listed) in &mut routes.tools {
            if let Some(start) = self
                .core
                .settings
                .starts
                .get(&format!("{}.{tool}", self.name))
            {
                listed.start = *start;
            }
        }
        // Gateways must not all begin with the same worker.
        let seed = std::ptr::from_ref(self).addr() as u64 ^ u64::from(std::process::id()) << 32;
        self.routes.store(Arc::new(routes.seeded(seed)));
        self.renewed.send_modify(|count| *count += 1);
        self.offer.send_if_modified(|before| {
            let changed = **before != offer;
            if changed {
                *before = Arc::new(offer);
            }
            changed
        });
    }

    /// No worker is left, nor will be for a while.
    pub(crate) fn leaves(&self) {
        let routes = self.routes();
        let absence = routes.absence.clone();
        self.routes.store(Arc::new(Routes {
            absence,
            ..Routes::default()
        }));
        self.offer
            .send_modify(|before| *before = Arc::new(before.without_lists()));
    }

    /// Who serves it now.
    pub(super) fn routes(&self) -> Arc<Routes> {
        self.routes.load_full()
    }

    /// The workers that have it, with the calls of this gateway that each is at.
    pub fn workers(&self) -> Vec<(Arc<str>, u32)> {
        let routes = self.routes();
        let peers = routes.groups.iter().flat_map(|(_, peers)| peers);
        peers
            .map(|peer| (Arc::clone(&peer.id), peer.own()))
            .collect()
    }

    async fn answer(&self, mut request: Request, call: &Call) -> Result<Outcome, Error> {
        if self.core.link.since().is_none() {
            let why = crate::bus::NotSent::Disconnected;
            return Err(reasons::not_sent(&why, self.core.link.problem()));
        }
        let held = holder::unmark(&mut request);
        let routes = self.routes();
        let listed = self.listed(&routes, &request);
        let tool = request.target.clone().zip(listed.as_ref());
        let tool = tool
            .as_ref()
            .map(|(tool, listed)| (&**tool, Arc::clone(&listed.digest)));
        let mut pinned = None;
        if held.is_none() && routes.stateful {
            let wanted = tool.as_ref().map(|(tool, digest)| (*tool, &**digest));
            let choose = || routes.choose(wanted, &[]);
            let caller = &call.seed.caller;
            pinned = pins::worker(&self.core, self.name.as_str(), caller, &routes, choose).await?;
        }
        drop(routes);
        let start = start(&request.method, listed.as_ref());
        let (ask, body) = self.ask(&request, call, start, tool.as_ref()).await?;
        let object = ask.object.clone();
        let work = Work::of(&self.name, &request.method, request.target.as_deref());
        let job = Job {
            core: &self.core,
            remote: self,
            call,
            work,
            tool,
            only: held.or_else(|| pinned.clone()),
            body,
        };
        let ended = job.run(ask).await;
        drop(job);
        if let Some(object) = object {
            self.put_away(&object).await;
        }
        match (ended, pinned) {
            (Err(Error::StateLost(_)), Some(worker)) => {
                let caller = &call.seed.caller;
                pins::forget(&self.core, self.name.as_str(), caller, &worker).await;
                Err(reasons::unpinned(&worker, self.name.as_str()))
            }
            (ended, _) => self.outcome(ended?, &request, call).await,
        }
    }

    fn listed(&self, routes: &Routes, request: &Request) -> Option<Listed> {
        if request.method != Method::ToolsCall {
            return None;
        }
        routes.tools.get(request.target.as_deref()?).cloned()
    }

    /// What the request's headers say, and its body.
    async fn ask(
        &self,
        request: &Request,
        call: &Call,
        start: Start,
        tool: Option<&(&str, Arc<str>)>,
    ) -> Result<(Ask, Bytes), Error> {
        let (core, trace) = (&self.core, &call.seed.trace);
        let left = call
            .deadline()
            .map(|end| end.saturating_duration_since(Instant::now()));
        let key = core.settings.signing_key.as_ref();
        let mut ask = Ask {
            call: call.id,
            attempt: 1,
            start,
            start_within: START_WITHIN,
            deadline: left,
            idempotency_key: request.meta.str(IDEMPOTENCY_KEY).map(Cow::into_owned),
            caller: Some(assertion::assertion(
                key,
                call,
                core.subjects.tenant(),
                left,
            )),
            digest: tool.map(|(_, digest)| digest.to_string()),
            object: None,
            method: request.method.as_str().to_owned(),
            name: request.target.as_deref().map(encoded),
            trace: toolbus_model::Trace {
                parent: trace::onward(trace, call.id),
                state: trace.state.clone(),
                baggage: None,
            },
        };
        let mut body = Bytes::from(request::body(request, call.id, &call.seed));
        if body.len() + HEADROOM > core.bus.max_payload() {
            let name = format!("request-{}", call.id);
            self.put(&name, body).await?;
            ask.object = Some(name);
            body = Bytes::new();
        }
        Ok((ask, body))
    }

    async fn put(&self, name: &str, body: Bytes) -> Result<(), Error> {
        let put = async {
            let store = self.store().await?;
            store.put(name, body).await
        };
        put.await.map_err(|error: BusError| {
            let what = format!("the request is too large for a message, and the object store does not take it: {error}");
            Error::Unavailable(toolbus_model::Cause::new(what).into())
        })
    }

    async fn put_away(&self, name: &str) {
        if let Ok(store) = self.store().await {
            let _ = store.delete(name).await;
        }
    }

    async fn store(&self) -> Result<Arc<dyn crate::bus::Objects>, BusError> {
        let name = self.core.subjects.bucket(bucket::OBJECTS);
        self.core.bus.objects(&name).await
    }

    async fn outcome(
        &self,
        ended: Ended,
        request: &Request,
        call: &Call,
    ) -> Result<Outcome, Error> {
        let Ended { reply, mut body } = ended;
        if let Some(object) = &reply.object {
            body = self.fetch(object, &reply, request, call).await?;
        }
        let outcome = answer::outcome(&reply, &body, &request.method)?;
        let worker = reply.worker.as_deref().unwrap_or_default();
        Ok(holder::mark(outcome, worker, reply.holds))
    }

    /// A result that was too large for messages.
    async fn fetch(
        &self,
        object: &str,
        reply: &crate::frame::Reply,
        request: &Request,
        call: &Call,
    ) -> Result<Bytes, Error> {
        let limit = self.core.settings.largest_object;
        let got = async {
            let store = self.store().await?;
            let body = store.get(object, limit).await;
            let _ = store.delete(object).await;
            body
        };
        got.await.map_err(|error| {
            let work = Work::of(&self.name, &request.method, request.target.as_deref());
            let why = format!("its result cannot be fetched from the object store: {error}");
            reasons::unknown(call.id, &work, reply.worker.as_deref(), &why)
        })
    }
}

/// How a request starts. What only reads may run twice; of other methods nobody knows.
fn start(method: &Method, listed: Option<&Listed>) -> Start {
    match method {
        Method::ToolsCall => listed.map_or(Start::Claim, |listed| listed.start),
        Method::PromptsGet | Method::ResourcesRead | Method::Complete => Start::Direct,
        Method::Other(name) if &**name == "tasks/get" => Start::Direct,
        _ => Start::Claim,
    }
}

fn encoded(name: &str) -> String {
    let value = headers::encode(name);
    value.to_str().unwrap_or_default().to_owned()
}

impl Backend for Remote {
    fn offer(&self) -> watch::Receiver<Arc<Offer>> {
        self.offer.subscribe()
    }

    fn serve<'a>(
        &'a self,
        request: Request,
        call: &'a Call,
    ) -> BoxFuture<'a, Result<Outcome, Error>> {
        Box::pin(self.answer(request, call))
    }

    fn listen<'a>(
        &'a self,
        filter: Filter,
        seed: &'a CallSeed,
    ) -> BoxFuture<'a, Result<Listening, Error>> {
        Box::pin(listen::listen(self, filter, seed))
    }

    /// Its workers go on without this gateway.
    fn stop(&self) -> BoxFuture<'_, ()> {
        Box::pin(std::future::ready(()))
    }
}
