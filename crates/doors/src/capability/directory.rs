//! Which URN each tool has, for one snapshot of the catalog.

use std::collections::{HashMap, HashSet};
use std::sync::{Arc, Mutex, PoisonError};

use memchr::memmem;
use toolbus_gateway::Scope;
use toolbus_gateway::catalog::{Catalog, Entry, Shelf, View};
use toolbus_model::{Error, Kind, Object, ServerName};
use toolbus_protocol::urn::{META_URN, Register, Urn};

use super::Api;

/// The URNs of all tools, by which they are found, and by their names.
#[derive(Debug, Default)]
pub(super) struct Directory {
    register: Register<Arc<str>>,
    urns: HashMap<Arc<str>, Urn>,
    /// URNs that were refused, and why.
    refused: Vec<String>,
}

/// The last directory that was made.
#[derive(Debug, Default)]
pub(super) struct Directories(Mutex<Option<(Arc<Catalog>, Arc<Directory>)>>);

/// URNs that the operator gave to tools.
type Bindings = [(Urn, ServerName, String)];

impl Directories {
    /// The directory of a catalog.
    fn of(&self, catalog: Arc<Catalog>, bindings: &Bindings) -> Arc<Directory> {
        let mut last = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some((known, directory)) = &*last
            && Arc::ptr_eq(known, &catalog)
        {
            return Arc::clone(directory);
        }
        let directory = match catalog.view(&Scope::All) {
            Ok(view) => Arc::new(Directory::build(view, bindings)),
            Err(_) => Arc::default(),
        };
        let told = last.as_ref().map(|(_, before)| &before.refused);
        for why in &directory.refused {
            if !told.is_some_and(|told| told.contains(why)) {
                tracing::warn!("{why}; the tool has the URN that it has by itself");
            }
        }
        *last = Some((catalog, Arc::clone(&directory)));
        directory
    }
}

impl Directory {
    fn build(view: &View, bindings: &Bindings) -> Self {
        let mut directory = Self::default();
        let tools = all_tools(view);
        // What the operator says comes first, then what definitions say, and then what tools have by themselves.
        for (urn, server, tool) in bindings {
            let named = |entry: &&Arc<Entry>| entry.server == *server && *entry.original == **tool;
            if let Some(entry) = tools.iter().find(named) {
                directory.give(urn.clone(), &entry.name);
            }
        }
        let named: Vec<_> = tools
            .iter()
            .filter_map(|entry| Some((entry, directory.named_by(entry)?)))
            .collect();
        // Another gateway's tools have URNs by themselves as well: ours come first there.
        let (abroad, own): (Vec<_>, Vec<_>) = named.into_iter().partition(|(_, u)| u.is_of_tool());
        for (entry, urn) in own {
            directory.give(urn, &entry.name);
        }
        let later: HashSet<&str> = abroad.iter().map(|(entry, _)| &*entry.name).collect();
        for entry in tools.iter().filter(|entry| !later.contains(&*entry.name)) {
            directory.give_own(entry);
        }
        for (entry, urn) in abroad {
            directory.give(urn, &entry.name);
            directory.give_own(entry);
        }
        directory
    }

    /// The URN that a definition names, where the tool has none.
    fn named_by(&mut self, entry: &Entry) -> Option<Urn> {
        if self.urns.contains_key(&entry.name) {
            return None;
        }
        let wrong = |why| format!("tool {}.{}: {why}", entry.server, entry.original);
        let named = named_in(entry)?.map_err(wrong);
        named.map_err(|why| self.refused.push(why)).ok()
    }

    /// Gives a tool that has no URN the one that it has by itself.
    fn give_own(&mut self, entry: &Entry) {
        if self.urns.contains_key(&entry.name) {
            return;
        }
        let urn = Urn::of_tool(&entry.server, &entry.original);
        if self.register.holder(&urn).is_none() {
            return self.give(urn, &entry.name);
        }
        self.give(
            Urn::of_tool_apart(&entry.server, &entry.original),
            &entry.name,
        );
    }

    fn give(&mut self, urn: Urn, name: &Arc<str>) {
        match self.register.take(urn.clone(), Arc::clone(name)) {
            Ok(()) => {
                self.urns.entry(Arc::clone(name)).or_insert(urn);
            }
            Err(why) => self.refused.push(why),
        }
    }

    /// The URN of the tool that has this name here.
    pub(super) fn urn(&self, name: &str) -> Option<&Urn> {
        self.urns.get(name)
    }
}

/// Every tool, whoever may see it.
fn all_tools(view: &View) -> Vec<Arc<Entry>> {
    let (mut tools, mut cursor) = (Vec::new(), None::<String>);
    while let Ok(page) = view.page(Shelf::Tools, cursor.as_deref(), |_| true) {
        tools.extend(page.entries);
        cursor = page.next;
        if cursor.is_none() {
            break;
        }
    }
    tools
}

/// The URN that a definition names; most name none, and are not cut.
fn named_in(entry: &Entry) -> Option<Result<Urn, String>> {
    memmem::find(&entry.definition, META_URN.as_bytes())?;
    Urn::of_definition(&Object::parse(entry.definition.clone()).ok()?)
}

impl Api {
    pub(super) fn directory(&self) -> Arc<Directory> {
        self.directories
            .of(self.gateway.catalog(), &self.settings.bindings)
    }

    /// The name that a tool has here, which is asked for by URN or alias.
    pub(super) async fn find(&self, asked: &str) -> Result<Arc<str>, Error> {
        let urn = match asked.starts_with("urn:") {
            false => None,
            true if self.settings.strict => Some(Urn::parse_strict(asked)),
            true => Some(Urn::parse(asked)),
        };
        let urn = urn.transpose();
        let urn = urn.map_err(|why| Error::InvalidParams(format!("Invalid params: {why}")))?;
        if let Some(name) = self.look(urn.as_ref(), asked) {
            return Ok(name);
        }
        // It may be one of a server that is still starting.
        self.gateway.started().await;
        self.look(urn.as_ref(), asked)
            .ok_or_else(|| Error::Unknown {
                kind: Kind::Tool,
                name: asked.to_owned(),
            })
    }

    fn look(&self, urn: Option<&Urn>, asked: &str) -> Option<Arc<str>> {
        let directory = self.directory();
        match urn {
            Some(urn) => directory.register.get(urn).cloned(),
            // The name that it has here comes before the alias of a URN.
            None if directory.urns.contains_key(asked) => Some(asked.into()),
            None => directory
                .register
                .by_alias(asked)
                .map(|(_, name)| Arc::clone(name)),
        }
    }
}
