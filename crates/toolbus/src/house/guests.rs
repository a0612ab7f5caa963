//! Servers that are found on the mesh, beside the configured ones: they come and go while the gateway runs.

use std::collections::HashSet;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use toolbus_gateway::{Gateway, Server, ServerSettings};
use toolbus_mesh::caller::{Found, Remote};
use toolbus_model::{Backend, ServerName};

/// Calls at once at one server of the mesh. Each of its workers has a bound of its own.
const IN_FLIGHT: usize = 4_096;

/// The servers that were found.
pub(super) struct Guests {
    gateway: Arc<Gateway>,
    known: Mutex<Known>,
}

/// What is known of them. Whoever changes the gateway's servers holds its lock.
#[derive(Default)]
pub(super) struct Known {
    found: Vec<Arc<Remote>>,
    /// Those that are there for as long as there is a mesh: what speaks on the published subjects.
    standing: Vec<Arc<Server>>,
    servers: Vec<Arc<Server>>,
    /// Those of which it was said that a configured server has their name.
    hidden: HashSet<ServerName>,
}

impl Guests {
    pub(super) fn new(gateway: &Arc<Gateway>) -> Arc<Self> {
        Arc::new(Self {
            gateway: Arc::clone(gateway),
            known: Mutex::default(),
        })
    }

    /// What is known, for one who changes the gateway's servers.
    pub(super) fn lock(&self) -> MutexGuard<'_, Known> {
        self.known.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Has these beside those that are found.
    pub(super) fn have(&self, standing: Vec<Arc<Server>>) {
        let mut known = self.lock();
        let mut servers = self.gateway.servers();
        servers.retain(|server| !known.has(server));
        known.standing = standing;
        let configured: HashSet<_> = servers.iter().map(|server| server.name.clone()).collect();
        servers.extend(known.beside(&configured));
        self.gateway.replace_servers(servers);
    }

    /// Puts what is found now in the place of what was found before.
    pub(super) fn meet(&self, found: &Found) {
        let mut known = self.lock();
        let mut servers = self.gateway.servers();
        servers.retain(|server| !known.has(server));
        known.found.clone_from(&found.servers);
        let configured: HashSet<_> = servers.iter().map(|server| server.name.clone()).collect();
        servers.extend(known.beside(&configured));
        self.gateway.replace_servers(servers);
    }
}

impl Known {
    /// A server is one of those that were found.
    pub(super) fn has(&self, server: &Arc<Server>) -> bool {
        self.servers.iter().any(|own| Arc::ptr_eq(own, server))
    }

    /// The servers to have beside those that are configured, which win.
    pub(super) fn beside(&mut self, configured: &HashSet<ServerName>) -> Vec<Arc<Server>> {
        let mut servers = self.standing.clone();
        servers.retain(|server| !configured.contains(&server.name));
        let standing: HashSet<_> = servers.iter().map(|server| server.name.clone()).collect();
        for remote in &self.found {
            if standing.contains(&remote.name) {
                continue;
            }
            if !configured.contains(&remote.name) {
                servers.push(self.server(remote));
            } else if self.hidden.insert(remote.name.clone()) {
                tracing::warn!(server = %remote.name, "workers serve one of this name too; the configured one is used");
            }
        }
        self.hidden.retain(|name| configured.contains(name));
        self.servers.clone_from(&servers);
        servers
    }

    /// The gateway's server for one that was found: the same for as long as it is the same.
    fn server(&self, remote: &Arc<Remote>) -> Arc<Server> {
        let backend: Arc<dyn Backend> = Arc::clone(remote) as _;
        let same = |server: &&Arc<Server>| {
            std::ptr::addr_eq(Arc::as_ptr(&server.backend), Arc::as_ptr(&backend))
        };
        if let Some(known) = self.servers.iter().find(same) {
            return Arc::clone(known);
        }
        // What is down stays listed as long as the mesh says.
        let settings = ServerSettings {
            in_flight: IN_FLIGHT,
            grace: None,
            ..ServerSettings::default()
        };
        Arc::new(Server::new(remote.name.clone(), backend, settings))
    }
}
