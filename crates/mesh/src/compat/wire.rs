//! The plain messages: a JSON-RPC request, and the one reply to it.

use bytes::Bytes;
use serde_json::json;
use toolbus_model::json::{Edit, write_string};
use toolbus_model::{CallId, Cause, Error, Object, Raw};
use toolbus_protocol::Message;
use toolbus_protocol::capability::{META_PLAIN, META_STATE};
use toolbus_protocol::urn::Urn;

/// How much of what is no answer is shown.
const SHOWN: usize = 200;

/// Under which agreement a peer is asked.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Federation {
    pub(super) source: String,
    pub(super) target: String,
    pub(super) agreement: String,
}

/// A request, compact and with the members in the order that foreign workers are used to. The id is a call's, so that
/// no two are alike.
pub(super) fn request(
    id: CallId,
    urn: &Urn,
    params: &Object,
    meta: &Object,
    federation: Option<&Federation>,
) -> Vec<u8> {
    let arguments = params.get("arguments").unwrap_or(b"{}");
    let mut out = Vec::with_capacity(arguments.len() + 512);
    out.push(b'{');
    if let Some(Federation {
        source,
        target,
        agreement,
    }) = federation
    {
        let said = json!({"source_instance": source, "target_instance": target, "agreement_id": agreement});
        out.extend_from_slice(b"\"federation\":");
        out.extend_from_slice(Raw::of(&said).bytes());
        out.push(b',');
    }
    out.extend_from_slice(b"\"id\":");
    write_string(&id.to_string(), &mut out);
    out.extend_from_slice(br#","jsonrpc":"2.0","method":"tools/call","params":{"#);
    // Without a state there is nothing beside the arguments that a plain worker could stumble over.
    if let Some(state) = meta.get(META_STATE).filter(|state| *state != b"{}") {
        out.extend_from_slice(b"\"_meta\":{\"toolbus/state\":");
        out.extend_from_slice(state);
        out.extend_from_slice(b"},");
    }
    out.extend_from_slice(b"\"arguments\":");
    out.extend_from_slice(arguments);
    out.extend_from_slice(b",\"name\":");
    write_string(urn.as_str(), &mut out);
    out.extend_from_slice(b"}}");
    out
}

/// The result of a reply, as MCP has results.
pub(super) fn result(reply: &Bytes, id: CallId, urn: &Urn) -> Result<Object, Error> {
    let garbage = |why: String| {
        let shown = String::from_utf8_lossy(&reply[..reply.len().min(SHOWN)]).into_owned();
        let what = format!(
            "a worker of {urn} answered, but with no JSON-RPC response: {why}; it begins with {shown:?}"
        );
        Err(Error::OutcomeUnknown(Box::new(Cause {
            what,
            remedy: Some("correct the worker; what it did is not known here".to_owned()),
            ..Cause::default()
        })))
    };
    let (answers, result) = match Message::parse(reply) {
        Ok(Message::Reply(reply)) => (reply.id, reply.result.map(|result| as_mcp(&result))),
        Ok(Message::Call(_)) => return garbage("it is a request".to_owned()),
        // A plain worker may answer with a value that is no object.
        Err(refusal) => match plain_value(reply) {
            Some((answers, value)) => (answers, Ok(of_value(&value))),
            None => return garbage(refusal.error.to_string()),
        },
    };
    // One that could not read the request knows no id.
    if answers.is_some_and(|answers| answers.as_str().as_deref() != Some(&id.to_string())) {
        return garbage("its id is not the request's".to_owned());
    }
    result
}

/// The id and the value of a response whose result is no object.
fn plain_value(reply: &Bytes) -> Option<(Option<Raw>, Raw)> {
    let whole = Object::parse(reply.clone()).ok()?;
    let is_response = whole.str("jsonrpc").as_deref() == Some("2.0")
        && whole.duplicate(&["id", "result"]).is_none()
        && whole.get("error").is_none()
        && whole.get("method").is_none();
    let value = whole.raw("result").filter(|_| is_response)?;
    Some((whole.raw("id"), value))
}

/// A result of MCP as it is; any other as the text and the structure that it is.
fn as_mcp(result: &Object) -> Object {
    let is_list = |name| {
        result
            .get(name)
            .is_some_and(|value| value.first() == Some(&b'['))
    };
    if is_list("content")
        || result.get("structuredContent").is_some()
        || result.get("resultType").is_some()
    {
        return result.clone();
    }
    let wrapped = wrap(&result.to_raw(), &result.to_raw());
    match result.get("isError") {
        Some(b"true") => wrapped.edited(&[("isError", Edit::Put(b"true"))]),
        _ => wrapped,
    }
}

fn of_value(value: &Raw) -> Object {
    let structure = Object::empty().edited(&[("result", Edit::Put(value.bytes()))]);
    wrap(value, &structure.to_raw())
}

fn wrap(said: &Raw, structure: &Raw) -> Object {
    let text = said
        .as_str()
        .unwrap_or_else(|| String::from_utf8_lossy(said.bytes()));
    let content = Raw::of(&json!([{"type": "text", "text": text}]));
    let meta = Raw::of(&json!({META_PLAIN: true}));
    Object::empty().edited(&[
        ("content", Edit::Put(content.bytes())),
        ("structuredContent", Edit::Put(structure.bytes())),
        ("_meta", Edit::Put(meta.bytes())),
    ])
}
