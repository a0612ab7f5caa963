//! A mesh for tests: a nats-server of its own, workers as processes, and a worker that says whatever a test wants.

use std::collections::HashMap;
use std::net::TcpStream;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use serde_json::{Value, json};
use tempfile::TempDir;
use tokio_util::task::TaskTracker;
use toolbus_mesh::bus::nats::{NatsBus, Settings};
use toolbus_mesh::bus::{Bucket, BucketSettings, Bus, Headers, Message, NotSent};
use toolbus_mesh::frame::header;
use toolbus_mesh::registry::{
    HEARTBEAT, ServedServer, ServerLists, ServerRecord, ToolRecord, WORKER_TTL, WorkerRecord,
    bucket, digest,
};
use toolbus_mesh::subject::{NO_TENANT, Subjects, token};

use super::{Owned, testkit, toolbus, wait_for};

/// Each of these has JetStream, in its folder.
const JETSTREAM: &str = "jetstream { store_dir: \"{folder}/store\" }";

/// A running nats-server.
pub struct Nats {
    pub child: Owned,
    pub folder: TempDir,
    pub port: u16,
}

impl Nats {
    /// For everyone; `None`, and a word about it, where there is no nats-server.
    pub fn start() -> Option<Self> {
        Self::start_with("")
    }

    /// With more lines of configuration.
    pub fn start_with(config: &str) -> Option<Self> {
        let binary = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../.venv/bin/nats-server");
        if !binary.exists() {
            use std::io::Write as _;
            let _ = writeln!(std::io::stderr(), "skipped: no nats-server");
            return None;
        }
        let folder = tempfile::tempdir().expect("a folder");
        let place = folder.path().display().to_string();
        let text = format!(
            "listen: \"127.0.0.1:-1\"\nports_file_dir: \"{place}\"\n{}\n{config}\n",
            JETSTREAM.replace("{folder}", &place)
        );
        let path = folder.path().join("nats.conf");
        std::fs::write(&path, text).expect("written");
        let log = std::fs::File::create(folder.path().join("log")).expect("a log");
        let child = Command::new(binary)
            .arg("-c")
            .arg(&path)
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(log)
            .spawn()
            .expect("nats-server starts");
        let mut nats = Self {
            folder,
            child: Owned(child),
            port: 0,
        };
        let ports = format!("nats-server_{}.ports", nats.child.id());
        wait_for("nats-server listens", || {
            let file = nats.folder.path().join(&ports);
            let text = std::fs::read_to_string(file).unwrap_or_default();
            let ports: Value = serde_json::from_str(&text).unwrap_or_default();
            let port = ports["nats"][0]
                .as_str()
                .and_then(|url| url.rsplit(':').next());
            nats.port = port.and_then(|port| port.parse().ok()).unwrap_or(0);
            nats.port != 0 && TcpStream::connect(("127.0.0.1", nats.port)).is_ok()
        });
        Some(nats)
    }

    pub fn url(&self) -> String {
        format!("nats://127.0.0.1:{}", self.port)
    }

    /// The same for one of its users.
    pub fn url_of(&self, user: &str) -> String {
        format!("nats://{user}:secret@127.0.0.1:{}", self.port)
    }

    /// A worker that serves a program of the testkit as `name`.
    pub fn worker(&self, name: &str, program: &str, arguments: &[&str]) -> Worker {
        let mut command = self.worker_command(&self.url(), name);
        command.arg("--").arg(testkit(program)).args(arguments);
        Worker::start(command)
    }

    /// `toolbus worker` without what it serves.
    pub fn worker_command(&self, url: &str, name: &str) -> Command {
        let mut command = Command::new(toolbus());
        command.args(["worker", "--nats", url, "--name", name]);
        command
    }

    /// A connection of the test's own.
    pub async fn bus(&self) -> Arc<NatsBus> {
        let settings = Settings {
            servers: vec![self.url()],
            name: "test".into(),
            ..Settings::default()
        };
        NatsBus::connect(settings).await.expect("a connection")
    }
}

/// `toolbus worker`, in a folder of its own.
pub struct Worker {
    pub child: Child,
    pub folder: TempDir,
}

impl Worker {
    pub fn start(mut command: Command) -> Self {
        let folder = tempfile::tempdir().expect("a folder");
        let log = std::fs::File::create(folder.path().join("log")).expect("a log");
        let child = command
            .env("XDG_STATE_HOME", folder.path())
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(log)
            .spawn()
            .expect("toolbus starts");
        Self { child, folder }
    }

    pub fn log(&self) -> String {
        std::fs::read_to_string(self.folder.path().join("log")).unwrap_or_default()
    }
}

impl Drop for Worker {
    fn drop(&mut self) {
        if std::thread::panicking() {
            use std::io::Write as _;
            let _ = writeln!(
                std::io::stderr(),
                "--- the worker's log ---\n{}",
                self.log()
            );
        }
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// A frame as a worker would send it, or not: its headers and its body.
pub type Said = (Vec<(&'static str, &'static str)>, Bytes);

/// What an impostor says when a tool is called, by the tool's name.
pub type Script = HashMap<&'static str, Vec<Said>>;

/// A worker that registers like any other and answers as it is told. It does so for as long as it is held.
pub struct Impostor {
    bus: Arc<NatsBus>,
    tasks: TaskTracker,
}

/// The impostor's id.
pub const ID: &str = "impostor";

impl Impostor {
    /// Registers the tools of a script, all of which may run at once, as those of one server.
    pub async fn start(nats: &Nats, server: &str, script: Script) -> Self {
        let (bus, tasks) = (nats.bus().await, TaskTracker::new());
        let subjects = Subjects::new("toolbus", NO_TENANT).expect("subjects");
        let all = subjects.instance_all(ID);
        let tools: Vec<&str> = script.keys().copied().collect();
        let mut requests = bus.subscribe(&all, None, 64).await.expect("heard");
        // What it is told of its calls is not answered, but there is somebody to tell it to.
        let mut told = bus
            .subscribe(&subjects.control(ID), None, 64)
            .await
            .expect("heard");
        let answering = Arc::clone(&bus);
        let beat = Message {
            subject: subjects.heartbeat(ID),
            payload: r#"{"inFlight":0,"capacity":64,"draining":false,"digest":""}"#.into(),
            ..Message::default()
        };
        tasks.spawn(async move {
            let mut beats = tokio::time::interval(HEARTBEAT);
            loop {
                let request = tokio::select! {
                    request = requests.next() => request,
                    _ = told.next() => continue,
                    _ = beats.tick() => {
                        let _ = answering.send(beat.clone());
                        continue;
                    }
                };
                let Some(request) = request else {
                    break;
                };
                let tool = request.headers.get(header::NAME).unwrap_or_default();
                for (headers, body) in script.get(tool).cloned().unwrap_or_default() {
                    let message = frame(&request, &headers, body);
                    while answering.send(message.clone()) == Err(NotSent::Full) {
                        tokio::time::sleep(Duration::from_millis(5)).await;
                    }
                }
            }
        });
        let impostor = Self { bus, tasks };
        impostor.register(&subjects, server, &tools).await;
        impostor
    }

    async fn register(&self, subjects: &Subjects, server: &str, tools: &[&str]) {
        let mut served = ServedServer::default();
        let settings = BucketSettings {
            max_age: None,
            history: 1,
        };
        let store = self.bucket(subjects, bucket::TOOLS, settings).await;
        for tool in tools {
            let definition = json!({
                "name": tool,
                "inputSchema": {"type": "object"},
                "annotations": {"readOnlyHint": true},
            });
            let definition = definition.to_string();
            let version = digest(definition.as_bytes());
            let name = format!("{server}.{tool}");
            let record = ToolRecord {
                definition: serde_json::value::RawValue::from_string(definition).ok(),
                name: name.clone(),
                object: None,
            };
            put(&*store, &subjects.key(&[&token(&name), &version]), &record).await;
            served.tools.insert((*tool).to_owned(), version);
        }
        let lists = ServerLists {
            capabilities: serde_json::value::to_raw_value(&json!({"tools": {}})).ok(),
            ..ServerLists::default()
        };
        served.digest = digest(&serde_json::to_vec(&lists).expect("JSON"));
        let store = self.bucket(subjects, bucket::SERVERS, settings).await;
        let record = ServerRecord {
            name: server.to_owned(),
            lists: Some(lists),
            object: None,
        };
        put(&*store, &subjects.key(&[server, &served.digest]), &record).await;
        let worker = WorkerRecord {
            servers: [(server.to_owned(), served)].into_iter().collect(),
            capacity: 64,
            ..WorkerRecord::default()
        };
        let settings = BucketSettings {
            max_age: Some(WORKER_TTL),
            ..settings
        };
        let store = self.bucket(subjects, bucket::WORKERS, settings).await;
        put(&*store, &subjects.key(&[ID]), &worker).await;
    }

    async fn bucket(
        &self,
        subjects: &Subjects,
        name: &str,
        settings: BucketSettings,
    ) -> Arc<dyn Bucket> {
        let name = subjects.bucket(name);
        let bucket = self.bus.bucket(&name, settings).await;
        bucket.expect("a bucket")
    }

    /// Leaves, without a word.
    pub async fn leave(self) {
        self.bus.close().await;
        self.tasks.close();
        self.tasks.wait().await;
    }
}

async fn put(bucket: &dyn Bucket, key: &str, value: &impl serde::Serialize) {
    let value = serde_json::to_vec(value).expect("JSON");
    bucket.put(key, value.into()).await.expect("written");
}

fn frame(request: &Message, headers: &[(&'static str, &'static str)], payload: Bytes) -> Message {
    let mut all = Headers::default();
    let usual = [(header::WIRE, "1"), (header::WORKER, ID)];
    for (name, value) in usual.iter().filter(|(name, _)| !has(headers, name)) {
        all.put(*name, *value);
    }
    // An empty one is left out.
    for (name, value) in headers.iter().filter(|(_, value)| !value.is_empty()) {
        all.put(*name, *value);
    }
    Message {
        subject: request.reply.clone().expect("where to answer"),
        headers: all,
        payload,
        ..Message::default()
    }
}

fn has(headers: &[(&'static str, &'static str)], name: &str) -> bool {
    headers.iter().any(|(known, _)| *known == name)
}
