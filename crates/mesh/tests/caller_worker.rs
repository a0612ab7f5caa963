//! Both ends of the mesh together: real workers, a gateway's back end, in process and over a real nats-server.

#[path = "worker/puppet.rs"]
#[allow(dead_code, reason = "each test file uses its part")]
mod puppet;
#[path = "caller/scripted.rs"]
#[allow(dead_code, reason = "each test file uses its part")]
mod scripted;
#[path = "bus/server.rs"]
#[allow(dead_code, reason = "each test file uses its part")]
mod server;

use std::sync::Arc;
use std::time::{Duration, Instant};

use puppet::Puppet;
use scripted::{Running, seed, subjects};
use serde_json::{Value, json};
use server::Server;
use tokio::time::{sleep, timeout};
use toolbus_mesh::bus::Bus;
use toolbus_mesh::bus::local::Hub;
use toolbus_mesh::bus::nats::{Credentials, NatsBus, Settings as NatsSettings};
use toolbus_mesh::caller::{Mesh, Remote, Settings};
use toolbus_mesh::frame::Start;
use toolbus_mesh::worker::{self, Given, ServerOptions, Worker};
use toolbus_model::{Backend, Error, Filter, Method, Notice, Object, Outcome, Request, ServerName};

const SOON: Duration = Duration::from_secs(30);

/// What carries the calls of one test.
enum Carrier {
    Hub(Arc<Hub>),
    Nats(Server),
}

impl Carrier {
    async fn both() -> Vec<Self> {
        let mut all = vec![Self::Hub(Hub::new())];
        all.extend(Server::start_plain().await.map(Self::Nats));
        all
    }

    async fn connect(&self) -> Arc<dyn Bus> {
        match self {
            Self::Hub(hub) => hub.connect(),
            Self::Nats(server) => NatsBus::connect(server.settings())
                .await
                .expect("connected"),
        }
    }

    async fn worker(&self, puppet: &Arc<Puppet>, options: ServerOptions) -> Worker {
        let math = ServerName::parse("math").expect("a name");
        let given: Given = (math, Arc::clone(puppet) as _, options);
        let started = Worker::start(
            self.connect().await,
            subjects(),
            vec![given],
            worker::Settings::default(),
        );
        started.await.expect("a worker")
    }

    async fn mesh(&self) -> Mesh {
        let starts = [("math.echo".to_owned(), Start::Direct)].into();
        let settings = Settings {
            starts,
            ..Settings::default()
        };
        Mesh::open(self.connect().await, subjects(), settings)
            .await
            .expect("a mesh")
    }
}

/// The server, once this many workers have it.
async fn found(mesh: &Mesh, workers: usize) -> Arc<Remote> {
    let looking = async {
        loop {
            let found = mesh.found().borrow().clone();
            match found.servers.first() {
                Some(server) if server.workers().len() == workers => return Arc::clone(server),
                _ => sleep(Duration::from_millis(5)).await,
            }
        }
    };
    timeout(SOON, looking).await.expect("found")
}

fn tool(name: &str, arguments: &Value) -> Request {
    Request {
        method: Method::ToolsCall,
        target: Some(name.into()),
        params: Object::of(&json!({"name": name, "arguments": arguments})),
        meta: Object::empty(),
    }
}

async fn call(server: &Arc<Remote>, name: &str, arguments: Value) -> Result<Value, Error> {
    let outcome = Running::begin(server, tool(name, &arguments))
        .outcome()
        .await?;
    let value: Value = outcome.object().to_raw().read().expect("JSON");
    Ok(value["structuredContent"].clone())
}

#[tokio::test(flavor = "multi_thread")]
async fn calls_of_both_kinds_run_once_and_errors_pass() {
    for carrier in Carrier::both().await {
        let puppet = Puppet::new();
        let worker = carrier.worker(&puppet, ServerOptions::default()).await;
        let mesh = carrier.mesh().await;
        let server = found(&mesh, 1).await;
        for tool in ["echo", "sleep"] {
            let arguments = json!({"ms": 1, "a": [1.50]});
            assert_eq!(call(&server, tool, arguments.clone()).await, Ok(arguments));
        }
        assert_eq!(puppet.runs(), 2);
        assert_eq!(*puppet.caller.lock().expect("no panic"), "ci");
        let error = call(&server, "fail", json!({}))
            .await
            .expect_err("it fails");
        assert!(
            matches!(error, Error::Upstream { code: -32602, .. }),
            "{error}"
        );
        worker.drain().await;
        mesh.close().await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn results_of_every_size_come_whole() {
    for carrier in Carrier::both().await {
        let puppet = Puppet::new();
        let worker = carrier.worker(&puppet, ServerOptions::default()).await;
        let mesh = carrier.mesh().await;
        let server = found(&mesh, 1).await;
        for bytes in [1_000, 1_040_000, 1_100_000, 20 << 20, 40 << 20] {
            let result = call(&server, "big", json!({ "bytes": bytes }))
                .await
                .expect("a result");
            assert_eq!(result["text"].as_str().map(str::len), Some(bytes));
        }
        let large = json!({"text": "y".repeat(3 << 20)});
        assert_eq!(call(&server, "echo", large.clone()).await, Ok(large));
        worker.drain().await;
        mesh.close().await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn progress_comes_back_and_a_cancellation_gets_there() {
    for carrier in Carrier::both().await {
        let puppet = Puppet::new();
        let worker = carrier.worker(&puppet, ServerOptions::default()).await;
        let mesh = carrier.mesh().await;
        let server = found(&mesh, 1).await;
        let mut running = Running::begin(&server, tool("progress", &json!({})));
        for step in 1..=3 {
            let event = timeout(SOON, running.end.events.recv())
                .await
                .expect("in time");
            let progress = event.expect("a notice").params.raw("progress");
            assert_eq!(
                progress.and_then(|raw| raw.read::<f64>().ok()),
                Some(f64::from(step))
            );
        }
        running.outcome().await.expect("done");
        let running = Running::begin(&server, tool("hang", &json!({})));
        let begun = async {
            while worker.in_flight() == 0 || puppet.runs() < 2 {
                sleep(Duration::from_millis(5)).await;
            }
        };
        timeout(SOON, begun).await.expect("it runs");
        running.call.cancel();
        let begun = Instant::now();
        assert!(running.outcome().await.is_err());
        // A call that has to be killed takes five.
        assert!(begun.elapsed() < Duration::from_secs(4));
        assert_eq!(puppet.stops(), 1);
        worker.drain().await;
        mesh.close().await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_parked_call_goes_on_at_its_worker() {
    for carrier in Carrier::both().await {
        let puppets = [Puppet::new(), Puppet::new()];
        let workers = [
            carrier.worker(&puppets[0], ServerOptions::default()).await,
            carrier.worker(&puppets[1], ServerOptions::default()).await,
        ];
        let mesh = carrier.mesh().await;
        let server = found(&mesh, 2).await;
        let asked = Running::begin(&server, tool("ask", &json!({})))
            .outcome()
            .await;
        let Ok(Outcome::InputRequired(question)) = asked else {
            panic!("{asked:?}");
        };
        let state = question.str("requestState").expect("a state").into_owned();
        let holder = usize::from(puppets[1].runs() == 1);
        assert_eq!(state, format!("{}:parked", workers[holder].id()));
        for round in 2..6 {
            let mut retry = tool("echo", &json!({}));
            retry.params =
                Object::of(&json!({"name": "echo", "arguments": {}, "requestState": state}));
            Running::begin(&server, retry)
                .outcome()
                .await
                .expect("it goes on");
            assert_eq!(puppets[holder].runs(), round);
        }
        for worker in workers {
            worker.drain().await;
        }
        mesh.close().await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn changes_of_resources_are_told_by_all_workers_also_by_later_ones() {
    for carrier in Carrier::both().await {
        let first = Puppet::new();
        let worker = carrier.worker(&first, ServerOptions::default()).await;
        let mesh = carrier.mesh().await;
        let server = found(&mesh, 1).await;
        let filter = Filter {
            resources: vec!["a:b".into()],
            tasks: Vec::new(),
        };
        let listening = timeout(SOON, server.listen(filter.clone(), &seed())).await;
        let mut listening = listening.expect("in time").expect("listening");
        assert_eq!(listening.honoured, filter);
        let second = Puppet::new();
        let later = carrier.worker(&second, ServerOptions::default()).await;
        for puppet in [&first, &second] {
            let asked = async {
                loop {
                    let sender = puppet.notices.lock().expect("no panic").take();
                    match sender {
                        Some(sender) => break sender,
                        None => sleep(Duration::from_millis(5)).await,
                    }
                }
            };
            let sender = timeout(SOON, asked).await.expect("it is asked");
            let params = Object::of(&json!({"uri": "a:b"}));
            let notice = Notice::Resource("a:b".into(), params.clone());
            sender.send(notice).await.expect("it listens");
            let told = timeout(SOON, listening.notices.recv())
                .await
                .expect("in time");
            let Some(Notice::Resource(uri, _)) = told else {
                panic!("{told:?}");
            };
            assert_eq!(&*uri, "a:b");
            *puppet.notices.lock().expect("no panic") = Some(sender);
        }
        drop(listening);
        let left = async {
            while worker.in_flight() + later.in_flight() > 0 {
                sleep(Duration::from_millis(5)).await;
            }
        };
        timeout(SOON, left)
            .await
            .expect("nobody is listened to any more");
        worker.drain().await;
        later.drain().await;
        mesh.close().await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn while_workers_come_and_drain_no_call_is_lost() {
    for carrier in Carrier::both().await {
        let puppet = Puppet::new();
        let mut worker = carrier.worker(&puppet, ServerOptions::default()).await;
        let mesh = carrier.mesh().await;
        let server = found(&mesh, 1).await;
        let done = tokio_util::sync::CancellationToken::new();
        let tasks = tokio_util::task::TaskTracker::new();
        let callers: Vec<_> = (0..8)
            .map(|n| {
                let (server, done) = (Arc::clone(&server), done.clone());
                tasks.spawn(async move {
                    let mut calls = 0_usize;
                    while !done.is_cancelled() {
                        let tool = if n % 2 == 0 { "echo" } else { "sleep" };
                        let answer = call(&server, tool, json!({"ms": 1, "n": n})).await;
                        assert_eq!(answer.expect("an answer")["n"], n);
                        calls += 1;
                    }
                    calls
                })
            })
            .collect();
        for _ in 0..6 {
            let next = carrier.worker(&puppet, ServerOptions::default()).await;
            sleep(Duration::from_millis(300)).await;
            std::mem::replace(&mut worker, next).drain().await;
        }
        done.cancel();
        let mut calls = 0;
        for caller in callers {
            calls += timeout(SOON, caller)
                .await
                .expect("in time")
                .expect("no panic");
        }
        assert_eq!(puppet.runs(), calls);
        worker.drain().await;
        mesh.close().await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_the_server_does_not_permit_is_said_at_once() {
    let config = r#"
jetstream { store_dir: "{folder}/store" }
authorization { users: [
  { user: all, password: x }
  { user: mute, password: x, permissions: { publish: { deny: ["toolbus.v1.inst.>", "toolbus.v1.tool.>"] } } }
  { user: half, password: x, permissions: { publish: { deny: ["toolbus.v1.ctl.>"] } } }
] }"#;
    let Some(server) = Server::start(config).await else {
        return;
    };
    let connect = async |user: &str| {
        let settings = NatsSettings {
            credentials: Credentials::User(user.to_owned(), "x".to_owned()),
            ..server.settings()
        };
        NatsBus::connect(settings).await.expect("connected")
    };
    let math = ServerName::parse("math").expect("a name");
    let puppet = Puppet::new();
    let given: Given = (math, Arc::clone(&puppet) as _, ServerOptions::default());
    let worker = Worker::start(
        connect("all").await,
        subjects(),
        vec![given],
        worker::Settings::default(),
    );
    let worker = worker.await.expect("a worker");
    for (user, subject) in [("mute", "toolbus.v1.inst."), ("half", "toolbus.v1.ctl.")] {
        let mesh = Mesh::open(connect(user).await, subjects(), Settings::default()).await;
        let mesh = mesh.expect("a mesh");
        let remote = found(&mesh, 1).await;
        let mut quickest = Duration::MAX;
        let mut error = Error::Cancelled;
        // Others use the machine too: what can be quick is so once in a few times.
        for _ in 0..5 {
            let begun = Instant::now();
            error = call(&remote, "echo", json!({})).await.expect_err("denied");
            quickest = quickest.min(begun.elapsed());
        }
        assert!(quickest < Duration::from_millis(900), "{quickest:?}");
        assert!(matches!(error, Error::Unavailable(_)), "{error}");
        let text = error.to_string();
        assert!(
            text.contains("does not permit this gateway to publish") && text.contains(subject),
            "{text}"
        );
        mesh.close().await;
    }
    assert_eq!(puppet.runs(), 0);
    worker.drain().await;
}
