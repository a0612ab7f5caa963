//! The fixture over HTTP where the conformance suite does not look: lost connections, exact bytes, and the end of a stream.

use std::num::NonZeroUsize;
use std::time::Duration;

use serde_json::{Value, json};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use toolbus_testkit::fixture::{Era, Options, Running};

const MODERN: &str = "2026-07-28";

async fn start(era: Era) -> Running {
    let options = Options {
        era,
        ..Options::default()
    };
    Running::start(options, 0).await.expect("a free port")
}

fn authority(fixture: &Running) -> String {
    fixture
        .url()
        .trim_start_matches("http://")
        .trim_end_matches("/mcp")
        .to_owned()
}

/// Sends one HTTP request and leaves the answer to be read.
async fn open(fixture: &Running, method: &str, headers: &[(&str, &str)], body: &str) -> TcpStream {
    let authority = authority(fixture);
    let mut head = format!("{method} /mcp HTTP/1.1\r\nHost: {authority}\r\nConnection: close\r\n");
    head.push_str(
        "Content-Type: application/json\r\nAccept: application/json, text/event-stream\r\n",
    );
    for (name, value) in headers {
        head.push_str(&format!("{name}: {value}\r\n"));
    }
    head.push_str(&format!("Content-Length: {}\r\n\r\n{body}", body.len()));
    let mut socket = TcpStream::connect(authority).await.expect("connected");
    socket.write_all(head.as_bytes()).await.expect("sent");
    socket
}

async fn read_to_end(mut socket: TcpStream) -> String {
    let mut text = String::new();
    socket.read_to_string(&mut text).await.expect("an answer");
    text
}

/// Reads until this text has arrived.
async fn read_until(socket: &mut TcpStream, wanted: &str) -> String {
    let mut text = String::new();
    let mut piece = [0; 4096];
    while !text.contains(wanted) {
        let read = tokio::time::timeout(Duration::from_secs(30), socket.read(&mut piece));
        let length = read.await.expect("in time").expect("read");
        assert!(
            length > 0,
            "the connection ended before {wanted:?} in {text:?}"
        );
        text.push_str(&String::from_utf8_lossy(&piece[..length]));
    }
    text
}

fn modern_body(method: &str, mut params: Value) -> String {
    params["_meta"] = json!({
        "io.modelcontextprotocol/protocolVersion": MODERN,
        "io.modelcontextprotocol/clientCapabilities": {},
    });
    json!({ "jsonrpc": "2.0", "id": 1, "method": method, "params": params }).to_string()
}

async fn open_modern(fixture: &Running, method: &str, name: &str, params: Value) -> TcpStream {
    let headers = [
        ("MCP-Protocol-Version", MODERN),
        ("Mcp-Method", method),
        ("Mcp-Name", name),
    ];
    open(fixture, "POST", &headers, &modern_body(method, params)).await
}

async fn call_modern(fixture: &Running, name: &str, arguments: Value) -> String {
    let params = json!({ "name": name, "arguments": arguments });
    read_to_end(open_modern(fixture, "tools/call", name, params).await).await
}

/// Opens a legacy session and returns its id.
async fn initialize(fixture: &Running) -> String {
    let params = json!({ "protocolVersion": "2025-11-25", "capabilities": { "elicitation": {} } });
    let body =
        json!({ "jsonrpc": "2.0", "id": 0, "method": "initialize", "params": params }).to_string();
    let answer = read_to_end(open(fixture, "POST", &[], &body).await).await;
    let header = answer
        .lines()
        .find_map(|line| line.strip_prefix("mcp-session-id: "));
    header.expect("a session id").trim().to_owned()
}

async fn open_legacy(fixture: &Running, session: &str, message: Value) -> TcpStream {
    open(
        fixture,
        "POST",
        &[("Mcp-Session-Id", session)],
        &message.to_string(),
    )
    .await
}

fn legacy_call(name: &str, arguments: Value) -> Value {
    json!({ "jsonrpc": "2.0", "id": 1, "method": "tools/call", "params": { "name": name, "arguments": arguments } })
}

/// Waits until `test_counts` says this.
async fn wait_for_counts(fixture: &Running, wanted: &str) {
    for _ in 0..100 {
        if call_modern(fixture, "test_counts", json!({}))
            .await
            .contains(wanted)
        {
            return;
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    panic!("the counts never said {wanted}");
}

#[tokio::test]
async fn raw_arguments_come_back_byte_for_byte() {
    let fixture = start(Era::Both).await;
    let body = modern_body(
        "tools/call",
        json!({ "name": "echo_raw", "arguments": "HERE" }),
    );
    let arguments = r#"{"b":1.0,"a":[1e2,123456789012345678901234567890],"a":"\u0041"}"#;
    let body = body.replace("\"HERE\"", arguments);
    let headers = [
        ("MCP-Protocol-Version", MODERN),
        ("Mcp-Method", "tools/call"),
        ("Mcp-Name", "echo_raw"),
    ];
    let answer = read_to_end(open(&fixture, "POST", &headers, &body).await).await;
    assert!(answer.contains(&json!(arguments).to_string()), "{answer}");
    fixture.stop().await;
}

#[tokio::test]
async fn a_modern_client_that_leaves_cancels_its_call() {
    let fixture = start(Era::Both).await;
    let params = json!({ "name": "slow_compute", "arguments": { "seconds": 60 } });
    let socket = open_modern(&fixture, "tools/call", "slow_compute", params).await;
    wait_for_counts(&fixture, r#"\"toolCalls\":2"#).await;
    drop(socket);
    wait_for_counts(&fixture, r#"\"cancelled\":1"#).await;
    fixture.stop().await;
}

#[tokio::test]
async fn a_legacy_client_that_leaves_can_come_back_for_its_answer() {
    let fixture = start(Era::Both).await;
    let session = initialize(&fixture).await;
    let call = legacy_call("test_reconnection", json!({}));
    let first = read_to_end(open_legacy(&fixture, &session, call).await).await;
    assert!(
        first.contains("id: 1_0") && !first.contains("survived"),
        "{first}"
    );
    let headers = [
        ("Mcp-Session-Id", session.as_str()),
        ("Last-Event-ID", "1_0"),
    ];
    let rest = read_to_end(open(&fixture, "GET", &headers, "").await).await;
    assert!(rest.contains("survived"), "{rest}");
    assert!(
        call_modern(&fixture, "test_counts", json!({}))
            .await
            .contains(r#"\"cancelled\":0"#)
    );
    fixture.stop().await;
}

#[tokio::test]
async fn a_legacy_question_travels_on_the_stream_of_its_call() {
    let fixture = start(Era::Legacy).await;
    let session = initialize(&fixture).await;
    let call = legacy_call("test_elicitation", json!({ "message": "Who?" }));
    let mut stream = open_legacy(&fixture, &session, call).await;
    read_until(&mut stream, "elicitation/create").await;
    let answer = json!({ "jsonrpc": "2.0", "id": 1, "result": { "action": "cancel" } });
    let accepted = read_to_end(open_legacy(&fixture, &session, answer).await).await;
    assert!(accepted.starts_with("HTTP/1.1 202"), "{accepted}");
    assert!(read_to_end(stream).await.contains("User response"));
    fixture.stop().await;
}

#[tokio::test]
async fn a_listen_stream_brings_what_was_asked_for_and_ends_with_a_result() {
    let fixture = start(Era::Both).await;
    let params =
        json!({ "notifications": { "resourceSubscriptions": ["test://watched-resource"] } });
    let mut stream = open_modern(&fixture, "subscriptions/listen", "", params).await;
    read_until(&mut stream, "notifications/subscriptions/acknowledged").await;
    call_modern(&fixture, "test_trigger_tool_change", json!({})).await;
    call_modern(
        &fixture,
        "test_touch_resource",
        json!({ "uri": "test://watched-resource" }),
    )
    .await;
    let update = read_until(&mut stream, "notifications/resources/updated").await;
    assert!(!update.contains("list_changed"), "{update}");
    fixture.stop().await;
    let last = read_to_end(stream).await;
    assert!(
        last.contains(r#""resultType":"complete""#) && last.contains("subscriptionId"),
        "{last}"
    );
}

#[tokio::test]
async fn a_legacy_session_hears_of_changes_on_its_own_stream() {
    let fixture = start(Era::Both).await;
    let session = initialize(&fixture).await;
    let mut stream = open(&fixture, "GET", &[("Mcp-Session-Id", &session)], "").await;
    read_until(&mut stream, "text/event-stream").await;
    call_modern(&fixture, "test_trigger_prompt_change", json!({})).await;
    read_until(&mut stream, "notifications/prompts/list_changed").await;
    fixture.stop().await;
}

#[tokio::test]
async fn each_era_refuses_the_other() {
    let modern = start(Era::Modern).await;
    let body = json!({ "jsonrpc": "2.0", "id": 1, "method": "initialize", "params": { "protocolVersion": "2025-11-25" } });
    let refused = read_to_end(open(&modern, "POST", &[], &body.to_string()).await).await;
    assert!(
        refused.starts_with("HTTP/1.1 400") && refused.contains(r#""supported":["2026-07-28"]"#),
        "{refused}"
    );
    let refused = read_to_end(open(&modern, "GET", &[], "").await).await;
    assert!(refused.starts_with("HTTP/1.1 405"), "{refused}");
    let legacy = start(Era::Legacy).await;
    let refused = read_to_end(open_modern(&legacy, "server/discover", "", json!({})).await).await;
    assert!(
        refused.starts_with("HTTP/1.1 400") && refused.contains("-32000"),
        "{refused}"
    );
    modern.stop().await;
    legacy.stop().await;
}

#[tokio::test]
async fn lists_come_in_pages_when_told_so() {
    let options = Options {
        page_size: NonZeroUsize::new(5),
        ..Options::default()
    };
    let fixture = Running::start(options, 0).await.expect("a free port");
    let first = read_to_end(open_modern(&fixture, "tools/list", "", json!({})).await).await;
    assert!(
        first.contains("nextCursor") && first.contains("test_simple_text"),
        "{first}"
    );
    assert!(!first.contains("\"echo\""), "{first}");
    fixture.stop().await;
}
