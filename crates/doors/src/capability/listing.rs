//! The capabilities that a caller may see.

use toolbus_gateway::Scope;
use toolbus_gateway::catalog::{Entry, Shelf};
use toolbus_model::json::write_string;
use toolbus_model::{Caller, Error, Object};
use toolbus_protocol::urn::Urn;

use super::Api;

/// The members of a tool's definition that are shown as they are, before and after which nothing is changed.
const MEMBERS: [&str; 5] = [
    "title",
    "description",
    "inputSchema",
    "outputSchema",
    "annotations",
];

impl Api {
    /// One page of them, as JSON.
    pub(crate) async fn list(
        &self,
        caller: &Caller,
        cursor: Option<&str>,
    ) -> Result<Vec<u8>, Error> {
        self.gateway.started().await;
        let page = self
            .gateway
            .list(&Scope::All, caller, Shelf::Tools, cursor)?;
        let directory = self.directory();
        let mut out = br#"{"capabilities":["#.to_vec();
        let mut is_first = true;
        for entry in &page.entries {
            // What has come or gone since either of the two was made is in the next list, or is not.
            let Some(urn) = directory.urn(&entry.name) else {
                continue;
            };
            if !std::mem::take(&mut is_first) {
                out.push(b',');
            }
            describe(entry, urn, &mut out);
        }
        out.push(b']');
        if let Some(next) = &page.next {
            out.extend_from_slice(br#","nextCursor":"#);
            write_string(next, &mut out);
        }
        out.push(b'}');
        Ok(out)
    }
}

fn describe(entry: &Entry, urn: &Urn, out: &mut Vec<u8>) {
    out.extend_from_slice(br#"{"name":"#);
    write_string(&entry.name, out);
    out.extend_from_slice(br#","urn":"#);
    write_string(urn.as_str(), out);
    let definition = Object::parse(entry.definition.clone()).unwrap_or_else(|_| Object::empty());
    for member in MEMBERS {
        let value = match (member, definition.get(member)) {
            (_, Some(value)) => value,
            ("description", None) => br#""""#,
            ("inputSchema", None) => br#"{"type":"object"}"#,
            _ => continue,
        };
        out.push(b',');
        write_string(member, out);
        out.push(b':');
        out.extend_from_slice(value);
    }
    out.push(b'}');
}
