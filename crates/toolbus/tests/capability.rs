//! The capability API over HTTP: what is executed, what is refused, and how each looks.

mod support;

use std::io::{Read as _, Write as _};
use std::net::TcpListener;

use serde_json::{Value, json};
use support::{Answer, Gateway, post, wait_for};

const URN: &str = "urn:acme:actionspace:solver:echo:v1";

fn config(more: &str) -> String {
    let fixture = Gateway::server("fixture", "fixture", &["stdio"]);
    let faulty = Gateway::server("faulty", "faulty", &[]);
    format!("{fixture}{faulty}[capabilities.{URN:?}]\ntool = \"fixture.echo\"\n{more}")
}

/// Executes with these headers.
fn execute(gateway: &Gateway, headers: &str, body: &Value) -> Answer {
    let path = "/api/v1/capabilities/execute";
    gateway.send(&post(path, headers, &body.to_string()))
}

fn echo(name: &str, intent: Value) -> Value {
    json!({"toolName": name, "intent": intent, "state": {"step": 3}})
}

/// A problem of this type, or else what came instead.
fn problem(answer: &Answer, status: u16, kind: &str) -> Value {
    let body: Value = serde_json::from_slice(&answer.body).unwrap_or_default();
    assert_eq!(
        (answer.status, answer.header("content-type")),
        (status, Some("application/problem+json")),
        "{body}"
    );
    assert_eq!(
        body["type"],
        format!("urn:toolbus:problem:{kind}"),
        "{body}"
    );
    assert_eq!(body["status"], status);
    assert!(
        body["title"].is_string() && body["detail"].is_string(),
        "{body}"
    );
    assert_eq!(
        body.get("callId").and_then(Value::as_str),
        answer.header("toolbus-call")
    );
    body
}

/// Base64url without padding.
fn claims(text: &str) -> String {
    const DIGITS: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";
    let mut out = String::new();
    for chunk in text.as_bytes().chunks(3) {
        let held = chunk
            .iter()
            .fold(0_u32, |held, byte| held << 8 | u32::from(*byte))
            << (8 * (3 - chunk.len()));
        for n in 0..=chunk.len() {
            out.push(char::from(DIGITS[(held >> (18 - 6 * n) & 63) as usize]));
        }
    }
    format!("x-jwt-payload: {out}\r\n")
}

#[test]
fn a_tool_is_executed_under_its_name_its_urn_and_its_alias() {
    let gateway = Gateway::start(&config(""));
    for name in ["echo", URN, "acme-solver-echo-v1"] {
        let answer = execute(&gateway, "", &echo(name, json!({"message": "m"})));
        assert_eq!(answer.status, 200, "{}", answer.text());
        assert_eq!(
            answer.json()["content"][0]["text"],
            "m",
            "{}",
            answer.text()
        );
        let call = answer
            .header("toolbus-call")
            .expect("a call's id")
            .to_owned();
        wait_for("its record", || {
            gateway
                .records()
                .iter()
                .any(|r| r["callId"] == *call && r["door"] == "capability")
        });
    }
    let own = execute(
        &gateway,
        "",
        &echo("urn:toolbus:tool:fixture:greet", json!({"name": "you"})),
    );
    assert_eq!(
        own.status,
        200,
        "a tool has a URN by itself: {}",
        own.text()
    );
    let failed = execute(&gateway, "", &echo("test_error_handling", json!({})));
    assert_eq!(
        (failed.status, &failed.json()["isError"]),
        (200, &json!(true))
    );
}

#[test]
fn the_state_travels_beside_the_arguments() {
    let gateway = Gateway::start(&config(""));
    let answer = execute(&gateway, "", &echo("show_request", json!({"x": 1})));
    let text = answer.text();
    assert!(
        text.contains(r#"toolbus/state"#) && text.contains("step"),
        "{text}"
    );
}

#[test]
fn capabilities_are_listed_with_their_urns() {
    let gateway = Gateway::start(&config(""));
    let list = gateway.get("/api/v1/capabilities").json();
    let all = list["capabilities"].as_array().expect("a list");
    let of = |name: &str| {
        all.iter()
            .find(|c| c["name"] == name)
            .unwrap_or_else(|| panic!("{name} is not listed"))
    };
    assert_eq!(of("echo")["urn"], URN);
    assert_eq!(of("echo")["inputSchema"]["type"], "object");
    assert_eq!(of("greet")["urn"], "urn:toolbus:tool:fixture:greet");
    assert_eq!(all.len(), gateway.tools("/mcp").len());
    problem(
        &gateway.get("/api/v1/capabilities?cursor=no"),
        404,
        "unknown",
    );
}

#[test]
fn each_refusal_has_its_status_and_its_type() {
    let gateway = Gateway::start(&config(""));
    let body = |text: &str| gateway.send(&post("/api/v1/capabilities/execute", "", text));
    problem(&body("{"), 400, "parse");
    problem(&body("[]"), 400, "invalid-request");
    problem(
        &body(r#"{"toolName":"echo","intent":{}}"#),
        400,
        "invalid-request",
    );
    let malformed = execute(&gateway, "", &echo("urn:acme:*:echo:v1:x", json!({})));
    assert!(
        problem(&malformed, 400, "invalid-params")["detail"]
            .as_str()
            .expect("text")
            .contains("urn:acme:*")
    );
    problem(
        &execute(&gateway, "", &echo("nobody", json!({}))),
        404,
        "unknown",
    );
    problem(
        &execute(
            &gateway,
            "",
            &echo("urn:acme:actionspace:solver:echo:v2", json!({})),
        ),
        404,
        "unknown",
    );
    let large = "x".repeat(10 * 1024 * 1024);
    problem(
        &execute(&gateway, "", &echo("echo", json!({"message": large}))),
        413,
        "too-large",
    );
    let get = gateway.get("/api/v1/capabilities/execute");
    problem(&get, 405, "method-not-allowed");
    assert_eq!(get.header("allow"), Some("POST"));
    problem(&gateway.get("/api/v1/nothing"), 404, "not-found");
    let text = b"POST /api/v1/capabilities/execute HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\ncontent-length: 2\r\n\r\n{}";
    problem(&gateway.send(text), 415, "unsupported-media-type");
    let evil = execute(
        &gateway,
        "origin: http://evil.example\r\n",
        &echo("echo", json!({})),
    );
    problem(&evil, 403, "forbidden");
}

#[test]
fn what_goes_wrong_at_a_server_is_told_apart() {
    let gateway = Gateway::start(
        &config("[servers.faulty]\ntotal_timeout = \"1s\"\n").replace(
            "[servers.faulty]\ntotal_timeout",
            "[servers.faulty.tools.hang]\ntotal_timeout",
        ),
    );
    let died = execute(&gateway, "", &echo("exit", json!({"code": 3})));
    let died = problem(&died, 502, "outcome-unknown");
    assert!(
        died["cause"]["status"]
            .as_str()
            .is_some_and(|s| s.contains('3')),
        "{died}"
    );
    problem(
        &execute(&gateway, "", &echo("hang", json!({}))),
        504,
        "deadline-exceeded",
    );
    let own = execute(&gateway, "", &echo("protocol_error_job", json!({})));
    if own.status != 200 {
        assert!(problem(&own, 502, "upstream")["error"]["code"].is_i64());
    }
}

#[test]
fn the_api_has_a_time_limit_of_its_own() {
    let gateway = Gateway::start(&config("").replace(
        &format!("[capabilities.{URN:?}]"),
        &format!("[capabilities]\ntimeout = \"1s\"\n[capabilities.{URN:?}]"),
    ));
    let late = execute(&gateway, "", &echo("slow_compute", json!({"seconds": 30})));
    let detail = problem(&late, 504, "deadline-exceeded")["detail"].to_string();
    assert!(detail.contains("total limit 1s"), "{detail}");
}

#[test]
fn callers_show_a_token_and_may_what_the_policy_says() {
    let callers =
        "[callers.ci]\ntoken = \"t0ken\"\ndeny = [\"fixture.greet\"]\nmax_in_flight = 1\n";
    let gateway = Gateway::start(&config(callers));
    let unknown = execute(&gateway, "", &echo("echo", json!({})));
    problem(&unknown, 401, "unauthenticated");
    assert!(unknown.header("www-authenticate").is_some());
    let token = "authorization: Bearer t0ken\r\n";
    assert_eq!(
        execute(&gateway, token, &echo(URN, json!({"message": "m"}))).status,
        200
    );
    let urn = "urn:toolbus:tool:fixture:greet";
    let denied = problem(
        &execute(&gateway, token, &echo(urn, json!({}))),
        404,
        "unknown",
    );
    let missing = problem(
        &execute(
            &gateway,
            token,
            &echo("urn:toolbus:tool:fixture:great", json!({})),
        ),
        404,
        "unknown",
    );
    let text = denied["detail"]
        .as_str()
        .expect("text")
        .replace("greet", "great");
    assert_eq!(text, missing["detail"], "denied and missing read alike");
    let slow = echo("slow_compute", json!({"seconds": 30})).to_string();
    let mut first = gateway.connect();
    first
        .write_all(&post("/api/v1/capabilities/execute", token, &slow))
        .expect("sent");
    let metrics =
        format!("GET /metrics HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\n{token}\r\n");
    wait_for("the first call runs", || {
        let counted = gateway.send(metrics.as_bytes()).text();
        counted.contains("toolbus_calls_in_flight 1")
    });
    let second = execute(&gateway, token, &echo("echo", json!({"message": "m"})));
    problem(&second, 429, "busy");
    assert!(second.header("retry-after").is_some());
    drop(first);
    wait_for("whoever leaves cancels", || {
        gateway
            .records()
            .iter()
            .any(|r| r["outcome"] == "cancelled")
    });
}

#[test]
fn claims_count_from_trusted_peers_only() {
    let header = claims(r#"{"sub":"acme","spiffe_id":"spiffe://acme/x"}"#);
    let untrusting = Gateway::start(&config(""));
    let refused = execute(&untrusting, &header, &echo("echo", json!({"message": "m"})));
    problem(&refused, 403, "untrusted-claims");
    let trusting = config("").replace(
        &format!("[capabilities.{URN:?}]"),
        &format!("[capabilities]\ntrusted_peers = [\"127.0.0.0/8\"]\n[capabilities.{URN:?}]"),
    );
    let gateway = Gateway::start(&trusting);
    let ask = |headers: &str, tenant: &str| {
        let intent = json!({"message": "m", "tenant_cid": tenant});
        execute(&gateway, headers, &echo("echo_raw", intent))
    };
    assert_eq!(ask(&header, "acme").status, 200);
    problem(&ask(&header, "other"), 403, "tenant-mismatch");
    problem(&ask("", "acme"), 403, "tenant-mismatch");
    problem(
        &ask("x-jwt-payload: ?\r\n", "acme"),
        403,
        "untrusted-claims",
    );
    assert_eq!(gateway.call("greet", json!({})).status, 200);
    let of = |name: &str| {
        let records = gateway.records();
        records.iter().filter(|r| r["name"] == name).count()
    };
    wait_for("a later record", || of("greet") == 1);
    assert_eq!(of("echo_raw"), 1, "what is refused reaches no server");
}

#[test]
fn strict_bounds_are_held_where_they_are_on() {
    let strict = config("").replace(
        &format!("[capabilities.{URN:?}]"),
        &format!("[capabilities]\nstrict = true\n[capabilities.{URN:?}]"),
    );
    let gateway = Gateway::start(&strict);
    assert_eq!(
        execute(&gateway, "", &echo(URN, json!({"message": "m"}))).status,
        200
    );
    let loose = echo("urn:toolbus:tool:fixture:greet", json!({}));
    problem(&execute(&gateway, "", &loose), 400, "invalid-params");
    let long = echo(URN, json!({"message": "m".repeat(10_001)}));
    let detail =
        problem(&execute(&gateway, "", &long), 400, "invalid-params")["detail"].to_string();
    assert!(detail.contains("10000 characters"), "{detail}");
}

/// A sidecar that answers every connection like this.
fn sidecar(answer: &'static str) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
    let address = listener.local_addr().expect("an address");
    std::thread::spawn(move || {
        for stream in listener.incoming() {
            let mut stream = stream.expect("a connection");
            let mut head = [0; 4096];
            let size = stream.read(&mut head).expect("a request");
            assert!(head[..size].starts_with(b"GET /api/v1/auth/status HTTP/1.1\r\n"));
            stream.write_all(answer.as_bytes()).expect("sent");
        }
    });
    format!("http://{address}")
}

#[test]
fn the_sidecars_answer_is_passed_on_as_it_is() {
    let with = |url: &str| Gateway::start(&format!("[capabilities]\nsidecar = {url:?}\n"));
    let body = r#"{"b":2, "a":1.50}"#;
    let url = sidecar(
        "HTTP/1.1 418 x\r\ncontent-length: 17\r\nconnection: close\r\n\r\n{\"b\":2, \"a\":1.50}",
    );
    let answer = with(&url).get("/api/v1/auth/status");
    assert_eq!((answer.status, &*answer.text()), (418, body));
    let text = sidecar("HTTP/1.1 200 x\r\ncontent-length: 2\r\nconnection: close\r\n\r\nhi");
    let detail = problem(
        &with(&text).get("/api/v1/auth/status"),
        502,
        "sidecar-unavailable",
    )["detail"]
        .to_string();
    assert!(detail.contains("not JSON"), "{detail}");
    let nobody = with("http://127.0.0.1:1").get("/api/v1/auth/status");
    let detail = problem(&nobody, 502, "sidecar-unavailable")["detail"].to_string();
    assert!(detail.contains("Connection refused"), "{detail}");
}
