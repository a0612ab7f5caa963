//! Results that are large, broken or not to be had, against workers that speak raw frames.

#[path = "caller/scripted.rs"]
#[allow(dead_code, reason = "each test file uses its part")]
mod scripted;

use bytes::Bytes;
use scripted::{Asked, Gateway, Offers, Running, Worker, request, result, subjects, text, tool};
use serde_json::json;
use toolbus_mesh::bus::Bus;
use toolbus_mesh::bus::local::Hub;
use toolbus_mesh::caller::Settings;
use toolbus_mesh::frame::{CHUNK, Control, Frame, WINDOW};
use toolbus_mesh::registry::bucket;
use toolbus_model::{Error, Object};

/// A call of a tool that may run twice, at its one worker.
async fn begun(settings: Settings) -> (std::sync::Arc<Hub>, Gateway, Worker, Running, Asked) {
    let hub = Hub::new();
    let mut worker = Worker::start(&hub, "w1", &Offers::of(&[tool("get", true)])).await;
    let gateway = Gateway::open_with(&hub, settings).await;
    let running = Running::begin(&gateway.server("math", 1).await, request("get"));
    let asked = worker.asked().await;
    (hub, gateway, worker, running, asked)
}

fn chunk(worker: &Worker, asked: &Asked, seq: u32, body: Bytes) {
    worker.say_with(asked, Frame::Chunk, |reply| {
        reply.seq = Some(seq);
        reply.body = body;
    });
}

#[tokio::test(start_paused = true)]
async fn a_result_in_chunks_is_joined_and_its_worker_credited() {
    let (_hub, _gateway, mut worker, running, asked) = begun(Settings::default()).await;
    let whole = result(&"x".repeat(20 * CHUNK));
    let (mut window, mut sent) = (WINDOW, 0);
    for piece in (0..whole.len()).step_by(CHUNK) {
        if window == 0 {
            let told = worker.told().await;
            let Control::Credit(more) = told.control else {
                panic!("{:?}", told.control);
            };
            window += more;
        }
        let end = whole.len().min(piece + CHUNK);
        chunk(&worker, &asked, sent, whole.slice(piece..end));
        (window, sent) = (window - 1, sent + 1);
    }
    worker.say_with(&asked, Frame::End, |reply| reply.seq = Some(sent));
    assert_eq!(text(&running.outcome().await).len(), 20 * CHUNK);
}

#[tokio::test(start_paused = true)]
async fn chunks_that_are_missing_doubled_or_too_many_are_said_so() {
    let x = || Bytes::from_static(b"x");
    for (numbers, end, why) in [
        (&[0, 2][..], 3, "chunk 1 was due and 2 came"),
        (&[0, 0], 2, "chunk 1 was due and 0 came"),
        (&[0, 1], 3, "2 chunks came and 3 were sent"),
        (&[], 1, "0 chunks came and 1 were sent"),
    ] {
        let (_hub, _gateway, worker, running, asked) = begun(Settings::default()).await;
        for seq in numbers {
            chunk(&worker, &asked, *seq, x());
        }
        worker.say_with(&asked, Frame::End, |reply| reply.seq = Some(end));
        let error = running.outcome().await.expect_err("incomplete");
        assert!(matches!(error, Error::OutcomeUnknown(_)), "{error}");
        assert!(error.to_string().contains(why), "{error}");
    }
    let (_hub, _gateway, worker, running, asked) = begun(Settings::default()).await;
    for seq in 0..1_000 {
        chunk(&worker, &asked, seq, x());
    }
    let error = running.outcome().await.expect_err("too many");
    assert!(
        error
            .to_string()
            .contains("the worker sends more than it may"),
        "{error}"
    );
}

#[tokio::test(start_paused = true)]
async fn a_result_in_the_object_store_is_fetched_and_put_away() {
    let (_hub, _gateway, worker, running, asked) = begun(Settings::default()).await;
    let store = worker
        .bus
        .objects(&subjects().bucket(bucket::OBJECTS))
        .await
        .expect("a store");
    let large = "y".repeat(3_000_000);
    store.put("r1", result(&large)).await.expect("put");
    worker.say_with(&asked, Frame::End, |reply| {
        reply.object = Some("r1".to_owned())
    });
    assert_eq!(text(&running.outcome().await), large);
    assert!(
        store.get("r1", 10_000_000).await.is_err(),
        "it was not put away"
    );
}

#[tokio::test(start_paused = true)]
async fn a_result_above_the_limit_or_missing_is_said_so() {
    let settings = Settings {
        largest_object: 1_000,
        ..Settings::default()
    };
    let (_hub, _gateway, worker, running, asked) = begun(settings).await;
    let store = worker
        .bus
        .objects(&subjects().bucket(bucket::OBJECTS))
        .await
        .expect("a store");
    store
        .put("r1", result(&"y".repeat(2_000)))
        .await
        .expect("put");
    worker.say_with(&asked, Frame::End, |reply| {
        reply.object = Some("r1".to_owned())
    });
    let error = running.outcome().await.expect_err("too large").to_string();
    assert!(
        error.contains("object \"r1\" has") && error.contains("no more than 1000"),
        "{error}"
    );
    let (_hub, _gateway, worker, running, asked) = begun(Settings::default()).await;
    worker.say_with(&asked, Frame::End, |reply| {
        reply.object = Some("r2".to_owned())
    });
    let error = running.outcome().await.expect_err("missing").to_string();
    assert!(error.contains("no object \"r2\""), "{error}");
}

#[tokio::test(start_paused = true)]
async fn a_request_that_is_too_large_for_a_message_lies_in_the_object_store() {
    let hub = Hub::new();
    let mut worker = Worker::start(&hub, "w1", &Offers::of(&[tool("get", true)])).await;
    let gateway = Gateway::open(&hub).await;
    let mut large = request("get");
    large.params = Object::of(&json!({"name": "get", "arguments": {"a": "z".repeat(2_000_000)}}));
    let running = Running::begin(&gateway.server("math", 1).await, large);
    let asked = worker.asked().await;
    let object = asked.ask.object.as_deref().expect("an object");
    let store = worker
        .bus
        .objects(&subjects().bucket(bucket::OBJECTS))
        .await
        .expect("a store");
    let body = store.get(object, 10_000_000).await.expect("the request");
    let body: serde_json::Value = serde_json::from_slice(&body).expect("JSON");
    assert_eq!(
        body["params"]["arguments"]["a"].as_str().map(str::len),
        Some(2_000_000)
    );
    worker.end(&asked, "taken");
    assert_eq!(text(&running.outcome().await), "taken");
    assert!(
        store.get(object, 10_000_000).await.is_err(),
        "it was not put away"
    );
}

#[tokio::test(start_paused = true)]
async fn what_is_no_response_names_the_worker() {
    for body in ["", "{\"jsonrpc\"", "[1]", "\u{fffd}\0"] {
        let (_hub, _gateway, worker, running, asked) = begun(Settings::default()).await;
        worker.say_with(&asked, Frame::End, |reply| reply.body = body.into());
        let error = running.outcome().await.expect_err("garbage").to_string();
        assert!(
            error.starts_with("the worker w1 answered with what is no JSON-RPC response"),
            "{error}"
        );
    }
    let (_hub, _gateway, worker, running, asked) = begun(Settings::default()).await;
    worker.say_with(&asked, Frame::End, |reply| reply.attempt = 77);
    worker.end(&asked, "of this attempt");
    assert_eq!(text(&running.outcome().await), "of this attempt");
}

#[tokio::test(start_paused = true)]
async fn an_error_of_the_tools_server_passes_as_it_is() {
    let (_hub, _gateway, worker, running, asked) = begun(Settings::default()).await;
    let body =
        r#"{"jsonrpc":"2.0","id":1,"error":{"code":-32099,"message":"mine","data":{"a":[1]}}}"#;
    worker.say_with(&asked, Frame::Err, |reply| reply.body = body.into());
    let Err(Error::Upstream {
        code,
        message,
        data,
    }) = running.outcome().await
    else {
        panic!("another error");
    };
    assert_eq!((code, message.as_str()), (-32099, "mine"));
    assert_eq!(data.expect("data").bytes(), br#"{"a":[1]}"#);
}
