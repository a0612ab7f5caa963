//! The worker and the gateway's side understand each other.

use std::sync::Arc;
use std::time::Duration;

use serde_json::json;
use tokio::time::timeout;
use toolbus_mesh::worker::Settings;
use toolbus_model::{Backend, Error, Filter, Notice, Object, Outcome};

use crate::puppet::{Puppet, TOOLS, tool};
use crate::scene::{begin, call, harmless, mesh, remote, request, seed, worker};
use crate::server::Server;

const MIB: usize = 1024 * 1024;

fn puppet() -> Arc<Puppet> {
    let mut tools: Vec<_> = TOOLS.iter().map(|name| tool(name, "a tool")).collect();
    // One of them starts without the word.
    tools[0] = harmless("echo");
    Puppet::with(tools)
}

#[tokio::test]
async fn calls_of_both_modes_end_as_they_should() {
    let Some(server) = Server::start_plain().await else {
        return;
    };
    let puppet = puppet();
    let worker = worker(&server, &puppet, Settings::default()).await;
    let mesh = mesh(&server).await;
    let remote = remote(&mesh, 1).await;
    let offer = remote.offer().borrow().clone();
    assert_eq!((offer.tools.len(), offer.prompts.len()), (TOOLS.len(), 1));
    for (tool, arguments) in [("echo", json!({"a": 1})), ("sleep", json!({"ms": 120}))] {
        let result = call(&remote, tool, arguments.clone()).await.expect(tool);
        assert_eq!(result["structuredContent"], arguments);
    }
    assert_eq!(*puppet.caller.lock().expect("no panic"), "alice");
    let error = call(&remote, "fail", json!({})).await.expect_err("its own");
    let own = Error::Upstream {
        code: -32602,
        message: "its own words".into(),
        data: None,
    };
    assert_eq!(error, own);
    let error = call(&remote, "panic", json!({}))
        .await
        .expect_err("a panic");
    assert!(matches!(error, Error::Internal(_)), "{error}");
    for size in [900_000, 3 * MIB, 20 * MIB, 33 * MIB] {
        let result = call(&remote, "big", json!({ "bytes": size })).await;
        let text = result.expect("a large result")["structuredContent"]["text"].clone();
        assert_eq!(text.as_str().map(str::len), Some(size));
    }
    // A request of that size lies in the object store.
    let text = "y".repeat(2 * MIB);
    let result = call(&remote, "echo", json!({ "text": text }))
        .await
        .expect("echo");
    assert_eq!(result["structuredContent"]["text"], text);
    mesh.close().await;
    worker.drain().await;
}

#[tokio::test]
async fn notices_cancellation_and_questions_pass() {
    let Some(server) = Server::start_plain().await else {
        return;
    };
    let puppet = puppet();
    let worker = worker(&server, &puppet, Settings::default()).await;
    let mesh = mesh(&server).await;
    let remote = remote(&mesh, 1).await;
    let (taken, mut end) = begin();
    let outcome = remote.serve(request("progress", &json!({})), &taken).await;
    assert!(matches!(outcome, Ok(Outcome::Complete(_))), "{outcome:?}");
    for step in 1..=3 {
        let event = timeout(Duration::from_secs(30), end.events.recv()).await;
        let event = event.expect("in time").expect("a notice");
        assert_eq!(
            event.params.get("progress"),
            Some(step.to_string().as_bytes())
        );
    }
    let (taken, end) = begin();
    let asked = request("hang", &json!({}));
    let (outcome, ()) = tokio::join!(remote.serve(asked, &taken), async {
        while puppet.runs() < 2 {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
        end.cancel.cancel();
    });
    assert_eq!(outcome, Err(Error::Cancelled));
    assert_eq!(puppet.stops(), 1);
    let (taken, _end) = begin();
    let outcome = remote.serve(request("ask", &json!({})), &taken).await;
    let Ok(Outcome::InputRequired(asks)) = outcome else {
        panic!("{outcome:?}");
    };
    let state = asks.str("requestState").expect("a state").into_owned();
    assert_eq!(state, format!("{}:parked", worker.id()));
    let mut retry = request("echo", &json!({}));
    let params = json!({"name": "echo", "arguments": {}, "requestState": state});
    retry.params = Object::of(&params);
    let (taken, _end) = begin();
    let outcome = remote.serve(retry.clone(), &taken).await;
    assert!(matches!(outcome, Ok(Outcome::Complete(_))), "{outcome:?}");
    worker.drain().await;
    let (taken, _end) = begin();
    let lost = remote.serve(retry, &taken).await;
    assert!(matches!(lost, Err(Error::StateLost(_))), "{lost:?}");
    mesh.close().await;
}

#[tokio::test]
async fn changes_of_resources_are_told() {
    let Some(server) = Server::start_plain().await else {
        return;
    };
    let puppet = puppet();
    let worker = worker(&server, &puppet, Settings::default()).await;
    let mesh = mesh(&server).await;
    let remote = remote(&mesh, 1).await;
    let filter = Filter {
        resources: vec!["file:///a".into()],
        tasks: Vec::new(),
    };
    let seed = seed(false);
    let listening = remote.listen(filter.clone(), &seed).await;
    let mut listening = listening.expect("it listens");
    assert_eq!(listening.honoured, filter);
    for _ in 0..2 {
        let params = Object::of(&json!({"uri": "file:///a"}));
        let notices = puppet.notices.lock().expect("no panic").clone();
        let notice = Notice::Resource("file:///a".into(), params);
        notices.expect("a listener").try_send(notice).expect("told");
        let told = timeout(Duration::from_secs(30), listening.notices.recv()).await;
        let told = told.expect("in time");
        assert!(
            matches!(&told, Some(Notice::Resource(uri, _)) if &**uri == "file:///a"),
            "{told:?}"
        );
    }
    drop(listening);
    let gone = puppet.notices.lock().expect("no panic").clone();
    timeout(Duration::from_secs(10), gone.expect("a listener").closed())
        .await
        .expect("nobody listens any more");
    mesh.close().await;
    worker.drain().await;
}

/// Ten thousand tools: none has a subject of its own, and each can be called.
#[tokio::test]
async fn very_many_tools_are_listed_and_called() {
    const COUNT: usize = 10_000;
    let Some(server) = Server::start_plain().await else {
        return;
    };
    let tools = (0..COUNT).map(|n| harmless(&format!("tool_{n}")));
    let puppet = Puppet::with(tools.collect());
    let mut workers = Vec::new();
    for _ in 0..3 {
        workers.push(worker(&server, &puppet, Settings::default()).await);
    }
    let mesh = mesh(&server).await;
    let remote = remote(&mesh, workers.len()).await;
    let mut offer = remote.offer();
    let all = offer.wait_for(|offer| offer.tools.len() == COUNT);
    timeout(Duration::from_secs(60), all)
        .await
        .expect("all are listed")
        .expect("an offer");
    for tool in ["tool_0", "tool_5000", "tool_9999"] {
        let result = call(&remote, tool, json!({"a": 1})).await.expect(tool);
        assert_eq!(result["structuredContent"]["a"], 1);
    }
    mesh.close().await;
    for worker in workers {
        worker.drain().await;
    }
}
