//! How fast calls are, beside plain requests and replies on the same server in the same run. Not part of the test run:
//! `cargo test --release -p toolbus-mesh --test caller_speed -- --ignored --nocapture`.

#[path = "caller/scripted.rs"]
#[allow(dead_code, reason = "each test file uses its part")]
mod scripted;
#[path = "bus/server.rs"]
#[allow(dead_code, reason = "each test file uses its part")]
mod server;

use std::collections::HashMap;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use bytes::Bytes;
use scripted::{seed, subjects};
use serde_json::json;
use server::Server;
use tokio::sync::{oneshot, watch};
use tokio::time::{sleep, timeout};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use toolbus_mesh::bus::nats::NatsBus;
use toolbus_mesh::bus::{Bus, Message};
use toolbus_mesh::caller::{Mesh, Remote, Settings};
use toolbus_mesh::frame::Start;
use toolbus_mesh::worker::{self, Given, ServerOptions, Worker};
use toolbus_model::{
    Backend, BoxFuture, Call, Error, Health, Item, Method, Object, Offer, Outcome, Request,
    ServerName,
};

const EACH: Duration = Duration::from_secs(3);

/// Answers at once with what is about 200 bytes.
struct Echo {
    offer: watch::Sender<Arc<Offer>>,
    result: Object,
}

impl Backend for Echo {
    fn offer(&self) -> watch::Receiver<Arc<Offer>> {
        self.offer.subscribe()
    }

    fn serve<'a>(&'a self, _: Request, _: &'a Call) -> BoxFuture<'a, Result<Outcome, Error>> {
        Box::pin(async { Ok(Outcome::Complete(self.result.clone())) })
    }

    fn stop(&self) -> BoxFuture<'_, ()> {
        Box::pin(async {})
    }
}

fn echo() -> Echo {
    let item = |name: &str| Item {
        key: name.into(),
        definition: Object::of(&json!({"name": name, "inputSchema": {"type": "object"}})),
    };
    let offer = Offer {
        tools: vec![item("echo"), item("claimed")],
        capabilities: Some(Object::of(&json!({"tools": {}}))),
        health: Health::Up,
        ..Offer::default()
    };
    let text = "x".repeat(140);
    let result = json!({"content": [{"type": "text", "text": text}]});
    Echo {
        offer: watch::Sender::new(Arc::new(offer)),
        result: Object::of(&result),
    }
}

/// Calls per second of this many callers.
async fn rate<F>(callers: usize, once: impl Fn() -> F + Clone + Send + 'static) -> f64
where
    F: Future<Output = ()> + Send + 'static,
{
    let (count, stop) = (
        Arc::new(AtomicU64::new(0)),
        Arc::new(AtomicBool::new(false)),
    );
    let tasks = TaskTracker::new();
    for _ in 0..callers {
        let (once, count, stop) = (once.clone(), Arc::clone(&count), Arc::clone(&stop));
        tasks.spawn(async move {
            while !stop.load(Ordering::Relaxed) {
                once().await;
                count.fetch_add(1, Ordering::Relaxed);
            }
        });
    }
    sleep(EACH / 4).await;
    let (before, begun) = (count.load(Ordering::Relaxed), Instant::now());
    sleep(EACH).await;
    let made = count.load(Ordering::Relaxed) - before;
    let rate = made as f64 / begun.elapsed().as_secs_f64();
    stop.store(true, Ordering::Relaxed);
    tasks.close();
    tasks.wait().await;
    rate
}

type Waiting = Mutex<HashMap<u64, oneshot::Sender<Message>>>;

/// Requests and replies without anything: one inbox, and a table of who waits.
async fn raw(bus: &Arc<NatsBus>, other: &Arc<NatsBus>, callers: usize) -> f64 {
    let tasks = TaskTracker::new();
    let mut asked = other
        .subscribe("raw", None, 65_536)
        .await
        .expect("subscribed");
    let echo = Arc::clone(other);
    let answering = tasks.spawn(async move {
        while let Some(message) = asked.next().await {
            let _ = echo.send(Message {
                subject: message.reply.unwrap_or_default(),
                payload: message.payload,
                ..Message::default()
            });
        }
    });
    let (inbox, waiting, next) = (
        bus.inbox(),
        Arc::<Waiting>::default(),
        Arc::new(AtomicU64::new(0)),
    );
    let mut replies = bus
        .subscribe(&format!("{inbox}.*"), None, 65_536)
        .await
        .expect("subscribed");
    let table = Arc::clone(&waiting);
    let reading = tasks.spawn(async move {
        while let Some(message) = replies.next().await {
            let token = message
                .subject
                .rsplit('.')
                .next()
                .and_then(|token| token.parse().ok());
            let waiter = token.and_then(|token| table.lock().expect("no panic").remove(&token));
            if let Some(waiter) = waiter {
                let _ = waiter.send(message);
            }
        }
    });
    let (bus, payload) = (Arc::clone(bus), Bytes::from(vec![b'x'; 200]));
    let rate = rate(callers, move || {
        let (bus, waiting, payload) = (Arc::clone(&bus), Arc::clone(&waiting), payload.clone());
        let token = next.fetch_add(1, Ordering::Relaxed);
        let reply = format!("{inbox}.{token}");
        async move {
            let (sender, answer) = oneshot::channel();
            waiting.lock().expect("no panic").insert(token, sender);
            let subject = "raw".to_owned();
            let message = Message {
                subject,
                reply: Some(reply),
                payload,
                ..Message::default()
            };
            bus.send(message).expect("sent");
            answer.await.expect("an answer");
        }
    })
    .await;
    answering.abort();
    reading.abort();
    rate
}

async fn called(remote: &Arc<Remote>, tool: &'static str, callers: usize) -> f64 {
    let remote = Arc::clone(remote);
    let params = Object::of(&json!({"name": tool, "arguments": {"text": "x".repeat(100)}}));
    rate(callers, move || {
        let (remote, params) = (Arc::clone(&remote), params.clone());
        async move {
            let (call, _end) = Call::begin(seed(), CancellationToken::new());
            let request = Request {
                method: Method::ToolsCall,
                target: Some(tool.into()),
                params,
                meta: Object::empty(),
            };
            remote.serve(request, &call).await.expect("a result");
        }
    })
    .await
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "it measures"]
async fn speed() {
    let Some(server) = Server::start_plain().await else {
        return;
    };
    let connect = async || {
        NatsBus::connect(server.settings())
            .await
            .expect("connected")
    };
    let (one, other) = (connect().await, connect().await);
    let math = ServerName::parse("math").expect("a name");
    let given: Given = (math, Arc::new(echo()), ServerOptions::default());
    let settings = worker::Settings::default();
    let worker = Worker::start(connect().await, subjects(), vec![given], settings)
        .await
        .expect("a worker");
    let settings = Settings {
        starts: [("math.echo".to_owned(), Start::Direct)].into(),
        ..Settings::default()
    };
    let mesh = Mesh::open(connect().await, subjects(), settings)
        .await
        .expect("a mesh");
    let mut found = mesh.found();
    let known = timeout(
        Duration::from_secs(10),
        found.wait_for(|found| !found.servers.is_empty()),
    );
    let remote = Arc::clone(&known.await.expect("in time").expect("open").servers[0]);
    for callers in [1, 16, 64] {
        let raw = raw(&one, &other, callers).await;
        let direct = called(&remote, "echo", callers).await;
        let claim = called(&remote, "claimed", callers).await;
        #[expect(clippy::print_stderr, reason = "it measures")]
        {
            eprintln!(
                "{callers:>3} callers: raw {raw:.0}/s, direct {direct:.0}/s ({:.0} %), claim {claim:.0}/s ({:.0} %)",
                100.0 * direct / raw,
                100.0 * claim / raw
            );
        }
    }
    worker.drain().await;
    mesh.close().await;
}
