//! A catalog of ten thousand tools and three hundred workers.

#[path = "caller/scripted.rs"]
#[allow(dead_code, reason = "each test file uses its part")]
mod scripted;

use std::time::{Duration, Instant};

use bytes::Bytes;
use scripted::{Gateway, subjects};
use serde_json::json;
use tokio::time::timeout;
use toolbus_mesh::bus::local::{Hub, LocalBus};
use toolbus_mesh::bus::{BucketSettings, Bus};
use toolbus_mesh::registry::{self, ServedServer, WorkerRecord, bucket};
use toolbus_mesh::subject;
use toolbus_model::Backend;

const SERVERS: usize = 10;
const TOOLS: usize = 1_000;
const WORKERS: usize = 300;

/// The memory of this process, in bytes.
fn resident() -> usize {
    let text = std::fs::read_to_string("/proc/self/statm").expect("Linux");
    let pages = text.split(' ').nth(1).expect("a second number");
    pages.parse::<usize>().expect("a number") * 4096
}

async fn put(bus: &LocalBus, bucket: &str, key: &[&str], value: Bytes) {
    let subjects = subjects();
    let bucket = bus
        .bucket(&subjects.bucket(bucket), BucketSettings::default())
        .await
        .expect("a bucket");
    bucket.put(&subjects.key(key), value).await.expect("put");
}

/// Registers a server's tools, each of 1 KiB. Answers what its workers say of them.
async fn register(bus: &LocalBus, server: &str) -> ServedServer {
    let mut served = ServedServer {
        digest: "0123".to_owned(),
        ..ServedServer::default()
    };
    for n in 0..TOOLS {
        let name = format!("tool_{n}");
        let definition = json!({"name": name, "description": "x".repeat(920), "inputSchema": {"type": "object"}});
        let digest = registry::digest(definition.to_string().as_bytes());
        let full = format!("{server}.{name}");
        let record = json!({"name": full, "definition": definition}).to_string();
        put(
            bus,
            bucket::TOOLS,
            &[&subject::token(&full), &digest],
            record.into(),
        )
        .await;
        served.tools.insert(name, digest);
    }
    let lists = json!({"name": server, "lists": {"capabilities": {"tools": {}}}}).to_string();
    put(bus, bucket::SERVERS, &[server, "0123"], lists.into()).await;
    served
}

#[tokio::test]
async fn ten_thousand_tools_of_three_hundred_workers_are_known_in_a_moment() {
    let hub = Hub::new();
    let bus = hub.connect();
    let mut served = Vec::new();
    for n in 0..SERVERS {
        let server = format!("server{n}");
        served.push((server.clone(), register(&bus, &server).await));
    }
    for n in 0..WORKERS {
        let (server, served) = &served[n % SERVERS];
        let record = WorkerRecord {
            servers: [(server.clone(), served.clone())].into_iter().collect(),
            capacity: 8,
            ..WorkerRecord::default()
        };
        let record = serde_json::to_vec(&record).expect("JSON");
        put(&bus, bucket::WORKERS, &[&format!("w{n}")], record.into()).await;
    }
    drop(served);
    let (before, begun) = (resident(), Instant::now());
    let gateway = Gateway::open(&hub).await;
    let mut found = gateway.mesh.found();
    let settled = timeout(
        Duration::from_secs(60),
        found.wait_for(|found| found.is_settled),
    );
    let servers = settled
        .await
        .expect("in time")
        .expect("open")
        .servers
        .clone();
    let took = begun.elapsed();
    assert_eq!(servers.len(), SERVERS);
    let tools: usize = servers
        .iter()
        .map(|server| server.offer().borrow().tools.len())
        .sum();
    let workers: usize = servers.iter().map(|server| server.workers().len()).sum();
    assert_eq!((tools, workers), (SERVERS * TOOLS, WORKERS));
    let memory = resident().saturating_sub(before);
    #[expect(
        clippy::print_stderr,
        reason = "the numbers are told beside the limits"
    )]
    {
        eprintln!("{took:?}, {} MiB", memory >> 20);
    }
    // Without what workers share of what they say it would be ten times as much.
    assert!(memory < 100 << 20, "{} MiB", memory >> 20);
    assert!(took < Duration::from_secs(30), "{took:?}");
}
