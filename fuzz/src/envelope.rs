//! Messages against a reading of them with serde_json: the same ones are accepted, for the same reasons others are not,
//! and what was read goes out again byte by byte.

use bytes::Bytes;
use serde_json::value::RawValue;
use toolbus_model::json::MAX_DEPTH;
use toolbus_model::{Error, Object, Raw};
use toolbus_protocol::envelope::batch;
use toolbus_protocol::lines::frame;
use toolbus_protocol::{Envelope, Message, Refusal, Reply, write};

use crate::json::{Members, depth};

/// Most members of one object, as the scanner has it. Inputs of that many are beyond these checks.
const MAX_MEMBERS: usize = 65_536;

/// Most messages of one batch.
const MAX_BATCH: usize = 1_000;

/// Members that may stand once.
const ONCE: [&str; 6] = ["jsonrpc", "id", "method", "params", "result", "error"];

#[derive(Debug, PartialEq)]
enum Verdict {
    Call,
    Reply,
    NotJson,
    InvalidRequest,
    InvalidParams,
}

pub(crate) fn check(data: &[u8]) {
    if data.len() >= MAX_MEMBERS {
        return;
    }
    batched(data);
    let expected = judge(data);
    let read = Message::parse(&Bytes::copy_from_slice(data));
    let ours = match &read {
        Ok(Message::Call(_)) => Verdict::Call,
        Ok(Message::Reply(_)) => Verdict::Reply,
        Err(refusal) => refused(data, refusal),
    };
    assert_eq!(ours, expected, "{read:?}");
    match (read, members(data)) {
        (Ok(Message::Call(call)), Some(members)) => call_is(&call, &members),
        (Ok(Message::Reply(reply)), Some(members)) => reply_is(&reply, &members),
        _ => {}
    }
}

/// A batch is cut into the messages that serde_json finds in it.
fn batched(data: &[u8]) {
    let is_array = data.trim_ascii_start().starts_with(b"[");
    let known: Option<Vec<&RawValue>> = serde_json::from_slice(data).ok();
    let fits = |known: &Vec<_>| (1..=MAX_BATCH).contains(&known.len()) && depth(data) <= MAX_DEPTH;
    match batch(&Bytes::copy_from_slice(data)) {
        None => assert!(!is_array),
        Some(Err(_)) => assert!(is_array && !known.as_ref().is_some_and(fits)),
        Some(Ok(messages)) => {
            let known = known.filter(fits).expect("a batch that we carry");
            let known: Vec<&[u8]> = known.iter().map(|one| one.get().as_bytes()).collect();
            assert_eq!(messages, known);
        }
    }
}

/// What the message is, found out slowly.
fn judge(data: &[u8]) -> Verdict {
    if serde_json::from_slice::<&RawValue>(data).is_err() || depth(data) > MAX_DEPTH {
        return Verdict::NotJson;
    }
    let Some(members) = members(data) else {
        return Verdict::InvalidRequest;
    };
    let is_object = |name| members.get(name).is_none_or(|value| value[0] == b'{');
    let is_string = |name| {
        members
            .get(name)
            .is_some_and(|value| string(value).is_some())
    };
    if ONCE.iter().any(|name| members.count(name) > 1) {
        return Verdict::InvalidRequest;
    }
    if !is_object("params") {
        return Verdict::InvalidParams;
    }
    if !is_object("result") || members.get("jsonrpc").and_then(string).as_deref() != Some("2.0") {
        return Verdict::InvalidRequest;
    }
    if members.get("method").is_none() {
        return match (members.get("result"), members.get("error")) {
            (Some(_), None) | (None, Some(_)) => Verdict::Reply,
            _ => Verdict::InvalidRequest,
        };
    }
    if !is_string("method") || members.get("id").is_some_and(|id| !is_id(id)) {
        return Verdict::InvalidRequest;
    }
    let params = members.get("params").and_then(self::members);
    let meta = params.as_ref().and_then(|params| params.get("_meta"));
    if meta.is_some_and(|meta| meta[0] != b'{') {
        return Verdict::InvalidParams;
    }
    Verdict::Call
}

/// Why it was refused. The id to answer with is the sender's own, if any.
fn refused(data: &[u8], refusal: &Refusal) -> Verdict {
    if let Some(id) = &refusal.id {
        let sent = members(data).and_then(|members| members.get("id"));
        assert_eq!(Some(id.bytes()), sent);
        assert!(is_id(id.bytes()));
    }
    match refusal.error {
        Error::Parse(_) => Verdict::NotJson,
        Error::InvalidRequest(_) => Verdict::InvalidRequest,
        Error::InvalidParams(_) => Verdict::InvalidParams,
        _ => panic!("{refusal:?}"),
    }
}

fn call_is(call: &Envelope, members: &Members<'_>) {
    let params = members.get("params").unwrap_or(b"{}");
    let meta = self::members(params).and_then(|params| params.get("_meta"));
    assert_eq!(call.id.as_ref().map(Raw::bytes), members.get("id"));
    assert_eq!(
        Some(&call.method),
        members.get("method").and_then(string).as_ref()
    );
    assert_eq!(call.params.bytes(), params);
    assert_eq!(call.meta.bytes(), meta.unwrap_or(b"{}"));
    let sent = write::request(
        Some(7),
        &call.method,
        |out| call.params.rewrite(&[], out),
        0,
    );
    let Ok(Message::Call(again)) = Message::parse(&sent.clone().into()) else {
        panic!(
            "what we send on is no call: {}",
            String::from_utf8_lossy(&sent)
        )
    };
    assert_eq!(again.method, call.method);
    assert_eq!(again.params.bytes(), params);
    is_one_line(sent);
}

fn reply_is(reply: &Reply, members: &Members<'_>) {
    assert_eq!(
        reply.id.as_ref().map(Raw::bytes),
        members.get("id").filter(|id| is_id(id))
    );
    let id = reply.id.clone().unwrap_or_else(|| Raw::of(&7));
    let sent = match &reply.result {
        Ok(result) => {
            assert_eq!(Some(result.bytes()), members.get("result"));
            write::result(&id, |out| result.rewrite(&[], out), 0)
        }
        Err(Error::Upstream {
            code,
            message,
            data,
        }) => write::error(Some(&id), *code, message, data.as_ref().map(Raw::bytes)),
        Err(error) => panic!("{error:?}"),
    };
    let Ok(Message::Reply(again)) = Message::parse(&sent.clone().into()) else {
        panic!(
            "what we answer is no reply: {}",
            String::from_utf8_lossy(&sent)
        )
    };
    assert_eq!(again.id, Some(id));
    assert_eq!(again.result, reply.result);
    is_one_line(sent);
}

fn is_one_line(message: Vec<u8>) {
    let line = frame(message);
    let inner = &line[..line.len() - 1];
    assert!(!inner.contains(&b'\n') && !inner.contains(&b'\r'));
    assert!(Object::parse(Bytes::copy_from_slice(inner)).is_ok());
}

fn members(data: &[u8]) -> Option<Members<'_>> {
    Members::of(std::str::from_utf8(data).ok()?)
}

fn string(value: &[u8]) -> Option<String> {
    serde_json::from_slice(value).ok()
}

/// A string, or a number that is written as an integer, with or without zeros behind a point.
fn is_id(value: &[u8]) -> bool {
    let Ok(text) = std::str::from_utf8(value) else {
        return false;
    };
    let (whole, fraction) = text.split_once('.').unwrap_or((text, "0"));
    let digits = whole.strip_prefix('-').unwrap_or(whole);
    let is_integer =
        digits.bytes().all(|b| b.is_ascii_digit()) && fraction.bytes().all(|b| b == b'0');
    text.starts_with('"') || (is_integer && !digits.is_empty())
}
