//! The configuration in `examples/two-tenants`: each role can do its work and nothing else, and tenants do not see each
//! other, also over a leaf node.

#[path = "bus/contract/all.rs"]
#[allow(
    dead_code,
    unused_macros,
    unused_imports,
    reason = "each test file uses its part"
)]
mod contract;
#[path = "worker/puppet.rs"]
#[allow(dead_code, reason = "each test file uses its part")]
mod puppet;
#[path = "caller/scripted.rs"]
#[allow(dead_code, unreachable_pub, reason = "each test file uses its part")]
mod scripted;
#[path = "bus/server.rs"]
#[allow(dead_code, reason = "each test file uses its part")]
mod server;

use std::sync::Arc;
use std::time::Duration;

use contract::{QUIET, SOON, message, next};
use puppet::{Puppet, tool};
use scripted::Running;
use serde_json::{Value, json};
use server::Server;
use tokio::sync::broadcast::error::TryRecvError;
use tokio::time::{sleep, timeout};
use toolbus_mesh::bus::nats::{Credentials, NatsBus, Settings};
use toolbus_mesh::bus::{BucketSettings, Bus, BusError, Change, Message, Subscription};
use toolbus_mesh::caller::{self, Mesh, Remote};
use toolbus_mesh::frame::Control;
use toolbus_mesh::subject::Subjects;
use toolbus_mesh::worker::{self, ServerOptions, Worker, WorkerId};
use toolbus_model::{Method, Object, Request, ServerName};

/// Workers may have to wait until a gateway has made the buckets.
const SETTLED: Duration = Duration::from_secs(60);

const PASSWORDS: [(&str, &str); 7] = [
    ("ACME_GATEWAY", "pw-acme-gateway"),
    ("ACME_WORKER", "pw-acme-worker"),
    ("ACME_OPERATOR", "pw-acme-operator"),
    ("ACME_LEAF", "pw-acme-leaf"),
    ("GLOBEX_GATEWAY", "pw-globex-gateway"),
    ("GLOBEX_WORKER", "pw-globex-worker"),
    ("GLOBEX_OPERATOR", "pw-globex-operator"),
];

/// A file of the example, with ports and folders of its own.
fn example(name: &str) -> String {
    let path = format!(
        "{}/../../examples/two-tenants/{name}",
        env!("CARGO_MANIFEST_DIR")
    );
    let text = std::fs::read_to_string(&path).expect("the example");
    let own_port = |line: &&str| !line.starts_with("listen:");
    let text: Vec<&str> = text.lines().filter(own_port).collect();
    text.join("\n")
        .replace("127.0.0.1:7422", "127.0.0.1:-1")
        .replace("./two-tenants", "{folder}/store")
}

async fn hub() -> Option<Server> {
    Server::start_with(&example("nats.conf"), &PASSWORDS).await
}

async fn connect(server: &Server, tenant: &str, role: &str) -> Arc<NatsBus> {
    let settings = Settings {
        credentials: Credentials::User(format!("{tenant}-{role}"), format!("pw-{tenant}-{role}")),
        inbox_prefix: format!("_INBOX_{role}"),
        ..server.settings()
    };
    NatsBus::connect(settings).await.expect("connected")
}

fn subjects() -> Subjects {
    Subjects::new("toolbus", "_").expect("subjects")
}

async fn serve(bus: &Arc<NatsBus>, puppet: &Arc<Puppet>) -> Worker {
    serve_as(bus, puppet, worker::Settings::default())
        .await
        .expect("a worker")
}

async fn serve_as(
    bus: &Arc<NatsBus>,
    puppet: &Arc<Puppet>,
    settings: worker::Settings,
) -> Result<Worker, BusError> {
    let math = ServerName::parse("math").expect("a name");
    let given = (math, Arc::clone(puppet) as _, ServerOptions::default());
    Worker::start(Arc::clone(bus) as _, subjects(), vec![given], settings).await
}

async fn open(bus: &Arc<NatsBus>) -> Mesh {
    let mesh = Mesh::open(
        Arc::clone(bus) as _,
        subjects(),
        caller::Settings::default(),
    );
    let mesh = mesh.await.expect("a mesh");
    // Only then the buckets are there, which a worker may not make.
    let mut found = mesh.found();
    let settled = found.wait_for(|found| found.is_settled);
    let settled = timeout(SETTLED, settled).await;
    drop(settled.expect("it settles").expect("the catalog is kept"));
    mesh
}

async fn found(mesh: &Mesh) -> Arc<Remote> {
    let looking = async {
        loop {
            let found = mesh.found().borrow().clone();
            match found.servers.first() {
                Some(server) if !server.workers().is_empty() => return Arc::clone(server),
                _ => sleep(Duration::from_millis(20)).await,
            }
        }
    };
    timeout(SETTLED, looking).await.expect("a server is found")
}

async fn call(server: &Arc<Remote>, name: &str, arguments: Value) -> Value {
    let request = Request {
        method: Method::ToolsCall,
        target: Some(name.into()),
        params: Object::of(&json!({"name": name, "arguments": arguments})),
        meta: Object::empty(),
    };
    let outcome = timeout(SOON, Running::begin(server, request).outcome()).await;
    let outcome = outcome.expect("in time").expect("an outcome");
    let value: Value = outcome.object().to_raw().read().expect("JSON");
    value["structuredContent"].clone()
}

/// A puppet with a definition that is too large for a value.
fn puppet() -> Arc<Puppet> {
    Puppet::with(vec![
        tool("echo", "short"),
        tool("big", "short"),
        tool("large", &"x".repeat(100_000)),
    ])
}

#[tokio::test(flavor = "multi_thread")]
async fn each_role_can_do_its_work() {
    let Some(server) = hub().await else { return };
    let (working, calling) = (
        connect(&server, "acme", "worker").await,
        connect(&server, "acme", "gateway").await,
    );
    let operating = connect(&server, "acme", "operator").await;
    let mut denials = [working.denied(), calling.denied(), operating.denied()];
    let mesh = open(&calling).await;
    let puppet = puppet();
    let worker = serve(&working, &puppet).await;
    let remote = found(&mesh).await;
    assert_eq!(
        call(&remote, "echo", json!({"a": 1})).await,
        json!({"a": 1})
    );
    let big = call(&remote, "big", json!({"bytes": 3_000_000})).await;
    assert_eq!(big["text"].as_str().map(str::len), Some(3_000_000));
    let offered = toolbus_model::Backend::offer(&*remote).borrow().clone();
    assert!(
        offered.tools.iter().any(|tool| &*tool.key == "large"),
        "its definition is in the object store"
    );
    operate(&operating, &worker).await;
    timeout(SOON, worker.closed())
        .await
        .expect("it was drained");
    for denied in &mut denials {
        assert_eq!(
            denied.try_recv(),
            Err(TryRecvError::Empty),
            "nothing of it was denied"
        );
    }
}

/// What `toolbus workers` does: looks at them, and has one drain.
async fn operate(bus: &Arc<NatsBus>, worker: &Worker) {
    let bucket = bus
        .bucket("TOOLBUS_WORKERS", BucketSettings::default())
        .await
        .expect("a bucket");
    let mut changes = bucket.watch("_.>").await.expect("a watch");
    let key = format!("_.{}", worker.id());
    while !matches!(contract::buckets::told(&mut changes).await, Change::Put(told, ..) if told == key)
    {
    }
    assert!(bucket.get(&key).await.expect("readable").is_some());
    let mut beats = bus
        .subscribe("toolbus.v1.hb.*", None, 64)
        .await
        .expect("a subscription");
    next(&mut beats).await;
    let (mut answers, inbox) = inbox(bus).await;
    let ping = Message {
        reply: Some(inbox.clone()),
        ..message("$SRV.PING", "")
    };
    bus.send(ping).expect("sent");
    assert!(!next(&mut answers).await.no_responders);
    let drain = Message {
        reply: Some(inbox),
        headers: Control::Drain.headers(None),
        ..message(&subjects().control(worker.id()), "")
    };
    bus.send(drain).expect("sent");
    assert!(!next(&mut answers).await.no_responders);
}

async fn inbox(bus: &Arc<NatsBus>) -> (Subscription, String) {
    let inbox = bus.inbox();
    let answers = bus
        .subscribe(&inbox, None, 64)
        .await
        .expect("its own inbox");
    (answers, inbox)
}

/// A role, subjects that it must not publish to, and those (with a queue group) that it must not subscribe to.
type Forbidden = (
    &'static str,
    &'static [&'static str],
    &'static [(&'static str, Option<&'static str>)],
);

/// What each role must not publish, and not subscribe to.
const FORBIDDEN: [Forbidden; 3] = [
    (
        "worker",
        &[
            "toolbus.v1.tool._.math=2Eecho.invoke",
            "toolbus.v1.server._.math.prompts=2Fget",
            "toolbus.v1.inst._.0123456789ab.math=2Eecho",
            "toolbus.v1.ctl._.0123456789ab",
            "toolbus.v1.gw.g",
            "_INBOX_gateway.x.1",
            "$KV.TOOLBUS_TOOLS.other.x",
            "$KV.TOOLBUS_GONE._.session",
            "$KV.TOOLBUS_PINS._.x",
            "$JS.API.STREAM.CREATE.KV_TOOLBUS_TOOLS",
            "$JS.API.STREAM.DELETE.KV_TOOLBUS_TOOLS",
            "$JS.API.STREAM.PURGE.KV_TOOLBUS_TOOLS",
            "$JS.API.STREAM.NAMES",
            "$SRV.PING",
        ],
        &[
            (">", None),
            ("toolbus.>", None),
            ("toolbus.v1.tool._.*.invoke", None),
            ("toolbus.v1.tool._.math=2Eecho.invoke", None),
            ("toolbus.v1.tool._.math=2Eecho.invoke", Some("spies")),
            ("toolbus.v1.tool.other.*.invoke", Some("workers")),
            ("toolbus.v1.gw.*", None),
            ("toolbus.v1.hb.*", None),
            ("_INBOX_gateway.>", None),
            ("_INBOX.>", None),
            ("$KV.>", None),
        ],
    ),
    (
        "gateway",
        &[
            "toolbus.v1.hb.0123456789ab",
            "toolbus.v1.tool.other.math=2Eecho.invoke",
            "$KV.TOOLBUS_TOOLS._.math=2Eecho.0123456789abcdef",
            "$KV.TOOLBUS_WORKERS._.0123456789ab",
            "$JS.API.STREAM.DELETE.KV_TOOLBUS_TOOLS",
            "$JS.API.STREAM.UPDATE.KV_TOOLBUS_TOOLS",
            "$JS.API.STREAM.CREATE.MINE",
            "_INBOX_worker.x",
            "$SYS.REQ.SERVER.PING",
        ],
        &[
            (">", None),
            ("toolbus.v1.tool._.*.invoke", Some("workers")),
            ("toolbus.v1.inst._.*.*", None),
            ("_INBOX_worker.>", None),
            ("$SRV.PING", None),
        ],
    ),
    (
        "operator",
        &[
            "toolbus.v1.tool._.math=2Eecho.invoke",
            "toolbus.v1.inst._.0123456789ab.math=2Eecho",
            "$KV.TOOLBUS_WORKERS._.0123456789ab",
            "$JS.API.STREAM.CREATE.KV_TOOLBUS_TOOLS",
            "$JS.API.STREAM.DELETE.KV_TOOLBUS_TOOLS",
            "$O.TOOLBUS_OBJECTS.C.x",
        ],
        &[
            (">", None),
            ("toolbus.v1.tool._.*.invoke", Some("workers")),
            ("_INBOX_gateway.>", None),
            ("toolbus.v1.ctl._.*", None),
        ],
    ),
];

#[tokio::test(flavor = "multi_thread")]
async fn each_role_can_do_nothing_else() {
    let Some(server) = hub().await else { return };
    for (role, publish, subscribe) in FORBIDDEN {
        let bus = connect(&server, "acme", role).await;
        let mut denied = bus.denied();
        for subject in publish {
            bus.send(message(subject, "{}"))
                .expect("it goes to the server");
            let said = timeout(SOON, denied.recv())
                .await
                .expect(subject)
                .expect("denied");
            assert_eq!(
                (said.is_publish, said.subject.as_str()),
                (true, *subject),
                "{role}"
            );
        }
        for (subject, queue) in subscribe {
            let refused = bus.subscribe(subject, *queue, 8).await;
            let why = refused.expect_err(subject).to_string();
            assert!(
                why.contains("not permit") && why.contains(subject),
                "{role}: {why}"
            );
        }
    }
}

/// A worker that is not permitted to is told what it lacks, not left waiting.
#[tokio::test(flavor = "multi_thread")]
async fn what_is_denied_is_named_at_once() {
    let Some(server) = hub().await else { return };
    let gateway = connect(&server, "acme", "gateway").await;
    let bucket = gateway
        .bucket("TOOLBUS_TOOLS", BucketSettings::default())
        .await
        .expect("a bucket");
    let why = timeout(Duration::from_secs(4), bucket.put("_.a", "b".into()))
        .await
        .expect("at once");
    let why = why.expect_err("not permitted").to_string();
    assert!(
        why.contains("$KV.TOOLBUS_TOOLS._.a") && why.contains("permission"),
        "{why}"
    );
    let why = gateway
        .bucket("OTHER", BucketSettings::default())
        .await
        .expect_err("not permitted")
        .to_string();
    assert!(why.contains("$JS.API.STREAM.INFO.KV_OTHER"), "{why}");
    let wrong = Settings {
        credentials: Credentials::User("acme-gateway".into(), "pw-globex-gateway".into()),
        ..server.settings()
    };
    assert!(NatsBus::connect(wrong).await.is_err());
}

#[tokio::test(flavor = "multi_thread")]
async fn tenants_do_not_see_each_other() {
    let Some(server) = hub().await else { return };
    let (working, calling) = (
        connect(&server, "acme", "worker").await,
        connect(&server, "acme", "gateway").await,
    );
    let stranger = connect(&server, "globex", "gateway").await;
    let mut beats = stranger
        .subscribe("toolbus.v1.hb.*", None, 64)
        .await
        .expect("its own");
    let (mesh, other) = (open(&calling).await, open(&stranger).await);
    let puppet = puppet();
    let worker = serve(&working, &puppet).await;
    let remote = found(&mesh).await;
    call(&remote, "echo", json!({})).await;
    // The other tenant knows everything, and reaches nothing.
    let (mut answers, reply) = inbox(&stranger).await;
    let id = worker.id();
    for subject in [
        "toolbus.v1.tool._.math=2Eecho.invoke".to_owned(),
        format!("toolbus.v1.inst._.{id}.math=2Eecho"),
        subjects().control(id),
    ] {
        let request = Message {
            reply: Some(reply.clone()),
            ..message(&subject, "{}")
        };
        stranger.send(request).expect("sent");
        assert!(next(&mut answers).await.no_responders, "{subject}");
    }
    let bucket = stranger
        .bucket("TOOLBUS_WORKERS", BucketSettings::default())
        .await
        .expect("its own");
    assert_eq!(bucket.get(&format!("_.{id}")).await, Ok(None));
    assert!(
        timeout(Duration::from_secs(6), beats.next()).await.is_err(),
        "no heart beats here"
    );
    assert!(other.found().borrow().servers.is_empty());
    assert_eq!(puppet.runs(), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_worker_behind_a_leaf_node() {
    let Some(hub) = hub().await else { return };
    let url = format!("nats-leaf://acme-leaf:pw-acme-leaf@{}", hub.leaf_address());
    let variables = [
        ("ACME_HUB", url.as_str()),
        ("ACME_WORKER", "pw-acme-worker"),
    ];
    let leaf = Server::start_with(&example("leaf.conf"), &variables)
        .await
        .expect("there is a binary");
    let calling = connect(&hub, "acme", "gateway").await;
    let stranger = connect(&hub, "globex", "gateway").await;
    let (mesh, other) = (open(&calling).await, open(&stranger).await);
    let working = connect(&leaf, "acme", "worker").await;
    let puppet = puppet();
    let worker = serve(&working, &puppet).await;
    let remote = found(&mesh).await;
    assert_eq!(
        call(&remote, "echo", json!({"a": 1})).await,
        json!({"a": 1})
    );
    let big = call(&remote, "big", json!({"bytes": 3_000_000})).await;
    assert_eq!(big["text"].as_str().map(str::len), Some(3_000_000));
    assert!(other.found().borrow().servers.is_empty());
    timeout(SOON, worker.drain()).await.expect("it drains");
    sleep(QUIET).await;
    assert_eq!(puppet.runs(), 2);
}

/// What `allow_responses` permits is permitted to a connection: a result that is ready after the next one is denied.
#[tokio::test(flavor = "multi_thread")]
async fn permitted_replies_end_with_the_connection() {
    let Some(server) = hub().await else { return };
    let working = connect(&server, "acme", "worker").await;
    let calling = connect(&server, "acme", "gateway").await;
    let subject = "toolbus.v1.tool._.math=2Eecho.invoke";
    let served = working
        .subscribe("toolbus.v1.tool._.*.invoke", Some("workers"), 8)
        .await;
    let mut served = served.expect("a subscription");
    let (mut answers, reply) = inbox(&calling).await;
    let request = Message {
        reply: Some(reply.clone()),
        ..message(subject, "{}")
    };
    calling.send(request).expect("sent");
    next(&mut served).await;
    for body in ["1", "2", "3"] {
        working.send(message(&reply, body)).expect("sent");
        assert_eq!(next(&mut answers).await.payload, body);
    }
    let (mut link, mut denied) = (working.link(), working.denied());
    let _server = server.restart(true).await;
    let again = link.wait_for(|link| *link == toolbus_mesh::bus::Link::Up(2));
    drop(timeout(SOON, again).await.expect("in time"));
    working
        .send(message(&reply, "late"))
        .expect("it goes to the server");
    let said = timeout(SOON, denied.recv())
        .await
        .expect("in time")
        .expect("denied");
    assert_eq!((said.is_publish, said.subject), (true, reply));
}

/// The example's block for workers, narrowed as `docs/mesh-security.md` says: one worker, by its id and its tools.
fn narrowed() -> String {
    let text = example("nats.conf");
    let (start, end) = (
        text.find("A_WORKER_MAY = {"),
        text.find("AN_OPERATOR_MAY = {"),
    );
    let (start, end) = (start.expect("the block"), end.expect("the next block"));
    let mut block = text[start..end].to_owned();
    let each = |form: &str| {
        ["echo", "big", "large"]
            .map(|tool| form.replace('%', &format!("math=2E{tool}")))
            .join(", ")
    };
    for (wide, narrow) in [
        (
            "\"toolbus.v1.tool._.*.invoke workers\"",
            each("\"toolbus.v1.tool._.%.invoke workers\""),
        ),
        (
            "\"toolbus.v1.server._.*.* workers\"",
            "\"toolbus.v1.server._.math.* workers\"".into(),
        ),
        (
            "\"toolbus.v1.inst._.*.*\"",
            "\"toolbus.v1.inst._.sums-1.*\"".into(),
        ),
        (
            "\"toolbus.v1.ctl._.*\"",
            "\"toolbus.v1.ctl._.sums-1\"".into(),
        ),
        ("\"toolbus.v1.hb.*\"", "\"toolbus.v1.hb.sums-1\"".into()),
        (
            "\"$KV.TOOLBUS_TOOLS._.>\"",
            each("\"$KV.TOOLBUS_TOOLS._.%.*\""),
        ),
        (
            "\"$KV.TOOLBUS_SERVERS._.>\"",
            "\"$KV.TOOLBUS_SERVERS._.math.*\"".into(),
        ),
        (
            "\"$KV.TOOLBUS_WORKERS._.>\"",
            "\"$KV.TOOLBUS_WORKERS._.sums-1\"".into(),
        ),
    ] {
        assert!(block.contains(wide), "{wide}");
        block = block.replace(wide, &narrow);
    }
    format!("{}{block}{}", &text[..start], &text[end..])
}

#[tokio::test(flavor = "multi_thread")]
async fn one_worker_and_its_tools() {
    let Some(server) = Server::start_with(&narrowed(), &PASSWORDS).await else {
        return;
    };
    let (working, calling) = (
        connect(&server, "acme", "worker").await,
        connect(&server, "acme", "gateway").await,
    );
    let mut denied = working.denied();
    let mesh = open(&calling).await;
    let puppet = puppet();
    let named = |id: &str| worker::Settings {
        id: Some(WorkerId::parse(id).expect("an id")),
        ..worker::Settings::default()
    };
    let worker = serve_as(&working, &puppet, named("sums-1"))
        .await
        .expect("a worker");
    let remote = found(&mesh).await;
    assert_eq!(
        call(&remote, "echo", json!({"a": 1})).await,
        json!({"a": 1})
    );
    timeout(SOON, worker.drain()).await.expect("it drains");
    assert_eq!(
        denied.try_recv(),
        Err(TryRecvError::Empty),
        "nothing of it was denied"
    );
    // Another id, or another tool, is not its.
    let why = serve_as(&working, &puppet, named("sums-2"))
        .await
        .expect_err("not its id")
        .to_string();
    assert!(
        why.contains("sums-2") && why.contains("not permit"),
        "{why}"
    );
    let subject = "toolbus.v1.tool._.bank=2Epay.invoke";
    assert!(
        working
            .subscribe(subject, Some("workers"), 8)
            .await
            .is_err()
    );
    let mut denied = working.denied();
    working
        .send(message(
            "$KV.TOOLBUS_TOOLS._.bank=2Epay.0123456789abcdef",
            "{}",
        ))
        .expect("sent");
    let said = timeout(SOON, denied.recv())
        .await
        .expect("in time")
        .expect("denied");
    assert!(said.is_publish && said.subject.contains("bank"), "{said:?}");
}
