//! Messages on their way out: envelopes around payloads that are copied as they are.

use toolbus_model::{Raw, json};

/// A response with a result.
pub fn result(id: &Raw, payload: impl FnOnce(&mut Vec<u8>), size_hint: usize) -> Vec<u8> {
    let mut out = Vec::with_capacity(size_hint + 64);
    out.extend_from_slice(br#"{"jsonrpc":"2.0","id":"#);
    out.extend_from_slice(id.bytes());
    out.extend_from_slice(br#","result":"#);
    payload(&mut out);
    out.push(b'}');
    out
}

/// A response with `{}`.
pub fn empty_result(id: &Raw) -> Vec<u8> {
    result(id, |out| out.extend_from_slice(b"{}"), 2)
}

/// A response with an error. Without an id the member is left out, as 2025-11-25 and later have it.
pub fn error(id: Option<&Raw>, code: i64, message: &str, data: Option<&[u8]>) -> Vec<u8> {
    let mut out = Vec::with_capacity(message.len() + data.map_or(0, <[u8]>::len) + 96);
    out.extend_from_slice(br#"{"jsonrpc":"2.0","#);
    if let Some(id) = id {
        out.extend_from_slice(br#""id":"#);
        out.extend_from_slice(id.bytes());
        out.push(b',');
    }
    out.extend_from_slice(br#""error":"#);
    put_error(code, message, data, &mut out);
    out.push(b'}');
    out
}

/// The error object alone.
pub fn error_object(code: i64, message: &str, data: Option<&[u8]>) -> Vec<u8> {
    let mut out = Vec::with_capacity(message.len() + data.map_or(0, <[u8]>::len) + 64);
    put_error(code, message, data, &mut out);
    out
}

fn put_error(code: i64, message: &str, data: Option<&[u8]>, out: &mut Vec<u8>) {
    out.extend_from_slice(br#"{"code":"#);
    out.extend_from_slice(code.to_string().as_bytes());
    out.extend_from_slice(br#","message":"#);
    json::write_string(message, out);
    if let Some(data) = data {
        out.extend_from_slice(br#","data":"#);
        out.extend_from_slice(data);
    }
    out.push(b'}');
}

/// A request, or without an id a notification.
pub fn request(
    id: Option<u64>,
    method: &str,
    params: impl FnOnce(&mut Vec<u8>),
    size_hint: usize,
) -> Vec<u8> {
    let mut out = Vec::with_capacity(size_hint + 96);
    out.extend_from_slice(br#"{"jsonrpc":"2.0","#);
    if let Some(id) = id {
        out.extend_from_slice(br#""id":"#);
        out.extend_from_slice(id.to_string().as_bytes());
        out.push(b',');
    }
    out.extend_from_slice(br#""method":"#);
    json::write_string(method, &mut out);
    out.extend_from_slice(br#","params":"#);
    params(&mut out);
    out.push(b'}');
    out
}

/// A request under an id of any kind.
pub fn request_as(id: &Raw, method: &str, params: &[u8]) -> Vec<u8> {
    let mut out = Vec::with_capacity(params.len() + method.len() + id.bytes().len() + 64);
    out.extend_from_slice(br#"{"jsonrpc":"2.0","id":"#);
    out.extend_from_slice(id.bytes());
    out.extend_from_slice(br#","method":"#);
    json::write_string(method, &mut out);
    out.extend_from_slice(br#","params":"#);
    out.extend_from_slice(params);
    out.push(b'}');
    out
}

/// A notification.
pub fn notification(method: &str, params: impl FnOnce(&mut Vec<u8>), size_hint: usize) -> Vec<u8> {
    request(None, method, params, size_hint)
}
