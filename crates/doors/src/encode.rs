//! Results and notices as a caller of one era reads them; payloads are spliced, never written anew.

use bytes::Bytes;
use toolbus_gateway::catalog::{Page, Shelf};
use toolbus_model::json::{Edit, write_string};
use toolbus_model::{CallId, Era, Error, Event, EventKind, Object, Outcome, Raw};
use toolbus_protocol::{meta, write};

use crate::reply::Wire;

/// How we introduce ourselves to clients.
pub(crate) fn server_info() -> &'static Raw {
    static INFO: std::sync::LazyLock<Raw> = std::sync::LazyLock::new(|| {
        Raw::of(
            &serde_json::json!({"name": "toolbus", "title": "Toolbus", "version": env!("CARGO_PKG_VERSION")}),
        )
    });
    &INFO
}

/// `_meta` of results of our own.
fn own_meta() -> &'static Raw {
    static META: std::sync::LazyLock<Raw> = std::sync::LazyLock::new(|| {
        Raw::of(&serde_json::json!({meta::SERVER: server_info_value()}))
    });
    &META
}

/// The same with one member more.
pub(crate) fn own_meta_with(name: &str, value: &Raw) -> Raw {
    let own = Object::from_raw(own_meta()).unwrap_or_else(|_| Object::empty());
    own.edited(&[(name, Edit::Put(value.bytes()))]).to_raw()
}

fn server_info_value() -> serde_json::Value {
    server_info().read().unwrap_or_default()
}

/// A response that carries a back end's result.
pub(crate) fn outcome(
    id: &Raw,
    era: Era,
    outcome: &Outcome,
    is_read: bool,
) -> Result<Vec<u8>, Error> {
    let object = outcome.object();
    let size = object.bytes().len() + 160;
    match era {
        Era::Modern => {
            let meta = stamped(object);
            let mut edits = vec![("resultType", Edit::Default(br#""complete""#.as_slice()))];
            edits.extend(meta.as_ref().map(|meta| ("_meta", Edit::Put(meta.bytes()))));
            if is_read && matches!(outcome, Outcome::Complete(_)) {
                edits.push(("ttlMs", Edit::Default(b"0")));
                edits.push(("cacheScope", Edit::Default(br#""private""#)));
            }
            Ok(write::result(id, |out| object.rewrite(&edits, out), size))
        }
        Era::Legacy => {
            if !matches!(outcome, Outcome::Complete(_)) {
                let why = "the server asks for what this client did not declare that it can do";
                return Err(Error::Internal(why.to_owned()));
            }
            let mut edits = vec![
                ("resultType", Edit::Drop),
                ("ttlMs", Edit::Drop),
                ("cacheScope", Edit::Drop),
            ];
            let content = as_text(object);
            // Before 2026-07-28 structured content was an object; the text beside it says the same.
            if object
                .get("structuredContent")
                .is_some_and(|content| content.first() != Some(&b'{'))
            {
                edits.push(("structuredContent", Edit::Drop));
                let content = content.as_ref();
                edits.extend(content.map(|content| ("content", Edit::Put(content.bytes()))));
            }
            Ok(write::result(id, |out| object.rewrite(&edits, out), size))
        }
    }
}

/// Structured content as text, where a result has no other content.
fn as_text(result: &Object) -> Option<Raw> {
    let structured = result.raw("structuredContent")?;
    let has_content = result
        .raw("content")
        .is_some_and(|content| content.bytes().contains(&b'{'));
    let text = String::from_utf8_lossy(structured.bytes());
    (!has_content).then(|| Raw::of(&serde_json::json!([{"type": "text", "text": text}])))
}

/// The result's `_meta` with a server's name in it, where it has none yet.
fn stamped(result: &Object) -> Option<Raw> {
    match result.object("_meta") {
        None => Some(own_meta().clone()),
        Some(Ok(meta)) if meta.get(meta::SERVER).is_none() => Some(
            meta.edited(&[(meta::SERVER, Edit::Put(server_info().bytes()))])
                .to_raw(),
        ),
        Some(_) => None,
    }
}

/// A response that carries a page of a list.
pub(crate) fn page(id: &Raw, era: Era, shelf: Shelf, page: &Page) -> Vec<u8> {
    let size: usize = page
        .entries
        .iter()
        .map(|entry| entry.definition.len() + 1)
        .sum();
    let payload = |out: &mut Vec<u8>| {
        out.push(b'{');
        write_string(shelf.member(), out);
        out.extend_from_slice(b":[");
        for (n, entry) in page.entries.iter().enumerate() {
            if n > 0 {
                out.push(b',');
            }
            match without_output_schema(era, shelf, &entry.definition) {
                Some(definition) => out.extend_from_slice(definition.bytes()),
                None => out.extend_from_slice(&entry.definition),
            }
        }
        out.push(b']');
        if let Some(next) = &page.next {
            out.extend_from_slice(br#","nextCursor":"#);
            write_string(next, out);
        }
        if era == Era::Modern {
            complete(page.freshness.ttl_ms, page.freshness.shared, out);
        }
        out.push(b'}');
    };
    write::result(id, payload, size + 256)
}

/// Before 2026-07-28 an output schema described an object. A tool whose schema does not is listed without one, and its
/// results have no structured content.
fn without_output_schema(era: Era, shelf: Shelf, definition: &Bytes) -> Option<Object> {
    const MEMBER: &str = "outputSchema";
    let may_have = era == Era::Legacy
        && shelf == Shelf::Tools
        && memchr::memmem::find(definition, MEMBER.as_bytes()).is_some();
    let tool = may_have.then(|| Object::parse(definition.clone()).ok())??;
    let schema = tool.object(MEMBER)?.ok();
    let is_object = schema.is_some_and(|schema| schema.str("type").as_deref() == Some("object"));
    (!is_object).then(|| tool.edited(&[(MEMBER, Edit::Drop)]))
}

/// The members that every complete result of our own has at 2026-07-28, after others.
pub(crate) fn complete(ttl_ms: u64, shared: bool, out: &mut Vec<u8>) {
    let scope = if shared { "public" } else { "private" };
    let tail =
        format!(r#","resultType":"complete","ttlMs":{ttl_ms},"cacheScope":"{scope}","_meta":"#);
    out.extend_from_slice(tail.as_bytes());
    out.extend_from_slice(own_meta().bytes());
}

/// An error as callers of an era know it: before 2026-07-28 an unknown resource had a code of its own.
pub(crate) fn translated(error: Error, era: Era, is_read: bool) -> Error {
    match error {
        Error::Upstream {
            code: -32602,
            message,
            data,
        } if era == Era::Legacy && is_read => {
            let names_uri = data
                .as_ref()
                .and_then(|data| Object::from_raw(data).ok())
                .is_some_and(|d| d.get("uri").is_some());
            Error::Upstream {
                code: if names_uri { -32002 } else { -32602 },
                message,
                data,
            }
        }
        other => other,
    }
}

/// A response with an error.
pub(crate) fn error(id: Option<&Raw>, wire: &Wire) -> Vec<u8> {
    write::error(
        id,
        wire.code,
        &wire.message,
        wire.data.as_ref().map(Raw::bytes),
    )
}

/// A response with an error, for doors that have no status.
pub(crate) fn plain_error(
    id: Option<&Raw>,
    era: Era,
    failure: &Error,
    call: Option<CallId>,
) -> Vec<u8> {
    error(id, &Wire::of(failure, era, call))
}

/// A notice on its way to the caller. Progress gets the caller's own token back.
pub(crate) fn notice(event: &Event, token: Option<&Raw>) -> Vec<u8> {
    let size = event.params.bytes().len() + 32;
    match event.kind {
        EventKind::Progress => {
            let edit = token.map_or(Edit::Drop, |token| Edit::Put(token.bytes()));
            let edits = [(meta::PROGRESS, edit)];
            write::notification(
                "notifications/progress",
                |out| event.params.rewrite(&edits, out),
                size,
            )
        }
        EventKind::Log => write::notification(
            "notifications/message",
            |out| out.extend_from_slice(event.params.bytes()),
            size,
        ),
        EventKind::ElicitationComplete => write::notification(
            "notifications/elicitation/complete",
            |out| out.extend_from_slice(event.params.bytes()),
            size,
        ),
        EventKind::Paused => Vec::new(),
    }
}
