//! The capability API: tools of all servers under URNs, called with plain JSON. What is HTTP of it is in `http/api.rs`;
//! the calls go the way of all calls.

mod directory;
mod execute;
mod federation;
mod listing;
mod peers;
mod problem;
mod sidecar;

use std::collections::HashMap;
use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use http::Uri;
use tokio_util::task::TaskTracker;
use toolbus_gateway::Gateway;
use toolbus_model::{Error, ServerName};
use toolbus_protocol::capability::{Bounds, Parties, Receipt};
use toolbus_protocol::urn::Urn;

use directory::Directories;
pub(crate) use execute::{Asker, Executed, Refused, check_size};
pub use federation::Peer;
pub use peers::Network;
pub(crate) use peers::establish;
pub(crate) use problem::{Problem, put_call};
pub(crate) use sidecar::Sidecar;

/// How long a call made here may take, where nothing else is configured.
pub const TIMEOUT: Duration = Duration::from_secs(30);

/// Where the sidecar is, where nothing else is configured.
pub const SIDECAR: &str = "http://localhost:8000";

/// How long receipts of calls that ended with the gateway may take to be written.
const FINISH_WITHIN: Duration = Duration::from_secs(1);

/// The document that describes the API.
pub const OPENAPI: &str = include_str!("../../../docs/openapi.json");

/// How the API is served.
#[derive(Debug, Clone)]
pub struct Settings {
    /// Holds requests to the strict form of URNs, and their parameters to strict bounds.
    pub strict: bool,
    /// How long a call may take.
    pub timeout: Duration,
    /// Who may say for whom it calls: proxies that check it.
    pub trusted: Vec<Network>,
    /// Whoever names a tenant has to show that it is theirs.
    pub tenants: bool,
    /// Where `/api/v1/auth/status` is asked.
    pub sidecar: Uri,
    /// URNs that the operator gave: of which server's tool.
    pub bindings: Vec<(Urn, ServerName, String)>,
    /// This gateway's name in receipts and towards peers.
    pub instance: String,
    /// The peers that may call, by their instances' names.
    pub peers: HashMap<String, Peer>,
    /// Servers that stand for peers: between whom their calls are made.
    pub abroad: HashMap<ServerName, Parties>,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            strict: false,
            timeout: TIMEOUT,
            trusted: Vec::new(),
            tenants: false,
            sidecar: Uri::from_static(SIDECAR),
            bindings: Vec::new(),
            instance: "toolbus".to_owned(),
            peers: HashMap::new(),
            abroad: HashMap::new(),
        }
    }
}

/// Where receipts go.
pub trait Receipts: fmt::Debug + Send + Sync {
    /// There is room for the receipt of one more call. Without it the call is refused: none goes without.
    fn room(&self) -> Result<(), Error>;

    /// Takes a receipt.
    fn record(&self, receipt: Receipt);
}

/// Where receipts go, and the calls that still owe one.
#[derive(Debug, Clone, Default)]
pub struct Ledger {
    receipts: Option<Arc<dyn Receipts>>,
    /// Also of callers who have left.
    calls: TaskTracker,
}

impl Ledger {
    /// A ledger of these receipts.
    pub fn new(receipts: Arc<dyn Receipts>) -> Self {
        Self {
            receipts: Some(receipts),
            calls: TaskTracker::new(),
        }
    }

    /// Waits until every call has its receipt, once the gateway is closed.
    pub async fn finish(&self) {
        self.calls.close();
        let _ = tokio::time::timeout(FINISH_WITHIN, self.calls.wait()).await;
    }
}

/// The API over one gateway.
pub struct Api {
    pub(crate) gateway: Arc<Gateway>,
    pub(crate) settings: Settings,
    pub(crate) sidecar: Sidecar,
    directories: Directories,
    ledger: Ledger,
}

impl Api {
    /// The API with these settings.
    pub fn new(gateway: Arc<Gateway>, settings: Settings, ledger: Ledger) -> Arc<Self> {
        Arc::new(Self {
            sidecar: Sidecar::new(settings.sidecar.clone()),
            directories: Directories::default(),
            ledger,
            gateway,
            settings,
        })
    }

    /// What the parameters of a call may have.
    fn bounds(&self) -> Option<Bounds> {
        self.settings.strict.then_some(Bounds::STRICT)
    }
}
