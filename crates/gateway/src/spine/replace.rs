//! What is configured at one moment, and how another configuration takes its place without a call being lost.

use std::collections::HashMap;
use std::sync::MutexGuard;

use futures_util::future::join_all;
use tokio::time::{sleep, sleep_until};

use super::*;
use crate::deadline::OWN_LONGEST;

/// How long a server that was taken out is kept for a call that has no limit of time.
const RETIRE_WITHIN: Duration = Duration::from_secs(24 * 60 * 60);

/// How often a server that was taken out is asked whether anybody may still come back to it.
const LOOK_EVERY: Duration = Duration::from_secs(1);

/// How long all servers may take to stop at the end: the grace of a child, the hunt of what it left, and a little more.
const STOP_WITHIN: Duration = Duration::from_secs(15);

/// What holds at one moment. Everything reads it through one pointer, so that a call or a list sees a change of the
/// configuration whole or not at all.
#[derive(Default)]
pub(crate) struct Now {
    pub(crate) servers: Vec<Arc<Server>>,
    pub(crate) policy: Arc<Policy>,
    pub(super) prefix: bool,
    pub(crate) catalog: Arc<Catalog>,
}

impl Now {
    pub(crate) fn server(&self, name: &ServerName) -> Option<&Arc<Server>> {
        self.servers.iter().find(|server| server.name == *name)
    }
}

/// What has to be known of earlier catalogs to make the next one.
pub(super) struct Past {
    /// The names given so far.
    names: Holders,
    /// Servers that are down, since when.
    down: HashMap<ServerName, Down>,
}

/// A server that is down.
struct Down {
    since: Instant,
    /// When its entries are taken out; never without, or when they are out.
    until: Option<Instant>,
}

impl Past {
    pub(super) fn new(names: Holders) -> Self {
        Self {
            names,
            down: HashMap::new(),
        }
    }

    /// When the next grace time ends.
    pub(super) fn next_end(&self) -> Option<Instant> {
        self.down.values().filter_map(|down| down.until).min()
    }

    /// Takes the lists of those servers out of the offers that were down for too long.
    fn take_out(&mut self, servers: &[Arc<Server>], offers: &mut [(ServerName, Arc<Offer>)]) {
        self.down.retain(|name, _| {
            let is_down = |(n, offer): &(ServerName, Arc<Offer>)| {
                n == name && matches!(offer.health, Health::Down(_))
            };
            offers.iter().any(is_down)
        });
        let now = Instant::now();
        for (server, (name, offer)) in servers.iter().zip(offers) {
            if !matches!(offer.health, Health::Down(_)) {
                continue;
            }
            let down = self.down.entry(name.clone()).or_insert(Down {
                since: now,
                until: None,
            });
            let end = server.settings.grace.map(|grace| down.since + grace);
            down.until = end.filter(|end| *end > now);
            if end.is_some() && down.until.is_none() {
                *offer = Arc::new(offer.without_lists());
            }
        }
    }
}

/// Waits for a moment that may not come.
pub(super) async fn at(moment: Option<Instant>) {
    match moment {
        Some(moment) => sleep_until(moment).await,
        None => std::future::pending().await,
    }
}

/// What each server offers now.
pub(super) fn offers(servers: &[Arc<Server>]) -> Vec<(ServerName, Arc<Offer>)> {
    let offer = |server: &Arc<Server>| server.backend.offer().borrow().clone();
    let offers = servers
        .iter()
        .map(|server| (server.name.clone(), offer(server)));
    offers.collect()
}

impl Gateway {
    /// The servers as they are configured now, in their order.
    pub fn servers(&self) -> Vec<Arc<Server>> {
        self.now.load().servers.clone()
    }

    /// The names given so far, for [`Gateway::open_with`].
    pub fn names(&self) -> Holders {
        self.past().names.clone()
    }

    /// Changes whenever the catalog is made anew.
    pub fn renewed(&self) -> watch::Receiver<bool> {
        self.settled.subscribe()
    }

    /// Puts another configuration in place of this one, for calls and lists from now on. A server that is in both keeps
    /// its calls and their count. One that is not in the new configuration is stopped once its calls have ended, unless
    /// its back end serves on under other settings.
    pub fn replace(self: &Arc<Self>, servers: Vec<Arc<Server>>, policy: Policy, prefix: bool) {
        self.replace_all(servers, Arc::new(policy), prefix);
    }

    /// [`Gateway::replace`] of the servers alone: some were found, others are gone.
    pub fn replace_servers(self: &Arc<Self>, servers: Vec<Arc<Server>>) {
        let now = self.now.load_full();
        self.replace_all(servers, Arc::clone(&now.policy), now.prefix);
    }

    fn replace_all(self: &Arc<Self>, servers: Vec<Arc<Server>>, policy: Arc<Policy>, prefix: bool) {
        let before = self.now.load_full();
        for server in &servers {
            if !before.servers.iter().any(|old| Arc::ptr_eq(old, server)) {
                self.attend(server);
            }
        }
        let serves_on = |old: &Arc<Server>| {
            let same = |new: &Arc<Server>| Arc::ptr_eq(&new.backend, &old.backend);
            servers.iter().any(same)
        };
        let retired: Vec<_> = before
            .servers
            .iter()
            .filter(|old| !serves_on(old))
            .cloned()
            .collect();
        let configured = |name: &ServerName| servers.iter().any(|server| server.name == *name);
        for old in before.servers.iter().filter(|old| !configured(&old.name)) {
            self.metrics.server_is_gone(old.name.as_str());
        }
        drop(before);
        self.renew(Some((servers, policy, prefix)));
        // A grace time may be another one now.
        self.changed.notify_one();
        for server in retired {
            self.retire(server);
        }
    }

    /// Makes a new [`Now`]: of another configuration, or of what the servers of this one offer by now.
    pub(super) fn renew(&self, other: Option<(Vec<Arc<Server>>, Arc<Policy>, bool)>) {
        let mut past = self.past();
        let (servers, policy, prefix) = other.unwrap_or_else(|| {
            let now = self.now.load();
            (now.servers.clone(), Arc::clone(&now.policy), now.prefix)
        });
        let mut offers = offers(&servers);
        past.take_out(&servers, &mut offers);
        let settled = self.expecting.load(Ordering::Relaxed) == 0
            && offers.iter().all(|(_, offer)| offer.is_settled());
        let (mut catalog, given) = Catalog::build(&offers, &past.names, prefix);
        catalog.follow(&self.now.load().catalog);
        // While servers still start, names go by the order of the configuration alone, not by who was faster.
        if settled {
            past.names = given;
        }
        let catalog = Arc::new(catalog);
        self.now.store(Arc::new(Now {
            servers,
            policy,
            prefix,
            catalog,
        }));
        for (name, offer) in &offers {
            self.metrics.server_is(
                name.as_str(),
                matches!(offer.health, Health::Up | Health::Resting),
            );
        }
        // Everyone who waits for a server looks again, whether or not all have settled.
        self.settled.send_modify(|before| *before |= settled);
    }

    pub(super) fn past(&self) -> MutexGuard<'_, Past> {
        self.past.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Has the catalog follow what a server offers, for as long as the server is held.
    fn attend(self: &Arc<Self>, server: &Arc<Server>) {
        let (gateway, mut offer) = (Arc::clone(self), server.backend.offer());
        let unused = server.unused.clone();
        self.tasks.spawn(async move {
            let changes = async {
                while offer.changed().await.is_ok() {
                    gateway.changed.notify_one();
                }
            };
            let followed = unused.run_until_cancelled(changes);
            gateway.closing.run_until_cancelled(followed).await;
        });
    }

    /// Where a request is served: at its server's back end, or, if it comes back with what a caller was given, at the one
    /// that was in its place and still holds it.
    pub(super) fn back_end_for(
        &self,
        server: &Server,
        request: &Request,
        comes_back: bool,
    ) -> Arc<dyn Backend> {
        let before = comes_back.then(|| {
            let retiring = self.retiring();
            let mut own = retiring.iter().filter(|(name, _)| *name == server.name);
            own.find(|(_, backend)| backend.holds(request))
                .map(|(_, backend)| Arc::clone(backend))
        });
        before
            .flatten()
            .unwrap_or_else(|| Arc::clone(&server.backend))
    }

    /// Stops a server that is not configured any more, after the last call that holds it or can come back to it, or when
    /// none of its calls can have time left.
    fn retire(self: &Arc<Self>, server: Arc<Server>) {
        let backend = Arc::clone(&server.backend);
        self.retiring()
            .push((server.name.clone(), Arc::clone(&backend)));
        let (unused, limit) = (server.unused.clone(), server.settings.longest());
        let gateway = Arc::clone(self);
        self.tasks.spawn(async move {
            drop(server);
            let last_call = async {
                unused.cancelled().await;
                while backend.is_awaited() {
                    sleep(LOOK_EVERY).await;
                }
            };
            let calls = timeout(limit.unwrap_or(RETIRE_WITHIN), last_call);
            if gateway.closing.run_until_cancelled(calls).await.is_some() {
                backend.stop().await;
                gateway
                    .retiring()
                    .retain(|(_, other)| !Arc::ptr_eq(other, &backend));
            }
        });
    }

    fn retiring(&self) -> MutexGuard<'_, Vec<(ServerName, Arc<dyn Backend>)>> {
        self.retiring.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Stops every back end, also those that were taken out and not stopped yet.
    pub(super) async fn stop_back_ends(&self) {
        let retiring = std::mem::take(&mut *self.retiring());
        let now = self.now.load_full();
        let all = now.servers.iter().map(|server| &server.backend);
        let retiring = retiring.iter().map(|(_, backend)| backend);
        let stopped = join_all(all.chain(retiring).map(|backend| backend.stop()));
        if timeout(STOP_WITHIN, stopped).await.is_err() {
            tracing::warn!(
                "some servers did not stop in time; what is left of them ends with this process"
            );
        }
    }
}

impl ServerSettings {
    /// The longest time that a call may take; none where one has no limit.
    fn longest(&self) -> Option<Duration> {
        let all = self.tools.values().chain([&self.deadlines]);
        let configured = all.map(|deadlines| deadlines.total);
        let own = self.unset.total.then_some(Some(OWN_LONGEST));
        configured
            .chain(own)
            .try_fold(Duration::ZERO, |longest, total| Some(longest.max(total?)))
    }
}
