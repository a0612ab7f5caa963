//! Plain foreign workers as one server of the catalog.

use std::sync::{Arc, PoisonError, RwLock};
use std::time::Duration;

use tokio::sync::watch;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use toolbus_model::{
    Backend, BoxFuture, Call, Changes, Error, Health, Kind, Method, Object, Offer, Outcome, Request,
};

use super::discovery;
use super::exchange::{Ask, Exchange};
use super::mailbox::Mailbox;
use super::register::Clearance;
use super::shelf::{Capability, Offered};
use super::{Published, TIMEOUT};
use crate::bus::Bus;

/// How foreign workers are found and called.
#[derive(Debug, Clone)]
pub struct Settings {
    /// Where everything is.
    pub published: Published,
    /// How long a call is waited for.
    pub timeout: Duration,
    /// How often workers are asked what they serve.
    pub discover_every: Duration,
    /// How long their answers are gathered.
    pub gather: Duration,
    /// This gateway, as workers are told.
    pub source: String,
}

impl Settings {
    /// The usual ones.
    pub fn new(published: Published, source: &str) -> Self {
        Self {
            published,
            timeout: TIMEOUT,
            discover_every: discovery::DISCOVER_EVERY,
            gather: discovery::GATHER,
            source: source.to_owned(),
        }
    }
}

/// Everything that plain workers serve.
#[derive(Debug)]
pub struct Foreign {
    pub(super) settings: Settings,
    exchange: Exchange,
    offered: RwLock<Arc<Offered>>,
    offer: watch::Sender<Arc<Offer>>,
    tasks: TaskTracker,
    pub(super) closing: CancellationToken,
}

impl Foreign {
    /// Begins to look for workers. Must be called within a runtime.
    pub fn open(bus: Arc<dyn Bus>, settings: Settings) -> Arc<Self> {
        let foreign = Arc::new(Self {
            exchange: Exchange {
                mailbox: Mailbox::new(Arc::clone(&bus)),
                source: settings.source.clone(),
                timeout: settings.timeout,
            },
            offered: RwLock::default(),
            offer: watch::Sender::new(Arc::new(offer(&Offered::default(), Health::Up))),
            tasks: TaskTracker::new(),
            closing: CancellationToken::new(),
            settings,
        });
        let keeping = discovery::keep(Arc::clone(&foreign), bus);
        foreign.tasks.spawn(keeping);
        foreign
    }

    /// How much a caller must be cleared for to know of the tool with this alias.
    pub fn clearance(&self, alias: &str) -> Option<Clearance> {
        self.find(alias).map(|capability| capability.clearance)
    }

    fn find(&self, alias: &str) -> Option<Capability> {
        let offered = self.offered.read().unwrap_or_else(PoisonError::into_inner);
        offered.capabilities.get(alias).cloned()
    }

    /// This is offered from now on.
    pub(super) fn publish(&self, offered: Offered, health: Health) {
        let new = Arc::new(offer(&offered, health));
        *self.offered.write().unwrap_or_else(PoisonError::into_inner) = Arc::new(offered);
        self.offer.send_if_modified(|old| {
            let is_new = *old != new;
            if is_new {
                *old = new;
            }
            is_new
        });
    }

    async fn call(&self, request: Request, call: &Call) -> Result<Outcome, Error> {
        if request.method != Method::ToolsCall {
            return Err(Error::MethodNotFound(request.method.as_str().to_owned()));
        }
        let alias = request.target.as_deref().unwrap_or_default();
        // Looked up at the last moment: it may have been quarantined meanwhile.
        let capability = self.find(alias).ok_or_else(|| Error::Unknown {
            kind: Kind::Tool,
            name: alias.to_owned(),
        })?;
        let ask = Ask {
            subject: self.settings.published.invoke(&capability.urn),
            urn: &capability.urn,
            federation: None,
        };
        let result = self.exchange.call(&ask, &request, call).await?;
        Ok(Outcome::Complete(result))
    }
}

impl Backend for Foreign {
    fn offer(&self) -> watch::Receiver<Arc<Offer>> {
        self.offer.subscribe()
    }

    fn serve<'a>(
        &'a self,
        request: Request,
        call: &'a Call,
    ) -> BoxFuture<'a, Result<Outcome, Error>> {
        Box::pin(self.call(request, call))
    }

    fn stop(&self) -> BoxFuture<'_, ()> {
        Box::pin(async {
            self.closing.cancel();
            self.tasks.close();
            self.tasks.wait().await;
            self.exchange.mailbox.close().await;
        })
    }
}

/// What a server of plain workers offers.
pub(super) fn offer(offered: &Offered, health: Health) -> Offer {
    let capabilities = serde_json::json!({"tools": {"listChanged": true}});
    Offer {
        tools: offered.tools.clone(),
        capabilities: Some(Object::of(&capabilities)),
        changes: Changes::default(),
        health,
        ..Offer::default()
    }
}
