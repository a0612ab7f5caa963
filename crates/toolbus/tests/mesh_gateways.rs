//! Gateways on a mesh, as their clients see them: servers that come and go, and what replicas know of each other.

#![allow(dead_code, reason = "parts of other tests are used here")]

#[path = "../../mesh/tests/bus/server.rs"]
mod server;
mod support;

use std::process::Stdio;
use std::time::{Duration, Instant};

use serde_json::json;
use server::Server;
use support::{Gateway, Owned, Session, command, post, testkit, wait_for};

const KEY: &str = "state_key = \"0123456789abcdef0123456789abcdef\"\n";

fn mesh(server: &Server) -> String {
    format!("[mesh]\nurl = \"{}\"\ngrace = \"60s\"\n", server.address())
}

/// A worker of the fixture server, under this name.
struct Worker {
    child: Owned,
    _folder: tempfile::TempDir,
}

impl Worker {
    fn start(server: &Server, name: &str) -> Self {
        let folder = tempfile::tempdir().expect("a folder");
        let log = std::fs::File::create(folder.path().join("log")).expect("a log");
        let child = command(folder.path())
            .args(["worker", "--nats", &server.address(), "--name", name, "--"])
            .args([testkit("fixture").as_str(), "stdio", "--era", "modern"])
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(log)
            .spawn()
            .expect("it starts");
        Self {
            child: Owned(child),
            _folder: folder,
        }
    }

    fn terminate(&mut self) {
        let pid = self.child.0.id().to_string();
        let sent = std::process::Command::new("kill").arg(pid).status();
        assert!(sent.expect("kill").success());
        self.child.0.wait().expect("it ends");
    }
}

fn tools(gateway: &Gateway) -> Vec<String> {
    gateway.tools("/mcp")
}

#[tokio::test(flavor = "multi_thread")]
async fn servers_of_the_mesh_are_there_from_the_first_list_on_and_their_end_is_told() {
    let Some(server) = Server::start_plain().await else {
        return;
    };
    let mut worker = Worker::start(&server, "far");
    let first = Gateway::start_with(KEY, &mesh(&server));
    wait_for("the tools of the worker", || {
        tools(&first).contains(&"test_simple_text".to_owned())
    });
    let fresh = Gateway::start_with(KEY, &mesh(&server));
    assert!(
        tools(&fresh).contains(&"test_simple_text".to_owned()),
        "the first list misses them"
    );
    let answer = fresh.call("test_simple_text", json!({})).json();
    assert_eq!(answer["result"]["resultType"], "complete", "{answer}");
    wait_for("a record", || {
        fresh
            .records()
            .iter()
            .any(|record| record["server"] == "far")
    });
    worker.terminate();
    let begun = Instant::now();
    let answer = fresh.call("test_simple_text", json!({})).json();
    assert!(begun.elapsed() < Duration::from_secs(10));
    assert_eq!(answer["error"]["code"], -31001, "{answer}");
    let text = answer["error"]["message"].as_str().unwrap_or_default();
    assert!(
        text.contains("nobody serves this tool (far.test_simple_text)"),
        "{text}"
    );
    assert!(
        tools(&fresh).contains(&"test_simple_text".to_owned()),
        "a tool stays for its grace time"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_configured_server_hides_one_of_its_name_and_says_so_once() {
    let Some(server) = Server::start_plain().await else {
        return;
    };
    let _worker = Worker::start(&server, "same");
    let other = Worker::start(&server, "other");
    let own = Gateway::server("same", "fixture", &["stdio", "--era", "both"]);
    let gateway = Gateway::start_with(KEY, &format!("{}{own}", mesh(&server)));
    let hidden = || gateway.log().matches("the configured one is used").count();
    wait_for("both servers", || {
        hidden() == 1 && tools(&gateway).contains(&"other_test_simple_text".to_owned())
    });
    // A change of the file keeps what was found.
    let changed = format!(
        "[gateway]\nlisten = \"127.0.0.1:0\"\n{KEY}{}{own}[servers.same.tools.x]\ntotal_timeout = \"9s\"\n",
        mesh(&server)
    );
    let before = gateway
        .log()
        .matches("the changed configuration is in use")
        .count();
    gateway.write(&changed);
    wait_for("the change", || {
        gateway
            .log()
            .matches("the changed configuration is in use")
            .count()
            > before
    });
    assert!(
        tools(&gateway).contains(&"other_test_simple_text".to_owned()),
        "{}",
        gateway.log()
    );
    assert_eq!(hidden(), 1);
    drop(other);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_session_that_was_ended_at_one_replica_is_ended_at_all() {
    let Some(server) = Server::start_plain().await else {
        return;
    };
    let [a, b] = [(); 2].map(|()| Gateway::start_with(KEY, &mesh(&server)));
    for gateway in [&a, &b] {
        wait_for("the mesh", || gateway.log().contains("mesh: NATS"));
    }
    let session = Session::open(&a);
    let kept = Session::open(&a);
    let ask = |gateway: &Gateway, session: &Session<'_>| {
        let body = json!({"jsonrpc": "2.0", "id": 1, "method": "tools/list"}).to_string();
        gateway
            .send(&post("/mcp", &session.headers(), &body))
            .status
    };
    assert_eq!((ask(&a, &session), ask(&b, &session)), (200, 200));
    let delete = format!(
        "DELETE /mcp HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\n{}\r\n",
        session.headers()
    );
    assert_eq!(b.send(delete.as_bytes()).status, 204);
    assert_eq!(ask(&b, &session), 404);
    wait_for("its end at the other replica", || ask(&a, &session) == 404);
    let late = Gateway::start_with(KEY, &mesh(&server));
    wait_for("its end at one that came later", || {
        ask(&late, &session) == 404
    });
    assert_eq!((ask(&a, &kept), ask(&late, &kept)), (200, 200));
}
