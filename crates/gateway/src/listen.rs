//! Telling callers what changed: lists as the catalog shows them to their scope, resources and tasks as their servers say.

use std::collections::HashMap;
use std::sync::Arc;

use futures_util::StreamExt as _;
use futures_util::future::join_all;
use futures_util::stream::{SelectAll, poll_fn};
use tokio::sync::mpsc;
use tokio_util::sync::{CancellationToken, DropGuard};
use toolbus_model::{CallSeed, Error, Filter, Listening, Notice, Object, ServerName};

use crate::catalog::Scope;
use crate::limits::Pass;
use crate::spine::Gateway;
use crate::tickets;

/// Changes that wait for a reader. Who does not read that many is let go, and may listen again.
const QUEUE: usize = 256;

/// Resources and tasks that one listener may name.
const MAX_NAMES: usize = 1_000;

/// What a caller wants to be told of.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Wanted {
    /// Changes of the list of tools.
    pub tools: bool,
    /// Changes of the list of prompts.
    pub prompts: bool,
    /// Changes of the lists of resources and templates.
    pub resources: bool,
    /// Changes of these resources.
    pub uris: Vec<Arc<str>>,
    /// Changes of these tasks, by the ids that the caller has.
    pub tasks: Vec<Arc<str>>,
}

/// Something changed.
#[derive(Debug, Clone, PartialEq)]
pub enum Change {
    /// The list of tools.
    Tools,
    /// The list of prompts.
    Prompts,
    /// The list of resources or of templates.
    Resources,
    /// A resource: the notice's parameters as its server sent them.
    Resource(Object),
    /// A task: the notice's parameters, under the id that the caller has.
    Task(Object),
}

/// Changes, for as long as this is held.
#[derive(Debug)]
pub struct Subscription {
    /// What of the wanted will be told.
    pub honoured: Wanted,
    changes: mpsc::Receiver<Change>,
    _held: DropGuard,
}

impl Subscription {
    /// The next change; `None` when no more will be told: the gateway closes, a server went away for good, or the
    /// changes were not read for too long.
    pub async fn next(&mut self) -> Option<Change> {
        self.changes.recv().await
    }
}

/// What one server is asked to tell, and under which names the caller knows it.
#[derive(Default)]
struct Part {
    filter: Filter,
    tasks: HashMap<Arc<str>, Arc<str>>,
}

/// What a listener's task works with.
struct Ears {
    scope: Scope,
    honoured: Wanted,
    told: [u64; 3],
    notices: SelectAll<futures_util::stream::BoxStream<'static, Option<Change>>>,
    out: mpsc::Sender<Change>,
    _place: Pass,
}

impl Gateway {
    /// Tells of changes from the moment on in which the future is done.
    pub async fn listen(
        self: &Arc<Self>,
        scope: Scope,
        wanted: Wanted,
        seed: &CallSeed,
    ) -> Result<Subscription, Error> {
        if wanted.uris.len() + wanted.tasks.len() > MAX_NAMES {
            return Err(Error::InvalidParams(format!(
                "Invalid params: one listener may name {MAX_NAMES} resources and tasks"
            )));
        }
        if !wanted.tasks.is_empty() {
            crate::capability::require_tasks(&seed.capabilities)?;
        }
        let place = self.listeners.enter()?;
        let told = self.versions(&scope)?;
        let parts = self.divide(&scope, &wanted, seed)?;
        let asked = parts.into_iter().map(|(server, part)| async move {
            let listening = self.ask(&server, &part, seed).await?;
            Some((listening, part.tasks))
        });
        let (changes, held) = (mpsc::channel(QUEUE), self.cut_off.child_token());
        let mut honoured = Wanted {
            uris: Vec::new(),
            tasks: Vec::new(),
            ..wanted
        };
        let mut notices = SelectAll::new();
        for (listening, tasks) in join_all(asked).await.into_iter().flatten() {
            // A back end that tells nothing has no stream whose end would mean anything.
            if listening.honoured == Filter::default() {
                continue;
            }
            honoured.uris.extend(listening.honoured.resources);
            let names = listening.honoured.tasks.iter();
            honoured
                .tasks
                .extend(names.filter_map(|own| tasks.get(own).cloned()));
            notices.push(heard(listening.notices, tasks));
        }
        let ears = Ears {
            scope,
            honoured: honoured.clone(),
            told,
            notices,
            out: changes.0,
            _place: place,
        };
        self.tasks.spawn(Arc::clone(self).tell(ears, held.clone()));
        Ok(Subscription {
            honoured,
            changes: changes.1,
            _held: held.drop_guard(),
        })
    }

    /// Which server is asked for what. What this caller may not see is not there.
    fn divide(
        &self,
        scope: &Scope,
        wanted: &Wanted,
        seed: &CallSeed,
    ) -> Result<HashMap<ServerName, Part>, Error> {
        let now = self.now.load_full();
        let view = now.catalog.view(scope)?;
        let mut parts: HashMap<ServerName, Part> = HashMap::new();
        for uri in &wanted.uris {
            if let Some(server) = view.resource_owner(uri)
                && now.policy.permits(&seed.caller, server.as_str(), uri)
            {
                let part = parts.entry(server.clone()).or_default();
                part.filter.resources.push(Arc::clone(uri));
            }
        }
        for id in &wanted.tasks {
            if let Ok((server, own)) = tickets::task(self.key(), &seed.caller, id)
                && view.servers().contains(&server)
            {
                let part = parts.entry(server).or_default();
                part.filter.tasks.push(Arc::clone(&own));
                part.tasks.insert(own, Arc::clone(id));
            }
        }
        Ok(parts)
    }

    async fn ask(&self, server: &ServerName, part: &Part, seed: &CallSeed) -> Option<Listening> {
        // Not the server: it would be kept from stopping when it is taken out.
        let backend = Arc::clone(&self.now.load().server(server)?.backend);
        let listening = backend.listen(part.filter.clone(), seed).await;
        listening
            .inspect_err(
                |error| tracing::warn!(%server, %error, "the server cannot be listened to"),
            )
            .ok()
    }

    fn versions(&self, scope: &Scope) -> Result<[u64; 3], Error> {
        Ok(self.now.load().catalog.view(scope)?.versions)
    }

    async fn tell(self: Arc<Self>, mut ears: Ears, held: CancellationToken) {
        let mut rebuilt = self.settled.subscribe();
        loop {
            let told = tokio::select! {
                biased;
                () = held.cancelled() => return,
                () = ears.out.closed() => return,
                heard = next(&mut ears.notices) => match heard.flatten() {
                    Some(change) => ears.out.try_send(change).is_ok(),
                    None => return,
                },
                changed = rebuilt.changed() => changed.is_ok() && ears.compare(&self),
            };
            if !told {
                return;
            }
        }
    }
}

impl Ears {
    /// Tells of the lists that have changed since they were told of; false when there is nobody to tell any more.
    fn compare(&mut self, gateway: &Gateway) -> bool {
        let Ok(now) = gateway.versions(&self.scope) else {
            return false;
        };
        let lists = [
            (self.honoured.tools, Change::Tools),
            (self.honoured.prompts, Change::Prompts),
            (self.honoured.resources, Change::Resources),
        ];
        let before = std::mem::replace(&mut self.told, now);
        lists.into_iter().enumerate().all(|(n, (wanted, change))| {
            !wanted || before[n] == now[n] || self.out.try_send(change).is_ok()
        })
    }
}

/// The next notice. Who listens to lists alone waits for ever.
async fn next(
    notices: &mut SelectAll<futures_util::stream::BoxStream<'static, Option<Change>>>,
) -> Option<Option<Change>> {
    if notices.is_empty() {
        return std::future::pending().await;
    }
    notices.next().await
}

/// One server's notices, under the names that the caller knows, and at their end a `None`.
fn heard(
    mut notices: mpsc::Receiver<Notice>,
    tasks: HashMap<Arc<str>, Arc<str>>,
) -> futures_util::stream::BoxStream<'static, Option<Change>> {
    let changes = poll_fn(move |context| notices.poll_recv(context)).filter_map(move |notice| {
        let change = match notice {
            Notice::Resource(_, params) => Some(Change::Resource(params)),
            Notice::Task(own, params) => tasks
                .get(&own)
                .map(|id| Change::Task(tickets::named_task(&params, id))),
        };
        std::future::ready(change.map(Some))
    });
    changes.chain(futures_util::stream::iter([None])).boxed()
}
