//! The one place where everything is wired: from a configuration to a gateway with its servers.

mod abroad;
mod capability;
mod embedded;
mod farewells;
mod guests;
mod mesh;
mod servers;

use std::collections::HashMap;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};

use sha2::{Digest, Sha256};
use tokio::sync::watch;
use toolbus_backends::mcp::Starts;
use toolbus_doors::capability::{Api, Ledger};
use toolbus_doors::{Access, HttpDoor, Limits};
use toolbus_gateway::audit::Audit;
use toolbus_gateway::catalog::Holders;
use toolbus_gateway::policy::{DEFAULT_IN_FLIGHT, Policy, Rules};
use toolbus_gateway::{Gateway, Key, Server, Setup};
use toolbus_model::{Backend, Caller, ServerName};

use crate::broker::Purpose;
use crate::config::{Config, Source};
use crate::memory::Memory;
use crate::state;
use abroad::Abroad;
use guests::Guests;
use servers::{Made, Wanted};

pub(crate) use capability::check as check_capabilities;
use mesh::Opening;
pub(crate) use mesh::Standing;
pub(crate) use servers::check as check_server;

/// Shortest `state_key` that is accepted, in characters.
const SHORTEST_KEY: usize = 16;

/// A gateway, what its back ends were made of, and what is remembered of them.
pub(crate) struct House {
    pub(crate) gateway: Arc<Gateway>,
    memory: Option<Arc<Memory>>,
    starts: Starts,
    made: Mutex<HashMap<ServerName, Made>>,
    /// Not for commands, whose calls are their own record.
    abroad: Option<Abroad>,
    ledger: Ledger,
    guests: Arc<Guests>,
    place: mesh::Place,
}

/// What a change of the configuration meant for the servers, by their names.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct Changes {
    /// New ones.
    pub(crate) added: Vec<String>,
    /// Those that are reached in another way: started anew.
    pub(crate) restarted: Vec<String>,
    /// Those with other limits, or shown otherwise: they run on.
    pub(crate) adjusted: Vec<String>,
    /// Those that are gone.
    pub(crate) removed: Vec<String>,
}

impl House {
    /// Opens the gateway of a configuration for one question; its servers start. Must be called within a runtime.
    pub(crate) fn open(config: &Config, audit: Audit, key: Key) -> Result<Self, String> {
        let opening = mesh::opening(config, Purpose::Ask)?;
        Self::open_with(config, audit, key, None, Holders::new(), opening, None)
    }

    /// [`House::open`] with what is remembered of earlier runs: servers whose lists are known start when they are used.
    pub(crate) fn resume(
        source: &Source,
        config: &Config,
        audit: Audit,
        key: Key,
    ) -> Result<Self, String> {
        let memory = Memory::open();
        // Without a place for it everything still works; it starts anew each time.
        let memory = memory.inspect_err(|error| tracing::warn!("{error}")).ok();
        let names = memory.as_ref().map(|memory| memory.recall_names(source));
        let names = names.unwrap_or_default();
        let abroad = Abroad::open(config)?;
        let opening = mesh::opening(config, Purpose::Gateway)?;
        let house = Self::open_with(config, audit, key, memory, names, opening, Some(abroad))?;
        if let Some(memory) = &house.memory {
            memory.follow_names(source, Arc::clone(&house.gateway));
        }
        Ok(house)
    }

    fn open_with(
        config: &Config,
        audit: Audit,
        key: Key,
        memory: Option<Arc<Memory>>,
        names: Holders,
        opening: Option<Opening>,
        abroad: Option<Abroad>,
    ) -> Result<Self, String> {
        let (wanted, starts) = (Wanted::all(config)?, Starts::default());
        let mut made = HashMap::new();
        let start = |wanted: &Wanted| {
            let (server, own) = wanted.start(memory.as_ref(), &starts, None);
            made.insert(wanted.name.clone(), own);
            server
        };
        let setup = Setup {
            servers: wanted.iter().map(start).collect(),
            policy: policy(config, abroad.as_ref()),
            audit,
            prefix: config.gateway.prefix_names,
            key,
        };
        let place = mesh::Place::new();
        let (gateway, guests) = match opening {
            None => {
                let gateway = Gateway::open_with(setup, names);
                let guests = Guests::new(&gateway);
                (gateway, guests)
            }
            Some(opening) => {
                let (gateway, expecting) = Gateway::open_expecting(setup, names);
                let guests = Guests::new(&gateway);
                place.join(opening, Arc::clone(&guests), expecting);
                (gateway, guests)
            }
        };
        if let Some(abroad) = &abroad {
            abroad.follow(config, place.standing(), Arc::clone(&guests))?;
        }
        Ok(Self {
            gateway,
            memory,
            starts,
            made: Mutex::new(made),
            ledger: abroad.as_ref().map_or_else(Ledger::default, Abroad::ledger),
            abroad,
            guests,
            place,
        })
    }

    /// Has the replicas on the mesh know which sessions were ended at this door, and this door those of theirs.
    pub(crate) fn share_farewells(&self, door: &Arc<HttpDoor>) {
        self.place
            .accompany(farewells::share(self.mesh(), Arc::clone(door)));
    }

    /// How it stands with the mesh, now and at each change.
    pub(crate) fn mesh(&self) -> watch::Receiver<Standing> {
        self.place.standing()
    }

    /// Puts another configuration in place of the one before. A server that is reached as before runs on.
    pub(crate) fn apply(&self, config: &Config) -> Result<Changes, String> {
        let wanted = Wanted::all(config)?;
        let mut made = self.made.lock().unwrap_or_else(PoisonError::into_inner);
        let mut guests = self.guests.lock();
        let mut before = self.gateway.servers();
        before.retain(|server| !guests.has(server));
        let mut changes = Changes::default();
        let mut anew = HashMap::new();
        let place = |wanted: &Wanted| {
            let name = wanted.name.to_string();
            let old = before.iter().find(|old| old.name == wanted.name);
            let old = old.zip(made.remove(&wanted.name));
            let start = |old| wanted.start(self.memory.as_ref(), &self.starts, old);
            let (server, own) = match old {
                None => {
                    changes.added.push(name);
                    start(None)
                }
                Some((_, old)) if !old.is_at_place_of(wanted) => {
                    changes.restarted.push(name);
                    start(Some(&old))
                }
                Some((_, old)) if !old.is(wanted) => {
                    changes.adjusted.push(name);
                    wanted.on(old.ground())
                }
                Some((server, old)) => {
                    anew.insert(wanted.name.clone(), old);
                    if server.settings == wanted.settings {
                        return Arc::clone(server);
                    }
                    changes.adjusted.push(name);
                    let (backend, settings) = (Arc::clone(&server.backend), &wanted.settings);
                    let adjusted = Server::new(wanted.name.clone(), backend, settings.clone());
                    return Arc::new(adjusted);
                }
            };
            anew.insert(wanted.name.clone(), own);
            Arc::new(server)
        };
        let mut servers: Vec<_> = wanted.iter().map(place).collect();
        let configured = wanted.iter().map(|wanted| wanted.name.clone()).collect();
        servers.extend(guests.beside(&configured));
        self.gateway.replace(
            servers,
            policy(config, self.abroad.as_ref()),
            config.gateway.prefix_names,
        );
        *made = anew;
        let gone = before.iter().filter(|old| !made.contains_key(&old.name));
        changes.removed = gone.map(|old| old.name.to_string()).collect();
        Ok(changes)
    }

    /// The capability API of a configuration.
    pub(crate) fn capabilities(&self, config: &Config) -> Result<Arc<Api>, String> {
        let api = capability::api(config, &self.gateway, &self.ledger)?;
        if let Some(abroad) = &self.abroad {
            abroad.answer_with(&api);
        }
        Ok(api)
    }

    /// Ends everything, once the doors are closed, and keeps what is to be remembered.
    pub(crate) async fn close(&self) {
        if let Some(abroad) = &self.abroad {
            abroad.leave().await;
        }
        self.gateway.close().await;
        self.ledger.finish().await;
        if let Some(abroad) = &self.abroad {
            abroad.close().await;
        }
        self.place.leave().await;
        if let Some(memory) = &self.memory {
            memory.close().await;
        }
    }
}

fn policy(config: &Config, abroad: Option<&Abroad>) -> Policy {
    let policy = rules(config);
    match abroad.and_then(|abroad| abroad.veil(config)) {
        Some(veil) => policy.behind(veil),
        None => policy,
    }
}

fn rules(config: &Config) -> Policy {
    let callers = config.callers.iter().map(|(name, caller)| {
        let in_flight = caller.max_in_flight.unwrap_or(DEFAULT_IN_FLIGHT);
        (
            Caller::named(name),
            Rules::new(name, caller.allow.clone(), caller.deny.clone(), in_flight),
        )
    });
    let peers = capability::rules_of_peers(config);
    if config.callers.is_empty() {
        return Policy::open().with(peers);
    }
    Policy::new(callers).with(peers)
}

/// Servers by themselves.
type BackEnds = Vec<(ServerName, Arc<dyn Backend>)>;

/// The servers of a configuration by themselves, for a worker. They start.
pub(crate) fn back_ends(config: &Config) -> Result<BackEnds, String> {
    let starts = Starts::default();
    let start = |wanted: &Wanted| {
        let (server, _) = wanted.start(None, &starts, None);
        (server.name.clone(), Arc::clone(&server.backend))
    };
    Ok(Wanted::all(config)?.iter().map(start).collect())
}

/// Who may come in by HTTP, at the address of this configuration.
pub(crate) fn access(config: &Config) -> Result<Access, String> {
    let mut tokens: Vec<(String, Caller)> = Vec::new();
    for (name, caller) in &config.callers {
        let token = caller
            .token
            .reveal()
            .map_err(|error| format!("[callers.{name}] token: {error}"))?;
        if token.is_empty() {
            return Err(format!("[callers.{name}] token: it is empty"));
        }
        if let Some((_, other)) = tokens.iter().find(|(known, _)| *known == token) {
            return Err(format!(
                "[callers.{name}] token: it is the one of {:?} as well",
                other.as_str()
            ));
        }
        tokens.push((token, capability::caller(name, caller)));
    }
    let access = Access::new(tokens, !config.gateway.listen.ip().is_loopback());
    Ok(access.allowing(config.gateway.hosts.clone(), config.gateway.origins.clone()))
}

/// What the HTTP listener bears.
pub(crate) fn limits(config: &Config) -> Limits {
    Limits {
        body: config.gateway.max_body_bytes,
        connections: config.gateway.max_connections,
        ..Limits::default()
    }
}

/// The key that seals what callers take away and bring back.
pub(crate) fn key(config: &Config) -> Result<Key, String> {
    let Some(secret) = &config.gateway.state_key else {
        return state::key();
    };
    let text = secret
        .reveal()
        .map_err(|error| format!("[gateway] state_key: {error}"))?;
    if text.chars().count() < SHORTEST_KEY {
        return Err(format!(
            "[gateway] state_key: use at least {SHORTEST_KEY} characters"
        ));
    }
    Ok(Key::new(&Sha256::digest(text.as_bytes()).into()))
}

/// A key for what does not leave this process.
pub(crate) fn key_of_this_process() -> Result<Key, String> {
    Ok(Key::new(&Key::generate()?))
}

/// The file of records.
pub(crate) fn audit_file(config: &Config) -> Result<PathBuf, String> {
    match &config.audit.file {
        Some(path) => Ok(path.clone()),
        None => Ok(state::folder()?.join("audit.jsonl")),
    }
}

/// Where records go.
pub(crate) fn audit(config: &Config) -> Result<Audit, String> {
    let path = audit_file(config)?;
    Audit::to_file(&path).map_err(|error| {
        format!(
            "the audit file {} cannot be written: {error}",
            path.display()
        )
    })
}
