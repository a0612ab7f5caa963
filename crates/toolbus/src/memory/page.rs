//! An offer as text, and back: definitions stand in it byte for byte.

use std::sync::Arc;

use bytes::Bytes;
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;
use toolbus_model::{Freshness, Health, Item, Object, Offer, Raw, Revision};

/// The form that is written here. A page of another form is not read.
const FORM: u32 = 1;

/// A page as it is written.
#[derive(Serialize, Deserialize)]
struct Page<'a> {
    form: u32,
    server: &'a str,
    fingerprint: &'a str,
    revision: Option<&'a str>,
    ttl_ms: u64,
    shared: bool,
    instructions: Option<String>,
    #[serde(borrow)]
    info: Option<&'a RawValue>,
    #[serde(borrow)]
    capabilities: &'a RawValue,
    #[serde(borrow)]
    tools: Vec<&'a RawValue>,
    #[serde(borrow)]
    prompts: Vec<&'a RawValue>,
    #[serde(borrow)]
    resources: Vec<&'a RawValue>,
    #[serde(borrow)]
    templates: Vec<&'a RawValue>,
}

/// The text of an offer; none for a server that was never listed.
pub(super) fn write(server: &str, fingerprint: &str, offer: &Offer) -> Option<Vec<u8>> {
    let raw = |bytes| serde_json::from_slice::<&RawValue>(bytes).ok();
    let page = Page {
        form: FORM,
        server,
        fingerprint,
        revision: offer.revision,
        ttl_ms: offer.freshness.ttl_ms,
        shared: offer.freshness.shared,
        instructions: offer.instructions.clone(),
        info: offer.info.as_ref().and_then(|info| raw(info.bytes())),
        capabilities: raw(offer.capabilities.as_ref()?.bytes())?,
        tools: all(&offer.tools)?,
        prompts: all(&offer.prompts)?,
        resources: all(&offer.resources)?,
        templates: all(&offer.templates)?,
    };
    serde_json::to_vec(&page).ok()
}

fn all(items: &[Item]) -> Option<Vec<&RawValue>> {
    let raws = items
        .iter()
        .map(|item| serde_json::from_slice(item.definition.bytes()).ok());
    raws.collect()
}

/// The offer of a text, as one of a server that does not run. The error says what is wrong with the text.
pub(super) fn read(server: &str, fingerprint: &str, text: &[u8]) -> Result<Offer, String> {
    let page: Page<'_> = serde_json::from_slice(text).map_err(|error| error.to_string())?;
    if (page.form, page.server, page.fingerprint) != (FORM, server, fingerprint) {
        return Err("it is of another server, or of another version of Toolbus".to_owned());
    }
    let revision = page
        .revision
        .map(|date| Revision::parse(date).ok_or_else(|| format!("unknown revision {date:?}")));
    let info = page.info.map(|info| Raw::parse(copied(info)));
    Ok(Offer {
        tools: items(&page.tools, "name")?,
        prompts: items(&page.prompts, "name")?,
        resources: items(&page.resources, "uri")?,
        templates: items(&page.templates, "uriTemplate")?,
        capabilities: Some(object(page.capabilities)?),
        info: info.transpose().map_err(|error| error.to_string())?,
        instructions: page.instructions,
        revision: revision.transpose()?.map(Revision::as_str),
        freshness: Freshness {
            ttl_ms: page.ttl_ms,
            shared: page.shared,
        },
        health: Health::Resting,
        ..Offer::default()
    })
}

fn items(definitions: &[&RawValue], key: &str) -> Result<Vec<Item>, String> {
    let item = |definition: &&RawValue| {
        let definition = object(definition)?;
        let key: Arc<str> = definition
            .str(key)
            .ok_or_else(|| format!("an entry without {key:?}"))?
            .into();
        Ok(Item { key, definition })
    };
    definitions.iter().map(item).collect()
}

fn object(raw: &RawValue) -> Result<Object, String> {
    Object::parse(copied(raw)).map_err(|error| error.to_string())
}

/// A copy of its own, so that one entry does not hold the whole text in memory.
fn copied(raw: &RawValue) -> Bytes {
    Bytes::copy_from_slice(raw.get().as_bytes())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn item(key: &str, definition: &'static str) -> Item {
        Item {
            key: key.into(),
            definition: Object::parse(Bytes::from_static(definition.as_bytes()))
                .expect("an object"),
        }
    }

    fn offer() -> Offer {
        Offer {
            tools: vec![
                item(
                    "a",
                    "{ \"name\":\"a\", \"inputSchema\":{\"z\":1.0,\"a\":1,\"z\":90071992547409931},\n\"x\":\"\\u00e4\"}",
                ),
                item("b", r#"{"name":"b"}"#),
            ],
            resources: vec![item("r://1", r#"{"uri":"r://1"}"#)],
            templates: vec![item("r://{x}", r#"{"uriTemplate":"r://{x}"}"#)],
            capabilities: Some(Object::of(&serde_json::json!({"tools": {}}))),
            info: Some(Raw::checked(Bytes::from_static(b"{\"name\": \"fx\"}"))),
            instructions: Some("Use \"a\" first.\n".to_owned()),
            revision: Some("2025-06-18"),
            freshness: Freshness {
                ttl_ms: 5,
                shared: false,
            },
            health: Health::Up,
            ..Offer::default()
        }
    }

    #[test]
    fn an_offer_comes_back_byte_for_byte_and_rests() {
        let text = write("fx", "f00", &offer()).expect("a page");
        let back = read("fx", "f00", &text).expect("an offer");
        let expected = Offer {
            health: Health::Resting,
            ..offer()
        };
        assert_eq!(back, expected);
        assert_eq!(
            back.tools[0].definition.bytes(),
            offer().tools[0].definition.bytes()
        );
    }

    #[test]
    fn what_is_of_another_server_or_broken_is_refused() {
        let text = write("fx", "f00", &offer()).expect("a page");
        assert!(read("fy", "f00", &text).is_err());
        assert!(read("fx", "f01", &text).is_err());
        assert!(read("fx", "f00", &text[..text.len() - 1]).is_err());
        assert!(read("fx", "f00", b"").is_err());
        let text = String::from_utf8(text).expect("text");
        let other_form = text.replacen("\"form\":1", "\"form\":2", 1);
        assert!(read("fx", "f00", other_form.as_bytes()).is_err());
        let nameless = text.replacen("\"name\":\"b\"", "\"nam\":\"b\"", 1);
        assert!(read("fx", "f00", nameless.as_bytes()).is_err());
    }

    #[test]
    fn a_server_that_was_never_listed_has_no_page() {
        assert_eq!(write("fx", "f00", &Offer::default()), None);
    }
}
