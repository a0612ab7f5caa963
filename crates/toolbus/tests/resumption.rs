//! Calls whose streams end before their answers, at servers of older revisions.

mod support;

use std::net::TcpStream;
use std::time::Duration;

use serde_json::{Value, json};
use support::Gateway;
use support::script::{Asked, Script, answer, begin_events, end_events, event, older, send};

/// How a stream ends that is to go on.
#[derive(Clone, Copy)]
enum End {
    Closed,
    Lost,
}

fn done(id: &Value) -> Value {
    json!({"jsonrpc": "2.0", "id": id, "result": {"content": [{"type": "text", "text": "done"}]}})
}

/// A server without a stream of its own.
fn without_stream(asked: &Asked, stream: &mut TcpStream) -> bool {
    let is_bare_get = asked.method == "GET" && asked.header("last-event-id").is_none();
    if is_bare_get {
        answer(stream, "405 Method Not Allowed", "", "");
    }
    is_bare_get || older(asked, stream, json!({"tools": {}}))
}

fn finish(stream: &mut TcpStream, end: End) {
    match end {
        End::Closed => end_events(stream),
        // Without the last chunk.
        End::Lost => {}
    }
}

fn work(gateway: &Gateway) -> Value {
    gateway.call("work", json!({})).json()
}

/// A server that ends a call's stream after an event with an id, and answers where it is taken up again.
fn resumable(end: End) -> Script {
    let call: std::sync::Mutex<Value> = std::sync::Mutex::default();
    Script::start(move |asked, stream| {
        if without_stream(asked, stream) {
            return;
        }
        begin_events(stream);
        if asked.method == "POST" {
            *call.lock().expect("no panic") = asked.id().clone();
            send(stream, "id: a1\nretry: 700\ndata:\n\n");
            return finish(stream, end);
        }
        let id = call.lock().expect("no panic").clone();
        if asked.header("last-event-id") == Some("a1") {
            // Once more, with nothing to tell but a place further on.
            send(stream, "id: a2\nretry: 500\n\n");
            return finish(stream, end);
        }
        event(stream, &done(&id));
        end_events(stream);
    })
}

#[test]
fn the_rest_of_a_stream_is_fetched_when_its_server_wants_it() {
    for end in [End::Closed, End::Lost] {
        let script = resumable(end);
        let gateway = script.gateway();
        let result = work(&gateway);
        assert_eq!(result["result"]["content"][0]["text"], "done", "{result}");
        let asked = script.asked();
        let calls: Vec<_> = asked.iter().filter(|a| a.rpc() == "tools/call").collect();
        assert_eq!(calls.len(), 1, "a call is never sent twice");
        let places: Vec<_> = asked
            .iter()
            .filter_map(|a| Some((a, a.header("last-event-id")?)))
            .collect();
        assert_eq!(
            places.iter().map(|(_, id)| *id).collect::<Vec<_>>(),
            ["a1", "a2"]
        );
        assert!(places[0].0.at - calls[0].at >= Duration::from_millis(700));
        assert!(places[1].0.at - places[0].0.at >= Duration::from_millis(500));
        for (get, _) in places {
            assert_eq!(get.header("mcp-session-id"), Some("base"));
            assert_eq!(get.header("mcp-protocol-version"), Some("2025-11-25"));
        }
    }
}

#[test]
fn a_stream_that_cannot_go_on_leaves_an_unknown_outcome() {
    type Answer = fn(&Asked, &mut TcpStream);
    let cases: [(&str, Answer); 4] = [
        ("no id", |_, stream| {
            begin_events(stream);
            end_events(stream);
        }),
        ("the place is unknown", |asked, stream| {
            match asked.method.as_str() {
                "GET" => answer(stream, "400 Bad Request", "", "unknown"),
                _ => {
                    begin_events(stream);
                    send(stream, "id: a1\nretry: 1\ndata:\n\n");
                    end_events(stream);
                }
            }
        }),
        ("the session is gone", |asked, stream| {
            match asked.method.as_str() {
                "GET" => answer(stream, "404 Not Found", "", ""),
                _ => {
                    begin_events(stream);
                    send(stream, "id: a1\nretry: 1\ndata:\n\n");
                    end_events(stream);
                }
            }
        }),
        ("lost before the first event", |_, stream| {
            begin_events(stream)
        }),
    ];
    for (which, case) in cases {
        let script = Script::start(move |asked, stream| {
            if !without_stream(asked, stream) {
                case(asked, stream);
            }
        });
        let gateway = script.gateway();
        let error = work(&gateway)["error"].clone();
        assert_eq!(error["code"], -31003, "{which}: {error}");
        let asked = script.asked();
        let calls = asked.iter().filter(|a| a.rpc() == "tools/call").count();
        assert_eq!(
            calls, 1,
            "{which}: a call that may have run is never sent twice"
        );
    }
}
