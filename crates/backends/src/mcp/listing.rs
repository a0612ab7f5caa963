//! What a server offers, read page by page.

use std::collections::HashSet;
use std::sync::Arc;

use serde_json::value::RawValue;
use toolbus_model::json::Edit;
use toolbus_model::{Cause, Error, Freshness, Health, Item, Object, Offer};
use toolbus_protocol::params::ParamHeaders;

use super::link::{Connection, Link, freshness};
use super::outgoing::{Ids, Outgoing};

/// Entries of one list that are taken from one server. Ten times the largest catalog we heard of.
pub(crate) const MAX_ITEMS: usize = 100_000;

/// Pages of one list: a server that never ends its list must not keep us for ever.
const MAX_PAGES: usize = 1_000;

/// Reads everything that the server at the other end offers.
pub(super) async fn read(connection: &Connection, ids: &Ids) -> Result<Offer, Error> {
    let peer = &connection.peer;
    let has = |capability| peer.capabilities.get(capability).is_some();
    let mut kept = None;
    let mut offer = Offer {
        capabilities: Some(peer.capabilities.clone()),
        info: peer.info.clone(),
        instructions: peer.instructions.clone(),
        revision: Some(peer.revision.as_str()),
        health: Health::Up,
        ..Offer::default()
    };
    if has("tools") {
        offer.tools = list(connection, ids, "tools/list", "tools", "name", &mut kept).await?;
        if matches!(connection.link, Link::Http(_)) {
            offer
                .tools
                .retain(|tool| match ParamHeaders::of_tool(&tool.definition) {
                    Ok(_) => true,
                    Err(why) => {
                        tracing::warn!(
                            tool = &*tool.key,
                            why,
                            "the tool is left out, as the specification asks"
                        );
                        false
                    }
                });
        }
    }
    if has("prompts") {
        offer.prompts = list(
            connection,
            ids,
            "prompts/list",
            "prompts",
            "name",
            &mut kept,
        )
        .await?;
    }
    if has("resources") {
        offer.resources = list(
            connection,
            ids,
            "resources/list",
            "resources",
            "uri",
            &mut kept,
        )
        .await?;
        let templates = list(
            connection,
            ids,
            "resources/templates/list",
            "resourceTemplates",
            "uriTemplate",
            &mut kept,
        );
        offer.templates = templates.await?;
    }
    offer.freshness = kept.unwrap_or_default();
    Ok(offer)
}

/// Adds what only the second of two lists has.
pub(super) fn add(offer: &mut Offer, fuller: Offer) {
    fn missing(known: &mut Vec<Item>, further: Vec<Item>) {
        let names: HashSet<_> = known.iter().map(|item| Arc::clone(&item.key)).collect();
        known.extend(
            further
                .into_iter()
                .filter(|item| !names.contains(&item.key)),
        );
    }
    missing(&mut offer.tools, fuller.tools);
    missing(&mut offer.prompts, fuller.prompts);
    missing(&mut offer.resources, fuller.resources);
    missing(&mut offer.templates, fuller.templates);
}

async fn list(
    connection: &Connection,
    ids: &Ids,
    method: &'static str,
    member: &str,
    key: &str,
    kept: &mut Option<Freshness>,
) -> Result<Vec<Item>, Error> {
    let (mut items, mut cursor) = (Vec::new(), None);
    for _ in 0..MAX_PAGES {
        let result = match page(connection, ids, method, cursor.as_ref()).await {
            // A server that offers resources need not know templates.
            Err(Error::Upstream { code: -32601, .. }) => return Ok(items),
            other => other?,
        };
        if let Some(said) = freshness(&result) {
            let before = kept.unwrap_or(said);
            *kept = Some(Freshness {
                ttl_ms: before.ttl_ms.min(said.ttl_ms),
                shared: before.shared && said.shared,
            });
        }
        take(&result, method, member, key, &mut items)?;
        let next = result
            .raw("nextCursor")
            .filter(|next| next.as_str().is_some());
        if next.is_none() || next == cursor || items.len() >= MAX_ITEMS {
            return Ok(items);
        }
        cursor = next;
    }
    Ok(items)
}

async fn page(
    connection: &Connection,
    ids: &Ids,
    method: &'static str,
    cursor: Option<&toolbus_model::Raw>,
) -> Result<Object, Error> {
    let members: Vec<_> = cursor
        .map(|cursor| ("cursor", Edit::Put(cursor.bytes())))
        .into_iter()
        .collect();
    let outgoing = Outgoing::own(ids, connection.peer.revision, method, &members);
    connection.link.exchange(outgoing).await
}

fn take(
    result: &Object,
    method: &str,
    member: &str,
    key: &str,
    items: &mut Vec<Item>,
) -> Result<(), Error> {
    let malformed = |why: &str| {
        Error::Unavailable(Cause::new(format!("the server's answer to {method} {why}")).into())
    };
    let entries = result
        .raw(member)
        .ok_or_else(|| malformed(&format!("has no {member:?}")))?;
    let entries: Vec<&RawValue> = entries
        .read()
        .map_err(|error| malformed(&error.to_string()))?;
    for entry in entries {
        // An entry of its own, so that one small tool does not hold a whole list in memory.
        let parsed = Object::parse(bytes::Bytes::copy_from_slice(entry.get().as_bytes()));
        let named = parsed
            .ok()
            .and_then(|definition| Some((definition.str(key)?.into_owned(), definition)));
        match named {
            Some((name, definition)) => items.push(Item {
                key: name.into(),
                definition,
            }),
            None => tracing::warn!(method, "an entry without {key:?} is left out"),
        }
    }
    Ok(())
}
