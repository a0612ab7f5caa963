//! What a session is told outside of its calls: changed lists and subscribed resources.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio_util::sync::{CancellationToken, DropGuard};
use tokio_util::task::TaskTracker;
use toolbus_gateway::{Change, Gateway, Scope, Subscription, Wanted};
use toolbus_model::json::Edit;
use toolbus_model::{CallSeed, Error, Object};
use toolbus_protocol::{meta, write};

use super::{Outlet, Session, Tape, Tapes};

/// Resources that one session may subscribe to.
const MAX_SUBSCRIPTIONS: usize = 256;

/// Sessions that are told of changes, at once.
const MAX_FEEDS: usize = 20_000;

/// How long what is told is kept for a client that does not read it, and its subscriptions with it.
const UNREAD: Duration = Duration::from_secs(10 * 60);

/// How long after its end a listening is begun anew.
const AGAIN: Duration = Duration::from_secs(1);

/// How often that is looked at.
const LOOK: Duration = Duration::from_secs(60);

/// Told to one session.
#[derive(Debug)]
pub(crate) struct Feed {
    pub(crate) outlet: Outlet,
    subscriptions: Mutex<HashMap<Arc<str>, DropGuard>>,
    closing: CancellationToken,
}

/// Who asks to be told, and where the telling is done.
pub(crate) struct Ask<'a> {
    pub(crate) gateway: &'a Arc<Gateway>,
    pub(crate) tasks: &'a TaskTracker,
    /// When the telling ends in any case.
    pub(crate) ending: &'a CancellationToken,
    pub(crate) scope: Scope,
    pub(crate) seed: CallSeed,
}

impl Ask<'_> {
    async fn listen(&self, wanted: &Wanted) -> Result<Subscription, Error> {
        let scope = self.scope.clone();
        self.gateway.listen(scope, wanted.clone(), &self.seed).await
    }
}

impl Feed {
    /// Begins to tell of changed lists.
    pub(crate) async fn open(outlet: Outlet, ask: &Ask<'_>) -> Result<Arc<Self>, Error> {
        let lists = Wanted {
            tools: true,
            prompts: true,
            resources: true,
            ..Wanted::default()
        };
        let told = ask.listen(&lists).await?;
        let feed = Arc::new(Self {
            outlet,
            subscriptions: Mutex::default(),
            closing: ask.ending.child_token(),
        });
        feed.pass_on(told, lists, feed.closing.clone(), ask);
        Ok(feed)
    }

    /// Tells of a resource's changes from now on.
    pub(crate) async fn subscribe(&self, uri: Arc<str>, ask: &Ask<'_>) -> Result<(), Error> {
        if self.subscriptions().len() >= MAX_SUBSCRIPTIONS {
            return Err(Error::Busy {
                what: format!(
                    "{MAX_SUBSCRIPTIONS} resources are subscribed to, which is the limit"
                ),
                retry_after: Duration::from_secs(1),
            });
        }
        let wanted = Wanted {
            uris: vec![Arc::clone(&uri)],
            ..Wanted::default()
        };
        let told = ask.listen(&wanted).await?;
        if told.honoured.uris.is_empty() {
            return Err(Error::InvalidParams(format!(
                "Invalid params: {uri} cannot be subscribed to: no server here has it, or its server does not tell of changes"
            )));
        }
        let held = self.closing.child_token();
        self.pass_on(told, wanted, held.clone(), ask);
        self.subscriptions().insert(uri, held.drop_guard());
        Ok(())
    }

    /// Tells no more of a resource.
    pub(crate) fn unsubscribe(&self, uri: &str) {
        self.subscriptions().remove(uri);
    }

    /// Tells nothing more.
    pub(crate) fn close(&self, tapes: &Tapes) {
        self.closing.cancel();
        if let Outlet::Tape(tape) = &self.outlet {
            tapes.discard(tape);
        }
    }

    fn pass_on(
        &self,
        mut told: Subscription,
        wanted: Wanted,
        until: CancellationToken,
        ask: &Ask<'_>,
    ) {
        let (gateway, scope) = (Arc::clone(ask.gateway), ask.scope.clone());
        let (seed, outlet) = (ask.seed.clone(), self.outlet.clone());
        let telling = async move {
            loop {
                while let Some(change) = told.next().await {
                    outlet.say(notice(change), false).await;
                }
                // The server is gone, or was replaced, or was faster than the client: it is listened to anew, and what
                // may have been missed counts as changed.
                told = loop {
                    tokio::time::sleep(AGAIN).await;
                    let again = gateway.listen(scope.clone(), wanted.clone(), &seed).await;
                    if let Ok(again) = again
                        && again.honoured == wanted
                    {
                        break again;
                    }
                };
                for change in missed(&wanted) {
                    outlet.say(notice(change), false).await;
                }
            }
        };
        ask.tasks.spawn(until.run_until_cancelled_owned(telling));
    }

    fn subscriptions(&self) -> MutexGuard<'_, HashMap<Arc<str>, DropGuard>> {
        self.subscriptions
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Feed {
    fn drop(&mut self) {
        self.closing.cancel();
    }
}

/// What may have changed unheard.
fn missed(wanted: &Wanted) -> Vec<Change> {
    let lists = [
        (wanted.tools, Change::Tools),
        (wanted.prompts, Change::Prompts),
        (wanted.resources, Change::Resources),
    ];
    let lists = lists
        .into_iter()
        .filter_map(|(wanted, change)| wanted.then_some(change));
    let resources = wanted
        .uris
        .iter()
        .map(|uri| Change::Resource(Object::of(&serde_json::json!({"uri": uri.as_ref()}))));
    lists.chain(resources).collect()
}

/// A change in the words of older revisions.
fn notice(change: Change) -> Vec<u8> {
    let (method, params) = match change {
        Change::Tools => ("notifications/tools/list_changed", Object::empty()),
        Change::Prompts => ("notifications/prompts/list_changed", Object::empty()),
        Change::Resources => ("notifications/resources/list_changed", Object::empty()),
        Change::Resource(params) => ("notifications/resources/updated", untagged(&params)),
        // Not wanted, so not told.
        Change::Task(params) => ("notifications/tasks", untagged(&params)),
    };
    let size = params.bytes().len();
    write::notification(method, |out| out.extend_from_slice(params.bytes()), size)
}

/// Without the id of the stream that we heard it on.
fn untagged(params: &Object) -> Object {
    match params.object("_meta") {
        Some(Ok(meta)) if meta.get(meta::SUBSCRIPTION).is_some() => {
            let rest = meta.edited(&[(meta::SUBSCRIPTION, Edit::Drop)]);
            let edit = if rest.is_empty() {
                Edit::Drop
            } else {
                Edit::Put(rest.bytes())
            };
            params.edited(&[("_meta", edit)])
        }
        _ => params.clone(),
    }
}

/// The feeds of sessions over HTTP, which outlive a connection.
#[derive(Debug, Default)]
pub(crate) struct Feeds(Mutex<HashMap<String, Arc<Feed>>>);

impl Feeds {
    /// A session's feed, which is opened where there is none.
    pub(crate) async fn of(
        &self,
        session: &Session,
        tapes: &Tapes,
        ask: &Ask<'_>,
    ) -> Result<Arc<Feed>, Error> {
        if let Some(feed) = self.lock().get(session.tag()) {
            return Ok(Arc::clone(feed));
        }
        if self.lock().len() >= MAX_FEEDS {
            return Err(Error::Busy {
                what: format!("{MAX_FEEDS} sessions are told of changes, which is the limit"),
                retry_after: Duration::from_secs(1),
            });
        }
        let tape = tapes.start(Tape::FEED, session.tag(), session.revision);
        let feed = Feed::open(Outlet::Tape(tape), ask).await?;
        let mut feeds = self.lock();
        let kept = feeds
            .entry(session.tag().to_owned())
            .or_insert_with(|| Arc::clone(&feed));
        if !Arc::ptr_eq(kept, &feed) {
            feed.close(tapes);
        }
        Ok(Arc::clone(kept))
    }

    pub(crate) fn get(&self, session: &Session) -> Option<Arc<Feed>> {
        self.lock().get(session.tag()).cloned()
    }

    pub(crate) fn remove(&self, tag: &str) -> Option<Arc<Feed>> {
        self.lock().remove(tag)
    }

    /// Closes what nobody reads any more, now and then, for ever.
    pub(crate) async fn clear_out(&self, tapes: &Tapes) {
        loop {
            tokio::time::sleep(LOOK).await;
            self.lock().retain(|_, feed| {
                let Outlet::Tape(tape) = &feed.outlet else {
                    return true;
                };
                let unread = tape.is_unread_for(UNREAD);
                if unread {
                    feed.close(tapes);
                }
                !unread
            });
        }
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<String, Arc<Feed>>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
