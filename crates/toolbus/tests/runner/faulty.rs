//! Runners that answer what they should not, byte by byte.

use std::net::TcpStream;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use super::*;
use support::script::{Asked, Script, answer};

const JSON: &str = "content-type: application/json\r\n";
const LINES: &str = "content-type: application/x-ndjson\r\n";

const TOOL: &str = r#"{"tools":[{"name":"t","inputSchema":{"type":"object"}}]}"#;

/// A runner with one tool, whose calls are answered as the test says.
fn runner(run: impl Fn(&Asked, &mut TcpStream) + Send + Sync + 'static) -> Script {
    Script::start(move |asked, stream| match asked.path.as_str() {
        "/health" => answer(stream, "200 OK", JSON, r#"{"status":"ok","ready":true}"#),
        "/tools" => answer(stream, "200 OK", JSON, TOOL),
        "/run_tool" => run(asked, stream),
        _ => answer(stream, "404 Not Found", JSON, "{}"),
    })
}

fn gateway(script: &Script) -> Gateway {
    Gateway::start(&format!(
        "[servers.fx.runner]\nurl = \"{}\"\n",
        script.url()
    ))
}

#[test]
fn both_forms_of_answers_are_understood() {
    let plain = r#"{"content":[{"type":"text","text":"fine"}],"isError":false}"#;
    let forms = [
        (JSON, plain.to_owned()),
        (JSON, format!("{{\"result\":{plain}}}")),
        (LINES, format!("{{\"result\":{plain}}}\n")),
        (LINES, format!("{{\"result\":{plain}}}")),
        (
            LINES,
            format!("{{\"heartbeat\":true}}\n\n{{\"progress\":1}}\r\n{{\"result\":{plain}}}\n"),
        ),
    ];
    for (kind, body) in forms {
        let shown = body.clone();
        let script = runner(move |_, stream| answer(stream, "200 OK", kind, &body));
        let called = gateway(&script).call("t", json!({"x": 1})).json();
        assert_eq!(said(&called), "fine", "{shown}");
        let asked = script.asked();
        let run = asked.iter().find(|asked| asked.path == "/run_tool");
        let run = run.expect("it was called");
        assert_eq!(
            (&run.body["name"], &run.body["arguments"]),
            (&json!("t"), &json!({"x": 1}))
        );
        let accept = run.header("accept").unwrap_or_default();
        assert!(accept.contains("application/x-ndjson"), "{accept}");
    }
}

/// What a runner says, the code that its caller gets, and what must stand in the message.
const WRONG: [(&str, &str, &str, i64, &str); 19] = [
    ("200 OK", JSON, "nonsense", -31003, "not valid JSON"),
    ("200 OK", JSON, "[]", -31003, "the runner's answer is"),
    ("200 OK", JSON, "{}", -31003, "no \"content\""),
    ("200 OK", JSON, r#"{"content":"x"}"#, -31003, "no array"),
    ("200 OK", JSON, r#"{"content":[1]}"#, -31003, "no object"),
    (
        "200 OK",
        JSON,
        r#"{"content":[],"isError":"no"}"#,
        -31003,
        "\"isError\" is neither",
    ),
    (
        "200 OK",
        JSON,
        r#"{"content":[],"resultType":"odd"}"#,
        -31003,
        "type \"odd\"",
    ),
    ("200 OK", LINES, "", -31003, "without a result"),
    (
        "200 OK",
        LINES,
        "{\"heartbeat\":true}\n",
        -31003,
        "without a result",
    ),
    (
        "200 OK",
        LINES,
        "{\"heartbeat\":true}\n{\"resu",
        -31003,
        "not understood: the line {\"resu",
    ),
    ("200 OK", LINES, "nonsense\n", -31003, "the line nonsense"),
    (
        "200 OK",
        LINES,
        "{\"result\":1}\n",
        -31003,
        "\"result\" is no object",
    ),
    (
        "200 OK",
        LINES,
        "{\"error\":{\"code\":-32021,\"message\":\"cannot ask\"}}\n",
        -32021,
        "cannot ask",
    ),
    (
        "404 Not Found",
        JSON,
        r#"{"error":{"code":-32602,"message":"unknown tool 't'"}}"#,
        -32602,
        "Unknown tool: t",
    ),
    (
        "404 Not Found",
        JSON,
        "nothing",
        -31001,
        "404 Not Found: nothing",
    ),
    ("401 Unauthorized", JSON, "{}", -31001, "wants credentials"),
    (
        "503 Service Unavailable",
        JSON,
        r#"{"error":{"message":"still loading"}}"#,
        -31001,
        "still loading",
    ),
    (
        "500 Internal Server Error",
        JSON,
        "boom",
        -31003,
        "500 Internal Server Error: boom",
    ),
    ("429 Too Many Requests", JSON, "{}", -31004, "Busy"),
];

#[test]
fn what_a_runner_should_not_say_is_told_as_it_is() {
    for (status, kind, body, code, why) in WRONG {
        let script = runner(move |_, stream| answer(stream, status, kind, body));
        let error = gateway(&script).call("t", json!({})).json()["error"].clone();
        assert_eq!(error["code"], code, "{status} {body}: {error}");
        let message = error["message"].as_str().unwrap_or_default();
        assert!(message.contains(why), "{status} {body}: {message}");
    }
}

#[test]
fn an_answer_that_breaks_off_leaves_its_outcome_unknown() {
    let half = |head: &'static str, body: &'static str| {
        let script = runner(move |_, stream| {
            let _ = stream.write_all(format!("HTTP/1.1 200 OK\r\n{head}\r\n{body}").as_bytes());
        });
        gateway(&script).call("t", json!({})).json()["error"].clone()
    };
    let cases = [
        (
            "content-type: application/json\r\ncontent-length: 99\r\n",
            "{\"con",
        ),
        (
            "content-type: application/x-ndjson\r\ntransfer-encoding: chunked\r\n",
            "12\r\n{\"heartbeat\":true}\r\n",
        ),
        ("content-length: x\r\n", ""),
    ];
    for (head, body) in cases {
        let error = half(head, body);
        assert_eq!(error["code"], -31003, "{head}: {error}");
        let message = error["message"].as_str().unwrap_or_default();
        assert!(message.contains("the connection was lost"), "{message}");
    }
}

#[test]
fn a_line_without_end_is_given_up() {
    let script = runner(|_, stream| {
        let _ = stream.write_all(
            b"HTTP/1.1 200 OK\r\ncontent-type: application/x-ndjson\r\nconnection: close\r\n\r\n",
        );
        let piece = vec![b' '; 1024 * 1024];
        // More than is ever taken; whoever has enough closes.
        for _ in 0..64 {
            if stream.write_all(&piece).is_err() {
                break;
            }
        }
    });
    let error = gateway(&script).call("t", json!({})).json()["error"].clone();
    let message = error["message"].as_str().unwrap_or_default();
    assert!(
        message.contains("runner's answer is larger than 41943040 bytes"),
        "{error}"
    );
}

#[test]
fn lists_of_others_are_read_and_broken_ones_named() {
    let listing = |body: &'static str| {
        Script::start(move |asked, stream| match asked.path.as_str() {
            "/tools" => answer(stream, "200 OK", JSON, body),
            _ => answer(stream, "404 Not Found", JSON, ""),
        })
    };
    // An array as it is, schemas as indexes spell them, and no /health.
    let script = listing(
        r#"[{"name":"a","input_schema":"{\"type\":\"object\",\"required\":[\"x\"]}"},{"name":"b","input_schema":{"type":"object"}}]"#,
    );
    let front = gateway(&script);
    let listed = ask(&front, "tools/list", json!({}));
    let schema = &listed["result"]["tools"][0]["inputSchema"];
    assert_eq!(schema["required"], json!(["x"]), "{listed}");
    for (body, why) in [
        (
            "nonsense",
            "the runner's answer to GET /tools is not valid JSON",
        ),
        ("{}", "the runner's list of tools has no \\\"tools\\\""),
        (
            r#"{"tools":{}}"#,
            "the runner's list of tools cannot be read",
        ),
        (
            r#"{"tools":[{"name":"a"},{"title":"b"}]}"#,
            "an entry without \\\"name\\\", number 2",
        ),
    ] {
        let script = listing(body);
        let folder = tempfile::tempdir().expect("a folder");
        let config = folder.path().join("toolbus.toml");
        let section = format!("[servers.fx.runner]\nurl = \"{}\"\n", script.url());
        std::fs::write(&config, section).expect("written");
        let mut doctor = support::command(folder.path());
        let output = doctor.arg("doctor").arg(&config).output().expect("an end");
        let shown = String::from_utf8_lossy(&output.stdout).replace('"', "\\\"");
        assert!(shown.contains(why), "{body}: {shown}");
    }
}

#[test]
fn a_runner_that_initializes_is_waited_for() {
    let is_ready = Arc::new(AtomicBool::new(false));
    let ready = Arc::clone(&is_ready);
    let script = Script::start(move |asked, stream| match asked.path.as_str() {
        "/health" if !ready.load(Ordering::Relaxed) => answer(
            stream,
            "503 Service Unavailable",
            JSON,
            r#"{"status":"initializing","ready":false,"initializing":true}"#,
        ),
        "/health" => answer(stream, "200 OK", JSON, r#"{"ready":true}"#),
        "/tools" => answer(stream, "200 OK", JSON, TOOL),
        _ => answer(stream, "404 Not Found", JSON, ""),
    });
    let watched = script.url();
    let turn = std::thread::spawn(move || {
        // Asked more than once before it says that it is ready.
        wait_for("it was asked", || script.asked().len() >= 3);
        is_ready.store(true, Ordering::Relaxed);
        script
    });
    let gateway = Gateway::start(&format!("[servers.fx.runner]\nurl = \"{watched}\"\n"));
    wait_for("it is up", || gateway.state("fx") == "up");
    assert_eq!(gateway.tools("/mcp"), ["t"]);
    let script = turn.join().expect("no panic");
    let before = script
        .asked()
        .iter()
        .filter(|asked| asked.path == "/tools")
        .count();
    assert!(before >= 1);
}
