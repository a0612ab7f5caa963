//! The life of a call, in the order in which things happen to it.

use std::panic::AssertUnwindSafe;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use arc_swap::ArcSwap;
use futures_util::FutureExt as _;
use tokio::sync::{Notify, oneshot, watch};
use tokio::time::{Instant, timeout};
use tokio_util::sync::{CancellationToken, DropGuard};
use tokio_util::task::TaskTracker;
use toolbus_model::{
    Backend, Call, CallSeed, Caller, Error, Health, Method, Offer, Outcome, Request, ServerName,
};

use crate::audit::{self, Audit, Findings};
use crate::catalog::{Catalog, Entry, Holders, Page, Scope, Shelf};
use crate::deadline::{Deadlines, Unset};
use crate::limits::Gate;
use crate::metrics::{Metrics, Operation};
use crate::policy::Policy;
use crate::route::{self, Route};
use crate::running::Running;
use crate::sealed::Key;
use crate::tickets::{self, Asked, Parties};
use replace::{Now, Past, at, offers};

/// How long after its opening the gateway waits for servers that are still starting, rather than to say that there is
/// nothing.
const SETTLE_WITHIN: Duration = Duration::from_secs(10);

/// How long cancelled calls may take to end when the gateway closes: what a back end has to stop, and a little more.
const CLOSE_WITHIN: Duration = Duration::from_secs(6);

/// Streams that tell of changes, at once: some kilobytes each.
const LISTENERS: usize = 20_000;

/// How long what a server offers stays listed while it is down, where nothing else is configured. It outlasts an update
/// and a restart of its machine; a client that fetches its lists in that time needs no other ones afterwards.
const GRACE: Duration = Duration::from_secs(10 * 60);

/// How one server is treated.
#[derive(Debug, Clone, PartialEq)]
pub struct ServerSettings {
    /// Limits of time for all its calls.
    pub deadlines: Deadlines,
    /// Which of them are only a default, so that a tool may set its own.
    pub unset: Unset,
    /// Limits of time for single tools, by the server's own names.
    pub tools: std::collections::HashMap<String, Deadlines>,
    /// Calls at once.
    pub in_flight: usize,
    /// How long its entries stay listed while it is down; for ever without.
    pub grace: Option<Duration>,
}

impl Default for ServerSettings {
    fn default() -> Self {
        Self {
            deadlines: Deadlines::default(),
            unset: Unset {
                idle: true,
                total: true,
            },
            tools: std::collections::HashMap::new(),
            in_flight: 256,
            grace: Some(GRACE),
        }
    }
}

impl ServerSettings {
    /// How long a call may take that goes this way: as is configured for its tool, or else for the server, or else as the
    /// tool says.
    fn deadlines_of(&self, route: &Route) -> Deadlines {
        let configured = self.tools.get(&*route.original).copied();
        configured.unwrap_or_else(|| self.deadlines.or_own(self.unset, route.time))
    }
}

/// A server behind the gateway.
pub struct Server {
    /// Its configured name.
    pub name: ServerName,
    /// Where its work is done.
    pub backend: Arc<dyn Backend>,
    /// How it is treated.
    pub settings: ServerSettings,
    gate: Arc<Gate>,
    /// Cancelled when nobody holds this server any more.
    unused: CancellationToken,
    _holding: DropGuard,
}

impl Server {
    /// A server of this name.
    pub fn new(name: ServerName, backend: Arc<dyn Backend>, settings: ServerSettings) -> Self {
        let gate = Gate::new(format!("server {:?}", name.as_str()), settings.in_flight);
        let unused = CancellationToken::new();
        Self {
            name,
            backend,
            settings,
            gate,
            _holding: unused.clone().drop_guard(),
            unused,
        }
    }
}

/// What a gateway is made of.
pub struct Setup {
    /// The servers, in the order of the configuration.
    pub servers: Vec<Server>,
    /// Who may use what.
    pub policy: Policy,
    /// Where records go.
    pub audit: Audit,
    /// Show every name with its server's name in front.
    pub prefix: bool,
    /// Seals what callers take away and bring back. Replicas that share it serve each other's callers.
    pub key: Key,
}

/// The gateway.
pub struct Gateway {
    pub(crate) now: ArcSwap<Now>,
    /// Locked while a new [`Now`] is made, so that one follows the other.
    past: Mutex<Past>,
    /// Rung when a server's offer has changed.
    changed: Notify,
    /// Back ends that were taken out and still have calls, by their servers' names.
    retiring: Mutex<Vec<(ServerName, Arc<dyn Backend>)>>,
    audit: Audit,
    /// What is counted.
    pub metrics: Metrics,
    key: Key,
    /// How many may still bring servers that nobody has heard of.
    expecting: AtomicUsize,
    /// Whether every server has answered or failed once; sent anew with each catalog.
    pub(crate) settled: watch::Sender<bool>,
    /// Streams that tell of changes.
    pub(crate) listeners: Arc<Gate>,
    opened: Instant,
    pub(crate) tasks: TaskTracker,
    closing: CancellationToken,
    /// Stops every call that is still under way.
    pub(crate) cut_off: CancellationToken,
}

/// Somebody may still bring servers. Dropping it ends the waiting for them.
pub struct Expecting(Arc<Gateway>);

impl Drop for Expecting {
    fn drop(&mut self) {
        self.0.expecting.fetch_sub(1, Ordering::Relaxed);
        self.0.changed.notify_one();
    }
}

impl Gateway {
    /// Opens a gateway. Its catalog fills as servers answer.
    pub fn open(setup: Setup) -> Arc<Self> {
        Self::open_with(setup, Holders::new())
    }

    /// [`Gateway::open`] with names that were given before: who held one keeps it.
    pub fn open_with(setup: Setup, names: Holders) -> Arc<Self> {
        Self::open_as(setup, names, false)
    }

    /// [`Gateway::open_with`], where more servers may be found: requests wait for them as for servers that start, until
    /// what is answered here is dropped.
    pub fn open_expecting(setup: Setup, names: Holders) -> (Arc<Self>, Expecting) {
        let gateway = Self::open_as(setup, names, true);
        let expecting = Expecting(Arc::clone(&gateway));
        (gateway, expecting)
    }

    fn open_as(setup: Setup, names: Holders, expecting: bool) -> Arc<Self> {
        let gateway = Arc::new(Self {
            now: ArcSwap::default(),
            past: Mutex::new(Past::new(names)),
            changed: Notify::new(),
            retiring: Mutex::default(),
            audit: setup.audit,
            metrics: Metrics::default(),
            key: setup.key,
            expecting: AtomicUsize::new(usize::from(expecting)),
            settled: watch::Sender::new(false),
            listeners: Gate::new("listening clients", LISTENERS),
            opened: Instant::now(),
            tasks: TaskTracker::new(),
            closing: CancellationToken::new(),
            cut_off: CancellationToken::new(),
        });
        let servers = setup.servers.into_iter().map(Arc::new).collect();
        gateway.replace(servers, setup.policy, setup.prefix);
        gateway.tasks.spawn(Arc::clone(&gateway).keep_catalog());
        gateway
    }

    /// Takes a call and sends it on its way, as a task of its own: it ends in a record even when nobody waits any more.
    pub fn call(self: &Arc<Self>, scope: Scope, request: Request, seed: CallSeed) -> Running {
        self.call_within(scope, request, seed, None)
    }

    /// [`Gateway::call`] that takes no longer than `limit`, whatever the server may take.
    pub fn call_within(
        self: &Arc<Self>,
        scope: Scope,
        request: Request,
        seed: CallSeed,
        limit: Option<Duration>,
    ) -> Running {
        let (call, end) = Call::begin(seed, self.cut_off.child_token());
        let (sender, answer) = oneshot::channel();
        let gateway = Arc::clone(self);
        self.tasks.spawn(async move {
            // Nobody may be waiting any more; the record has been written all the same.
            let _ = sender.send(gateway.conduct(&scope, request, &call, limit).await);
        });
        Running::new(end.id, end.cancel.drop_guard(), end.events, answer)
    }

    /// A call from its opening line to its record.
    async fn conduct(
        &self,
        scope: &Scope,
        request: Request,
        call: &Call,
        limit: Option<Duration>,
    ) -> Result<Outcome, Error> {
        let entry = self
            .audit
            .open(call, &request)
            .inspect_err(|_| self.metrics.refused())?;
        self.metrics.begin();
        let (method, mut findings) = (request.method.clone(), Findings::default());
        let walk = AssertUnwindSafe(self.walk(scope, request, call, limit, &mut findings))
            .catch_unwind()
            .await;
        let answer = walk.unwrap_or_else(|_| {
            Err(Error::Internal(
                "a back end panicked; the log says where".to_owned(),
            ))
        });
        self.audit.close(&entry, call, &findings, &answer);
        // Whoever holds the means to cancel the call can see that it is over.
        call.cancel();
        self.metrics.end(
            &operation(&method, call, &findings, &answer),
            call.started.elapsed(),
        );
        answer
    }

    async fn walk(
        &self,
        scope: &Scope,
        mut request: Request,
        call: &Call,
        limit: Option<Duration>,
        findings: &mut Findings,
    ) -> Result<Outcome, Error> {
        let asked = Asked::of(&request);
        let (route, now) = self.find(scope, &mut request, &call.seed).await?;
        findings.server = Some(route.server.as_str().into());
        findings.original = Some(Arc::clone(&route.original));
        let missing = || route::not_found(&request.method, asked.name());
        // The policy is the one that came with this server: those of two configurations must not meet. And a call holds
        // its own server alone, so that others can be stopped.
        let (server, policy) = (now.server(&route.server).cloned(), Arc::clone(&now.policy));
        drop(now);
        let server = server.ok_or_else(missing)?;
        if !policy.permits(&call.seed.caller, server.name.as_str(), &route.original) {
            findings.denied = true;
            return Err(missing());
        }
        let _caller_pass = policy.admit(&call.seed.caller)?;
        let _server_pass = server.gate.enter()?;
        let parties = Parties {
            key: &self.key,
            caller: &call.seed.caller,
            server: &server.name,
        };
        findings.first = parties.resume(&mut request, &asked)?;
        let comes_back = findings.first.is_some() || route.task.is_some();
        let backend = self.back_end_for(&server, &request, comes_back);
        let deadlines = server.settings.deadlines_of(&route).within(limit);
        let outcome = deadlines.watch(call, backend.serve(request, call)).await?;
        let outcome = parties.give(outcome, &asked, findings.first.as_deref(), call.id)?;
        Ok(match &route.task {
            Some(callers) => tickets::restore_task(outcome, callers),
            None => outcome,
        })
    }

    /// Finds who serves the request; waits while servers still start: it may be theirs.
    async fn find(
        &self,
        scope: &Scope,
        request: &mut Request,
        seed: &CallSeed,
    ) -> Result<(Route, Arc<Now>), Error> {
        let mut rebuilt = self.settled.subscribe();
        loop {
            let now = self.now.load_full();
            let found = now
                .catalog
                .view(scope)
                .and_then(|view| route::find(view, &self.key, seed, request));
            match found {
                Err(error) if self.is_settled() => return Err(error),
                Err(error) => {
                    let left = SETTLE_WITHIN.saturating_sub(self.opened.elapsed());
                    let Ok(Ok(())) = timeout(left, rebuilt.changed()).await else {
                        return Err(error);
                    };
                }
                Ok(route) => return Ok((route, now)),
            }
        }
    }

    /// One page of a list, as this caller may see it.
    pub fn list(
        &self,
        scope: &Scope,
        caller: &Caller,
        shelf: Shelf,
        cursor: Option<&str>,
    ) -> Result<Page, Error> {
        let now = self.now.load();
        let permits = |entry: &Entry| {
            now.policy
                .permits(caller, entry.server.as_str(), &entry.original)
        };
        let mut page = now.catalog.view(scope)?.page(shelf, cursor, permits)?;
        page.freshness.shared &= now.policy.is_uniform();
        Ok(page)
    }

    /// The tool of this name, where this caller may see it.
    pub fn tool(&self, scope: &Scope, caller: &Caller, name: &str) -> Option<Arc<Entry>> {
        let now = self.now.load();
        let tool = now.catalog.view(scope).ok()?.find(Shelf::Tools, name)?;
        let visible = now
            .policy
            .permits(caller, tool.server.as_str(), &tool.original);
        visible.then(|| Arc::clone(tool))
    }

    /// What a scope's servers tell this caller's model about their use, and whether every caller is told the same.
    pub fn instructions(
        &self,
        scope: &Scope,
        caller: &Caller,
    ) -> Result<(Option<String>, bool), Error> {
        let now = self.now.load();
        let permits = |entry: &Entry| {
            now.policy
                .permits(caller, entry.server.as_str(), &entry.original)
        };
        Ok((
            now.catalog.view(scope)?.instructions(permits),
            now.policy.is_uniform(),
        ))
    }

    /// The key that seals what callers take away and bring back.
    pub fn key(&self) -> &Key {
        &self.key
    }

    /// The catalog as it is now.
    pub fn catalog(&self) -> Arc<Catalog> {
        Arc::clone(&self.now.load().catalog)
    }

    /// What each server offers now, in the order of the configuration.
    pub fn offers(&self) -> Vec<(ServerName, Arc<Offer>)> {
        offers(&self.now.load().servers)
    }

    /// Waits for servers that are still starting, for as long as a first request reasonably waits.
    pub async fn started(&self) {
        self.settled(SETTLE_WITHIN.saturating_sub(self.opened.elapsed()))
            .await;
    }

    /// Waits until every server has answered or failed once, and the catalog shows it; at most for `limit`.
    pub async fn settled(&self, limit: Duration) -> bool {
        if self.is_settled() {
            return true;
        }
        let mut settled = self.settled.subscribe();
        timeout(limit, settled.wait_for(|settled| *settled))
            .await
            .is_ok()
    }

    /// Every server has answered or failed once.
    pub fn is_settled(&self) -> bool {
        *self.settled.borrow()
    }

    /// Ends everything, once the doors are closed: cancels what is still under way, so that it ends in its record,
    /// stops the back ends, writes the last records.
    pub async fn close(&self) {
        self.tasks.close();
        self.closing.cancel();
        self.cut_off.cancel();
        if timeout(CLOSE_WITHIN, self.tasks.wait()).await.is_err() {
            tracing::warn!(
                left = self.tasks.len(),
                "some back ends did not stop their calls"
            );
        }
        self.stop_back_ends().await;
        self.audit.finish();
    }

    /// Rebuilds the catalog whenever a server's offer changes, and when a grace time has passed.
    async fn keep_catalog(self: Arc<Self>) {
        let changes = async {
            loop {
                let grace_ends = self.past().next_end();
                tokio::select! {
                    () = self.changed.notified() => {}
                    () = at(grace_ends) => {}
                }
                self.renew(None);
            }
        };
        self.closing.run_until_cancelled(changes).await;
    }
}

fn operation(
    method: &Method,
    call: &Call,
    findings: &Findings,
    answer: &Result<Outcome, Error>,
) -> Operation {
    let of_tool = |name: &Arc<str>| {
        if *method == Method::ToolsCall {
            name.to_string()
        } else {
            String::new()
        }
    };
    // Callers choose the names of other methods, and must not make up series.
    let known = match method {
        Method::Other(name) if !route::is_about_task(name) => "other",
        known => known.as_str(),
    };
    Operation {
        mcp_method_name: known.to_owned(),
        server: findings.server.as_deref().unwrap_or_default().to_owned(),
        gen_ai_tool_name: findings.original.as_ref().map(of_tool).unwrap_or_default(),
        mcp_protocol_version: call.seed.revision.as_str(),
        error_type: match audit::label(answer) {
            "ok" | "input_required" | "task" | "extended" => "",
            label => label,
        },
    }
}

mod replace;

#[cfg(test)]
mod tests;
