//! Sessions that are opened for calls, besides the one that serves everybody: one for callers who can be asked the same,
//! or one for each caller. An older server learns at its start what it may ask, so that the two must fit.

use std::collections::HashMap;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Duration;

use tokio::sync::{OnceCell, OwnedSemaphorePermit, Semaphore};
use tokio::time::Instant;
use tokio_util::task::TaskTracker;
use toolbus_model::{Caller, Cause, Era, Error, Raw};

use super::link::Connection;
use super::lock;

/// Such sessions of one server at once. On stdio each is a process of some tens of MiB, and there are few clients whose
/// capabilities differ; with `per-caller` it is the number of callers that are served within some minutes.
const MAX_SESSIONS: usize = 64;

/// Processes for the same callers, where each bears one call at a time. A call that waits for a person keeps its process,
/// so that one is too few.
pub(super) const POOL: usize = 4;

/// The same at a URL, where a session costs us two connections at most.
pub(super) const POOL_AT_URLS: usize = 16;

/// When to come back, where every session is in use.
const RETRY_AFTER: Duration = Duration::from_secs(1);

/// Whose session it is.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(super) struct Key {
    pub(super) era: Era,
    /// As the server was told them.
    pub(super) capabilities: Raw,
    /// Where it is one caller's alone.
    pub(super) caller: Option<Caller>,
}

/// The sessions of one server.
#[derive(Debug)]
pub(super) struct Sessions {
    pools: Mutex<HashMap<Key, Pool>>,
    /// All were closed, and none is opened any more. It is set and looked at while `pools` is locked.
    is_closed: AtomicBool,
    /// How old a session gets that is a process; any age without.
    max_lifetime: Option<Duration>,
    tasks: TaskTracker,
}

/// The sessions of one key, in the order in which they were opened.
#[derive(Debug)]
struct Pool {
    /// A place for each call, where a session bears one call at a time.
    places: Option<Arc<Semaphore>>,
    slots: Vec<Slot>,
}

#[derive(Debug)]
struct Slot {
    session: Session,
    calls: usize,
    used: Instant,
    /// Whose calls alone it may get: one that was cancelled may still have something to ask.
    kept_for: Option<Caller>,
}

/// Empty until it is open.
type Session = Arc<OnceCell<Arc<Connection>>>;

/// A session for one call. Dropped, the session is free for the next one.
#[derive(Debug)]
pub(super) struct Lease {
    pub(super) connection: Arc<Connection>,
    hold: Hold,
}

#[derive(Debug)]
struct Hold {
    sessions: Arc<Sessions>,
    key: Key,
    session: Session,
    _place: Option<OwnedSemaphorePermit>,
}

impl Sessions {
    pub(super) fn new(max_lifetime: Option<Duration>, tasks: TaskTracker) -> Arc<Self> {
        Arc::new(Self {
            pools: Mutex::default(),
            is_closed: AtomicBool::new(false),
            max_lifetime,
            tasks,
        })
    }

    /// A session of this key. With `places` there are at most so many, and each bears one call at a time: the first that
    /// is free, so that calls one after the other meet the same; a new one; or the first that becomes free. `caller` is who
    /// calls, where somebody does.
    pub(super) async fn lease(
        self: &Arc<Self>,
        key: Key,
        caller: Option<&Caller>,
        places: Option<usize>,
        open: impl Future<Output = Result<Connection, Error>>,
    ) -> Result<Lease, Error> {
        let place = match self.places(&key, places) {
            Some(places) => places.acquire_owned().await.ok(),
            None => None,
        };
        let hold = Hold {
            session: self.enter(&key, caller)?,
            sessions: Arc::clone(self),
            key,
            _place: place,
        };
        let open = async { open.await.map(Arc::new) };
        let connection = Arc::clone(hold.session.get_or_try_init(|| open).await?);
        if self.is_closed() {
            // It was not open yet when the others were closed, and nobody else would do it.
            self.close_later(&hold.session);
            return Err(Error::Unavailable(
                Cause::new("the server is being stopped").into(),
            ));
        }
        Ok(Lease { connection, hold })
    }

    fn places(&self, key: &Key, places: Option<usize>) -> Option<Arc<Semaphore>> {
        let mut pools = self.pools();
        let pool = pools.entry(key.clone()).or_insert_with(|| Pool {
            places: None,
            slots: Vec::new(),
        });
        if pool.places.is_none() {
            pool.places = places.map(|places| Arc::new(Semaphore::new(places)));
        }
        pool.places.clone()
    }

    /// Takes a session of the key's pool, or makes room for a new one.
    fn enter(&self, key: &Key, caller: Option<&Caller>) -> Result<Session, Error> {
        let mut pools = self.pools();
        if let Some(pool) = pools.get_mut(key) {
            pool.slots.retain(|slot| !slot.is_dead());
            let one_each = pool.places.is_some();
            let mut slots = pool.slots.iter_mut();
            let free = |slot: &Slot| (!one_each || slot.calls == 0) && slot.is_for(caller);
            if let Some(slot) = slots.find(|slot| free(slot) && !self.is_old(slot)) {
                slot.calls += 1;
                return Ok(Arc::clone(&slot.session));
            }
            // Those that are kept for others take no place from this caller.
            let kept = |slot: &mut Slot| slot.calls == 0 && !slot.is_for(caller);
            let kept = pool.slots.extract_if(.., kept);
            kept.for_each(|slot| self.close_later(&slot.session));
        }
        if pools.values().map(|pool| pool.slots.len()).sum::<usize>() >= MAX_SESSIONS {
            self.evict(&mut pools)?;
        }
        let slot = Slot {
            session: Arc::default(),
            calls: 1,
            used: Instant::now(),
            kept_for: None,
        };
        let session = Arc::clone(&slot.session);
        if let Some(pool) = pools.get_mut(key) {
            pool.slots.push(slot);
        }
        Ok(session)
    }

    /// Closes the session that was not used for longest.
    fn evict(&self, pools: &mut HashMap<Key, Pool>) -> Result<(), Error> {
        let idle = pools.iter().flat_map(|(key, pool)| {
            let idle = pool.slots.iter().filter(|slot| slot.calls == 0);
            idle.map(move |slot| (slot.used, key, &slot.session))
        });
        let oldest = idle.min_by_key(|(used, ..)| *used);
        let Some((key, session)) =
            oldest.map(|(_, key, session)| (key.clone(), Arc::clone(session)))
        else {
            let what = format!("all {MAX_SESSIONS} sessions with the server are in use");
            let retry_after = RETRY_AFTER;
            return Err(Error::Busy { what, retry_after });
        };
        if let Some(pool) = pools.get_mut(&key) {
            pool.remove(&session);
        }
        self.close_later(&session);
        Ok(())
    }

    /// Closes the sessions that were not used for this long and have nothing to do, and forgets those that have ended.
    pub(super) fn sweep(&self, idle: Duration, is_busy: impl Fn(&Arc<Connection>) -> bool) {
        let mut pools = self.pools();
        for pool in pools.values_mut() {
            let gone = pool.slots.extract_if(.., |slot| {
                let is_over = slot.used.elapsed() >= idle || self.is_old(slot);
                let is_over = is_over && !slot.session.get().is_some_and(&is_busy);
                slot.is_dead() || (slot.calls == 0 && is_over)
            });
            gone.for_each(|slot| self.close_later(&slot.session));
        }
        pools.retain(|_, pool| !pool.is_unused());
    }

    /// The sessions that are open.
    pub(super) fn open(&self) -> Vec<Arc<Connection>> {
        let pools = self.pools();
        let slots = pools.values().flat_map(|pool| &pool.slots);
        let open = slots
            .filter(|slot| !slot.is_dead())
            .filter_map(|slot| slot.session.get());
        open.cloned().collect()
    }

    /// A session is in a call.
    pub(super) fn are_used(&self) -> bool {
        let pools = self.pools();
        let mut slots = pools.values().flat_map(|pool| &pool.slots);
        slots.any(|slot| slot.calls > 0)
    }

    /// It serves the calls that it has, and gets no further ones.
    fn is_old(&self, slot: &Slot) -> bool {
        let age = slot.session.get().map(|session| session.opened.elapsed());
        age.zip(self.max_lifetime)
            .is_some_and(|(age, limit)| age >= limit)
    }

    /// Closes every session. One that is being opened meanwhile is closed as soon as it is open.
    pub(super) fn close(&self) {
        let mut pools = self.pools();
        self.is_closed.store(true, Ordering::Relaxed);
        for pool in pools.drain().map(|(_, pool)| pool) {
            pool.slots
                .iter()
                .for_each(|slot| self.close_later(&slot.session));
        }
    }

    fn is_closed(&self) -> bool {
        let _pools = self.pools();
        self.is_closed.load(Ordering::Relaxed)
    }

    fn close_later(&self, session: &Session) {
        if let Some(connection) = session.get().cloned() {
            self.tasks
                .spawn(async move { connection.link.close().await });
        }
    }

    fn pools(&self) -> MutexGuard<'_, HashMap<Key, Pool>> {
        lock(&self.pools)
    }
}

impl Pool {
    fn remove(&mut self, session: &Session) -> bool {
        let before = self.slots.len();
        self.slots
            .retain(|slot| !Arc::ptr_eq(&slot.session, session));
        self.slots.len() < before
    }

    /// Nobody has a session, and nobody waits for one.
    fn is_unused(&self) -> bool {
        let waits = |places: &Arc<Semaphore>| Arc::strong_count(places) > 1;
        self.slots.is_empty() && !self.places.as_ref().is_some_and(waits)
    }
}

impl Slot {
    fn is_for(&self, caller: Option<&Caller>) -> bool {
        self.kept_for.is_none() || self.kept_for.as_ref() == caller
    }

    fn is_dead(&self) -> bool {
        let connection = self.session.get();
        connection.is_some_and(|connection| !connection.link.is_alive())
    }
}

impl Lease {
    /// Nobody gets this session any more: the server does not know it.
    pub(super) fn forget(&self) {
        self.hold.leave_out();
    }

    /// Nobody gets this session any more, and it is closed.
    pub(super) fn retire(&self) {
        if self.hold.leave_out() {
            self.hold.sessions.close_later(&self.hold.session);
        }
    }

    /// Only this caller gets the session from now on.
    pub(super) fn keep_for(&self, caller: &Caller) {
        let mut pools = self.hold.sessions.pools();
        let slots = pools.get_mut(&self.hold.key).map(|pool| &mut pool.slots);
        let mut own = slots.into_iter().flatten();
        if let Some(slot) = own.find(|slot| Arc::ptr_eq(&slot.session, &self.hold.session)) {
            slot.kept_for = Some(caller.clone());
        }
    }
}

impl Hold {
    fn leave_out(&self) -> bool {
        let mut pools = self.sessions.pools();
        pools
            .get_mut(&self.key)
            .is_some_and(|pool| pool.remove(&self.session))
    }
}

impl Drop for Hold {
    fn drop(&mut self) {
        let mut pools = self.sessions.pools();
        let Some(pool) = pools.get_mut(&self.key) else {
            return;
        };
        let own = |slot: &&mut Slot| Arc::ptr_eq(&slot.session, &self.session);
        if let Some(slot) = pool.slots.iter_mut().find(own) {
            slot.calls -= 1;
            slot.used = Instant::now();
            if slot.calls == 0 && !self.session.initialized() {
                pool.remove(&self.session);
            }
        }
    }
}

#[cfg(test)]
mod tests;
