//! Servers over HTTP with SSE of 2024-11-05: scripted ones, and two real ones.

mod support;

use std::collections::HashMap;
use std::net::{Shutdown, TcpListener, TcpStream};
use std::process::{Command, Stdio};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};

use serde_json::{Value, json};
use support::listener::Listener;
use support::script::{Asked, Script, answer, begin_events, event, send};
use support::{Gateway, Owned, PATIENCE, wait_for, workspace};

const TOOLS: &str = "notifications/tools/list_changed";

/// The streams of a scripted server, by the sessions that they are.
#[derive(Default)]
struct Streams(Mutex<HashMap<String, TcpStream>>);

impl Streams {
    /// Opens a stream, and tells where messages go; `at` makes that of a session's path.
    fn open(&self, stream: &mut TcpStream, at: impl Fn(&str) -> String) {
        let mut streams = self.0.lock().expect("no panic");
        let session = format!("s{}", streams.len());
        begin_events(stream);
        send(
            stream,
            &format!(
                "event: endpoint\ndata: {}\n\n",
                at(&format!("/post/{session}"))
            ),
        );
        streams.insert(session, stream.try_clone().expect("a second handle"));
        drop(streams);
        // Whoever holds the other handle ends it.
        let _ = stream.set_read_timeout(Some(PATIENCE));
        let _ = std::io::Read::read(stream, &mut [0]);
    }

    fn of(&self, asked: &Asked) -> TcpStream {
        let session = asked.path.trim_start_matches("/post/");
        let streams = self.0.lock().expect("no panic");
        streams[session].try_clone().expect("a second handle")
    }

    fn end_all(&self) {
        for stream in self.0.lock().expect("no panic").values() {
            let _ = stream.shutdown(Shutdown::Both);
        }
    }
}

/// A scripted server: `at` says where messages go, `call` answers calls.
fn server(
    streams: &Arc<Streams>,
    at: impl Fn(&str) -> String + Send + Sync + 'static,
    call: impl Fn(&Asked, &mut TcpStream, &Streams) + Send + Sync + 'static,
) -> Script {
    let streams = Arc::clone(streams);
    Script::start(move |asked, stream| {
        match (asked.method.as_str(), asked.path.starts_with("/post/")) {
            ("GET", false) => streams.open(stream, &at),
            ("POST", true) => {
                answer(stream, "202 Accepted", "", "");
                let mut own = streams.of(asked);
                let reply =
                    |result: Value| json!({"jsonrpc": "2.0", "id": asked.id(), "result": result});
                let tool = json!({"name": "work", "inputSchema": {"type": "object"}});
                match asked.rpc() {
                    "initialize" => drop(event(
                        &mut own,
                        &reply(json!({
                            "protocolVersion": "2024-11-05", "capabilities": {"tools": {"listChanged": true}},
                            "serverInfo": {"name": "script", "version": "1"},
                        })),
                    )),
                    "tools/list" => drop(event(&mut own, &reply(json!({"tools": [tool]})))),
                    "tools/call" => call(asked, &mut own, &streams),
                    _ => {}
                }
            }
            _ => answer(stream, "405 Method Not Allowed", "", ""),
        }
    })
}

fn work(gateway: &Gateway) -> Value {
    gateway.call("work", json!({})).json()
}

fn done(asked: &Asked, stream: &mut TcpStream, _: &Streams) {
    let content = json!({"content": [{"type": "text", "text": "done"}]});
    event(
        stream,
        &json!({"jsonrpc": "2.0", "id": asked.id(), "result": content}),
    );
}

#[test]
fn messages_go_where_the_server_says_but_not_elsewhere() {
    let streams = Arc::default();
    let script = server(&streams, str::to_owned, done);
    let gateway = script.gateway();
    assert!(
        gateway.log().contains("revision=\"2024-11-05\""),
        "{}",
        gateway.log()
    );
    assert_eq!(work(&gateway)["result"]["content"][0]["text"], "done");
    let elsewhere = Script::start(|_, stream| answer(stream, "202 Accepted", "", ""));
    let other = elsewhere.url();
    let script = server(&streams, move |path| format!("{other}{path}"), done);
    let gateway = script.gateway();
    let error = work(&gateway)["error"].clone();
    assert_eq!(error["code"], -32602, "it is never listed: {error}");
    assert!(elsewhere.asked().is_empty(), "{:?}", elsewhere.asked());
}

#[test]
fn a_stream_that_ends_in_mid_call_leaves_an_unknown_outcome_and_the_next_call_a_new_one() {
    let streams: Arc<Streams> = Arc::default();
    let calls = AtomicUsize::new(0);
    let call = move |asked: &Asked, stream: &mut TcpStream, streams: &Streams| match calls
        .fetch_add(1, Ordering::SeqCst)
    {
        0 => drop(stream.shutdown(Shutdown::Both)),
        _ => done(asked, stream, streams),
    };
    let script = server(&streams, str::to_owned, call);
    let gateway = script.gateway();
    let error = work(&gateway)["error"].clone();
    assert_eq!(error["code"], -31003, "{error}");
    assert_eq!(work(&gateway)["result"]["content"][0]["text"], "done");
    let calls = script
        .asked()
        .iter()
        .filter(|a| a.rpc() == "tools/call")
        .count();
    assert_eq!(calls, 2, "a call that may have run is never sent twice");
}

#[test]
fn changes_on_the_stream_are_told() {
    let streams: Arc<Streams> = Arc::default();
    let script = server(&streams, str::to_owned, |asked, stream, streams| {
        event(
            stream,
            &json!({"jsonrpc": "2.0", "method": TOOLS, "params": {}}),
        );
        done(asked, stream, streams);
    });
    let gateway = script.gateway();
    let listener = Listener::open(&gateway, json!({"toolsListChanged": true}));
    assert!(work(&gateway)["result"].is_object());
    listener.expect(TOOLS, None, PATIENCE);
    // Without a call the loss of the stream is noticed too, and there is a new one.
    streams.end_all();
    wait_for("there is a new session", || {
        script
            .asked()
            .iter()
            .filter(|a| a.rpc() == "initialize" && a.is_base())
            .count()
            >= 2
    });
    wait_for("calls are served", || work(&gateway)["result"].is_object());
}

#[test]
fn a_url_with_neither_transport_says_so() {
    let script = Script::start(|asked, stream| match asked.method.as_str() {
        "GET" => {
            begin_events(stream);
            send(stream, "event: hello\ndata: world\n\n");
        }
        _ => answer(stream, "405 Method Not Allowed", "", ""),
    });
    let gateway = script.gateway();
    let log = gateway.log();
    assert!(
        log.contains("405 Method Not Allowed") && log.contains("/sse"),
        "{log}"
    );
}

/// A free port, which a server is told to use at once.
fn free_port() -> u16 {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
    listener.local_addr().expect("an address").port()
}

fn run(mut command: Command, port: u16) -> Owned {
    let child = command
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .expect("it starts");
    wait_for("it listens", || {
        TcpStream::connect(("127.0.0.1", port)).is_ok()
    });
    Owned(child)
}

fn in_front_of(port: u16) -> Gateway {
    Gateway::start(&format!(
        "[servers.old.http]\nurl = \"http://127.0.0.1:{port}/sse\"\n"
    ))
}

const PYTHON: &str = r#"
import sys
from mcp.server.mcpserver import Context, MCPServer

server = MCPServer("old")


@server.tool()
async def greet(name: str, context: Context) -> str:
    await context.report_progress(1, 2)
    return f"Hello, {name}"


@server.tool()
def leave() -> str:
    import os
    os._exit(3)


server.run("sse", port=int(sys.argv[1]))
"#;

#[test]
fn a_python_server_is_used_and_comes_back() {
    let python = workspace(".venv/bin/python3");
    if !python.exists() {
        // Set up by `cargo xtask set-up`.
        return skipped("no .venv");
    }
    let port = free_port();
    let start = || {
        let mut command = Command::new(&python);
        command.args(["-c", PYTHON, &port.to_string()]);
        run(command, port)
    };
    let server = start();
    let gateway = in_front_of(port);
    let greet = || gateway.call("greet", json!({"name": "you"})).json();
    assert_eq!(greet()["result"]["content"][0]["text"], "Hello, you");
    let lost = gateway.call("leave", json!({})).json();
    assert_eq!(lost["error"]["code"], -31003, "{lost}");
    drop(server);
    let _again = start();
    wait_for("it is used again", || {
        greet()["result"]["content"][0]["text"] == "Hello, you"
    });
}

#[test]
fn server_everything_is_used() {
    let script =
        workspace(".tools/node_modules/@modelcontextprotocol/server-everything/dist/index.js");
    if !script.exists() {
        return skipped("no server-everything");
    }
    let port = free_port();
    let mut command = Command::new("node");
    command.arg(script).arg("sse").env("PORT", port.to_string());
    let _server = run(command, port);
    let gateway = in_front_of(port);
    let echo = gateway.call("echo", json!({"message": "m"})).json();
    assert_eq!(echo["result"]["content"][0]["text"], "Echo: m", "{echo}");
    let meta = json!({"progressToken": "p"});
    let params = json!({"name": "trigger-long-running-operation", "arguments": {"duration": 1, "steps": 2}, "_meta": meta});
    let messages = gateway.modern("/mcp", "tools/call", params).messages();
    let progress = messages
        .iter()
        .filter(|m| m["method"] == "notifications/progress");
    assert_eq!(progress.count(), 2, "{messages:?}");
}

fn skipped(why: &str) {
    use std::io::Write;
    let _ = writeln!(std::io::stderr(), "skipped: {why}");
}
