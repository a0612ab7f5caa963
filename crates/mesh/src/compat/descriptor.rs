//! What a worker says of a capability, and the tool that becomes of it.

use std::sync::Arc;

use bytes::Bytes;
use toolbus_model::json::{Edit, write_string};
use toolbus_model::{Item, Object, Raw};
use toolbus_protocol::urn::{META_URN, Urn};

/// The largest description, in bytes: as large as a definition in our own catalog.
const LARGEST: usize = 64 * 1024;

/// What is taken from a description; the rest is about the worker.
const MEMBERS: [&str; 5] = [
    "title",
    "description",
    "inputSchema",
    "outputSchema",
    "annotations",
];

/// Reads a description: which capability it is of, and the whole.
pub(super) fn read(payload: &Bytes) -> Result<(Urn, Object), String> {
    if payload.len() > LARGEST {
        return Err(format!("it is larger than {LARGEST} bytes"));
    }
    let whole = Object::parse(payload.clone()).map_err(|error| error.to_string())?;
    let name = whole.str("name").or_else(|| whole.str("urn"));
    let urn = Urn::parse(&name.ok_or("it has no name")?)?;
    Ok((urn, whole))
}

/// The tool under which a capability is called: named by its alias, with its URN in `_meta`.
pub(super) fn tool(urn: &Urn, described: &Object) -> Item {
    let (mut out, alias) = (b"{\"name\":".to_vec(), urn.alias());
    write_string(&alias, &mut out);
    for member in MEMBERS {
        if let Some(value) = described.get(member).filter(|value| fits(member, value)) {
            out.push(b',');
            write_string(member, &mut out);
            out.push(b':');
            out.extend_from_slice(value);
        }
    }
    out.push(b'}');
    let definition = Object::parse(out.into()).unwrap_or_else(|_| Object::empty());
    let meta = Raw::of(&serde_json::json!({META_URN: urn.as_str()}));
    let edits = [
        ("description", Edit::Default(b"\"\"".as_slice())),
        ("inputSchema", Edit::Default(b"{\"type\":\"object\"}")),
        ("_meta", Edit::Put(meta.bytes())),
    ];
    Item {
        key: Arc::from(alias),
        definition: definition.edited(&edits),
    }
}

/// A member of another kind would make the whole list unreadable for some clients.
fn fits(member: &str, value: &[u8]) -> bool {
    let first = value.first();
    match member {
        "title" | "description" => first == Some(&b'"'),
        _ => first == Some(&b'{'),
    }
}
