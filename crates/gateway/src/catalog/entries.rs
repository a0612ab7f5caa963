//! The entries of one list, under names that are unique in it.

use std::collections::HashMap;
use std::sync::Arc;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use bytes::Bytes;
use toolbus_model::json::{Edit, write_string};
use toolbus_model::{Item, Offer, ServerName};
use toolbus_protocol::names;

use super::{Holders, Shelf};
use crate::deadline::OwnWord;

/// One thing that is offered.
#[derive(Debug)]
pub struct Entry {
    /// The name it has here.
    pub name: Arc<str>,
    /// The name it has at its server.
    pub original: Arc<str>,
    /// Its server.
    pub server: ServerName,
    /// Its definition under the name it has here; nothing else is changed.
    pub definition: Bytes,
    /// What it says about its time.
    pub(crate) time: OwnWord,
}

#[derive(Debug, Default)]
pub(super) struct Entries {
    pub(super) list: Vec<Arc<Entry>>,
    pub(super) by_name: HashMap<Arc<str>, usize>,
}

impl Entries {
    pub(super) fn build(
        shelf: Shelf,
        offers: &[(ServerName, Arc<Offer>)],
        holders: &Holders,
        prefix: bool,
        given: &mut Holders,
    ) -> Self {
        let held = |server: &ServerName, item: &Item| {
            let name = holders.get(&(shelf, server.clone(), Arc::clone(&item.key)))?;
            // One that it got under another alias is not kept.
            let could = !shelf.is_named() || suits(name, server, &wished(shelf, item));
            could.then_some(name)
        };
        let items = || {
            offers.iter().flat_map(|(server, offer)| {
                shelf.items(offer).iter().map(move |item| (server, item))
            })
        };
        // Who held a name before comes first, so that a newcomer cannot take it.
        let mut names: HashMap<Arc<str>, (&ServerName, &Arc<str>)> = items()
            .filter_map(|(s, item)| Some((Arc::clone(held(s, item)?), (s, &item.key))))
            .collect();
        let mut entries = Self::default();
        for (server, item) in items() {
            let candidates = candidates(
                shelf,
                server,
                &wished(shelf, item),
                prefix,
                held(server, item),
            );
            let free = |name: &&Arc<str>| {
                names
                    .get(*name)
                    .is_none_or(|holder| *holder == (server, &item.key))
            };
            let Some(name) = candidates.iter().find(free).cloned() else {
                tracing::debug!(%server, uri = &*item.key, "another server holds this URI; see /servers/{{name}}/mcp");
                continue;
            };
            if entries.by_name.contains_key(&name) {
                continue; // A server that lists the same name twice: the first one counts.
            }
            names.insert(Arc::clone(&name), (server, &item.key));
            given.insert(
                (shelf, server.clone(), Arc::clone(&item.key)),
                Arc::clone(&name),
            );
            entries
                .by_name
                .insert(Arc::clone(&name), entries.list.len());
            entries
                .list
                .push(Arc::new(Entry::new(shelf, server, item, name)));
        }
        entries
    }

    pub(super) fn reads_like(&self, other: &Self) -> bool {
        let same = |(a, b): (&Arc<Entry>, &Arc<Entry>)| a.definition == b.definition;
        self.list.len() == other.list.len() && self.list.iter().zip(&other.list).all(same)
    }

    pub(super) fn after(&self, shelf: Shelf, cursor: &str) -> Option<usize> {
        let decoded = URL_SAFE_NO_PAD.decode(cursor).ok()?;
        let name = std::str::from_utf8(&decoded)
            .ok()?
            .strip_prefix(shelf.member())?
            .strip_prefix(':')?;
        self.by_name.get(name).map(|at| at + 1)
    }
}

impl Entry {
    fn new(shelf: Shelf, server: &ServerName, item: &Item, name: Arc<str>) -> Self {
        // What a resource calls itself is no name by which it is known.
        let is_so = !shelf.is_named() || item.definition.str("name").as_deref() == Some(&*name);
        let definition = if is_so {
            Bytes::copy_from_slice(item.definition.bytes())
        } else {
            let (mut quoted, mut out) = (Vec::new(), Vec::new());
            write_string(&name, &mut quoted);
            item.definition
                .rewrite(&[("name", Edit::Put(&quoted))], &mut out);
            out.into()
        };
        Self {
            name,
            original: Arc::clone(&item.key),
            server: server.clone(),
            definition,
            time: match shelf {
                Shelf::Tools => OwnWord::of(&item.definition),
                Shelf::Prompts | Shelf::Resources | Shelf::Templates => OwnWord::default(),
            },
        }
    }
}

/// The name that an item would have here if all names were free: the one in its definition. Where that is not its key,
/// somebody gave it an alias; requests and policies use the key all the same.
fn wished(shelf: Shelf, item: &Item) -> Arc<str> {
    let alias = match shelf {
        Shelf::Tools => item.definition.str("name"),
        Shelf::Prompts | Shelf::Resources | Shelf::Templates => None,
    };
    match alias {
        Some(alias) if *alias != *item.key => alias.as_ref().into(),
        _ => Arc::clone(&item.key),
    }
}

/// Whether a name is one that an item could have been given for what it wishes.
fn suits(name: &str, server: &ServerName, wished: &str) -> bool {
    let long = format!("{server}_{wished}");
    name == names::fit(wished) || name == names::fit(&long) || name == names::with_hash(&long)
}

/// The names that an item may have here, best first.
fn candidates(
    shelf: Shelf,
    server: &ServerName,
    key: &Arc<str>,
    prefix: bool,
    held: Option<&Arc<str>>,
) -> Vec<Arc<str>> {
    if !shelf.is_named() {
        return vec![Arc::clone(key)];
    }
    let long = format!("{server}_{key}");
    let fitted = match names::fit(key) {
        std::borrow::Cow::Borrowed(_) => Arc::clone(key),
        std::borrow::Cow::Owned(name) => name.into(),
    };
    let plain = (!prefix).then_some(fitted);
    held.cloned()
        .into_iter()
        .chain(plain)
        .chain([names::fit(&long).into(), names::with_hash(&long).into()])
        .collect()
}

pub(super) fn cursor_after(shelf: Shelf, name: &str) -> String {
    URL_SAFE_NO_PAD.encode(format!("{}:{name}", shelf.member()))
}
