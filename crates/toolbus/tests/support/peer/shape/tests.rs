//! The rules refuse what is wrong: one thing is changed in a good message at a time.

use serde_json::{Value, json};

use super::super::revision::Revision::{self, *};
use super::{envelope, notice, question, result};

/// Whether the rules take it.
type Judged = Result<(), String>;

#[track_caller]
fn good(judged: Judged) {
    assert_eq!(judged, Ok(()));
}

#[track_caller]
fn bad(judged: Judged, word: &str) {
    let error = judged.expect_err("it is wrong");
    assert!(error.contains(word), "{error:?} does not say {word:?}");
}

#[test]
fn envelopes() {
    let judge = |message: Value| envelope(&message).map(drop);
    good(judge(json!({ "jsonrpc": "2.0", "id": 1, "result": {} })));
    good(judge(
        json!({ "jsonrpc": "2.0", "id": "a", "error": { "code": -1, "message": "m" } }),
    ));
    good(judge(
        json!({ "jsonrpc": "2.0", "id": 1, "method": "ping" }),
    ));
    good(judge(
        json!({ "jsonrpc": "2.0", "method": "notifications/x", "params": {} }),
    ));
    for (message, word) in [
        (json!([]), "no object"),
        (json!({ "id": 1, "result": {} }), "JSON-RPC"),
        (
            json!({ "jsonrpc": "2.0", "id": null, "result": {} }),
            "no id",
        ),
        (
            json!({ "jsonrpc": "2.0", "id": 1.5, "result": {} }),
            "no id",
        ),
        (json!({ "jsonrpc": "2.0", "id": 1 }), "not one of"),
        (
            json!({ "jsonrpc": "2.0", "id": 1, "result": {}, "error": null }),
            "not one of",
        ),
        (
            json!({ "jsonrpc": "2.0", "id": 1, "result": {}, "extra": 1 }),
            "extra",
        ),
        (
            json!({ "jsonrpc": "2.0", "id": 1, "error": { "code": "x", "message": "m" } }),
            "the error",
        ),
        (
            json!({ "jsonrpc": "2.0", "id": 1, "error": { "code": 1, "message": "m", "id": 1 } }),
            "the error",
        ),
        (
            json!({ "jsonrpc": "2.0", "id": null, "method": "ping" }),
            "the id",
        ),
        (
            json!({ "jsonrpc": "2.0", "method": "ping", "params": [] }),
            "params",
        ),
    ] {
        bad(judge(message), word);
    }
}

#[test]
fn questions() {
    let form = json!({ "message": "m", "requestedSchema": { "type": "object", "properties": {} } });
    let page = json!({ "mode": "url", "message": "m", "url": "u" });
    let named = json!({ "mode": "url", "message": "m", "url": "u", "elicitationId": "1" });
    let sampling =
        json!({ "messages": [{ "role": "user", "content": { "type": "text" } }], "maxTokens": 1 });
    let ask = |revision: Revision, method: &str, params: &Value| {
        question(revision, &revision.capabilities(), method, params)
    };
    good(ask(V2026_07_28, "elicitation/create", &form));
    good(ask(V2025_06_18, "elicitation/create", &form));
    good(ask(V2026_07_28, "elicitation/create", &page));
    good(ask(V2025_11_25, "elicitation/create", &named));
    good(ask(V2024_11_05, "sampling/createMessage", &sampling));
    good(ask(V2025_03_26, "roots/list", &json!({})));
    good(ask(V2025_11_25, "ping", &json!({})));
    bad(
        ask(V2025_03_26, "elicitation/create", &form),
        "not declared",
    );
    bad(
        ask(V2025_06_18, "elicitation/create", &named),
        "by URL was not declared",
    );
    bad(
        ask(V2025_11_25, "elicitation/create", &page),
        "elicitationId",
    );
    bad(ask(V2026_07_28, "ping", &json!({})), "no question");
    bad(ask(V2026_07_28, "tools/call", &json!({})), "no question");
    bad(
        ask(
            V2026_07_28,
            "elicitation/create",
            &json!({ "message": "m" }),
        ),
        "no schema",
    );
    bad(
        ask(
            V2026_07_28,
            "sampling/createMessage",
            &json!({ "messages": [] }),
        ),
        "maxTokens",
    );
    bad(
        question(V2025_11_25, &json!({}), "roots/list", &json!({})),
        "not declared",
    );
}

#[test]
fn notices() {
    let tag = json!({ "io.modelcontextprotocol/subscriptionId": 7 });
    let progress = json!({ "progressToken": "t", "progress": 1 });
    let tagged = json!({ "_meta": tag });
    good(notice(
        V2026_07_28,
        "notifications/progress",
        &progress,
        None,
    ));
    good(notice(
        V2026_07_28,
        "notifications/tools/list_changed",
        &tagged,
        Some(7),
    ));
    good(notice(
        V2024_11_05,
        "notifications/tools/list_changed",
        &json!({}),
        None,
    ));
    let done = json!({ "elicitationId": "1" });
    good(notice(
        V2025_11_25,
        "notifications/elicitation/complete",
        &done,
        None,
    ));
    for (revision, method, params, listening, word) in [
        (
            V2026_07_28,
            "notifications/tools/list_changed",
            json!({}),
            None,
            "not here",
        ),
        (
            V2026_07_28,
            "notifications/tools/list_changed",
            json!({}),
            Some(7),
            "not tagged",
        ),
        (
            V2026_07_28,
            "notifications/tools/list_changed",
            tagged.clone(),
            Some(8),
            "not tagged",
        ),
        (
            V2026_07_28,
            "notifications/progress",
            tagged.clone(),
            Some(7),
            "stream of changes",
        ),
        (
            V2025_11_25,
            "notifications/tools/list_changed",
            tagged,
            None,
            "outside",
        ),
        (
            V2026_07_28,
            "notifications/elicitation/complete",
            done,
            None,
            "not here",
        ),
        (
            V2025_11_25,
            "notifications/tasks",
            json!({}),
            None,
            "not here",
        ),
        (
            V2025_11_25,
            "notifications/made/up",
            json!({}),
            None,
            "no notification",
        ),
        (
            V2025_11_25,
            "notifications/progress",
            json!({ "progress": 1 }),
            None,
            "malformed",
        ),
        (
            V2025_11_25,
            "notifications/message",
            json!({ "level": "loud", "data": 1 }),
            None,
            "malformed",
        ),
        (
            V2025_11_25,
            "notifications/resources/updated",
            json!({}),
            None,
            "no notification",
        ),
    ] {
        bad(notice(revision, method, &params, listening), word);
    }
}

#[test]
fn modern_results() {
    let judge =
        |method: &str, it: Value| result(V2026_07_28, &V2026_07_28.capabilities(), method, &it);
    let with = |mut it: Value, more: Value| {
        let more = more.as_object().expect("an object").clone();
        it.as_object_mut().expect("an object").extend(more);
        it
    };
    let called = json!({ "resultType": "complete", "content": [], "structuredContent": [1] });
    let listed =
        json!({ "resultType": "complete", "ttlMs": 0, "cacheScope": "private", "tools": [] });
    let asking = json!({ "resultType": "input_required", "requestState": "s" });
    good(judge("tools/call", called.clone()));
    good(judge("tools/list", listed.clone()));
    good(judge("tools/call", asking.clone()));
    bad(judge("tools/call", json!({ "content": [] })), "resultType");
    bad(
        judge(
            "tools/call",
            with(called.clone(), json!({ "resultType": "odd" })),
        ),
        "resultType",
    );
    bad(
        judge(
            "tools/call",
            with(
                called.clone(),
                json!({ "ttlMs": 1, "cacheScope": "public" }),
            ),
        ),
        "ttlMs",
    );
    bad(
        judge(
            "tools/call",
            with(called, json!({ "content": [{ "type": "odd" }] })),
        ),
        "content",
    );
    bad(
        judge("tools/list", with(listed.clone(), json!({ "ttlMs": -1 }))),
        "ttlMs",
    );
    bad(
        judge(
            "tools/list",
            with(listed.clone(), json!({ "cacheScope": "shared" })),
        ),
        "ttlMs",
    );
    bad(
        judge(
            "tools/list",
            with(listed, json!({ "tools": [{ "name": "a" }] })),
        ),
        "the tool",
    );
    bad(judge("tools/list", asking.clone()), "resultType");
    bad(
        judge(
            "tools/call",
            with(asking.clone(), json!({ "requestState": 1 })),
        ),
        "state",
    );
    let request = json!({ "k": { "method": "tools/call", "params": {} } });
    bad(
        judge(
            "tools/call",
            with(asking, json!({ "inputRequests": request })),
        ),
        "inputRequests.k",
    );
    bad(
        judge("tools/call", json!({ "resultType": "task", "taskId": "t" })),
        "a task without",
    );
    let task = json!({ "resultType": "task" });
    bad(
        result(V2026_07_28, &json!({}), "tools/call", &task),
        "resultType",
    );
}

#[test]
fn legacy_results() {
    let judge = |revision: Revision, method: &str, it: Value| {
        result(revision, &revision.capabilities(), method, &it)
    };
    let audio = json!({ "content": [{ "type": "audio", "data": "", "mimeType": "" }] });
    let link = json!({ "content": [{ "type": "resource_link", "uri": "a:b", "name": "n" }] });
    let output = |kind: &str| {
        let tool = json!({ "name": "a", "inputSchema": { "type": "object" }, "outputSchema": { "type": kind } });
        json!({ "tools": [tool] })
    };
    good(judge(V2025_03_26, "tools/call", audio.clone()));
    good(judge(V2025_06_18, "tools/call", link.clone()));
    good(judge(V2025_11_25, "tools/list", output("object")));
    bad(judge(V2024_11_05, "tools/call", audio), "not of 2024-11-05");
    bad(judge(V2025_03_26, "tools/call", link), "not of 2025-03-26");
    bad(
        judge(V2025_11_25, "tools/list", output("array")),
        "no object",
    );
    bad(
        judge(
            V2025_11_25,
            "tools/call",
            json!({ "content": [], "structuredContent": [] }),
        ),
        "no object",
    );
    bad(
        judge(
            V2025_11_25,
            "tools/call",
            json!({ "structuredContent": {} }),
        ),
        "no content",
    );
    for member in ["resultType", "ttlMs", "cacheScope", "requestState"] {
        bad(
            judge(V2025_11_25, "ping", json!({ member: 1 })),
            "not of this revision",
        );
    }
}
