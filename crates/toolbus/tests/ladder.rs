//! Malformed and hostile requests, one per rule of the ladder, with exact status, code and message.

mod support;

use serde_json::{Value, json};
use support::{Gateway, Session, meta, post};

struct Case {
    what: &'static str,
    request: Vec<u8>,
    status: u16,
    code: i64,
    message: &'static str,
}

/// One gateway with the fixture behind it.
fn gateway() -> Gateway {
    Gateway::start_with(
        "max_body_bytes = 100000",
        &Gateway::server("fixture", "fixture", &["stdio"]),
    )
}

fn case(
    what: &'static str,
    request: Vec<u8>,
    status: u16,
    code: i64,
    message: &'static str,
) -> Case {
    Case {
        what,
        request,
        status,
        code,
        message,
    }
}

/// A modern POST whose headers and body are given.
fn modern(headers: &str, body: Value) -> Vec<u8> {
    post(
        "/mcp",
        &format!("mcp-protocol-version: 2026-07-28\r\n{headers}"),
        &body.to_string(),
    )
}

fn request(method: &str, params: Value) -> Value {
    json!({"jsonrpc": "2.0", "id": 7, "method": method, "params": params})
}

fn call(arguments: Value) -> Value {
    request(
        "tools/call",
        json!({"name": "echo", "arguments": arguments, "_meta": meta()}),
    )
}

const CALL: &str = "mcp-method: tools/call\r\nmcp-name: echo\r\n";
const LIST: &str = "mcp-method: tools/list\r\n";

fn list(params: Value) -> Value {
    request("tools/list", params)
}

fn without(key: &str) -> Value {
    let mut meta = meta();
    meta.as_object_mut().expect("an object").remove(key);
    json!({"_meta": meta})
}

fn with(key: &str, value: Value) -> Value {
    let mut meta = meta();
    meta[key] = value;
    json!({"_meta": meta})
}

fn head(lines: &str) -> Vec<u8> {
    format!("{lines}\r\nconnection: close\r\n\r\n").into_bytes()
}

/// Rules of the transport, before any body is read.
fn transport() -> Vec<Case> {
    let typed = |kind: &str, accept: &str| {
        let body = list(json!({"_meta": meta()})).to_string();
        format!(
            "POST /mcp HTTP/1.1\r\nhost: localhost\r\n{kind}{accept}mcp-protocol-version: 2026-07-28\r\n{LIST}\
             connection: close\r\ncontent-length: {}\r\n\r\n{body}",
            body.len()
        )
        .into_bytes()
    };
    let json_type = "content-type: application/json\r\n";
    let from = |place: &str| {
        let body = list(json!({"_meta": meta()})).to_string();
        format!(
            "POST /mcp HTTP/1.1\r\n{place}{json_type}accept: */*\r\nmcp-protocol-version: 2026-07-28\r\n{LIST}\
             connection: close\r\ncontent-length: {}\r\n\r\n{body}",
            body.len()
        )
        .into_bytes()
    };
    vec![
        case(
            "foreign Host",
            from("host: evil.example.com\r\n"),
            403,
            -32600,
            "Host \"evil.example.com\" is not allowed here",
        ),
        case(
            "no Host",
            from(""),
            403,
            -32600,
            "Host \"(missing or repeated)\" is not allowed here",
        ),
        case(
            "two Hosts",
            from("host: localhost\r\nhost: evil.example.com\r\n"),
            403,
            -32600,
            "Host \"(missing or repeated)\" is not allowed here",
        ),
        case(
            "foreign Origin",
            from("host: localhost\r\norigin: http://evil.example.com\r\n"),
            403,
            -32600,
            "Origin \"http://evil.example.com\" is not allowed here",
        ),
        case(
            "null Origin",
            from("host: localhost\r\norigin: null\r\n"),
            403,
            -32600,
            "Origin \"null\" is not allowed here",
        ),
        case(
            "rebound Host",
            from("host: 127.0.0.1.evil.example.com\r\n"),
            403,
            -32600,
            "Host \"127.0.0.1.evil.example.com\" is not allowed here",
        ),
        case(
            "GET",
            head("GET /mcp HTTP/1.1\r\nhost: localhost"),
            405,
            -32600,
            "Invalid request: use POST, GET, DELETE",
        ),
        case(
            "PUT",
            head("PUT /mcp HTTP/1.1\r\nhost: localhost"),
            405,
            -32600,
            "Invalid request: use POST, GET, DELETE",
        ),
        case(
            "text body",
            typed("content-type: text/plain\r\n", ""),
            415,
            -32600,
            "Invalid request: Content-Type must be application/json",
        ),
        case(
            "no type",
            typed("", ""),
            415,
            -32600,
            "Invalid request: Content-Type must be application/json",
        ),
        case(
            "Accept of a browser",
            typed(json_type, "accept: text/html\r\n"),
            406,
            -32600,
            "Invalid request: Accept must name application/json and text/event-stream",
        ),
        case(
            "Accept of JSON alone",
            typed(json_type, "accept: application/json\r\n"),
            406,
            -32600,
            "Invalid request: Accept must name application/json and text/event-stream",
        ),
        case(
            "a large body",
            modern(LIST, list(json!({"pad": "x".repeat(120_000)}))),
            413,
            -31005,
            "The request body is larger than 100000 bytes",
        ),
        case(
            "unknown server",
            support::post(
                "/servers/nobody/mcp",
                &format!("mcp-protocol-version: 2026-07-28\r\n{LIST}"),
                &list(json!({"_meta": meta()})).to_string(),
            ),
            404,
            -32602,
            "Unknown server: nobody",
        ),
    ]
}

/// Rules of the message.
fn message() -> Vec<Case> {
    let raw = |body: &str| post("/mcp", "mcp-protocol-version: 2026-07-28\r\n", body);
    let deep = format!(
        r#"{{"jsonrpc":"2.0","id":7,"method":"tools/list","params":{{"a":{}1{}}}}}"#,
        "[".repeat(300),
        "]".repeat(300)
    );
    vec![
        case(
            "empty body",
            raw(""),
            400,
            -32700,
            "Parse error: not valid JSON: EOF while parsing a value at line 1 column 0",
        ),
        case(
            "cut body",
            raw("{\"jsonrpc\":"),
            400,
            -32700,
            "Parse error: not valid JSON: EOF while parsing a value at line 1 column 11",
        ),
        case(
            "two bodies",
            raw("{} {}"),
            400,
            -32700,
            "Parse error: not valid JSON: trailing characters at line 1 column 4",
        ),
        case(
            "deep body",
            raw(&deep),
            400,
            -32700,
            "Parse error: nested deeper than 256 levels",
        ),
        case(
            "a batch",
            raw("[{\"jsonrpc\":\"2.0\",\"id\":7,\"method\":\"tools/list\"}]"),
            400,
            -32600,
            "Invalid request: batches are not part of this revision; send one message at a time",
        ),
        case(
            "a number",
            raw("7"),
            400,
            -32600,
            "Invalid request: a message must be an object",
        ),
        case(
            "no jsonrpc",
            raw(r#"{"id":7,"method":"tools/list"}"#),
            400,
            -32600,
            "Invalid request: member \"jsonrpc\" must be \"2.0\"",
        ),
        case(
            "jsonrpc 1.0",
            raw(r#"{"jsonrpc":"1.0","id":7,"method":"tools/list"}"#),
            400,
            -32600,
            "Invalid request: member \"jsonrpc\" must be \"2.0\"",
        ),
        case(
            "null id",
            raw(r#"{"jsonrpc":"2.0","id":null,"method":"tools/list"}"#),
            400,
            -32600,
            "Invalid request: member \"id\" must be a string or an integer",
        ),
        case(
            "fractional id",
            raw(r#"{"jsonrpc":"2.0","id":1.5,"method":"tools/list"}"#),
            400,
            -32600,
            "Invalid request: member \"id\" must be a string or an integer",
        ),
        case(
            "method of a number",
            raw(r#"{"jsonrpc":"2.0","id":7,"method":7}"#),
            400,
            -32600,
            "Invalid request: member \"method\" must be a string",
        ),
        case(
            "two methods",
            raw(r#"{"jsonrpc":"2.0","id":7,"method":"tools/list","method":"tools/call"}"#),
            400,
            -32600,
            "Invalid request: member \"method\" stands twice",
        ),
        case(
            "no method",
            raw(r#"{"jsonrpc":"2.0","id":7}"#),
            400,
            -32600,
            "Invalid request: member \"method\" is missing",
        ),
        case(
            "params of a list",
            raw(r#"{"jsonrpc":"2.0","id":7,"method":"tools/list","params":[]}"#),
            400,
            -32602,
            "Invalid params: member \"params\" must be an object",
        ),
        case(
            "a response",
            raw(r#"{"jsonrpc":"2.0","id":7,"result":{}}"#),
            400,
            -32600,
            "Invalid request: nothing is asked here that a response could answer",
        ),
    ]
}

/// Rules of 2026-07-28.
fn modern_rules() -> Vec<Case> {
    let version = "io.modelcontextprotocol/protocolVersion";
    let capabilities = "io.modelcontextprotocol/clientCapabilities";
    let plain = |headers: &str, body: Value| post("/mcp", headers, &body.to_string());
    vec![
        case(
            "no _meta",
            modern(LIST, list(json!({}))),
            400,
            -32602,
            "Invalid params: _meta[\"io.modelcontextprotocol/protocolVersion\"] is missing or not of its type",
        ),
        case(
            "_meta of text",
            modern(LIST, list(json!({"_meta": "x"}))),
            400,
            -32602,
            "Invalid params: \"_meta\" must be an object",
        ),
        case(
            "no version",
            modern(LIST, list(without(version))),
            400,
            -32602,
            "Invalid params: _meta[\"io.modelcontextprotocol/protocolVersion\"] is missing or not of its type",
        ),
        case(
            "no capabilities",
            modern(LIST, list(without(capabilities))),
            400,
            -32602,
            "Invalid params: _meta[\"io.modelcontextprotocol/clientCapabilities\"] is missing or not of its type",
        ),
        case(
            "capabilities of a list",
            modern(LIST, list(with(capabilities, json!([])))),
            400,
            -32602,
            "Invalid params: _meta[\"io.modelcontextprotocol/clientCapabilities\"] is missing or not of its type",
        ),
        case(
            "no version header",
            plain(LIST, list(json!({"_meta": meta()}))),
            400,
            -32020,
            "Header mismatch: header mcp-protocol-version is missing",
        ),
        case(
            "another version header",
            plain(
                &format!("mcp-protocol-version: 2025-11-25\r\n{LIST}"),
                list(json!({"_meta": meta()})),
            ),
            400,
            -32020,
            "Header mismatch: header mcp-protocol-version says \"2025-11-25\", the body says \"2026-07-28\"",
        ),
        case(
            "no method header",
            modern("", list(json!({"_meta": meta()}))),
            400,
            -32020,
            "Header mismatch: header mcp-method is missing",
        ),
        case(
            "another method header",
            modern("mcp-method: tools/call\r\n", list(json!({"_meta": meta()}))),
            400,
            -32020,
            "Header mismatch: header mcp-method says \"tools/call\", the body says \"tools/list\"",
        ),
        case(
            "method header in capitals",
            modern("mcp-method: Tools/List\r\n", list(json!({"_meta": meta()}))),
            400,
            -32020,
            "Header mismatch: header mcp-method says \"Tools/List\", the body says \"tools/list\"",
        ),
        case(
            "two method headers",
            modern(&format!("{LIST}{LIST}"), list(json!({"_meta": meta()}))),
            400,
            -32020,
            "Header mismatch: header mcp-method stands more than once",
        ),
        case(
            "no name header",
            modern("mcp-method: tools/call\r\n", call(json!({}))),
            400,
            -32020,
            "Header mismatch: header mcp-name is missing",
        ),
        case(
            "another name header",
            modern(
                "mcp-method: tools/call\r\nmcp-name: other\r\n",
                call(json!({})),
            ),
            400,
            -32020,
            "Header mismatch: header mcp-name says \"other\", the body says \"echo\"",
        ),
        case(
            "bad base64 in the name header",
            modern(
                "mcp-method: tools/call\r\nmcp-name: =?base64?!!?=\r\n",
                call(json!({})),
            ),
            400,
            -32020,
            "Header mismatch: \"=?base64?!!?=\" is not base64 of UTF-8 text",
        ),
        case(
            "unknown version",
            plain(
                &format!("mcp-protocol-version: 2099-01-01\r\n{LIST}"),
                list(with(version, json!("2099-01-01"))),
            ),
            400,
            -32022,
            "Unsupported protocol version \"2099-01-01\"; supported: 2026-07-28",
        ),
        case(
            "unknown log level",
            modern(
                LIST,
                list(with("io.modelcontextprotocol/logLevel", json!("loud"))),
            ),
            400,
            -32602,
            "Invalid params: unknown log level \"loud\"",
        ),
        case(
            "unknown method",
            modern(
                "mcp-method: tools/fetch\r\n",
                request("tools/fetch", json!({"_meta": meta()})),
            ),
            404,
            -32601,
            "Method not found: tools/fetch",
        ),
        case(
            "initialize, which is gone",
            modern(
                "mcp-method: initialize\r\n",
                request("initialize", json!({"_meta": meta()})),
            ),
            404,
            -32601,
            "Method not found: initialize",
        ),
        case(
            "ping, which is gone",
            modern(
                "mcp-method: ping\r\n",
                request("ping", json!({"_meta": meta()})),
            ),
            404,
            -32601,
            "Method not found: ping",
        ),
        case(
            "unknown tool",
            modern(
                "mcp-method: tools/call\r\nmcp-name: nothing\r\n",
                request("tools/call", json!({"name": "nothing", "_meta": meta()})),
            ),
            200,
            -32602,
            "Unknown tool: nothing",
        ),
        case(
            "unknown resource",
            modern(
                "mcp-method: resources/read\r\nmcp-name: test://nothing\r\n",
                request(
                    "resources/read",
                    json!({"uri": "test://nothing", "_meta": meta()}),
                ),
            ),
            200,
            -32602,
            "Resource not found",
        ),
        case(
            "unknown cursor",
            modern(LIST, list(json!({"cursor": "bm90aGluZw", "_meta": meta()}))),
            200,
            -32602,
            "Unknown cursor: list again from the start, without a cursor",
        ),
        case(
            "cursor of a number",
            modern(LIST, list(json!({"cursor": 3, "_meta": meta()}))),
            400,
            -32602,
            "Invalid params: \"cursor\" must be a string",
        ),
        case(
            "tool without a name",
            modern(
                "mcp-method: tools/call\r\n",
                request("tools/call", json!({"_meta": meta()})),
            ),
            400,
            -32602,
            "Invalid params: \"name\" must be a string",
        ),
        case(
            "arguments of a list",
            modern(CALL, call(json!([]))),
            400,
            -32602,
            "Invalid params: \"arguments\" must be an object",
        ),
        case(
            "progress token of an object",
            modern(
                CALL,
                request(
                    "tools/call",
                    json!({"name": "echo", "_meta": with("progressToken", json!({}))["_meta"]}),
                ),
            ),
            400,
            -32602,
            "Invalid params: _meta.progressToken must be a string or an integer",
        ),
        case(
            "param header without its argument",
            modern(
                "mcp-method: tools/call\r\nmcp-name: test_custom_header\r\nmcp-param-value: x\r\n",
                request(
                    "tools/call",
                    json!({"name": "test_custom_header", "arguments": {}, "_meta": meta()}),
                ),
            ),
            400,
            -32020,
            "",
        ),
    ]
}

/// Rules of sessions.
fn legacy_rules(gateway: &Gateway) -> Vec<Case> {
    let session = Session::open(gateway);
    let plain = |headers: &str, body: Value| post("/mcp", headers, &body.to_string());
    let bent = format!("mcp-session-id: {}x\r\n", session.id);
    let odd_version = format!(
        "mcp-session-id: {}\r\nmcp-protocol-version: 2025-13-13\r\n",
        session.id
    );
    let headers = session.headers();
    vec![
        case(
            "no session",
            plain("", list(json!({}))),
            400,
            -32600,
            "Invalid request: no session: send `initialize` first, or use 2026-07-28 with its `_meta`",
        ),
        case(
            "a session id that is not ours",
            plain(&bent, list(json!({}))),
            404,
            -32600,
            "Session not found: send initialize to open a new one",
        ),
        case(
            "a revision that never was",
            plain(&odd_version, list(json!({}))),
            400,
            -32602,
            "Invalid params: _meta[\"io.modelcontextprotocol/protocolVersion\"] is missing or not of its type",
        ),
        case(
            "initialize without a version",
            plain("", request("initialize", json!({}))),
            200,
            -32602,
            "Invalid params: \"protocolVersion\" must be a string",
        ),
        case(
            "initialize twice",
            plain(
                &headers,
                request("initialize", json!({"protocolVersion": "2025-11-25"})),
            ),
            400,
            -32600,
            "Invalid request: this session is open already",
        ),
        case(
            "unknown method",
            plain(&headers, request("tools/fetch", json!({}))),
            200,
            -32601,
            "Method not found: tools/fetch",
        ),
        case(
            "unknown tool",
            plain(&headers, request("tools/call", json!({"name": "nothing"}))),
            200,
            -32602,
            "Unknown tool: nothing",
        ),
        case(
            "unknown resource",
            plain(
                &headers,
                request("resources/read", json!({"uri": "test://nothing"})),
            ),
            200,
            -32002,
            "",
        ),
        case(
            "unknown log level",
            plain(
                &headers,
                request("logging/setLevel", json!({"level": "loud"})),
            ),
            200,
            -32602,
            "Invalid params: \"level\" must be a log level",
        ),
        case(
            "a batch",
            post("/mcp", &headers, "[]"),
            400,
            -32600,
            "Invalid request: batches are not part of this revision; send one message at a time",
        ),
        case(
            "not JSON",
            post("/mcp", &headers, "nonsense"),
            400,
            -32700,
            "Parse error: not valid JSON: expected ident at line 1 column 2",
        ),
        case(
            "DELETE of a session that is not ours",
            head("DELETE /mcp HTTP/1.1\r\nhost: localhost\r\nmcp-session-id: none"),
            404,
            -32600,
            "Session not found: send initialize to open a new one",
        ),
    ]
}

#[test]
fn every_step_of_the_ladder_answers_exactly() {
    let gateway = gateway();
    let cases: Vec<Case> = [
        transport(),
        message(),
        modern_rules(),
        legacy_rules(&gateway),
    ]
    .into_iter()
    .flatten()
    .collect();
    assert!(cases.len() >= 40, "{} cases", cases.len());
    let mut wrong = Vec::new();
    for case in &cases {
        let answer = gateway.send(&case.request);
        let error = &answer.json()["error"];
        let seen = (
            answer.status,
            error["code"].as_i64().unwrap_or(0),
            error["message"].as_str().unwrap_or_default(),
        );
        let message = if case.message.is_empty() {
            seen.2
        } else {
            case.message
        };
        if seen != (case.status, case.code, message) {
            wrong.push(format!(
                "{}: expected {:?}, got {seen:?}",
                case.what,
                (case.status, case.code, case.message)
            ));
        }
    }
    assert!(
        wrong.is_empty(),
        "{} of {}:\n{}",
        wrong.len(),
        cases.len(),
        wrong.join("\n")
    );
    assert_eq!(
        gateway
            .call("echo", json!({"message": "still here"}))
            .json()["result"]["content"][0]["text"],
        "still here"
    );
}

#[test]
fn the_id_of_a_refused_request_comes_back_as_it_was() {
    let gateway = gateway();
    for id in ["18446744073709551617", "1.0", "\"a\\u0062\"", "-0"] {
        let body = format!(
            r#"{{"jsonrpc":"2.0","id":{id},"method":"tools/fetch","params":{{"_meta":{}}}}}"#,
            meta()
        );
        let headers = "mcp-protocol-version: 2026-07-28\r\nmcp-method: tools/fetch\r\n";
        let answer = gateway.send(&post("/mcp", headers, &body));
        assert!(
            answer.text().contains(&format!("\"id\":{id},")),
            "{id}: {}",
            answer.text()
        );
    }
}

#[test]
fn framing_that_could_smuggle_a_request_is_refused() {
    let gateway = gateway();
    let body = "{}";
    let start = "POST /mcp HTTP/1.1\r\nhost: localhost\r\ncontent-type: application/json\r\n";
    for (what, request) in [
        (
            "two lengths",
            format!("{start}content-length: 2\r\ncontent-length: 3\r\n\r\n{body}"),
        ),
        (
            "a negative length",
            format!("{start}content-length: -2\r\n\r\n{body}"),
        ),
        (
            "a space before the colon",
            format!("{start}content-length : 2\r\n\r\n{body}"),
        ),
        (
            "100 headers",
            format!("{start}{}\r\n", "x: y\r\n".repeat(100)),
        ),
        (
            "an endless head",
            format!("{start}x: {}\r\n\r\n", "y".repeat(200_000)),
        ),
    ] {
        let answer = gateway.send(request.as_bytes());
        assert!(
            matches!(answer.status, 0 | 400 | 431),
            "{what}: {}",
            answer.status
        );
    }
    assert_eq!(gateway.get("/health").status, 200);
}
