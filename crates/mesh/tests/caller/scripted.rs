//! A worker that says exactly what a test wants, in raw frames, and a gateway's mesh beside it.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use serde_json::{Value, json};
use tokio::time::timeout;
use tokio_util::sync::CancellationToken;
use toolbus_mesh::bus::local::{Hub, LocalBus};
use toolbus_mesh::bus::{BucketSettings, Bus, Message, Subscription};
use toolbus_mesh::caller::{Mesh, Remote, Settings};
use toolbus_mesh::frame::{Ask, Control, Frame, Reply, header};
use toolbus_mesh::registry::{ServedServer, WorkerRecord, bucket};
use toolbus_mesh::subject::{self, Subjects, WORKERS};
use toolbus_model::{
    Backend, Call, CallEnd, CallId, CallSeed, Caller, Error, Method, Object, Outcome, Raw, Request,
    Revision, ServerName, Trace,
};

/// Far longer than anything takes here.
const SOON: Duration = Duration::from_secs(60);

pub(crate) fn subjects() -> Subjects {
    Subjects::new("toolbus", "_").expect("fits")
}

pub(crate) fn seed() -> CallSeed {
    CallSeed {
        caller: Caller::named("ci"),
        revision: Revision::V2026_07_28,
        door: "test",
        capabilities: Object::empty().to_raw(),
        client: None,
        log_level: None,
        progress_token: Some(Raw::of("mine")),
        trace: Trace::default(),
    }
}

/// `tools/call` of a tool.
pub(crate) fn request(tool: &str) -> Request {
    let params = Object::of(&json!({"name": tool, "arguments": {"a": 1}}));
    Request {
        method: Method::ToolsCall,
        target: Some(tool.into()),
        params,
        meta: Object::empty(),
    }
}

/// A tool that may run twice, or not.
pub(crate) fn tool(name: &str, may_run_twice: bool) -> Value {
    json!({"name": name, "inputSchema": {"type": "object"}, "annotations": {"readOnlyHint": may_run_twice}})
}

pub(crate) struct Worker {
    pub(crate) bus: Arc<LocalBus>,
    pub(crate) id: String,
    subjects: Subjects,
    requests: Subscription,
    queue: Subscription,
    control: Subscription,
}

/// A request as a worker got it.
pub(crate) struct Asked {
    pub(crate) ask: Ask,
    pub(crate) subject: String,
    pub(crate) body: Value,
    reply: String,
}

/// What a worker was told.
pub(crate) struct Told {
    pub(crate) control: Control,
    pub(crate) call: CallId,
    pub(crate) attempt: u32,
    pub(crate) reply: Option<String>,
}

/// What a worker registers.
pub(crate) struct Offers<'a> {
    pub(crate) server: &'a str,
    pub(crate) tools: Vec<Value>,
    pub(crate) stateful: bool,
}

impl<'a> Offers<'a> {
    pub(crate) fn of(tools: &[Value]) -> Self {
        Self {
            server: "math",
            tools: tools.to_vec(),
            stateful: false,
        }
    }
}

impl Worker {
    pub(crate) async fn start(hub: &Arc<Hub>, id: &str, offers: &Offers<'_>) -> Self {
        let worker = Self::silent(hub, id).await;
        worker.register(offers, [0; 3]).await;
        worker
    }

    /// A worker that has not registered.
    pub(crate) async fn silent(hub: &Arc<Hub>, id: &str) -> Self {
        let (bus, subjects) = (hub.connect(), subjects());
        let instance = subjects.instance_all(id);
        let requests = bus
            .subscribe(&instance, None, 1_000)
            .await
            .expect("subscribed");
        let queue = bus
            .subscribe("toolbus.v1.tool._.*.invoke", Some(WORKERS), 1_000)
            .await;
        let control = bus.subscribe(&subjects.control(id), None, 1_000).await;
        Self {
            bus,
            id: id.to_owned(),
            subjects,
            requests,
            queue: queue.expect("subscribed"),
            control: control.expect("subscribed"),
        }
    }

    async fn put(&self, bucket: &str, key: &[&str], value: &Value) {
        self.put_bytes(bucket, key, value.to_string().into()).await;
    }

    async fn put_bytes(&self, bucket: &str, key: &[&str], value: Bytes) {
        let name = self.subjects.bucket(bucket);
        let bucket = self
            .bus
            .bucket(&name, BucketSettings::default())
            .await
            .expect("a bucket");
        bucket
            .put(&self.subjects.key(key), value)
            .await
            .expect("put");
    }

    pub(crate) async fn register(&self, offers: &Offers<'_>, changes: [u64; 3]) {
        let (server, mut tools) = (offers.server, Vec::new());
        for definition in &offers.tools {
            let name = definition["name"].as_str().expect("a name");
            let digest = toolbus_mesh::registry::digest(definition.to_string().as_bytes());
            let full = format!("{server}.{name}");
            let record = json!({"name": full, "definition": definition});
            self.put(bucket::TOOLS, &[&subject::token(&full), &digest], &record)
                .await;
            tools.push((name.to_owned(), digest));
        }
        let lists = json!({"capabilities": {"tools": {}}, "ttlMs": 1000, "shared": true});
        let record = json!({"name": server, "lists": lists});
        self.put(bucket::SERVERS, &[server, "0123"], &record).await;
        let served = ServedServer {
            digest: "0123".to_owned(),
            tools: tools.into_iter().collect(),
            stateful: offers.stateful,
            changes,
        };
        let record = WorkerRecord {
            servers: [(server.to_owned(), served)].into_iter().collect(),
            capacity: 8,
            ..WorkerRecord::default()
        };
        let record = serde_json::to_vec(&record).expect("JSON");
        self.put_bytes(bucket::WORKERS, &[&self.id], record.into())
            .await;
    }

    /// Takes its record away, as one that drains does.
    pub(crate) async fn leave(&self) {
        let name = self.subjects.bucket(bucket::WORKERS);
        let bucket = self
            .bus
            .bucket(&name, BucketSettings::default())
            .await
            .expect("a bucket");
        bucket
            .delete(&self.subjects.key(&[&self.id]))
            .await
            .expect("deleted");
    }

    pub(crate) fn beat(&self, in_flight: usize) {
        let body = json!({"inFlight": in_flight, "capacity": 8, "draining": false, "digest": ""});
        let message = Message {
            subject: self.subjects.heartbeat(&self.id),
            payload: body.to_string().into(),
            ..Message::default()
        };
        self.bus.send(message).expect("sent");
    }

    /// The next request, by whichever subject.
    pub(crate) async fn asked(&mut self) -> Asked {
        let next = async {
            tokio::select! {
                message = self.requests.next() => message,
                message = self.queue.next() => message,
            }
        };
        let message = timeout(SOON, next).await.expect("a request").expect("open");
        Asked {
            ask: Ask::read(&message.headers).expect("headers"),
            subject: message.subject,
            body: serde_json::from_slice(&message.payload).unwrap_or_default(),
            reply: message.reply.expect("a reply subject"),
        }
    }

    /// What it is told next, but for knocks.
    pub(crate) async fn told(&mut self) -> Told {
        loop {
            let told = self.heard().await;
            if told.control != Control::Credit(0) {
                return told;
            }
        }
    }

    /// What comes in next on its control subject.
    pub(crate) async fn heard(&mut self) -> Told {
        let message = timeout(SOON, self.control.next())
            .await
            .expect("a word")
            .expect("open");
        let (control, about) = Control::read(&message.headers).expect("headers");
        let (call, attempt) = about.expect("a call");
        Told {
            control,
            call,
            attempt,
            reply: message.reply,
        }
    }

    /// Nothing more was asked or told.
    pub(crate) async fn is_left_alone(&mut self) -> bool {
        let next = async {
            tokio::select! {
                _ = self.requests.next() => {}
                _ = self.queue.next() => {}
                _ = self.control.next() => {}
            }
        };
        timeout(Duration::from_secs(1), next).await.is_err()
    }

    pub(crate) fn say(&self, asked: &Asked, frame: Frame) {
        self.say_with(asked, frame, |_| {});
    }

    pub(crate) fn say_with(&self, asked: &Asked, frame: Frame, edit: impl FnOnce(&mut Reply)) {
        let mut reply = Reply::new(frame, &self.id);
        reply.attempt = asked.ask.attempt;
        edit(&mut reply);
        let message = Message {
            subject: asked.reply.clone(),
            headers: reply.headers(),
            payload: reply.body,
            ..Message::default()
        };
        self.bus.send(message).expect("sent");
    }

    /// The result, with this text in it.
    pub(crate) fn end(&self, asked: &Asked, text: &str) {
        let body = result(text);
        self.say_with(asked, Frame::End, |reply| reply.body = body);
    }

    /// Not run, for this reason.
    pub(crate) fn refuse(&self, asked: &Asked, frame: Frame, why: &str) {
        let busy = Error::Busy {
            what: why.to_owned(),
            retry_after: Duration::from_millis(7),
        };
        let (body, label, _) = toolbus_mesh::fault::encode(&Raw::of(&1), &busy);
        self.say_with(asked, frame, |reply| {
            reply.body = body.into();
            reply.error = label.map(str::to_owned);
        });
    }

    /// Answers what it was told with an error.
    pub(crate) fn decline(&self, told: &Told) {
        let mut message = Message {
            subject: told.reply.clone().expect("a reply subject"),
            ..Message::default()
        };
        message.headers.put(header::SERVICE_ERROR, "no such call");
        message.headers.put(header::SERVICE_ERROR_CODE, "404");
        self.bus.send(message).expect("sent");
    }
}

pub(crate) fn result(text: &str) -> Bytes {
    let content = json!([{"type": "text", "text": text}]);
    json!({"jsonrpc": "2.0", "id": 1, "result": {"content": content}})
        .to_string()
        .into()
}

/// The text of a result.
pub(crate) fn text(outcome: &Result<Outcome, Error>) -> String {
    let outcome = outcome.as_ref().expect("an outcome");
    let value: Value = outcome.object().to_raw().read().expect("JSON");
    value["content"][0]["text"]
        .as_str()
        .expect("text")
        .to_owned()
}

/// A gateway's mesh.
pub(crate) struct Gateway {
    pub(crate) bus: Arc<LocalBus>,
    pub(crate) mesh: Mesh,
}

impl Gateway {
    pub(crate) async fn open(hub: &Arc<Hub>) -> Self {
        Self::open_with(hub, Settings::default()).await
    }

    pub(crate) async fn open_with(hub: &Arc<Hub>, settings: Settings) -> Self {
        let bus = hub.connect();
        let carrier: Arc<dyn Bus> = bus.clone();
        let mesh = Mesh::open(carrier, subjects(), settings)
            .await
            .expect("a mesh");
        Self { bus, mesh }
    }

    /// A server, once this many workers have it.
    pub(crate) async fn server(&self, name: &str, workers: usize) -> Arc<Remote> {
        let server = ServerName::parse(name).expect("a name");
        let mut found = self.mesh.found();
        let wait = async {
            loop {
                let known = found.borrow_and_update().clone();
                let server = known.servers.iter().find(|known| known.name == server);
                if let Some(server) = server
                    && server.workers().len() == workers
                {
                    return Arc::clone(server);
                }
                let _ = timeout(Duration::from_millis(100), found.changed()).await;
            }
        };
        timeout(SOON, wait).await.expect("the server")
    }
}

/// A call on its way, as a task.
pub(crate) struct Running {
    pub(crate) end: CallEnd,
    pub(crate) call: Arc<Call>,
    task: tokio::task::JoinHandle<Result<Outcome, Error>>,
}

impl Running {
    pub(crate) fn begin(server: &Arc<Remote>, request: Request) -> Self {
        let (call, end) = Call::begin(seed(), CancellationToken::new());
        let (server, own) = (Arc::clone(server), Arc::clone(&call));
        let tasks = tokio_util::task::TaskTracker::new();
        let task = tasks.spawn(async move { server.serve(request, &own).await });
        Self { end, call, task }
    }

    pub(crate) async fn outcome(self) -> Result<Outcome, Error> {
        timeout(SOON * 10, self.task)
            .await
            .expect("an outcome")
            .expect("no panic")
    }
}
