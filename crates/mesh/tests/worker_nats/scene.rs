//! Workers and a gateway's side on one nats-server.

use std::sync::Arc;
use std::time::{Duration, Instant};

use serde_json::{Value, json};
use tokio_util::sync::CancellationToken;
use toolbus_mesh::bus::Bus;
use toolbus_mesh::bus::nats::NatsBus;
use toolbus_mesh::caller::{Mesh, Remote};
use toolbus_mesh::subject::Subjects;
use toolbus_mesh::worker::{ServerOptions, Settings, Worker};
use toolbus_model::{
    Backend, Call, CallEnd, CallSeed, Caller, Error, Item, Method, Object, Outcome, Raw, Request,
    Revision, ServerName, Trace,
};

use crate::puppet::Puppet;
use crate::server::Server;

pub(crate) fn subjects() -> Subjects {
    Subjects::new("toolbus", "_").expect("subjects")
}

/// A tool that may run twice.
pub(crate) fn harmless(name: &str) -> Item {
    let annotations = json!({"readOnlyHint": true});
    let definition =
        json!({"name": name, "inputSchema": {"type": "object"}, "annotations": annotations});
    Item {
        key: name.into(),
        definition: Object::of(&definition),
    }
}

/// A worker with a connection of its own.
pub(crate) async fn worker(server: &Server, puppet: &Arc<Puppet>, settings: Settings) -> Worker {
    let bus = NatsBus::connect(server.settings())
        .await
        .expect("connected");
    let math = ServerName::parse("math").expect("a name");
    let backend: Arc<dyn Backend> = Arc::clone(puppet) as _;
    let servers = vec![(math, backend, ServerOptions::default())];
    let worker = Worker::start(bus, subjects(), servers, settings).await;
    worker.expect("it starts")
}

/// A gateway's side with a connection of its own.
pub(crate) async fn mesh(server: &Server) -> Mesh {
    let bus = NatsBus::connect(server.settings())
        .await
        .expect("connected");
    let bus: Arc<dyn Bus> = bus;
    let mesh = Mesh::open(bus, subjects(), Default::default()).await;
    mesh.expect("open")
}

/// The server on the mesh, once this many workers serve it.
pub(crate) async fn remote(mesh: &Mesh, workers: usize) -> Arc<Remote> {
    let until = Instant::now() + Duration::from_secs(20);
    loop {
        let found = mesh.found().borrow().servers.clone();
        if let Some(remote) = found.first().filter(|r| r.workers().len() == workers) {
            return Arc::clone(remote);
        }
        assert!(Instant::now() < until, "{found:?}, {}", mesh.describe());
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
}

pub(crate) fn seed(token: bool) -> CallSeed {
    CallSeed {
        caller: Caller::named("alice"),
        revision: Revision::V2026_07_28,
        door: "test",
        capabilities: Raw::of(&json!({})),
        client: None,
        log_level: None,
        progress_token: token.then(|| Raw::of("mine")),
        trace: Trace::default(),
    }
}

pub(crate) fn begin() -> (Arc<Call>, CallEnd) {
    Call::begin(seed(true), CancellationToken::new())
}

pub(crate) fn request(tool: &str, arguments: &Value) -> Request {
    Request {
        method: Method::ToolsCall,
        target: Some(tool.into()),
        params: Object::of(&json!({"name": tool, "arguments": arguments})),
        meta: Object::empty(),
    }
}

/// Calls a tool.
pub(crate) async fn call(remote: &Remote, tool: &str, arguments: Value) -> Result<Value, Error> {
    let (call, _end) = begin();
    let outcome = remote.serve(request(tool, &arguments), &call).await?;
    let Outcome::Complete(result) = outcome else {
        panic!("{outcome:?}");
    };
    Ok(result.to_raw().read().expect("JSON"))
}
