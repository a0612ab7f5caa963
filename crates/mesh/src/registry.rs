//! What workers write into the KV buckets, and gateways read there. All of it can be made again from the workers.

use std::time::Duration;

use indexmap::IndexMap;
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;
use sha2::{Digest as _, Sha256};

/// The buckets, as [`Subjects::bucket`](crate::subject::Subjects::bucket) is told them.
pub mod bucket {
    /// Key `<tenant>.<tool token>.<digest>`: a [`ToolRecord`](super::ToolRecord).
    pub const TOOLS: &str = "TOOLS";
    /// Key `<tenant>.<server>.<digest>`: a [`ServerRecord`](super::ServerRecord).
    pub const SERVERS: &str = "SERVERS";
    /// Key `<tenant>.<worker>`: a [`WorkerRecord`](super::WorkerRecord).
    pub const WORKERS: &str = "WORKERS";
    /// Object store: what is too large for a message or a value.
    pub const OBJECTS: &str = "OBJECTS";
    /// Key `<tenant>.<session>`: sessions that were ended, for as long as their ids would be good.
    pub const GONE: &str = "GONE";
    /// Key `<tenant>.<server>.<caller>`: the worker that keeps what a server with state knows of a caller.
    pub const PINS: &str = "PINS";
}

/// How long a worker's record lasts without being written again.
pub const WORKER_TTL: Duration = Duration::from_secs(60);

/// How often it is written again.
pub const WORKER_REFRESH: Duration = Duration::from_secs(20);

/// How often a worker's heart beats.
pub const HEARTBEAT: Duration = Duration::from_secs(5);

/// A value above this lies in the object store, in bytes.
pub const LARGEST_VALUE: usize = 64 * 1024;

/// One version of one tool.
#[derive(Debug, Serialize, Deserialize)]
pub struct ToolRecord {
    /// `server.tool`, because the key may hold a hash.
    pub name: String,
    /// The definition, as the server wrote it. Without it, `object` says where it lies.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub definition: Option<Box<RawValue>>,
    /// The object that holds the definition.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub object: Option<String>,
}

/// One version of what a server offers besides tools.
#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct ServerRecord {
    /// The server's name.
    pub name: String,
    /// A [`ServerLists`], unless it lies in the object store.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub lists: Option<ServerLists>,
    /// The object that holds the lists.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub object: Option<String>,
}

/// What a server offers besides tools, each definition as the server wrote it.
#[derive(Debug, Default, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct ServerLists {
    /// Prompts, in the server's order.
    pub prompts: Vec<Box<RawValue>>,
    /// Resources.
    pub resources: Vec<Box<RawValue>>,
    /// Resource templates.
    pub templates: Vec<Box<RawValue>>,
    /// The capabilities object.
    pub capabilities: Option<Box<RawValue>>,
    /// `serverInfo`.
    pub info: Option<Box<RawValue>>,
    /// What it tells a model about its use.
    pub instructions: Option<String>,
    /// How long the lists may be kept, in milliseconds.
    pub ttl_ms: u64,
    /// The lists are the same for every caller.
    pub shared: bool,
}

/// One worker.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct WorkerRecord {
    /// What it serves, by the servers' names.
    pub servers: IndexMap<String, ServedServer>,
    /// How many calls it takes at once.
    pub capacity: usize,
    /// It takes nothing new.
    pub draining: bool,
    /// The version of Toolbus.
    pub version: String,
    /// The object that holds `servers`, where they are too many for a value.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub object: Option<String>,
}

/// One server of a worker.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct ServedServer {
    /// The digest of its [`ServerLists`].
    pub digest: String,
    /// The digests of its tools, by their names, in the server's order.
    pub tools: IndexMap<String, String>,
    /// It keeps state for each caller, so that a caller's calls stay with one worker.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub stateful: bool,
    /// How often each list was said to have changed: tools, prompts, resources.
    pub changes: [u64; 3],
}

/// What a worker says every [`HEARTBEAT`].
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Heartbeat {
    /// Calls that it is at.
    pub in_flight: usize,
    /// How many calls it takes at once.
    pub capacity: usize,
    /// It takes nothing new.
    pub draining: bool,
    /// The digest of its [`WorkerRecord`].
    pub digest: String,
}

/// Names a version of something: the first 16 hex digits of its SHA-256.
pub fn digest(bytes: &[u8]) -> String {
    let hash = Sha256::digest(bytes);
    hash[..8].iter().map(|byte| format!("{byte:02x}")).collect()
}
