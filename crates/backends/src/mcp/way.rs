//! Over which session a request goes: the one for everybody, or one that was opened for such callers.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use tokio::time::{Instant, timeout};
use toolbus_model::{Call, Cause, Era, Error, Object, Request};

use super::abilities::{self, Abilities};
use super::link::{Connection, Link};
use super::server::{McpServer, Sharing, Target};
use super::sessions::{Key, Lease, POOL, POOL_AT_URLS};
use super::{connect, lock};

/// How long a server may take to open a further session. What had to be downloaded is there since the first one.
const FURTHER_WITHIN: Duration = Duration::from_secs(20);

/// How long a failure to start a further process stands.
const REFUSED_FOR: Duration = Duration::from_secs(60);

/// The session over which a request goes.
#[derive(Debug)]
pub(super) enum Way {
    /// The one for everybody.
    Base(Arc<Connection>),
    /// One that was opened for such calls, whose caller can be asked this.
    Own(Lease, Abilities),
}

impl Way {
    pub(super) fn connection(&self) -> &Arc<Connection> {
        match self {
            Self::Base(connection) => connection,
            Self::Own(lease, _) => &lease.connection,
        }
    }
}

impl McpServer {
    /// Finds the session for a request.
    pub(super) async fn way(&self, request: &Request, call: &Call) -> Result<Way, Error> {
        if let Some(connection) = self.works.place(request) {
            return Ok(Way::Base(connection));
        }
        let base = self.connection_for(call).await?;
        let per_caller = self.settings.sharing == Sharing::PerCaller;
        if !base.is_older() && !per_caller && call.seed.revision.era() == Era::Modern {
            return Ok(Way::Base(base));
        }
        let declared = Object::from_raw(&call.seed.capabilities);
        let declared = declared.unwrap_or_else(|_| Object::empty());
        let abilities = Abilities::of(&declared);
        if base.is_older() {
            return self.older_or_base(base, &declared, abilities, call).await;
        }
        if abilities.any() && self.may_mirror(request, call) {
            let older = self.older(Arc::clone(&base), &declared, abilities, call);
            match older.await {
                Ok(way) => return Ok(way),
                // This says nothing about the next call.
                Err(Error::Busy { .. } | Error::TooLarge { .. }) => {}
                Err(error) if call.is_cancelled() => return Err(error),
                Err(error) => self.cannot_mirror(&error),
            }
        }
        let is_line = matches!(base.link, Link::Stdio(_) | Link::Unix(_));
        if is_line && per_caller {
            let key = Key {
                era: Era::Modern,
                capabilities: Object::empty().to_raw(),
                caller: Some(call.seed.caller.clone()),
            };
            return self.own(base, key, None, abilities, call).await;
        }
        Ok(Way::Base(base))
    }

    /// Some servers run only once at a time: they cannot ask, and serve all the same. A caller who shares with nobody must
    /// not meet others for it.
    async fn older_or_base(
        &self,
        base: Arc<Connection>,
        declared: &Object,
        abilities: Abilities,
        call: &Call,
    ) -> Result<Way, Error> {
        let alone = !base.link.hears_by_turns() || self.settings.sharing == Sharing::PerCaller;
        if !alone && self.runs_once() {
            return Ok(Way::Base(base));
        }
        match self
            .older(Arc::clone(&base), declared, abilities, call)
            .await
        {
            Err(Error::Unavailable(cause)) if !alone && !call.is_cancelled() => {
                tracing::warn!(server = self.name, %cause, "no process for callers who can be asked; the server asks nothing");
                *lock(&self.refused) = Some(Instant::now());
                Ok(Way::Base(base))
            }
            other => other,
        }
    }

    fn runs_once(&self) -> bool {
        lock(&self.refused).is_some_and(|when| when.elapsed() < REFUSED_FOR)
    }

    /// In an older revision a server is told at the start of a session what it may ask, and asks in mid-call.
    async fn older(
        &self,
        base: Arc<Connection>,
        declared: &Object,
        abilities: Abilities,
        call: &Call,
    ) -> Result<Way, Error> {
        let per_caller = self.settings.sharing == Sharing::PerCaller;
        if !abilities.any() && !per_caller {
            return Ok(Way::Base(base));
        }
        // A server asks for roots once in a session and goes by them from then on: they must not be another caller's.
        let alone = per_caller || abilities.roots;
        let key = Key {
            era: Era::Legacy,
            capabilities: abilities::as_told(declared)?.to_raw(),
            caller: alone.then(|| call.seed.caller.clone()),
        };
        // On stdio a server's question does not say in which call it comes up.
        let by_turns = abilities.any() && base.link.asks_by_turns();
        let places = by_turns.then_some(match base.link {
            _ if per_caller => 1,
            Link::Http(_) => POOL_AT_URLS,
            Link::Stdio(_) | Link::Unix(_) | Link::OldSse(_) => POOL,
        });
        self.own(base, key, places, abilities, call).await
    }

    async fn own(
        &self,
        base: Arc<Connection>,
        key: Key,
        places: Option<usize>,
        abilities: Abilities,
        call: &Call,
    ) -> Result<Way, Error> {
        let told = Object::from_raw(&key.capabilities).unwrap_or_else(|_| Object::empty());
        let open = self.open(&base, key.era, &told);
        let caller = Some(&call.seed.caller);
        tokio::select! {
            lease = self.sessions.lease(key, caller, places, open) => Ok(Way::Own(lease?, abilities)),
            () = call.cancelled() => Err(Error::Unavailable(self.no_session(&base).into())),
        }
    }

    /// Opens a further session.
    pub(super) async fn open(
        &self,
        base: &Connection,
        era: Era,
        capabilities: &Object,
    ) -> Result<Connection, Error> {
        let further = connect::Further {
            target: &self.target,
            base,
            era,
            capabilities,
        };
        // In a box: it is large, and few calls need it.
        let opening = Box::pin(timeout(FURTHER_WITHIN, further.open(&self.means)));
        let opened = match &self.target {
            Target::Stdio(_) => self.starts.run(opening).await,
            Target::Unix(_) | Target::Http(_) => opening.await,
        };
        let late =
            |_| Error::Unavailable(base.link.cause("no further session opened in time").into());
        let opened = opened.map_err(late)??;
        if opened.is_older() && opened.link.hears_by_turns() {
            let wanted: Vec<_> = self.means.news.wanted().all.into_iter().collect();
            opened.subscribe(&wanted, &self.means.ids).await;
        }
        Ok(opened)
    }

    fn no_session(&self, base: &Connection) -> Cause {
        let remedy =
            "every session for such callers was in a call, or a new one did not open in time";
        Cause {
            remedy: Some(remedy.to_owned()),
            ..base
                .link
                .cause("the call waited for a session with the server")
        }
    }

    /// A caller of an older revision is served in such a session where the server can do that as well: then nothing has
    /// to be translated. A retry goes to where its questions came from.
    fn may_mirror(&self, request: &Request, call: &Call) -> bool {
        call.seed.revision.era() == Era::Legacy
            && request.params.get("requestState").is_none()
            && !self.modern_only.load(Ordering::Relaxed)
    }

    fn cannot_mirror(&self, error: &Error) {
        tracing::debug!(server = self.name, %error, "the server opens no session of an older revision");
        self.modern_only.store(true, Ordering::Relaxed);
    }

    /// Lets go of a session that the server does not know.
    pub(super) fn forget(&self, way: &Way) {
        match way {
            Way::Base(connection) => self.let_go(connection),
            Way::Own(lease, _) => lease.forget(),
        }
    }
}
