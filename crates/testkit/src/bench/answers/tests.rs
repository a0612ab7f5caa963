//! One message in, one answer out, in both eras.

use bytes::Bytes;
use serde_json::{Value, json};

use super::{Answer, answer};
use crate::bench::counts::Counts;

fn ask(message: &Value) -> (u16, Value) {
    let body = Bytes::from(message.to_string());
    let Answer { status, body, .. } = answer(&body, &Counts::default());
    let body = body.to_bytes();
    (
        status.as_u16(),
        serde_json::from_slice(&body).unwrap_or(Value::Null),
    )
}

fn modern(method: &str, mut params: Value) -> Value {
    params["_meta"] = json!({
        "io.modelcontextprotocol/protocolVersion": "2026-07-28",
        "io.modelcontextprotocol/clientCapabilities": {},
    });
    json!({"jsonrpc": "2.0", "id": 7, "method": method, "params": params})
}

#[test]
fn echoes_the_message_as_it_came_in_both_eras() {
    let message = format!("{}\n\"quoted\" \u{1F980}", "long ".repeat(8000));
    let params = json!({"name": "echo", "arguments": {"message": message}});
    let (status, reply) = ask(&modern("tools/call", params.clone()));
    assert_eq!((status, &reply["id"]), (200, &json!(7)));
    assert_eq!(reply["result"]["content"][0]["text"], json!(message));
    assert_eq!(reply["result"]["resultType"], "complete");

    let legacy = json!({"jsonrpc": "2.0", "id": "a", "method": "tools/call", "params": params});
    let (_, reply) = ask(&legacy);
    assert_eq!(reply["id"], "a");
    assert_eq!(reply["result"]["content"][0]["text"], json!(message));
    assert_eq!(reply["result"].get("resultType"), None);
}

#[test]
fn lists_carry_caching_hints_in_the_modern_era_only() {
    let (_, reply) = ask(&modern("tools/list", json!({})));
    assert_eq!(reply["result"]["tools"][0]["name"], "echo");
    assert_eq!(reply["result"]["cacheScope"], "public");
    let (_, reply) = ask(&json!({"jsonrpc": "2.0", "id": 1, "method": "tools/list"}));
    assert_eq!(reply["result"].get("ttlMs"), None);
}

#[test]
fn each_era_has_its_own_way_to_begin() {
    let (_, reply) = ask(&modern("server/discover", json!({})));
    assert_eq!(reply["result"]["supportedVersions"][0], "2026-07-28");
    let (status, reply) = ask(&modern("initialize", json!({})));
    assert_eq!((status, &reply["error"]["code"]), (404, &json!(-32601)));
    let (_, reply) = ask(&json!({"jsonrpc": "2.0", "id": 1, "method": "initialize", "params": {}}));
    assert_eq!(reply["result"]["protocolVersion"], "2025-11-25");
    let (status, _) = ask(&json!({"jsonrpc": "2.0", "method": "notifications/initialized"}));
    assert_eq!(status, 202);
}

#[test]
fn what_cannot_be_answered_is_an_error() {
    let counts = Counts::default();
    let garbage = answer(&Bytes::from_static(b"[1, 2"), &counts);
    assert_eq!(garbage.status.as_u16(), 400);
    let (_, reply) = ask(&modern("tools/call", json!({"name": "no\"such"})));
    assert_eq!(reply["error"]["message"], "no tool \"no\\\"such\"");
    let (_, reply) = ask(&modern(
        "tools/call",
        json!({"name": "echo", "arguments": {"message": 1}}),
    ));
    assert_eq!(reply["result"]["isError"], true);
}
