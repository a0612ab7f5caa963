//! Everything that all servers offer, under names that are unique here; one immutable snapshot at a time.

use std::collections::HashMap;
use std::sync::Arc;

use toolbus_model::{Error, Freshness, Health, Item, Kind, Object, Offer, ServerName};

use crate::template;
pub use abilities::Abilities;
pub use entries::Entry;
use entries::{Entries, cursor_after};

mod abilities;
mod entries;

/// Entries on one page of a list.
pub const PAGE: usize = 1_000;

/// Which servers a door shows.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum Scope {
    /// All of them, under names unique among all.
    All,
    /// One of them, under its own names.
    One(ServerName),
}

/// The four lists of MCP.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Shelf {
    /// Tools.
    Tools,
    /// Prompts.
    Prompts,
    /// Resources.
    Resources,
    /// Resource templates.
    Templates,
}

impl Shelf {
    /// All four.
    pub const ALL: [Self; 4] = [Self::Tools, Self::Prompts, Self::Resources, Self::Templates];

    /// The member of a list result that holds the entries.
    pub fn member(self) -> &'static str {
        match self {
            Self::Tools => "tools",
            Self::Prompts => "prompts",
            Self::Resources => "resources",
            Self::Templates => "resourceTemplates",
        }
    }

    fn items(self, offer: &Offer) -> &[Item] {
        match self {
            Self::Tools => &offer.tools,
            Self::Prompts => &offer.prompts,
            Self::Resources => &offer.resources,
            Self::Templates => &offer.templates,
        }
    }

    /// Names can be changed to be unique; a URI means what it says.
    fn is_named(self) -> bool {
        matches!(self, Self::Tools | Self::Prompts)
    }
}

/// One page of a list.
#[derive(Debug)]
pub struct Page {
    /// The entries.
    pub entries: Vec<Arc<Entry>>,
    /// Where the next page begins.
    pub next: Option<String>,
    /// How long it may be kept.
    pub freshness: Freshness,
}

/// What one scope shows.
#[derive(Debug, Default)]
pub struct View {
    shelves: [Entries; 4],
    /// Servers that serve resources: a URI that no list names can only be theirs.
    resource_servers: Vec<ServerName>,
    servers: Vec<ServerName>,
    /// Pages that tools name as theirs, which need not be listed (MCP Apps).
    pages: HashMap<String, ServerName>,
    /// What the servers tell a model about their use.
    instructions: Vec<(ServerName, String)>,
    /// What some server can do that not every gateway could.
    pub abilities: Abilities,
    /// How often the servers said that a list changed: tools, prompts, resources with templates.
    said: [u64; 3],
    /// How often each of these lists changed here, or was said to have changed.
    pub(crate) versions: [u64; 3],
    freshness: Freshness,
}

/// The names given so far: who held a name keeps it.
pub type Holders = HashMap<(Shelf, ServerName, Arc<str>), Arc<str>>;

/// A snapshot of everything that is offered.
#[derive(Debug, Default)]
pub struct Catalog {
    all: View,
    each: HashMap<ServerName, View>,
}

impl Catalog {
    /// Puts the offers of all servers together, in the order of the configuration. `holders` are the names given
    /// before; the names given now are returned.
    pub(crate) fn build(
        offers: &[(ServerName, Arc<Offer>)],
        holders: &Holders,
        prefix: bool,
    ) -> (Self, Holders) {
        let mut given = Holders::new();
        let all = View::build(offers, holders, prefix, &mut given);
        let own = |offer: &(ServerName, Arc<Offer>)| {
            let view = View::build(
                std::slice::from_ref(offer),
                &Holders::new(),
                false,
                &mut Holders::new(),
            );
            (offer.0.clone(), view)
        };
        // A server that is away keeps its names for its return.
        let away = |server: &ServerName| {
            offers.iter().any(|(name, o)| {
                name == server && !matches!(o.health, Health::Up | Health::Resting)
            })
        };
        let kept = holders.iter().filter(|((_, server, _), _)| away(server));
        for (key, name) in kept {
            given.entry(key.clone()).or_insert_with(|| Arc::clone(name));
        }
        (
            Self {
                all,
                each: offers.iter().map(own).collect(),
            },
            given,
        )
    }

    /// Takes the place of `before`: counts which lists have changed.
    pub(crate) fn follow(&mut self, before: &Self) {
        self.all.follow(&before.all);
        for (name, view) in &mut self.each {
            match before.each.get(name) {
                Some(earlier) => view.follow(earlier),
                None => view.follow(&View::default()),
            }
        }
    }

    /// What a scope shows.
    pub fn view(&self, scope: &Scope) -> Result<&View, Error> {
        match scope {
            Scope::All => Ok(&self.all),
            Scope::One(name) => self
                .each
                .get(name)
                .ok_or_else(|| unknown(Kind::Server, name.as_str())),
        }
    }
}

impl View {
    fn build(
        offers: &[(ServerName, Arc<Offer>)],
        holders: &Holders,
        prefix: bool,
        given: &mut Holders,
    ) -> Self {
        let mut view = Self {
            freshness: Freshness {
                ttl_ms: u64::MAX,
                shared: true,
            },
            ..Self::default()
        };
        for shelf in Shelf::ALL {
            view.shelves[shelf as usize] = Entries::build(shelf, offers, holders, prefix, given);
        }
        for (name, offer) in offers {
            let has = |capability| {
                offer
                    .capabilities
                    .as_ref()
                    .is_some_and(|c| c.get(capability).is_some())
            };
            if has("resources") {
                view.resource_servers.push(name.clone());
            }
            view.servers.push(name.clone());
            if let Some(capabilities) = &offer.capabilities {
                view.abilities.add(capabilities);
            }
            for page in offer.tools.iter().filter_map(page_of) {
                view.pages.entry(page).or_insert_with(|| name.clone());
            }
            let said = offer.changes;
            for (sum, count) in view
                .said
                .iter_mut()
                .zip([said.tools, said.prompts, said.resources])
            {
                *sum += count;
            }
            view.freshness.ttl_ms = view.freshness.ttl_ms.min(offer.freshness.ttl_ms);
            view.freshness.shared &= offer.freshness.shared;
            view.instructions.extend(
                offer
                    .instructions
                    .iter()
                    .map(|text| (name.clone(), text.clone())),
            );
        }
        if view.freshness.ttl_ms == u64::MAX {
            view.freshness = Freshness::default();
        }
        view
    }

    /// The servers of this view.
    pub(crate) fn servers(&self) -> &[ServerName] {
        &self.servers
    }

    /// Counts the lists that differ from those of the view before.
    fn follow(&mut self, before: &Self) {
        let moved = |shelf: Shelf| !self.shelf(shelf).reads_like(before.shelf(shelf));
        let changed = [
            moved(Shelf::Tools),
            moved(Shelf::Prompts),
            moved(Shelf::Resources) || moved(Shelf::Templates),
        ];
        for (n, changed) in changed.into_iter().enumerate() {
            let changed = changed || self.said[n] != before.said[n];
            self.versions[n] = before.versions[n] + u64::from(changed);
        }
    }

    fn shelf(&self, shelf: Shelf) -> &Entries {
        &self.shelves[shelf as usize]
    }

    /// What the servers tell a model about their use, of those that have anything which `permits` lets be seen.
    pub(crate) fn instructions(&self, permits: impl Fn(&Entry) -> bool) -> Option<String> {
        let entries = || self.shelves.iter().flat_map(|entries| &entries.list);
        let visible =
            |server: &ServerName| entries().any(|entry| entry.server == *server && permits(entry));
        let told: Vec<_> = self
            .instructions
            .iter()
            .filter(|(server, _)| visible(server))
            .collect();
        match told[..] {
            [] => None,
            [(_, text)] => Some(text.clone()),
            _ => Some(
                told.iter()
                    .map(|(name, text)| format!("{name}: {text}"))
                    .collect::<Vec<_>>()
                    .join("\n\n"),
            ),
        }
    }

    /// The entry of this name.
    pub fn find(&self, shelf: Shelf, name: &str) -> Option<&Arc<Entry>> {
        let entries = self.shelf(shelf);
        entries.by_name.get(name).map(|at| &entries.list[*at])
    }

    /// One page of a list, as far as `permits` lets it be seen.
    pub fn page(
        &self,
        shelf: Shelf,
        cursor: Option<&str>,
        permits: impl Fn(&Entry) -> bool,
    ) -> Result<Page, Error> {
        let entries = self.shelf(shelf);
        let start = match cursor {
            None => 0,
            // A cursor names the entry before: one that may not be seen must look like one that is not there.
            Some(cursor) => entries
                .after(shelf, cursor)
                .filter(|start| permits(&entries.list[start - 1]))
                .ok_or_else(|| unknown(Kind::Cursor, cursor))?,
        };
        let mut visible = entries.list[start..].iter().filter(|entry| permits(entry));
        let page: Vec<Arc<Entry>> = visible.by_ref().take(PAGE).cloned().collect();
        let next = match (visible.next(), page.last()) {
            (Some(_), Some(last)) => Some(cursor_after(shelf, &last.name)),
            _ => None,
        };
        Ok(Page {
            entries: page,
            next,
            freshness: self.freshness,
        })
    }

    /// The server that a resource's URI belongs to.
    pub(crate) fn resource_owner(&self, uri: &str) -> Option<&ServerName> {
        let listed = self.find(Shelf::Resources, uri).map(|entry| &entry.server);
        let templates = || self.shelf(Shelf::Templates).list.iter();
        listed
            .or_else(|| {
                templates()
                    .find(|t| template::matches(&t.name, uri))
                    .map(|t| &t.server)
            })
            .or_else(|| self.pages.get(uri))
            .or(match &self.resource_servers[..] {
                [only] => Some(only),
                _ => None,
            })
    }
}

/// The page that a tool is shown on, by either of its spellings.
fn page_of(tool: &Item) -> Option<String> {
    let meta = tool.definition.object("_meta")?.ok()?;
    let ui = meta.object("ui").and_then(Result::ok);
    let page = ui.as_ref().and_then(|ui| ui.str("resourceUri"));
    page.or_else(|| meta.str("ui/resourceUri"))
        .map(std::borrow::Cow::into_owned)
}

fn unknown(kind: Kind, name: &str) -> Error {
    Error::Unknown {
        kind,
        name: name.to_owned(),
    }
}

/// The prompt or template that a completion request is about: its shelf and name.
pub(crate) fn completion_target(params: &Object) -> Option<(Shelf, String)> {
    let reference = params.object("ref")?.ok()?;
    match &*reference.str("type")? {
        "ref/prompt" => Some((Shelf::Prompts, reference.str("name")?.into_owned())),
        "ref/resource" => Some((Shelf::Templates, reference.str("uri")?.into_owned())),
        _ => None,
    }
}

#[cfg(test)]
mod tests;
