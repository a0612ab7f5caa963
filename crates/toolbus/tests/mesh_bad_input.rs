//! What a caller sees of workers, brokers and messages that are not as they should be: for each its own clear error.

mod support;

use std::io::{BufRead as _, BufReader, Write as _};
use std::net::TcpListener;
use std::time::{Duration, Instant};

use bytes::Bytes;
use serde_json::{Value, json};
use support::mesh::{ID, Impostor, Nats, Said, Worker};
use support::{Gateway, PATIENCE, wait_for};
use toolbus_mesh::bus::{Bus, Headers, Message};
use toolbus_mesh::frame::header;
use toolbus_model::CallId;

const CHUNK: usize = 512 * 1024;

/// A response whose result is well formed.
const GOOD: &str = r#"{"jsonrpc":"2.0","id":1,"result":{"resultType":"complete","content":[]}}"#;

fn said(headers: &[(&'static str, &'static str)], body: impl Into<Bytes>) -> Said {
    (headers.to_vec(), body.into())
}

fn frame(kind: &'static str, body: &'static str) -> Said {
    said(&[(header::FRAME, kind)], body)
}

/// Up to one more than fit into the largest result.
fn chunks(numbers: &[u32]) -> Vec<Said> {
    let chunk = Bytes::from(vec![b'x'; CHUNK]);
    let numbered = |number: &u32| {
        let number: &'static str = number.to_string().leak();
        said(
            &[(header::FRAME, "chunk"), (header::SEQ, number)],
            chunk.clone(),
        )
    };
    numbers.iter().map(numbered).collect()
}

/// A tool, what its worker says when it is called, and what the caller sees: a code, and words of the message.
fn cases() -> Vec<(&'static str, Vec<Said>, i64, &'static [&'static str])> {
    let too_many: Vec<u32> = (0..65).collect();
    vec![
        ("good", vec![frame("end", GOOD)], 0, &[]),
        (
            "no_json",
            vec![frame("end", r#"{"jsonrpc": "2.0","#)],
            -32603,
            &[
                "the worker impostor answered",
                "no JSON-RPC response",
                r#"{\"jsonrpc"#,
            ],
        ),
        (
            "a_request",
            vec![frame("end", r#"{"jsonrpc":"2.0","id":1,"method":"ping"}"#)],
            -32603,
            &["impostor", "with a request"],
        ),
        (
            "nothing",
            vec![frame("end", "")],
            -32603,
            &["impostor", "no JSON-RPC response"],
        ),
        (
            "no_frame",
            vec![said(&[], GOOD)],
            -32603,
            &["malformed frame", "Toolbus-Frame"],
        ),
        (
            "strange_frame",
            vec![frame("ask", GOOD)],
            -32603,
            &["malformed frame", r#"Toolbus-Frame "ask""#],
        ),
        (
            "another_wire",
            vec![said(&[(header::WIRE, "9"), (header::FRAME, "end")], GOOD)],
            -32603,
            &["malformed frame", r#"Toolbus-Wire "9""#],
        ),
        (
            "hole",
            chunks(&[0, 2]),
            -31003,
            &["came incomplete", "chunk 1 was due and 2 came", ID],
        ),
        (
            "too_large",
            chunks(&too_many),
            -31003,
            &["Outcome unknown", ID, "than"],
        ),
        (
            "no_object",
            vec![said(
                &[(header::FRAME, "end"), (header::OBJECT, "nowhere")],
                "",
            )],
            -31003,
            &["object store"],
        ),
        (
            "no_room",
            vec![said(
                &[(header::FRAME, "busy"), (header::ERROR, "busy")],
                r#"{"jsonrpc":"2.0","id":1,"error":{"code":-31004,"message":"8 calls run"}}"#,
            )],
            -31004,
            &["no worker takes it", "8 calls run"],
        ),
        (
            "own_error",
            vec![frame(
                "err",
                r#"{"jsonrpc":"2.0","id":1,"error":{"code":-32077,"message":"mine","data":[1]}}"#,
            )],
            -32077,
            &["mine"],
        ),
        (
            "silence",
            vec![said(&[(header::FRAME, "ack")], "")],
            -31003,
            &["Outcome unknown", ID],
        ),
    ]
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_worker_says_wrongly_is_told_to_the_caller() {
    let Some(nats) = Nats::start() else { return };
    let cases = cases();
    let script = cases.iter().map(|(tool, said, ..)| (*tool, said.clone()));
    let impostor = Impostor::start(&nats, "odd", script.collect()).await;
    let gateway = Gateway::start(&format!("[mesh]\nurl = {:?}\n", nats.url()));
    wait_for("the tools are listed", || {
        gateway.tools("/mcp").len() == cases.len()
    });
    for (tool, _, code, words) in cases {
        let begun = Instant::now();
        let answer = gateway.call(tool, json!({})).json();
        let error = &answer["error"];
        let seen = error["code"].as_i64().unwrap_or(0);
        assert_eq!(seen, code, "{tool}: {answer}");
        let message = error["message"].as_str().unwrap_or_default();
        for word in words {
            let found = message.contains(word) || format!("{message:?}").contains(word);
            assert!(found, "{tool}: {word:?} is not in {message:?}");
        }
        // What stands for the worker's own answer is passed like one.
        if code <= -31000 && code > -32000 {
            let call = error["data"]["callId"].as_str().unwrap_or_default();
            assert!(
                CallId::parse(call).is_some(),
                "{tool} names its call: {answer}"
            );
        }
        // What may run again is given to somebody four times, and each may be silent for six seconds.
        assert!(
            begun.elapsed() < Duration::from_secs(40),
            "{tool}: {:?}",
            begun.elapsed()
        );
    }
    // None of it was held against the next call.
    assert_eq!(gateway.call("good", json!({})).json()["error"], Value::Null);
    impostor.leave().await;
}

/// A request that somebody publishes by hand.
struct Wrong {
    what: &'static str,
    subject: &'static str,
    headers: Vec<(&'static str, String)>,
    body: &'static str,
    words: &'static [&'static str],
}

const CALL_ONCE: &str = r#"{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{"name":"once","arguments":{"id":"by-hand"}}}"#;

fn usual() -> Vec<(&'static str, String)> {
    vec![
        (header::WIRE, "1".into()),
        (header::CALL, CallId::new().to_string()),
        (header::START, "direct".into()),
        (header::METHOD, "tools/call".into()),
        (header::NAME, "once".into()),
    ]
}

fn without(name: &str) -> Vec<(&'static str, String)> {
    let mut headers = usual();
    headers.retain(|(known, _)| *known != name);
    headers
}

fn wrong_requests() -> Vec<Wrong> {
    const ONCE: &str = "toolbus.v1.tool._.ledger=2Eonce.invoke";
    let wrong = |what, subject, headers, body, words| Wrong {
        what,
        subject,
        headers,
        body,
        words,
    };
    vec![
        wrong(
            "token against body",
            "toolbus.v1.tool._.ledger=2Eagain.invoke",
            usual(),
            CALL_ONCE,
            &["again", "once"],
        ),
        wrong("no JSON", ONCE, usual(), r#"{"jsonrpc":"#, &[]),
        wrong("a batch", ONCE, usual(), "[]", &[]),
        wrong(
            "no call id",
            ONCE,
            without(header::CALL),
            CALL_ONCE,
            &["Toolbus-Call"],
        ),
        wrong(
            "no wire",
            ONCE,
            without(header::WIRE),
            CALL_ONCE,
            &["Toolbus-Wire"],
        ),
        wrong(
            "no method",
            ONCE,
            without(header::METHOD),
            CALL_ONCE,
            &["Mcp-Method"],
        ),
    ]
}

#[tokio::test(flavor = "multi_thread")]
async fn a_request_that_contradicts_itself_is_refused_and_not_run() {
    let Some(nats) = Nats::start() else { return };
    let folder = tempfile::tempdir().expect("a folder");
    let log = folder.path().join("ledger");
    let worker = nats.worker("ledger", "ledger", &[&support::text(&log)]);
    let gateway = Gateway::start(&format!("[mesh]\nurl = {:?}\n", nats.url()));
    wait_for(&format!("the tools are listed; {}", worker.log()), || {
        gateway.tools("/mcp").contains(&"once".to_owned())
    });
    let bus = nats.bus().await;
    for wrong in wrong_requests() {
        let inbox = bus.inbox();
        let mut replies = bus.subscribe(&inbox, None, 16).await.expect("an inbox");
        let mut headers = Headers::default();
        for (name, value) in wrong.headers {
            headers.put(name, value);
        }
        let sent = bus.send(Message {
            subject: wrong.subject.into(),
            reply: Some(inbox),
            headers,
            payload: Bytes::from_static(wrong.body.as_bytes()),
            no_responders: false,
        });
        sent.expect("sent");
        let reply = tokio::time::timeout(PATIENCE, replies.next()).await;
        let reply = reply.expect("in time").expect("a reply");
        let text = String::from_utf8_lossy(&reply.payload).into_owned();
        assert_eq!(
            reply.headers.get(header::FRAME),
            Some("err"),
            "{}: {reply:?}",
            wrong.what
        );
        assert!(
            reply.headers.get(header::SERVICE_ERROR).is_some(),
            "{}: {reply:?}",
            wrong.what
        );
        for word in wrong.words {
            assert!(
                text.contains(word),
                "{}: {word:?} is not in {text}",
                wrong.what
            );
        }
    }
    assert_eq!(
        std::fs::read_to_string(&log).unwrap_or_default(),
        "",
        "nothing ran"
    );
    // And the worker serves on.
    let good = gateway.call("once", json!({"id": "good"})).json();
    assert_eq!(good["result"]["content"][0]["text"], "good", "{good}");
    assert_eq!(std::fs::read_to_string(&log).expect("a ledger"), "good\n");
}

#[test]
fn names_and_sizes_that_do_not_fit_are_refused_at_the_door() {
    let Some(nats) = Nats::start() else { return };
    let _worker = nats.worker("fixture", "fixture", &["stdio"]);
    let gateway = Gateway::start(&format!("[mesh]\nurl = {:?}\n", nats.url()));
    wait_for("the tools are listed", || {
        gateway.tools("/mcp").contains(&"echo".to_owned())
    });
    for name in [
        "a.*.b",
        ">",
        "*",
        "toolbus.v1.ctl._.x",
        "a b",
        &"n".repeat(4_000),
    ] {
        let answer = gateway.call(name, json!({})).json();
        assert_eq!(answer["error"]["code"], -32602, "{name}: {answer}");
    }
    // Above what NATS takes in one message, and below what the door takes.
    let large = "x".repeat(3 * 1024 * 1024);
    let answer = gateway.call("echo", json!({"message": large})).json();
    let text = answer["result"]["content"][0]["text"]
        .as_str()
        .unwrap_or_default();
    assert!(text.contains(&large), "{}", answer["error"]);
    let too_large = "x".repeat(11 * 1024 * 1024);
    let answer = gateway.call("echo", json!({"message": too_large}));
    assert_eq!(answer.status, 413);
    assert_eq!(answer.json()["error"]["code"], -31005);
}

#[test]
fn a_permission_that_is_missing_is_named() {
    let users = r#"
        authorization { users: [
            { user: all, password: secret },
            { user: gateway, password: secret, permissions: {
                publish: { allow: ["$JS.API.>", "$KV.>"] }, subscribe: ">" } },
        ] }"#;
    let Some(nats) = Nats::start_with(users) else {
        return;
    };
    let mut command = nats.worker_command(&nats.url_of("all"), "fixture");
    command
        .arg("--")
        .arg(support::testkit("fixture"))
        .arg("stdio");
    let worker = Worker::start(command);
    let gateway = Gateway::start(&format!("[mesh]\nurl = {:?}\n", nats.url_of("gateway")));
    wait_for(&format!("the tools are listed; {}", worker.log()), || {
        gateway.tools("/mcp").contains(&"echo".to_owned())
    });
    let begun = Instant::now();
    let error = gateway.call("echo", json!({"message": "m"})).json()["error"].clone();
    assert_eq!(error["code"], -31001, "{error}");
    let message = error["message"].as_str().unwrap_or_default();
    assert!(
        message.contains("does not permit this gateway to publish to"),
        "{message}"
    );
    assert!(message.contains("toolbus.v1."), "{message}");
    assert!(begun.elapsed() < Duration::from_secs(5));
}

/// Says that it is a NATS server of this version, to everyone who connects, for as long as the test runs.
fn claims_to_be(version: &'static str) -> u16 {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
    let port = listener.local_addr().expect("an address").port();
    std::thread::spawn(move || {
        for stream in listener.incoming() {
            let Ok(mut stream) = stream else { return };
            std::thread::spawn(move || {
                let info = json!({
                    "server_id": "OLD", "server_name": "old", "version": version, "proto": 1,
                    "host": "127.0.0.1", "port": port, "headers": true, "max_payload": 1_048_576, "jetstream": true,
                });
                let _ = stream.write_all(format!("INFO {info}\r\n").as_bytes());
                for line in BufReader::new(&stream).lines() {
                    match line.as_deref() {
                        Ok("PING") => drop((&stream).write_all(b"PONG\r\n")),
                        Ok(_) => {}
                        Err(_) => return,
                    }
                }
            });
        }
    });
    port
}

#[test]
fn an_old_nats_server_is_refused_in_words() {
    let port = claims_to_be("2.9.25");
    let mut command = std::process::Command::new(support::toolbus());
    let url = format!("nats://127.0.0.1:{port}");
    command.args(["worker", "--nats", &url, "--name", "x", "--"]);
    command.arg(support::testkit("fixture")).arg("stdio");
    let mut worker = Worker::start(command);
    let old = || {
        let log = worker.log();
        log.contains("2.9.25") && log.contains("2.10")
    };
    wait_for("the worker says which version is needed", old);
    let _ = worker.child.kill();
    let folder = tempfile::tempdir().expect("a folder");
    let file = folder.path().join("toolbus.toml");
    let text = format!("[gateway]\nlisten = \"127.0.0.1:0\"\n[mesh]\nurl = {url:?}\n");
    std::fs::write(&file, text).expect("written");
    let mut command = support::command(folder.path());
    command.arg("up").arg(&file);
    let mut gateway = Worker::start(command);
    let old = || {
        let log = gateway.log();
        log.contains("2.9.25") && log.contains("2.10")
    };
    wait_for("the gateway says it too", old);
    let _ = gateway.child.kill();
}
