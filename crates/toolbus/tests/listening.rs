//! Changes at servers of both eras and transports reach those who listen, in time, and nobody else.

mod support;

use std::net::TcpStream;
use std::time::Duration;

use serde_json::{Value, json};
use support::listener::Listener;
use support::script::{Asked, Script, answer, begin_events, event, older, result};
use support::upstream::{Era, Upstream};
use support::{Gateway, PATIENCE, wait_for};

const UPDATED: &str = "notifications/resources/updated";
const TOOLS: &str = "notifications/tools/list_changed";
const PROMPTS: &str = "notifications/prompts/list_changed";
const RESOURCES: &str = "notifications/resources/list_changed";

const WATCHED: &str = "test://watched-resource";
const OTHER: &str = "test://static-text";

fn on_stdio(era: Era) -> Gateway {
    Gateway::start(&Gateway::server(
        "fx",
        "fixture",
        &["stdio", "--era", era.name()],
    ))
}

fn everything(uris: &[&str]) -> Value {
    json!({
        "toolsListChanged": true, "promptsListChanged": true, "resourcesListChanged": true,
        "resourceSubscriptions": uris,
    })
}

fn call(gateway: &Gateway, tool: &str, arguments: Value) {
    let answer = gateway.call(tool, arguments).json();
    assert!(answer["result"]["content"].is_array(), "{tool}: {answer}");
}

fn touch(gateway: &Gateway, uri: &str) {
    call(gateway, "test_touch_resource", json!({ "uri": uri }));
}

fn has_dynamic_tool(gateway: &Gateway) -> bool {
    let tools = gateway.modern("/mcp", "tools/list", json!({})).text();
    tools.contains("test_dynamic_tool")
}

/// What every server is to do.
fn changes_are_told(gateway: &Gateway, which: &str) {
    let listener = Listener::open(gateway, everything(&[WATCHED]));
    assert_eq!(listener.honoured, everything(&[WATCHED]), "{which}");
    touch(gateway, OTHER);
    touch(gateway, WATCHED);
    let notice = listener.expect(UPDATED, Some(WATCHED), PATIENCE);
    let tag = &notice["params"]["_meta"]["io.modelcontextprotocol/subscriptionId"];
    assert_eq!(tag, &json!(1), "{which}: our caller's own id");
    call(gateway, "test_trigger_tool_change", json!({}));
    listener.expect(TOOLS, None, PATIENCE);
    assert!(
        has_dynamic_tool(gateway),
        "{which}: told when it can be seen"
    );
    call(gateway, "test_trigger_prompt_change", json!({}));
    listener.expect(PROMPTS, None, PATIENCE);
    call(gateway, "test_trigger_resource_change", json!({}));
    listener.expect(RESOURCES, None, PATIENCE);
    let rest = listener.all(Duration::from_millis(500));
    assert!(rest.is_empty(), "{which}: {rest:?}");
}

/// A listener more or less changes nothing for the others.
fn listeners_come_and_go(gateway: &Gateway, which: &str) {
    let first = Listener::open(gateway, json!({"resourceSubscriptions": [WATCHED]}));
    let second = Listener::open(gateway, json!({"resourceSubscriptions": [WATCHED, OTHER]}));
    assert_eq!(
        second.honoured,
        json!({"resourceSubscriptions": [WATCHED, OTHER]})
    );
    touch(gateway, WATCHED);
    first.expect(UPDATED, Some(WATCHED), PATIENCE);
    second.expect(UPDATED, Some(WATCHED), PATIENCE);
    drop(first);
    touch(gateway, OTHER);
    second.expect(UPDATED, Some(OTHER), PATIENCE);
    touch(gateway, WATCHED);
    second.expect(UPDATED, Some(WATCHED), PATIENCE);
    drop(second);
    let third = Listener::open(gateway, json!({"resourceSubscriptions": [OTHER]}));
    touch(gateway, OTHER);
    touch(gateway, WATCHED);
    third.expect(UPDATED, Some(OTHER), PATIENCE);
    let rest = third.all(Duration::from_millis(500));
    assert!(rest.is_empty(), "{which}: {rest:?}");
}

#[test]
fn changes_at_a_url_are_told_to_listeners() {
    for era in Era::ALL {
        let server = Upstream::start(era);
        let gateway = server.gateway();
        changes_are_told(&gateway, era.name());
        listeners_come_and_go(&gateway, era.name());
    }
}

#[test]
fn changes_at_a_child_are_told_to_listeners() {
    for era in Era::ALL {
        let gateway = on_stdio(era);
        changes_are_told(&gateway, era.name());
        listeners_come_and_go(&gateway, era.name());
    }
}

/// A modern server that tells of these resources alone, and only if it says that it tells of any.
fn acknowledges(uris: &[&str], asked: &Asked, stream: &mut TcpStream, capabilities: &Value) {
    match asked.rpc() {
        "server/discover" => {
            let versions = ["2026-07-28"];
            let said = json!({"supportedVersions": versions, "capabilities": capabilities});
            result(stream, asked, said);
        }
        "subscriptions/listen" => {
            let tag = json!({"io.modelcontextprotocol/subscriptionId": asked.id()});
            let granted = json!({ "resourceSubscriptions": uris });
            let said = json!({"jsonrpc": "2.0", "method": "notifications/subscriptions/acknowledged",
                "params": {"_meta": tag, "notifications": granted}});
            begin_events(stream);
            event(stream, &said);
            std::thread::sleep(PATIENCE);
        }
        _ => assert!(older(asked, stream, json!({})), "{asked:?}"),
    }
}

#[test]
fn what_a_server_does_not_tell_of_is_not_promised() {
    let wanted = json!({"resourceSubscriptions": ["x:a", "x:b"]});
    let (one, none) = (json!({"resourceSubscriptions": ["x:a"]}), json!({}));
    let (silent, telling) = (
        json!({"resources": {}}),
        json!({"resources": {"subscribe": true}}),
    );
    for (capabilities, honoured) in [(&telling, &one), (&silent, &none)] {
        let said = capabilities.clone();
        let script =
            Script::start(move |asked, stream| acknowledges(&["x:a"], asked, stream, &said));
        let listener = Listener::open(&script.gateway(), wanted.clone());
        assert_eq!(&listener.honoured, honoured, "modern, {capabilities}");
    }
    for (capabilities, honoured) in [(&telling, &one), (&silent, &none)] {
        let said = capabilities.clone();
        let script = Script::start(move |asked, stream| match asked.rpc() {
            "resources/subscribe" if asked.body["params"]["uri"] == "x:a" => {
                result(stream, asked, json!({}));
            }
            "resources/subscribe" => {
                let error = json!({"code": -32002, "message": "no such resource"});
                let body = json!({"jsonrpc": "2.0", "id": asked.id(), "error": error});
                let headers = "content-type: application/json\r\n";
                answer(stream, "200 OK", headers, &body.to_string());
            }
            _ if older(asked, stream, said.clone()) => {}
            _ => answer(stream, "405 Method Not Allowed", "", ""),
        });
        let gateway = script.gateway();
        let listener = Listener::open(&gateway, wanted.clone());
        assert_eq!(&listener.honoured, honoured, "legacy, {capabilities}");
        drop(listener);
        let ended = |script: &Script| {
            let asked = script.asked();
            let of = |method: &str| asked.iter().filter(|a| a.rpc() == method).count();
            of("resources/unsubscribe") == honoured.as_object().map_or(0, serde_json::Map::len)
        };
        wait_for("nothing is subscribed any more", || ended(&script));
    }
}

/// The resources for which a scripted server is listened to, in the order of the requests.
fn listens(script: &Script) -> Vec<Value> {
    let asked = script.asked().into_iter();
    asked
        .filter(|a| a.rpc() == "subscriptions/listen")
        .map(|a| {
            let mut uris = a.body["params"]["notifications"]["resourceSubscriptions"].clone();
            if let Some(uris) = uris.as_array_mut() {
                uris.sort_by_key(Value::to_string);
            }
            uris
        })
        .collect()
}

#[test]
fn a_listen_is_as_wide_as_what_is_wanted() {
    let telling = json!({"resources": {"subscribe": true}});
    let script = Script::start(move |asked, stream| {
        acknowledges(&["x:a", "x:b"], asked, stream, &telling);
    });
    let gateway = script.gateway();
    assert!(
        listens(&script).is_empty(),
        "nobody listens, and no list can change"
    );
    let first = Listener::open(&gateway, json!({"resourceSubscriptions": ["x:a"]}));
    let second = Listener::open(&gateway, json!({"resourceSubscriptions": ["x:a", "x:b"]}));
    let third = Listener::open(&gateway, json!({"resourceSubscriptions": ["x:b"]}));
    let expected = [json!(["x:a"]), json!(["x:a", "x:b"])];
    assert_eq!(listens(&script), expected, "the third needs no other");
    drop((first, second));
    wait_for("it is narrower", || listens(&script).len() == 3);
    assert_eq!(listens(&script)[2], json!(["x:b"]));
    drop(third);
}

#[test]
fn a_task_is_told_to_its_owner() {
    let capabilities = json!({"extensions": {"io.modelcontextprotocol/tasks": {}}});
    let meta = json!({"io.modelcontextprotocol/clientCapabilities": capabilities});
    let server = Upstream::start(Era::Modern);
    for gateway in [server.gateway(), on_stdio(Era::Modern)] {
        let start = || {
            let arguments = json!({"seconds": 1});
            let params = json!({"name": "slow_compute", "arguments": arguments, "_meta": meta});
            let begun = gateway.modern("/mcp", "tools/call", params).json()["result"].clone();
            assert_eq!(begun["resultType"], "task", "{begun}");
            begun["taskId"].clone()
        };
        let (first, second) = (start(), start());
        let wanted = json!({"taskIds": [first, "unknown"], "resourceSubscriptions": [WATCHED]});
        let listener = Listener::open_as(&gateway, &capabilities, wanted);
        let honoured = json!({"taskIds": [first], "resourceSubscriptions": [WATCHED]});
        assert_eq!(listener.honoured, honoured);
        touch(&gateway, WATCHED);
        listener.expect(UPDATED, Some(WATCHED), PATIENCE);
        let told = listener.expect("notifications/tasks", None, PATIENCE);
        assert_eq!(told["params"]["taskId"], first, "not {second}: {told}");
        assert_eq!(told["params"]["status"], "completed", "{told}");
        let rest = listener.all(Duration::from_millis(500));
        assert!(rest.is_empty(), "{rest:?}");
    }
}

#[test]
fn a_server_at_a_url_that_restarts_is_listened_to_again() {
    for era in Era::ALL {
        let mut server = Upstream::start(era);
        let gateway = server.gateway();
        let listener = Listener::open(&gateway, everything(&[WATCHED]));
        let port = server.address().port();
        server.kill();
        let _again = Upstream::start_at(port, era);
        // What changed while it was away nobody can tell, so that it is told as changed.
        listener.expect(UPDATED, Some(WATCHED), PATIENCE);
        touch(&gateway, WATCHED);
        listener.expect(UPDATED, Some(WATCHED), PATIENCE);
        call(&gateway, "test_trigger_tool_change", json!({}));
        listener.expect(TOOLS, None, PATIENCE);
    }
}

#[test]
fn a_child_that_restarts_is_listened_to_again() {
    for era in Era::ALL {
        let gateway = on_stdio(era);
        let listener = Listener::open(&gateway, everything(&[WATCHED]));
        let fixture = support::descendants(gateway.child.id())
            .into_iter()
            .find(|pid| {
                let name = std::fs::read_to_string(format!("/proc/{pid}/comm"));
                name.is_ok_and(|name| name.trim() == "fixture")
            });
        let pid = fixture.expect("a fixture runs").to_string();
        let killed = std::process::Command::new("kill")
            .args(["-KILL", &pid])
            .status();
        assert!(killed.is_ok_and(|status| status.success()));
        listener.expect(UPDATED, Some(WATCHED), PATIENCE);
        touch(&gateway, WATCHED);
        listener.expect(UPDATED, Some(WATCHED), PATIENCE);
        call(&gateway, "test_trigger_tool_change", json!({}));
        listener.expect(TOOLS, None, PATIENCE);
    }
}

#[test]
fn a_server_that_goes_away_is_noticed_without_a_call() {
    for era in [Era::Modern, Era::Legacy] {
        let mut server = Upstream::start(era);
        let gateway = server.gateway();
        server.kill();
        wait_for("its end is noticed", || {
            gateway.log().contains("cannot be used")
        });
    }
}
