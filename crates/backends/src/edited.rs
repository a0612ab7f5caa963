//! A layer that shows a back end's tools as the operator wants them: other names, more description, fewer of them.
//!
//! A tool keeps its key, by which it is asked for and policies know it; its alias is the name in its definition, under which
//! a catalog shows it.

use std::collections::HashSet;
use std::sync::{Arc, Mutex, PoisonError};

use tokio::sync::watch;
use toolbus_model::json::{Edit, write_string};
use toolbus_model::{
    Backend, BoxFuture, Call, CallSeed, Error, Filter, Health, Item, Kind, Listening, Method,
    Offer, Outcome, Request, glob,
};

use crate::layer::Derived;

mod edits;

pub use edits::{Edits, Settings};

/// Shows a back end's tools otherwise.
pub struct Edited {
    inner: Arc<dyn Backend>,
    shared: Arc<Shared>,
    offers: Derived,
}

/// What the offer's task works with as well.
struct Shared {
    server: Box<str>,
    settings: Settings,
    /// What was warned of: once is enough.
    told: Mutex<HashSet<String>>,
}

impl Edited {
    /// A layer around the back end of this server. Must be called within a runtime.
    pub fn around(server: &str, settings: Settings, inner: Arc<dyn Backend>) -> Arc<Self> {
        let shared = Arc::new(Shared {
            server: server.into(),
            settings,
            told: Mutex::default(),
        });
        let editor = Arc::clone(&shared);
        let offers = Derived::of(inner.offer(), move |offer| editor.offer(offer));
        Arc::new(Self {
            inner,
            shared,
            offers,
        })
    }
}

impl Shared {
    fn offer(&self, offer: &Arc<Offer>) -> Arc<Offer> {
        let own = offer.tools.iter().map(|tool| &*tool.key).collect();
        self.warn_of_strangers(offer, &own);
        let shown: Vec<&Item> = offer
            .tools
            .iter()
            .filter(|tool| self.settings.shows(&tool.key))
            .collect();
        let names = self.names(&shown);
        let tools = shown
            .into_iter()
            .zip(names)
            .map(|(tool, name)| self.settings.edited(tool, name));
        Arc::new(Offer {
            tools: tools.collect(),
            ..Offer::clone(offer)
        })
    }

    /// The names that tools are shown under. An alias does not take the name of another tool that is shown.
    fn names<'a>(&'a self, shown: &[&'a Item]) -> Vec<&'a str> {
        let plain: HashSet<&str> = shown
            .iter()
            .map(|tool| &*tool.key)
            .filter(|key| self.settings.alias(key).is_none())
            .collect();
        let names = shown.iter().map(|tool| match self.settings.alias(&tool.key) {
            Some(alias) if plain.contains(alias) => {
                self.warn(format!(
                    "tool {:?} keeps its name: its alias {alias:?} is the name of another tool of the server",
                    &*tool.key
                ));
                &*tool.key
            }
            Some(alias) => alias,
            None => &*tool.key,
        });
        names.collect()
    }

    /// Says which tools are configured that the server does not have, once it is known what it has.
    fn warn_of_strangers(&self, offer: &Offer, own: &HashSet<&str>) {
        if offer.capabilities.is_none() || matches!(offer.health, Health::Starting) {
            return;
        }
        for name in self
            .settings
            .tools
            .keys()
            .filter(|name| !own.contains(&***name))
        {
            self.warn(format!("there is no tool {name:?} to change"));
        }
    }

    fn warn(&self, what: String) {
        let mut told = self.told.lock().unwrap_or_else(PoisonError::into_inner);
        if told.insert(what.clone()) {
            tracing::warn!(server = &*self.server, "{what}");
        }
    }

    /// Has the request name its tool as a caller of a worker would know it, for messages: the far gateway asks by key.
    fn renamed(&self, mut request: Request) -> Request {
        let key = request.target.clone().unwrap_or_default();
        let named = request.params.str("name");
        let alias = self
            .settings
            .alias(&key)
            .filter(|_| named.is_some_and(|named| *named == *key));
        if let Some(alias) = alias {
            let mut name = Vec::new();
            write_string(alias, &mut name);
            request.params = request.params.edited(&[("name", Edit::Put(&name))]);
        }
        request
    }
}

impl Backend for Edited {
    fn offer(&self) -> watch::Receiver<Arc<Offer>> {
        self.offers.offer()
    }

    fn serve<'a>(
        &'a self,
        request: Request,
        call: &'a Call,
    ) -> BoxFuture<'a, Result<Outcome, Error>> {
        if request.method != Method::ToolsCall {
            return self.inner.serve(request, call);
        }
        let target = request.target.clone().unwrap_or_default();
        if !self.shared.settings.shows(&target) {
            let (kind, name) = (Kind::Tool, target.to_string());
            return Box::pin(async move { Err(Error::Unknown { kind, name }) });
        }
        self.inner.serve(self.shared.renamed(request), call)
    }

    fn listen<'a>(
        &'a self,
        filter: Filter,
        seed: &'a CallSeed,
    ) -> BoxFuture<'a, Result<Listening, Error>> {
        self.inner.listen(filter, seed)
    }

    fn holds(&self, request: &Request) -> bool {
        self.inner.holds(request)
    }

    fn is_awaited(&self) -> bool {
        self.inner.is_awaited()
    }

    fn stop(&self) -> BoxFuture<'_, ()> {
        self.inner.stop()
    }
}

#[cfg(test)]
mod tests;
