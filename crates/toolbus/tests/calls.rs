//! Calls that end well, that are given up, that are not allowed: in both eras, with their records.

mod support;

use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpStream;
use std::process::Stdio;

use serde_json::{Value, json};
use support::{Gateway, Session, meta, post, wait_for};

fn fixture() -> String {
    Gateway::server("fixture", "fixture", &["stdio"])
}

/// The fixture's own counts of what it was asked, and of what was cancelled.
fn counts(gateway: &Gateway) -> Value {
    let answer = gateway.call("test_counts", json!({})).json();
    let text = answer["result"]["content"][0]["text"]
        .as_str()
        .expect("text");
    serde_json::from_str(text).expect("JSON")
}

/// Sends a call and waits until it is on its way; its connection.
fn under_way(gateway: &Gateway, request: &[u8]) -> TcpStream {
    let mut stream = gateway.connect();
    stream.write_all(request).expect("sent");
    wait_for("the call is under way", || {
        gateway
            .get("/metrics")
            .text()
            .contains("toolbus_calls_in_flight 1")
    });
    stream
}

#[test]
fn a_modern_caller_that_goes_away_cancels() {
    let gateway = Gateway::start(&fixture());
    let request = support::modern_request(
        "/mcp",
        "tools/call",
        json!({"name": "slow_compute", "arguments": {"seconds": 30}}),
    );
    let stream = under_way(&gateway, &request);
    drop(stream);
    wait_for("the server is told", || counts(&gateway)["cancelled"] == 1);
    wait_for("the record is written", || {
        gateway
            .records()
            .iter()
            .any(|r| r["outcome"] == "cancelled")
    });
    let records = gateway.records();
    let cancelled: Vec<_> = records
        .iter()
        .filter(|r| r["name"] == "slow_compute")
        .collect();
    assert_eq!(cancelled.len(), 1, "exactly one record: {cancelled:?}");
}

#[test]
fn a_legacy_caller_that_goes_away_does_not_cancel_but_a_notification_does() {
    let gateway = Gateway::start(&fixture());
    let session = Session::open(&gateway);
    let slow = |id: &str, seconds: f64| {
        let params = json!({"name": "slow_compute", "arguments": {"seconds": seconds}});
        let body = json!({"jsonrpc": "2.0", "id": id, "method": "tools/call", "params": params});
        post("/mcp", &session.headers(), &body.to_string())
    };
    let stream = under_way(&gateway, &slow("gone", 0.6));
    drop(stream);
    wait_for("it ends by itself", || {
        gateway
            .records()
            .iter()
            .any(|r| r["name"] == "slow_compute" && r["outcome"] == "ok")
    });
    let _held = under_way(&gateway, &slow("stopped", 30.0));
    let cancel = json!({"jsonrpc": "2.0", "method": "notifications/cancelled", "params": {"requestId": "stopped"}});
    assert_eq!(session.send(&cancel).status, 202);
    wait_for("it is cancelled", || {
        gateway
            .records()
            .iter()
            .any(|r| r["outcome"] == "cancelled")
    });
}

#[test]
fn an_answer_is_json_until_a_notice_comes_first() {
    let gateway = Gateway::start(&fixture());
    let plain = gateway.call("echo", json!({"message": "m"}));
    assert_eq!(plain.header("content-type"), Some("application/json"));
    let params = json!({"name": "test_tool_with_progress", "_meta": {"progressToken": 1.0}});
    let streamed = gateway.modern("/mcp", "tools/call", params);
    assert_eq!(streamed.header("content-type"), Some("text/event-stream"));
    assert_eq!(streamed.header("x-accel-buffering"), Some("no"));
    let text = streamed.text();
    assert!(
        text.contains("\"progressToken\":1.0"),
        "the token comes back as it was: {text}"
    );
    assert_eq!(streamed.messages().len(), 4);
    let silent = gateway.modern(
        "/mcp",
        "tools/call",
        json!({"name": "test_tool_with_progress"}),
    );
    assert_eq!(
        silent.header("content-type"),
        Some("application/json"),
        "who gives no token gets no progress"
    );
}

#[test]
fn records_hold_everything_but_the_payload() {
    let gateway = Gateway::start(&fixture());
    let parent = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01";
    let params = json!({"name": "show_request", "arguments": {"secret": "s3cret"}, "_meta": {"traceparent": parent}});
    let answer = gateway.modern("/mcp", "tools/call", params).json();
    let seen = answer["result"]["content"][0]["text"]
        .as_str()
        .unwrap_or_default()
        .to_owned();
    assert!(
        seen.contains("0af7651916cd43dd8448eb211c80319c") && !seen.contains("b7ad6b7169203331"),
        "same trace, our span: {seen}"
    );
    wait_for("the record is written", || gateway.records().len() == 1);
    let record = &gateway.records()[0];
    for (member, value) in [
        ("caller", "local"),
        ("door", "http"),
        ("revision", "2026-07-28"),
        ("method", "tools/call"),
        ("server", "fixture"),
        ("name", "show_request"),
        ("outcome", "ok"),
        ("traceId", "0af7651916cd43dd8448eb211c80319c"),
        // printf '{"secret":"s3cret"}' | b3sum
        (
            "argumentsBlake3",
            "fc4f22e79e9618fd2c65ca3be09b6722dfdf1a2204fcca6b7cb8083242e3f7ba",
        ),
    ] {
        assert_eq!(record[member], value, "{record}");
    }
    assert!(
        record["durationMs"].as_f64().is_some_and(|ms| ms > 0.0)
            && record["responseBytes"].as_u64() > Some(0)
    );
    assert!(!record.to_string().contains("s3cret"));
}

#[test]
fn payloads_arrive_byte_for_byte() {
    let gateway = Gateway::start(&fixture());
    let session = Session::open(&gateway);
    let odd = r#"{ "b" : 1.0,"a":18446744073709551617, "e":1e400,"s":"\ud83d\ude00\u0000\/é","$defs":{"$anchor":[ ]}, "a":-0 }"#;
    let modern = format!(
        r#"{{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{{"name":"echo_raw","arguments":{odd},"_meta":{}}}}}"#,
        meta()
    );
    let modern = post(
        "/mcp",
        "mcp-protocol-version: 2026-07-28\r\nmcp-method: tools/call\r\nmcp-name: echo_raw\r\n",
        &modern,
    );
    let legacy = format!(
        r#"{{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{{"arguments":{odd},"name":"echo_raw"}}}}"#
    );
    let legacy = post("/mcp", &session.headers(), &legacy);
    for request in [modern, legacy] {
        let answer = gateway.send(&request).json();
        assert_eq!(answer["result"]["content"][0]["text"], odd, "{answer}");
    }
    let schema = gateway.modern("/mcp", "tools/list", json!({})).text();
    for kept in ["\"$defs\"", "\"$anchor\"", "\"$schema\"", "\"if\""] {
        assert!(schema.contains(kept), "{kept}");
    }
}

#[test]
fn callers_see_and_call_what_they_may() {
    let config = format!(
        "{}[callers.ci]\ntoken = \"t0ken\"\nallow = [\"fixture.echo*\"]\ndeny = [\"*.echo_raw\"]\n[callers.all]\ntoken = \"0ther\"\n",
        fixture()
    );
    let gateway = Gateway::start(&config);
    let ask = |token: &str, method: &str, params: Value| {
        let request =
            String::from_utf8(support::modern_request("/mcp", method, params)).expect("text");
        gateway.send(
            request
                .replacen(
                    "host:",
                    &format!("authorization: Bearer {token}\r\nhost:"),
                    1,
                )
                .as_bytes(),
        )
    };
    let nobody = gateway.call("echo", json!({}));
    assert_eq!(
        (nobody.status, nobody.header("www-authenticate")),
        (401, Some("Bearer realm=\"toolbus\""))
    );
    assert_eq!(ask("wrong", "tools/list", json!({})).status, 401);
    let listed = ask("t0ken", "tools/list", json!({})).json();
    let names: Vec<_> = listed["result"]["tools"]
        .as_array()
        .expect("a list")
        .iter()
        .map(|t| &t["name"])
        .collect();
    assert_eq!(names, ["echo"]);
    assert_eq!(
        listed["result"]["cacheScope"], "private",
        "lists differ by caller"
    );
    let call = |token, tool| {
        ask(
            token,
            "tools/call",
            json!({"name": tool, "arguments": {"message": "m"}}),
        )
        .json()
    };
    assert!(call("t0ken", "echo")["result"].is_object());
    let denied = call("t0ken", "echo_raw")["error"].clone();
    let unknown = call("t0ken", "echo_rax")["error"].clone();
    let same = |error: &Value| {
        error
            .to_string()
            .replace("echo_rax", "echo_raw")
            .replace(error["data"]["callId"].as_str().unwrap_or("-"), "")
    };
    assert_eq!(same(&denied), same(&unknown), "denied looks like unknown");
    assert!(call("0ther", "echo_raw")["result"].is_object());
    wait_for("the records are written", || gateway.records().len() == 4);
    let outcomes: Vec<_> = gateway
        .records()
        .iter()
        .map(|r| r["outcome"].clone())
        .collect();
    assert_eq!(
        outcomes,
        ["ok", "denied", "unknown", "ok"],
        "only the record tells"
    );
}

#[test]
fn two_servers_share_one_door_and_keep_their_own() {
    let second = Gateway::server("second", "fixture", &["stdio", "--era", "legacy"]);
    let gateway = Gateway::start(&format!("{}{second}", fixture()));
    let names = |path: &str| {
        let listed = gateway.modern(path, "tools/list", json!({})).json();
        let tools = listed["result"]["tools"]
            .as_array()
            .expect("a list")
            .clone();
        tools
            .iter()
            .map(|tool| tool["name"].as_str().expect("a name").to_owned())
            .collect::<Vec<_>>()
    };
    let all = names("/mcp");
    assert!(all.contains(&"echo".to_owned()) && all.contains(&"second_echo".to_owned()));
    assert!(names("/servers/second/mcp").contains(&"echo".to_owned()));
    let call = |path: &str, tool: &str| {
        let params = json!({"name": tool, "arguments": {"message": "m"}});
        gateway.modern(path, "tools/call", params).json()["result"]["content"][0]["text"].clone()
    };
    assert_eq!(
        call("/mcp", "second_echo"),
        "m",
        "a modern client and a legacy server"
    );
    assert_eq!(call("/servers/second/mcp", "echo"), "m");
    let prompt = gateway
        .modern(
            "/mcp",
            "prompts/get",
            json!({"name": "second_test_simple_prompt"}),
        )
        .json();
    assert!(prompt["result"]["messages"].is_array(), "{prompt}");
    assert_eq!(
        prompt["result"]["resultType"], "complete",
        "an older server's result in the new form"
    );
}

#[test]
fn a_full_server_answers_429_with_a_time_to_come_back() {
    let gateway = Gateway::start(&format!(
        "{}[servers.fixture]\nmax_in_flight = 1\n",
        fixture()
    ));
    let slow = support::modern_request(
        "/mcp",
        "tools/call",
        json!({"name": "slow_compute", "arguments": {"seconds": 30}}),
    );
    let _held = under_way(&gateway, &slow);
    let refused = gateway.call("echo", json!({"message": "m"}));
    assert_eq!(
        (refused.status, refused.header("retry-after")),
        (429, Some("1"))
    );
    let error = &refused.json()["error"];
    assert_eq!(
        (&error["code"], &error["data"]["retryAfterMs"]),
        (&json!(-31004), &json!(250))
    );
}

#[test]
fn sessions_end_and_stay_ended() {
    let gateway = Gateway::start(&fixture());
    let session = Session::open(&gateway);
    assert!(session.ask("tools/list", json!({})).json()["result"]["tools"].is_array());
    let delete = format!(
        "DELETE /mcp HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\n{}\r\n",
        session.headers()
    );
    assert_eq!(gateway.send(delete.as_bytes()).status, 204);
    assert_eq!(gateway.send(delete.as_bytes()).status, 404);
    assert_eq!(session.ask("tools/list", json!({})).status, 404);
}

#[test]
fn a_session_outlives_the_gateway_that_opened_it() {
    let key = "state_key = \"a key for this test\"";
    let first = Gateway::start_with(key, &fixture());
    let id = Session::open(&first).id;
    let second = Gateway::start_with(key, &fixture());
    let headers = format!("mcp-session-id: {id}\r\nmcp-protocol-version: 2025-11-25\r\n");
    let list = json!({"jsonrpc": "2.0", "id": 1, "method": "tools/list"}).to_string();
    assert_eq!(
        second.send(&post("/mcp", &headers, &list)).status,
        200,
        "a replica with the same key serves it"
    );
    let stranger = Gateway::start(&fixture());
    assert_eq!(stranger.send(&post("/mcp", &headers, &list)).status, 404);
}

#[test]
fn the_stdio_door_speaks_both_eras_in_one_process() {
    let folder = tempfile::tempdir().expect("a folder");
    let config = folder.path().join("toolbus.toml");
    std::fs::write(&config, fixture()).expect("written");
    let mut child = support::command(folder.path())
        .args(["stdio", &support::text(&config)])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .expect("it starts");
    let mut input = child.stdin.take().expect("a pipe");
    let mut output = BufReader::new(child.stdout.take().expect("a pipe"));
    let mut ask = |message: Value| {
        writeln!(input, "{message}").expect("sent");
        let mut line = String::new();
        output.read_line(&mut line).expect("a line");
        serde_json::from_str::<Value>(&line).expect("a message")
    };
    let request = |id: u32, method: &str, params: Value| json!({"jsonrpc": "2.0", "id": id, "method": method, "params": params});
    let discovered = ask(request(1, "server/discover", json!({"_meta": meta()})));
    assert_eq!(
        discovered["result"]["supportedVersions"],
        json!(["2026-07-28"])
    );
    let opened = ask(request(
        2,
        "initialize",
        json!({"protocolVersion": "2025-06-18", "capabilities": {}, "clientInfo": {"name": "t", "version": "1"}}),
    ));
    assert_eq!(opened["result"]["protocolVersion"], "2025-06-18");
    let legacy = ask(request(
        3,
        "tools/call",
        json!({"name": "echo", "arguments": {"message": "old"}}),
    ));
    assert_eq!(
        (
            &legacy["result"]["content"][0]["text"],
            &legacy["result"]["resultType"]
        ),
        (&json!("old"), &Value::Null)
    );
    let modern = ask(request(
        4,
        "tools/call",
        json!({"name": "echo", "arguments": {"message": "new"}, "_meta": meta()}),
    ));
    assert_eq!(
        (
            &modern["result"]["content"][0]["text"],
            &modern["result"]["resultType"]
        ),
        (&json!("new"), &json!("complete"))
    );
    let broken = ask(json!([1]));
    assert_eq!(broken["error"]["code"], -32600);
    assert_eq!(ask(request(5, "ping", json!({})))["result"], json!({}));
    drop(input);
    let mut rest = String::new();
    output.read_to_string(&mut rest).expect("an end");
    assert_eq!(rest, "", "nothing but messages on stdout");
    wait_for("it ends when stdin does", || {
        child.try_wait().expect("a status").is_some()
    });
    assert!(child.wait().expect("a status").success());
}

#[test]
fn health_readiness_and_metrics_are_there() {
    let gateway = Gateway::start(&fixture());
    assert_eq!(gateway.get("/health").json()["status"], "ok");
    assert_eq!(
        gateway.get("/ready").json(),
        json!({"ready": true, "servers": {"fixture": "up"}})
    );
    gateway.call("echo", json!({"message": "m"}));
    let metrics = gateway.get("/metrics").text();
    for line in [
        "mcp_server_operation_duration_seconds_count{mcp_method_name=\"tools/call\",server=\"fixture\",gen_ai_tool_name=\"echo\",mcp_protocol_version=\"2026-07-28\",error_type=\"\"} 1",
        "toolbus_server_up{server=\"fixture\"} 1",
    ] {
        assert!(metrics.contains(line), "{line} in\n{metrics}");
    }
    assert_eq!(gateway.get("/nothing").status, 404);
}

#[test]
fn without_a_configuration_there_is_a_working_gateway() {
    let folder = tempfile::tempdir().expect("a folder");
    let mut child = support::command(folder.path())
        .arg("stdio")
        .current_dir(folder.path())
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .expect("it starts");
    let list =
        json!({"jsonrpc": "2.0", "id": 1, "method": "tools/list", "params": {"_meta": meta()}});
    writeln!(child.stdin.as_mut().expect("a pipe"), "{list}").expect("sent");
    let output = child.wait_with_output().expect("an end");
    let answer: Value = serde_json::from_slice(&output.stdout).expect("a message");
    assert_eq!(answer["result"]["tools"], json!([]));
}

#[test]
fn what_may_not_be_seen_looks_absent_in_every_way() {
    let config = format!(
        "{}[callers.ci]\ntoken = \"t\"\ndeny = [\"*.echo\", \"*.test_prompt_with_arguments\"]\n",
        fixture()
    );
    let gateway = Gateway::start(&config);
    let ask = |method: &str, params: Value| {
        let request =
            String::from_utf8(support::modern_request("/mcp", method, params)).expect("text");
        gateway.send(
            request
                .replacen("host:", "authorization: Bearer t\r\nhost:", 1)
                .as_bytes(),
        )
    };
    let complete = |name: &str| {
        let reference = json!({"type": "ref/prompt", "name": name});
        let answer = ask(
            "completion/complete",
            json!({"ref": reference, "argument": {"name": "arg1", "value": "p"}}),
        );
        (answer.status, answer.json()["error"]["message"].clone())
    };
    assert_eq!(
        complete("test_prompt_with_arguments"),
        complete("no_such_prompt")
    );
    // Cursors are what base64 makes of a list's name and its last entry's.
    let cursor = |cursor: &str| {
        ask("tools/list", json!({ "cursor": cursor })).json()["error"]["message"].clone()
    };
    assert!(
        cursor("dG9vbHM6ZWNobw").is_string(),
        "tools:echo, which is denied"
    );
    assert_eq!(
        cursor("dG9vbHM6ZWNobw"),
        cursor("dG9vbHM6bm9uZQ"),
        "tools:none, which is not there"
    );
}

#[test]
fn a_server_that_is_slow_to_start_delays_only_its_own_calls() {
    let slow = Gateway::server("slow", "faulty", &["--start-delay-ms", "4000"]);
    let folder = tempfile::tempdir().expect("a folder");
    let config = folder.path().join("toolbus.toml");
    std::fs::write(
        &config,
        format!("[gateway]\nlisten = \"127.0.0.1:0\"\n{}{slow}", fixture()),
    )
    .expect("written");
    let mut child = support::Owned(
        support::command(folder.path())
            .args(["up", &support::text(&config)])
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .expect("it starts"),
    );
    let mut url = String::new();
    BufReader::new(child.stdout.take().expect("a pipe"))
        .read_line(&mut url)
        .expect("a line");
    let address: std::net::SocketAddr = url
        .trim()
        .trim_start_matches("http://")
        .trim_end_matches("/mcp")
        .parse()
        .expect("an address");
    let send = |request: &[u8]| {
        let mut stream = TcpStream::connect(address).expect("a connection");
        stream.write_all(request).expect("sent");
        let mut text = String::new();
        stream.read_to_string(&mut text).expect("an answer");
        text
    };
    let call = |tool: &str| {
        support::modern_request(
            "/mcp",
            "tools/call",
            json!({"name": tool, "arguments": {"message": "m"}}),
        )
    };
    wait_for("the quick server is served", || {
        send(&call("echo")).contains("\"result\"")
    });
    let ready = send(b"GET /ready HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\n\r\n");
    assert!(
        ready.contains("\"slow\":\"starting\""),
        "while the other still starts: {ready}"
    );
    assert!(
        send(&call("ok")).contains("\"result\""),
        "a call of the slow one waits for it"
    );
    let _ = std::process::Command::new("kill")
        .args(["-TERM", &child.id().to_string()])
        .status();
    wait_for("it ends", || child.try_wait().expect("a status").is_some());
}

#[test]
fn a_legacy_call_can_be_cancelled_after_its_connection_is_lost() {
    let gateway = Gateway::start(&fixture());
    let session = Session::open(&gateway);
    let body = json!({"jsonrpc": "2.0", "id": "lost", "method": "tools/call", "params": {"name": "slow_compute", "arguments": {"seconds": 30}}});
    let request = post("/mcp", &session.headers(), &body.to_string());
    let stream = under_way(&gateway, &request);
    drop(stream);
    let cancel = json!({"jsonrpc": "2.0", "method": "notifications/cancelled", "params": {"requestId": "lost"}});
    assert_eq!(session.send(&cancel).status, 202);
    wait_for("it is cancelled", || {
        gateway
            .records()
            .iter()
            .any(|r| r["outcome"] == "cancelled")
    });
}
