//! The stream of an older session that belongs to no request: what comes on it, and what its end means.

mod support;

use std::collections::HashMap;
use std::net::TcpStream;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use serde_json::{Value, json};
use support::listener::Listener;
use support::script::{
    Asked, Script, answer, begin_events, end_events, event, older, result, send,
};
use support::{Gateway, PATIENCE, wait_for};

const TOOLS: &str = "notifications/tools/list_changed";

fn changing() -> Value {
    json!({"tools": {"listChanged": true}, "resources": {"subscribe": true, "listChanged": true}})
}

fn notice(method: &str, params: Value) -> Value {
    json!({"jsonrpc": "2.0", "method": method, "params": params})
}

/// How often a method was asked for in the session that serves everybody.
fn count(script: &Script, rpc: &str) -> usize {
    let asked = script.asked();
    asked
        .iter()
        .filter(|a| a.rpc() == rpc && a.is_base())
        .count()
}

/// Waits until something has happened in another request.
fn until(happened: &AtomicBool) {
    wait_for("it happens", || happened.load(Ordering::SeqCst));
}

fn gets(script: &Script) -> Vec<Asked> {
    let asked = script.asked().into_iter();
    asked.filter(|a| a.method == "GET" && a.is_base()).collect()
}

#[test]
fn a_request_without_a_call_is_refused_and_a_ping_is_answered() {
    let script = Script::start(|asked, stream| {
        if older(asked, stream, changing()) {
            return;
        }
        match asked.method.as_str() {
            "GET" => {
                begin_events(stream);
                let ask = |id, method| json!({"jsonrpc": "2.0", "id": id, "method": method, "params": {}});
                event(stream, &ask("p", "ping"));
                event(stream, &ask("r", "roots/list"));
                std::thread::sleep(PATIENCE);
            }
            _ => answer(stream, "202 Accepted", "", ""),
        }
    });
    let _gateway = script.gateway();
    let replies = || -> Vec<Value> {
        let asked = script.asked().into_iter().filter(Asked::is_base);
        let asked = asked.map(|a| a.body);
        asked
            .filter(|body| body.get("id").is_some() && body.get("method").is_none())
            .collect()
    };
    wait_for("both are answered", || replies().len() == 2);
    let replies = replies();
    assert_eq!(
        replies[0],
        json!({"jsonrpc": "2.0", "id": "p", "result": {}})
    );
    assert_eq!(
        (&replies[1]["id"], &replies[1]["error"]["code"]),
        (&json!("r"), &json!(-32601))
    );
}

/// What a server knows of its sessions: their streams, and the answers that came for them.
#[derive(Default)]
struct Desk {
    count: AtomicUsize,
    streams: Mutex<HashMap<String, TcpStream>>,
    answers: Mutex<HashMap<String, Value>>,
}

/// A server that asks in each call, on the stream of its session that belongs to none.
fn asks_apart() -> Script {
    let desk = Arc::new(Desk::default());
    Script::start(move |asked, stream| {
        let session = asked
            .header("mcp-session-id")
            .unwrap_or_default()
            .to_owned();
        match (asked.method.as_str(), asked.rpc()) {
            ("POST", "initialize") => {
                let session = desk.count.fetch_add(1, Ordering::SeqCst);
                let body = json!({"jsonrpc": "2.0", "id": asked.id(), "result": {
                    "protocolVersion": "2025-06-18", "capabilities": {"tools": {}},
                    "serverInfo": {"name": "script", "version": "1"},
                }});
                let headers =
                    format!("content-type: application/json\r\nmcp-session-id: s{session}\r\n");
                answer(stream, "200 OK", &headers, &body.to_string());
            }
            ("GET", _) => {
                let again = stream.try_clone().expect("a second handle");
                // The call is sent once the stream has begun: it must find it here.
                let mut streams = desk.streams.lock().expect("no panic");
                begin_events(stream);
                streams.insert(session, again);
                drop(streams);
                std::thread::sleep(2 * PATIENCE);
            }
            ("POST", "tools/call") => {
                let said = desk.ask(&session);
                let text = json!({"asked": session, "said": said}).to_string();
                result(
                    stream,
                    asked,
                    json!({"content": [{"type": "text", "text": text}]}),
                );
            }
            ("POST", "") => {
                let mut answers = desk.answers.lock().expect("no panic");
                answers.insert(session, asked.body["result"].clone());
                answer(stream, "202 Accepted", "", "");
            }
            _ => assert!(older(asked, stream, json!({"tools": {}})), "{asked:?}"),
        }
    })
}

impl Desk {
    /// Asks in a session, and waits for the answer.
    fn ask(&self, session: &str) -> Value {
        let question = json!({"jsonrpc": "2.0", "id": 77, "method": "elicitation/create", "params": {
            "message": session, "requestedSchema": {"type": "object", "properties": {}},
        }});
        let mut stream = self.streams.lock().expect("no panic")[session]
            .try_clone()
            .expect("a handle");
        event(&mut stream, &question);
        let take = || self.answers.lock().expect("no panic").remove(session);
        let mut said = None;
        wait_for("it is answered", || {
            said = take();
            said.is_some()
        });
        said.unwrap_or_default()
    }
}

/// Calls the tool, with an answer where there is one.
fn call(gateway: &Gateway, more: Value) -> Value {
    let capabilities = json!({"io.modelcontextprotocol/clientCapabilities": {"elicitation": {}}});
    let mut params = json!({"name": "work", "arguments": {}, "_meta": capabilities});
    let more = more.as_object().expect("an object").clone();
    params.as_object_mut().expect("an object").extend(more);
    gateway.modern("/mcp", "tools/call", params).json()["result"].clone()
}

/// Answers a call's question with the question itself.
fn answer_itself(gateway: &Gateway, asks: &Value) {
    assert_eq!(asks["resultType"], "input_required", "{asks}");
    let questions = asks["inputRequests"].as_object().expect("questions");
    let (key, question) = questions.iter().next().expect("one question");
    let said = json!({"action": "accept", "content": {"for": question["params"]["message"]}});
    let answers = json!({"requestState": asks["requestState"], "inputResponses": {key: said}});
    let done = call(gateway, answers);
    let text = done["content"][0]["text"].as_str().unwrap_or_default();
    let text: Value = serde_json::from_str(text).unwrap_or_else(|_| panic!("{done}"));
    assert_eq!(text["said"], said);
    assert_eq!(
        text["asked"], said["content"]["for"],
        "the question of another call"
    );
}

#[test]
fn a_question_on_the_stream_belongs_to_the_only_call_of_its_session() {
    let script = asks_apart();
    let gateway = script.gateway();
    answer_itself(&gateway, &call(&gateway, json!({})));
    // From here on it is known that the server asks there: calls at once have sessions of their own.
    let at_once: Vec<Value> = std::thread::scope(|scope| {
        let calls: Vec<_> = (0..3)
            .map(|_| scope.spawn(|| call(&gateway, json!({}))))
            .collect();
        calls
            .into_iter()
            .map(|call| call.join().expect("a result"))
            .collect()
    });
    for asks in &at_once {
        answer_itself(&gateway, asks);
    }
}

#[test]
fn a_stream_that_ends_is_opened_again_where_it_was() {
    let listened = AtomicBool::new(false);
    let script = Script::start(move |asked, stream| {
        if asked.method != "GET" {
            if asked.rpc() == "resources/subscribe" {
                listened.store(true, Ordering::SeqCst);
                return result(stream, asked, json!({}));
            }
            return assert!(older(asked, stream, changing()), "{asked:?}");
        }
        begin_events(stream);
        match asked.header("last-event-id") {
            None => {
                send(stream, "id: g1\nretry: 500\ndata:\n\n");
                until(&listened);
                end_events(stream);
            }
            Some(_) => {
                event(
                    stream,
                    &notice("notifications/resources/updated", json!({"uri": "x:a"})),
                );
                event(stream, &notice(TOOLS, json!({})));
                std::thread::sleep(PATIENCE);
            }
        }
    });
    let gateway = script.gateway();
    let wanted = json!({"toolsListChanged": true, "resourceSubscriptions": ["x:a"]});
    let listener = Listener::open(&gateway, wanted);
    listener.expect("notifications/resources/updated", Some("x:a"), PATIENCE);
    listener.expect(TOOLS, None, PATIENCE);
    let places: Vec<_> = gets(&script)
        .iter()
        .map(|get| get.header("last-event-id").map(str::to_owned))
        .collect();
    assert_eq!(places, [None, Some("g1".to_owned())]);
}

#[test]
fn what_may_have_been_missed_is_told_as_changed() {
    let (first, listened) = (AtomicBool::new(true), AtomicBool::new(false));
    let script = Script::start(move |asked, stream| {
        if asked.method != "GET" {
            if asked.rpc() == "resources/subscribe" {
                listened.store(true, Ordering::SeqCst);
                return result(stream, asked, json!({}));
            }
            return assert!(older(asked, stream, changing()), "{asked:?}");
        }
        begin_events(stream);
        // No id: nobody can say where the stream was.
        if first.swap(false, Ordering::SeqCst) {
            until(&listened);
        } else {
            std::thread::sleep(PATIENCE);
        }
    });
    let gateway = script.gateway();
    let listener = Listener::open(&gateway, json!({"resourceSubscriptions": ["x:a"]}));
    listener.expect("notifications/resources/updated", Some("x:a"), PATIENCE);
    wait_for("the lists are read again", || {
        count(&script, "tools/list") >= 2
    });
    assert_eq!(gets(&script).len(), 2);
}

#[test]
fn a_stream_that_is_refused_for_now_is_asked_for_again() {
    let count = AtomicUsize::new(0);
    let script = Script::start(move |asked, stream| {
        if older(asked, stream, changing()) {
            return;
        }
        let statuses = ["409 Conflict", "503 Service Unavailable"];
        match asked
            .is_base()
            .then(|| statuses.get(count.fetch_add(1, Ordering::SeqCst)))
        {
            Some(Some(status)) => answer(stream, status, "", ""),
            _ => {
                begin_events(stream);
                // Again and again, because nobody knows when somebody listens.
                for _ in 0..PATIENCE.as_secs() {
                    event(stream, &notice(TOOLS, json!({})));
                    std::thread::sleep(Duration::from_secs(1));
                }
            }
        }
    });
    let gateway = script.gateway();
    let listener = Listener::open(&gateway, json!({"toolsListChanged": true}));
    listener.expect(TOOLS, None, PATIENCE);
}

#[test]
fn a_server_without_such_a_stream_is_not_asked_for_it_again() {
    let script = Script::start(|asked, stream| {
        if !older(asked, stream, changing()) {
            answer(stream, "405 Method Not Allowed", "", "");
        }
    });
    let gateway = script.gateway();
    wait_for("it was asked", || gets(&script).len() == 1);
    std::thread::sleep(Duration::from_secs(3));
    assert_eq!(gets(&script).len(), 1);
    assert_eq!(
        gateway.call("echo", json!({})).json()["error"]["code"],
        -32602
    );
}

#[test]
fn a_session_that_is_lost_there_is_opened_anew() {
    let script = Script::start(|asked, stream| {
        if older(asked, stream, changing()) {
            return;
        }
        let is_first = asked.method == "GET" && asked.header("last-event-id").is_none();
        if is_first {
            begin_events(stream);
            send(stream, "id: g1\nretry: 500\ndata:\n\n");
            return end_events(stream);
        }
        answer(stream, "404 Not Found", "", "");
    });
    let _gateway = script.gateway();
    wait_for("there is another session", || {
        let asked = script.asked();
        let opens = |a: &&Asked| a.rpc() == "initialize" && a.is_base();
        asked.iter().filter(opens).count() >= 2
    });
}

#[test]
fn a_flood_of_changes_is_read_a_few_times() {
    let script = Script::start(|asked, stream| {
        if older(asked, stream, changing()) {
            return;
        }
        begin_events(stream);
        let until = std::time::Instant::now() + Duration::from_secs(2);
        while std::time::Instant::now() < until {
            for _ in 0..100 {
                event(stream, &notice(TOOLS, json!({})));
                event(
                    stream,
                    &notice("notifications/resources/updated", json!({"uri": "x:a"})),
                );
            }
        }
        std::thread::sleep(PATIENCE);
    });
    let gateway = script.gateway();
    let listener = Listener::open(&gateway, json!({"toolsListChanged": true}));
    listener.expect(TOOLS, None, PATIENCE);
    std::thread::sleep(Duration::from_secs(3));
    let told = listener.all(Duration::from_millis(500)).len();
    let read = count(&script, "tools/list");
    assert!((2..=15).contains(&read), "read {read} times");
    assert!(told <= read, "told {told} times");
}
