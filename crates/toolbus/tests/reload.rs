//! The file of the configuration changes while the gateway serves: no call is lost, and what it says is used.

mod support;

use std::process::Command;
use std::time::Duration;

use serde_json::json;
use support::{Gateway, Session, modern_request, wait_for};

fn faulty(name: &str, flags: &[&str]) -> String {
    Gateway::server(name, "faulty", flags)
}

fn used(gateway: &Gateway, times: usize) {
    wait_for("the change is used", || {
        gateway
            .log()
            .matches("the changed configuration is in use")
            .count()
            >= times
    });
}

#[test]
fn a_call_goes_on_while_other_servers_change() {
    let both = |flags: &[&str]| faulty("a", &[]) + &faulty("b", flags);
    let gateway = Gateway::start(&both(&[]));
    assert_eq!((gateway.count("a"), gateway.count("b")), (1, 1));
    let late = |server: &str| {
        let path = format!("/servers/{server}/mcp");
        let params = json!({"name": "late", "arguments": {"ms": 10_000}});
        gateway.send(&modern_request(&path, "tools/call", params))
    };
    std::thread::scope(|scope| {
        let of_a = scope.spawn(|| late("a"));
        let of_b = scope.spawn(|| late("b"));
        wait_for("the calls are under way", || {
            gateway.get("/metrics").text().contains("calls_in_flight 2")
        });
        gateway.configure(&(both(&["--ignore-sigterm"]) + &faulty("c", &[])));
        used(&gateway, 1);
        wait_for("the new server is listed", || {
            gateway.tools("/servers/c/mcp").contains(&"ok".to_owned())
        });
        wait_for("the changed one is listed", || {
            gateway.tools("/servers/b/mcp").contains(&"ok".to_owned())
        });
        assert!(
            gateway.tools("/mcp").contains(&"c_ok".to_owned()),
            "names are given by the order in the file"
        );
        assert!(
            !of_a.is_finished() && !of_b.is_finished(),
            "too late to prove anything"
        );
        assert_eq!(gateway.count("a"), 3, "the process is the same");
        assert_eq!(gateway.count("b"), 1, "the process is a new one");
        wait_for("all others are gone: the old one of b has a call", || {
            gateway.processes("faulty") == 4
        });
        for call in [of_a, of_b] {
            let answer = call.join().expect("an answer").json();
            assert_eq!(answer["result"]["content"][0]["text"], "late", "{answer}");
        }
    });
    wait_for("the old process is gone", || {
        gateway.processes("faulty") == 3
    });
    let outcomes: Vec<_> = gateway
        .records()
        .iter()
        .map(|record| record["outcome"].clone())
        .collect();
    assert!(
        outcomes.iter().all(|outcome| outcome == "ok"),
        "{outcomes:?}"
    );
}

#[test]
fn a_call_that_waits_for_its_caller_goes_on_where_it_began() {
    let server =
        |era: &str, keys: &str| Gateway::server("fx", "fixture", &["stdio", "--era", era]) + keys;
    let gateway = Gateway::start(&server("legacy", ""));
    let params = json!({
        "name": "test_elicitation", "arguments": {"message": "who?"},
        "_meta": {"io.modelcontextprotocol/clientCapabilities": {"elicitation": {}}},
    });
    let asked = gateway.modern("/mcp", "tools/call", params.clone()).json();
    let result = &asked["result"];
    assert_eq!(result["resultType"], "input_required", "{asked}");
    let questions = result["inputRequests"].as_object().expect("questions");
    let key = questions.keys().next().expect("a question");
    gateway.configure(&server("modern", "start = \"now\"\n"));
    used(&gateway, 1);
    wait_for("the new one is up", || {
        gateway.state("fx") == "up" && gateway.processes("--era modern") == 1
    });
    let mut retry = params;
    retry["requestState"] = result["requestState"].clone();
    retry["inputResponses"] = json!({key.as_str(): {"action": "accept", "content": {"username": "ada", "email": "a@b.c"}}});
    let done = gateway.modern("/mcp", "tools/call", retry).json();
    assert!(
        done["result"]["content"].to_string().contains("ada"),
        "{done}"
    );
    wait_for("the old one is gone", || {
        gateway.processes("--era legacy") == 0
    });
}

#[test]
fn a_server_that_is_taken_out_is_gone_and_its_process_too() {
    let gateway = Gateway::start(&(faulty("a", &[]) + &faulty("b", &[])));
    // Each has a second one for a moment, which lists what it has for clients that can be asked.
    wait_for("one process each", || gateway.processes("faulty") == 2);
    gateway.configure(&faulty("a", &[]));
    used(&gateway, 1);
    wait_for("its process ends", || gateway.processes("faulty") == 1);
    assert!(gateway.tools("/servers/b/mcp").is_empty());
    assert!(!gateway.tools("/mcp").contains(&"b_ok".to_owned()));
    assert!(!gateway.get("/metrics").text().contains("server=\"b\""));
    assert_eq!(gateway.count("a"), 1);
}

#[test]
fn limits_change_without_another_process() {
    let gateway = Gateway::start(&faulty("a", &[]));
    assert_eq!(gateway.count("a"), 1);
    gateway.configure(&format!(
        "{}[servers.a]\nidle_timeout = \"1s\"\n",
        faulty("a", &[])
    ));
    used(&gateway, 1);
    let answer = gateway.call("hang", json!({})).json();
    assert_eq!(answer["error"]["code"], -31002, "{answer}");
    assert_eq!(gateway.count("a"), 3, "the process is the same");
}

#[test]
fn callers_come_and_go() {
    let callers = |ci: &str, deny: &str| {
        format!(
            "[callers.ci]\ntoken = \"{ci}\"\ndeny = [{deny}]\n{}",
            faulty("a", &[])
        )
    };
    let gateway = Gateway::start(&callers("first-token", ""));
    let with = |token: &str, tool: &str| {
        let request = modern_request("/mcp", "tools/call", json!({"name": tool}));
        let text = String::from_utf8(request).expect("text");
        let request = text.replacen("\r\n", &format!("\r\nauthorization: Bearer {token}\r\n"), 1);
        gateway.send(request.as_bytes())
    };
    assert_eq!(with("first-token", "ok").status, 200);
    gateway.configure(&callers("second-token", "\"a.count\""));
    used(&gateway, 1);
    assert_eq!(with("first-token", "ok").status, 401);
    assert_eq!(
        with("second-token", "ok").json()["result"]["content"][0]["text"],
        "ok"
    );
    assert_eq!(
        with("second-token", "count").json()["error"]["code"],
        -32602
    );
}

#[test]
fn a_broken_file_changes_nothing_and_is_told_once() {
    let gateway = Gateway::start(&faulty("a", &[]));
    assert_eq!(gateway.count("a"), 1);
    let complaints = || gateway.log().matches("is not used").count();
    gateway.configure("[servers.a.stdio]\ncomand = [\"x\"]\n");
    wait_for("the mistake is told", || complaints() == 1);
    assert!(
        gateway.log().contains("did you mean `command`?"),
        "{}",
        gateway.log()
    );
    // A secret that is missing is found before anything is touched.
    let secret =
        "[servers.a.stdio]\ncommand = [\"x\"]\nenv = { KEY = \"env:TOOLBUS_TEST_MISSING\" }\n";
    gateway.configure(secret);
    wait_for("the next mistake is told", || complaints() == 2);
    std::thread::sleep(Duration::from_secs(3));
    assert_eq!(complaints(), 2, "each is told once");
    assert_eq!(gateway.count("a"), 2, "the process is the same");
    gateway.configure(&(faulty("a", &[]) + &faulty("b", &[])));
    used(&gateway, 1);
    assert_eq!(gateway.count("a"), 3);
}

#[test]
fn what_needs_a_restart_is_said_and_a_listener_never_opens_by_accident() {
    let gateway = Gateway::start("");
    let open = "[gateway]\nlisten = \"127.0.0.1:1\"\nmax_connections = 7\n[audit]\nfile = \"x\"\n";
    gateway.write(open);
    wait_for("it is told", || {
        gateway.log().contains(
            "a restart is needed for: [gateway] listen, [gateway] max_connections, [audit] file",
        )
    });
    assert_eq!(gateway.get("/health").status, 200, "where it was");

    let token = "[callers.ci]\ntoken = \"a-token-for-everyone\"\n";
    let gateway = Gateway::start_public(token);
    // With the address of the file this would be in order; with the one that is in use it is not.
    gateway.write("[gateway]\nlisten = \"127.0.0.1:0\"\n");
    wait_for("it is refused", || {
        gateway.log().contains("is open to other machines")
    });
    assert_eq!(gateway.modern("/mcp", "tools/list", json!({})).status, 401);
}

#[test]
fn a_signal_reads_the_file_and_its_secrets_at_once() {
    let folder = tempfile::tempdir().expect("a folder");
    let token = folder.path().join("token");
    std::fs::write(&token, "the-first-token\n").expect("written");
    let config = format!("[callers.ci]\ntoken = \"file:{}\"\n", support::text(&token));
    let gateway = Gateway::start(&config);
    std::fs::write(&token, "the-second-token\n").expect("written");
    let pid = gateway.child.id().to_string();
    let _ = Command::new("kill").args(["-HUP", &pid]).status();
    used(&gateway, 1);
    let request = modern_request("/mcp", "tools/list", json!({}));
    let text = String::from_utf8(request).expect("text");
    let status = |token: &str| {
        let header = format!("\r\nauthorization: Bearer {token}\r\n");
        gateway
            .send(text.replacen("\r\n", &header, 1).as_bytes())
            .status
    };
    assert_eq!(
        (status("the-first-token"), status("the-second-token")),
        (401, 200)
    );
}

#[test]
fn an_open_session_sees_the_new_servers() {
    let gateway = Gateway::start(&faulty("a", &[]));
    let session = Session::open(&gateway);
    gateway.configure(&(faulty("a", &[]) + &faulty("b", &[])));
    wait_for("the session sees them", || {
        let answer = session.ask("tools/list", json!({})).json();
        answer["result"]["tools"].to_string().contains("\"b_ok\"")
    });
}
