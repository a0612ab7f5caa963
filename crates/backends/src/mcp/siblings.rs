//! Further sessions of an older server beside the one that is listed and listened to: what they have, and what they say,
//! counts as well. On stdio each is a process with a state of its own.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use futures_util::{StreamExt as _, stream};
use tokio::time::timeout;
use toolbus_model::json::Edit;
use toolbus_model::{Era, Object, Offer};

use super::abilities::EVERYTHING;
use super::dialect::quoted;
use super::link::Connection;
use super::listing;
use super::outgoing::{Ids, Outgoing};
use super::server::McpServer;
use super::sessions::{Key, POOL};

/// How long a further session may take to be listed, or opened for it. Without it the lists are shorter.
const LIST_WITHIN: Duration = Duration::from_secs(10);

/// How long a process may take to subscribe to what is listened to.
const SUBSCRIBE_WITHIN: Duration = Duration::from_secs(5);

/// Subscriptions that are asked for at once.
const AT_ONCE: usize = 16;

impl McpServer {
    /// Adds what further sessions list: processes that changed while they served, and what is there only for clients that
    /// can be asked.
    pub(super) async fn add_from_siblings(&self, offer: &mut Offer, base: &Connection) {
        for sibling in self.processes() {
            let read = listing::read(&sibling, &self.means.ids);
            if let Ok(Ok(further)) = timeout(LIST_WITHIN, read).await {
                listing::add(offer, further);
            }
        }
        match timeout(LIST_WITHIN, self.list_for_askers(base)).await {
            Ok(Some(fuller)) => listing::add(offer, fuller),
            _ => tracing::debug!(
                server = self.name,
                "not listed for clients that can be asked"
            ),
        }
    }

    /// What the server lists for clients that can be asked everything.
    async fn list_for_askers(&self, base: &Connection) -> Option<Offer> {
        let told = Object::parse(EVERYTHING.into()).ok()?;
        let key = Key {
            era: Era::Legacy,
            capabilities: told.to_raw(),
            caller: None,
        };
        let places = base.link.hears_by_turns().then_some(POOL);
        let open = self.open(base, Era::Legacy, &told);
        let lease = self.sessions.lease(key, None, places, open).await.ok()?;
        let fuller = listing::read(&lease.connection, &self.means.ids).await;
        // A process that nobody calls is not worth its memory; one whose lists change is listed again soon.
        let is_first = !base.listed.swap(true, Ordering::Relaxed);
        if is_first && lease.connection.link.hears_by_turns() {
            lease.retire();
        }
        fuller.ok()
    }

    /// Tells further processes what is listened to: the change may happen in any of them.
    pub(super) async fn subscribe_siblings(&self, uris: &[Arc<str>]) {
        let processes = self.processes();
        let subscribe = processes
            .iter()
            .map(|process| process.subscribe(uris, &self.means.ids));
        stream::iter(subscribe)
            .for_each_concurrent(AT_ONCE, |done| done)
            .await;
    }

    fn processes(&self) -> Vec<Arc<Connection>> {
        let mut open = self.sessions.open();
        open.retain(|session| session.is_older() && session.link.hears_by_turns());
        open
    }
}

impl Connection {
    /// Subscribes to resources, as far as the server takes it. What it tells beyond what is wanted is passed over.
    pub(super) async fn subscribe(&self, uris: &[Arc<str>], ids: &Ids) {
        if !self.peer.subscribes() {
            return;
        }
        let asked = stream::iter(uris).for_each_concurrent(AT_ONCE, |uri| async move {
            let uri = quoted(uri);
            let members = [("uri", Edit::Put(&uri[..]))];
            let request = Outgoing::own(ids, self.peer.revision, "resources/subscribe", &members);
            let _ = self.link.exchange(request).await;
        });
        // Whoever does not answer in time may still do it.
        let _ = timeout(SUBSCRIBE_WITHIN, asked).await;
    }
}
