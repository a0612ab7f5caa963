//! What speaks on the published subjects, once there is a mesh: foreign workers, peers, and the stream of receipts.

use std::collections::HashMap;
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use bytes::Bytes;
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use toolbus_doors::capability::{Api, Ledger, Receipts as Taken};
use toolbus_gateway::policy::Veil;
use toolbus_gateway::{Deadlines, Server, ServerSettings};
use toolbus_mesh::bus::Bus;
use toolbus_mesh::compat::federation::{self, Answer, Peer, PeerSettings};
use toolbus_mesh::compat::{Clearance, Foreign, Published, Receipts, Settings, WhenFull};
use toolbus_model::{Backend, BoxFuture, Caller, Error, ServerName};
use toolbus_protocol::capability::{Parties, Receipt};
use toolbus_protocol::urn::Urn;

use super::capability::{agreement, instance, instance_of};
use super::guests::Guests;
use super::mesh::Standing;
use crate::config::{self, Config};
use crate::state;

/// The prefix of the published subjects where none is configured: peers and receipts have one all the same.
const PREFIX: &str = "coreason";

/// Doors that write the receipts of their calls themselves.
const NOTED_BY: &[&str] = &["capability", "federation"];

/// Calls at once at foreign workers, or at one peer.
const IN_FLIGHT: usize = 1_024;

/// How long requests of peers may take to end when the gateway closes: as long as those of the HTTP door.
const CLOSE_WITHIN: Duration = Duration::from_secs(5);

/// Everything of it, from the start of the gateway to its end.
pub(super) struct Abroad {
    receipts: Arc<Receipts>,
    foreign: Arc<OnceLock<Arc<Foreign>>>,
    /// Where there is no door for HTTP there is none, and peers are left to other replicas.
    api: watch::Sender<Option<Arc<Api>>>,
    tasks: TaskTracker,
    closing: CancellationToken,
}

/// What is opened once there is a mesh.
struct Plan {
    published: Published,
    /// Foreign workers are called.
    compat: bool,
    source: String,
    instance: String,
    timeout: Duration,
    peers: Vec<(ServerName, Parties, Vec<Urn>)>,
}

impl Abroad {
    /// Receipts are taken from now on.
    pub(super) fn open(config: &Config) -> Result<Self, String> {
        let needed = config.mesh.compat.is_some() || !config.federation.peers.is_empty();
        let when_full = if needed {
            WhenFull::Refuse
        } else {
            WhenFull::DropOldest
        };
        Ok(Self {
            receipts: Receipts::open(Some(&state::folder()?), when_full)?,
            foreign: Arc::default(),
            api: watch::Sender::default(),
            tasks: TaskTracker::new(),
            closing: CancellationToken::new(),
        })
    }

    /// Where the capability API notes its calls.
    pub(super) fn ledger(&self) -> Ledger {
        Ledger::new(Arc::new(Notebook(Arc::clone(&self.receipts))))
    }

    /// Peers are answered by this API from now on.
    pub(super) fn answer_with(&self, api: &Arc<Api>) {
        self.api.send_replace(Some(Arc::clone(api)));
    }

    /// What callers may not see of foreign workers, where some are not cleared for everything.
    pub(super) fn veil(&self, config: &Config) -> Option<Arc<dyn Veil>> {
        let cleared: HashMap<String, Clearance> = config
            .callers
            .iter()
            .filter_map(|(name, caller)| Some((name.clone(), clearance(caller.clearance?))))
            .collect();
        let server = config.mesh.compat.clone()?;
        let all = |cleared: &Clearance| *cleared == Clearance::Restricted;
        (!cleared.values().all(all)).then(|| {
            Arc::new(Cleared {
                server,
                cleared,
                foreign: Arc::clone(&self.foreign),
            }) as Arc<dyn Veil>
        })
    }

    /// Follows how it stands with the mesh, and opens everything as soon as there is one.
    pub(super) fn follow(
        &self,
        config: &Config,
        mut mesh: watch::Receiver<Standing>,
        guests: Arc<Guests>,
    ) -> Result<(), String> {
        let plan = Plan::of(config)?;
        let (receipts, foreign, api) = (
            Arc::clone(&self.receipts),
            Arc::clone(&self.foreign),
            self.api.subscribe(),
        );
        let closing = self.closing.clone();
        self.tasks.spawn(async move {
            let joined = mesh.wait_for(|standing| matches!(standing, Standing::In(_)));
            let bus = match closing.run_until_cancelled(joined).await {
                Some(Ok(standing)) => match &*standing {
                    Standing::In(mesh) => Arc::clone(mesh.bus()),
                    _ => return,
                },
                _ => return,
            };
            receipts.connect(Arc::clone(&bus), plan.published.clone());
            guests.have(plan.servers(&bus, &receipts, &foreign));
            plan.serve_peers(bus, api, closing).await;
        });
        Ok(())
    }

    /// Takes no more from peers.
    pub(super) async fn leave(&self) {
        self.closing.cancel();
        self.tasks.close();
        let _ = tokio::time::timeout(CLOSE_WITHIN, self.tasks.wait()).await;
    }

    /// Sends or keeps the last receipts.
    pub(super) async fn close(&self) {
        self.receipts.close().await;
    }
}

impl Plan {
    fn of(config: &Config) -> Result<Self, String> {
        let prefix = config.mesh.compat.as_deref();
        let instance = instance(config);
        let peers = config.federation.peers.iter().map(|(name, peer)| {
            let parties = Parties {
                agreement: agreement(name, peer)?,
                source: instance.clone(),
                destination: instance_of(name, peer).to_owned(),
            };
            let capabilities = peer.capabilities.iter().map(|urn| Urn::parse(urn));
            let capabilities = capabilities.collect::<Result<_, _>>();
            let wrong = |error| format!("[federation.peers.{name}] {error}");
            let server = ServerName::parse(name).map_err(wrong)?;
            Ok((server, parties, capabilities.map_err(wrong)?))
        });
        Ok(Self {
            published: Published::new(prefix.unwrap_or(PREFIX))?,
            compat: prefix.is_some(),
            source: format!("urn:toolbus:instance:{instance}"),
            timeout: config.capabilities.limit(),
            peers: peers.collect::<Result<_, String>>()?,
            instance,
        })
    }

    fn servers(
        &self,
        bus: &Arc<dyn Bus>,
        receipts: &Arc<Receipts>,
        foreign: &OnceLock<Arc<Foreign>>,
    ) -> Vec<Arc<Server>> {
        let mut servers = Vec::new();
        if self.compat {
            let mut settings = Settings::new(self.published.clone(), &self.source);
            settings.timeout = self.timeout;
            let opened = Foreign::open(Arc::clone(bus), settings);
            let opened = foreign.get_or_init(|| opened);
            let name = ServerName::from_foreign(self.published.prefix());
            servers.push(self.server(name, Arc::clone(opened) as _));
        }
        for (name, parties, capabilities) in &self.peers {
            let settings = PeerSettings {
                published: self.published.clone(),
                parties: parties.clone(),
                capabilities: capabilities.clone(),
                timeout: self.timeout,
                source: self.source.clone(),
                noted_by: NOTED_BY,
            };
            let peer = Peer::open(Arc::clone(bus), settings, Some(Arc::clone(receipts)));
            servers.push(self.server(name.clone(), peer));
        }
        servers
    }

    /// A server that keeps the time of its calls itself, because it knows what became of them when it is over.
    fn server(&self, name: ServerName, backend: Arc<dyn Backend>) -> Arc<Server> {
        let total = self.timeout + self.timeout;
        let settings = ServerSettings {
            deadlines: Deadlines {
                idle: None,
                total: Some(total),
            },
            unset: toolbus_gateway::Unset::default(),
            in_flight: IN_FLIGHT,
            ..ServerSettings::default()
        };
        Arc::new(Server::new(name, backend, settings))
    }

    async fn serve_peers(
        self,
        bus: Arc<dyn Bus>,
        mut api: watch::Receiver<Option<Arc<Api>>>,
        closing: CancellationToken,
    ) {
        let first = api.wait_for(Option::is_some);
        if self.peers.is_empty() || !matches!(closing.run_until_cancelled(first).await, Some(Ok(_)))
        {
            return;
        }
        let answer = move |body: Bytes| -> BoxFuture<'static, Option<Vec<u8>>> {
            let api = api.borrow().clone();
            Box::pin(async move { api?.answer_peer(body).await })
        };
        let answer: Arc<Answer> = Arc::new(answer);
        federation::serve(bus, self.published, self.instance, answer, closing).await;
    }
}

/// Receipts, as the doors know them.
#[derive(Debug)]
struct Notebook(Arc<Receipts>);

impl Taken for Notebook {
    fn room(&self) -> Result<(), Error> {
        self.0.room()
    }

    fn record(&self, receipt: Receipt) {
        self.0.record(receipt);
    }
}

/// Who is cleared for how much. Who is not named is for everything.
#[derive(Debug)]
struct Cleared {
    server: String,
    cleared: HashMap<String, Clearance>,
    foreign: Arc<OnceLock<Arc<Foreign>>>,
}

impl Veil for Cleared {
    fn lifts(&self, caller: &Caller, server: &str, original: &str) -> bool {
        let cleared = self.cleared.get(caller.as_str());
        let Some(cleared) = cleared.filter(|_| server == self.server) else {
            return true;
        };
        let foreign = self.foreign.get();
        let needed = foreign.and_then(|foreign| foreign.clearance(original));
        *cleared >= needed.unwrap_or_default()
    }
}

fn clearance(configured: config::Clearance) -> Clearance {
    match configured {
        config::Clearance::Public => Clearance::Public,
        config::Clearance::Confidential => Clearance::Confidential,
        config::Clearance::Restricted => Clearance::Restricted,
    }
}

/// What can be known to be wrong beforehand.
pub(super) fn check(config: &Config) -> Result<(), String> {
    Plan::of(config).map(drop)
}
