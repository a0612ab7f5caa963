//! `$SRV.PING`, `$SRV.INFO` and `$SRV.STATS`: what any client of NATS can ask a worker (ADR-32, NATS micro, version 1).
//! Each server is a service of its own. Answers stay small: they name tools and their versions, never schemas.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use serde::Serialize;
use tokio_util::sync::CancellationToken;
use toolbus_model::Error;

use super::Shared;
use super::compat::urn_of;
use crate::bus::{BusError, Message};
use crate::subject::{WORKERS, Work};

/// Tools that are named of one server. With all of them an answer could be larger than a message, which would take the
/// service from sight for good.
const MOST_ENDPOINTS: usize = 64;

/// Questions that wait to be read.
const WAITING: usize = 256;

/// The longest text of an error that is kept for the statistics, in characters.
const LAST_ERROR: usize = 200;

/// What was asked of a tool or a server. Clones count as one.
#[derive(Debug, Clone, Default)]
pub(super) struct Counters(Arc<Counts>);

#[derive(Debug, Default)]
struct Counts {
    requests: AtomicU64,
    errors: AtomicU64,
    nanos: AtomicU64,
    last_error: Mutex<String>,
}

impl Counters {
    /// Counts a call.
    pub(super) fn count(&self, took: Duration, error: Option<&Error>) {
        let counts = &self.0;
        counts.requests.fetch_add(1, Ordering::Relaxed);
        let nanos = u64::try_from(took.as_nanos()).unwrap_or(u64::MAX);
        counts.nanos.fetch_add(nanos, Ordering::Relaxed);
        if let Some(error) = error {
            counts.errors.fetch_add(1, Ordering::Relaxed);
            let text: String = error.to_string().chars().take(LAST_ERROR).collect();
            let last = counts.last_error.lock();
            *last.unwrap_or_else(PoisonError::into_inner) = text;
        }
    }
}

/// What is asked.
#[derive(Debug, Clone, Copy)]
enum Verb {
    Ping,
    Info,
    Stats,
}

impl Verb {
    const ALL: [(&'static str, Self); 3] = [
        ("PING", Self::Ping),
        ("INFO", Self::Info),
        ("STATS", Self::Stats),
    ];
}

/// What all answers have. The names of their members are the protocol's.
#[derive(Debug, Serialize)]
struct Identity<'a> {
    name: &'a str,
    id: &'a str,
    version: &'static str,
    metadata: BTreeMap<&'static str, String>,
    #[serde(rename = "type")]
    kind: &'static str,
}

#[derive(Debug, Serialize)]
struct Info<'a> {
    #[serde(flatten)]
    identity: Identity<'a>,
    description: String,
    endpoints: Vec<Endpoint>,
}

#[derive(Debug, Serialize)]
struct Stats<'a> {
    #[serde(flatten)]
    identity: Identity<'a>,
    started: String,
    endpoints: Vec<EndpointStats>,
}

#[derive(Debug, Serialize)]
struct Endpoint {
    name: String,
    subject: String,
    queue_group: &'static str,
    metadata: BTreeMap<&'static str, String>,
}

#[derive(Debug, Serialize)]
struct EndpointStats {
    name: String,
    subject: String,
    queue_group: &'static str,
    num_requests: u64,
    num_errors: u64,
    last_error: String,
    processing_time: u64,
    average_processing_time: u64,
    /// For what a service adds of its own, which clients expect even where it is nothing.
    data: BTreeMap<&'static str, String>,
}

/// Begins to answer.
pub(super) async fn open(shared: &Arc<Shared>) -> Result<(), BusError> {
    for (name, verb) in Verb::ALL {
        let everybody = format!("$SRV.{name}");
        answer_at(shared, everybody, verb, None).await?;
        for (place, server) in shared.servers.keys().enumerate() {
            let all = format!("$SRV.{name}.{server}");
            let own = format!("{all}.{}", shared.id);
            answer_at(shared, all, verb, Some(place)).await?;
            answer_at(shared, own, verb, Some(place)).await?;
        }
    }
    Ok(())
}

async fn answer_at(
    shared: &Arc<Shared>,
    subject: String,
    verb: Verb,
    place: Option<usize>,
) -> Result<(), BusError> {
    let mut asked = shared.bus.subscribe(&subject, None, WAITING).await?;
    let answerer = Arc::clone(shared);
    let leaving: CancellationToken = shared.draining.clone();
    shared.tasks.spawn(async move {
        let answering = async {
            while let Some(message) = asked.next().await {
                answerer.introduce(&message, verb, place);
            }
        };
        leaving.run_until_cancelled(answering).await;
    });
    Ok(())
}

impl Shared {
    fn introduce(&self, asked: &Message, verb: Verb, place: Option<usize>) {
        let Some(reply) = &asked.reply else { return };
        let places = place.map_or(0..self.servers.len(), |place| place..place + 1);
        for place in places {
            self.answer_plain(reply, self.described(verb, place).into());
        }
    }

    fn described(&self, verb: Verb, place: usize) -> Vec<u8> {
        let Some((name, _)) = self.servers.get_index(place) else {
            return Vec::new();
        };
        let identity = |kind| Identity {
            name: name.as_str(),
            id: &self.id,
            version: env!("CARGO_PKG_VERSION"),
            metadata: BTreeMap::from([
                ("tenant", self.subjects.tenant().to_owned()),
                ("tools", self.tools_of(place).count().to_string()),
            ]),
            kind,
        };
        let written = match verb {
            Verb::Ping => serde_json::to_vec(&identity("io.nats.micro.v1.ping_response")),
            Verb::Info => serde_json::to_vec(&Info {
                identity: identity("io.nats.micro.v1.info_response"),
                description: format!("MCP server {name}, served by Toolbus"),
                endpoints: self
                    .endpoints(place)
                    .into_iter()
                    .map(|(point, _)| point)
                    .collect(),
            }),
            Verb::Stats => serde_json::to_vec(&Stats {
                identity: identity("io.nats.micro.v1.stats_response"),
                started: humantime::format_rfc3339_millis(self.started_at).to_string(),
                endpoints: self.endpoints(place).into_iter().map(stats).collect(),
            }),
        };
        written.unwrap_or_default()
    }

    fn tools_of(&self, place: usize) -> impl Iterator<Item = Arc<super::offered::Tool>> {
        let offered = self.offered();
        let tools: Vec<_> = offered.tools.iter().map(Arc::clone).collect();
        tools.into_iter().filter(move |tool| tool.server == place)
    }

    /// The server's own subject, and those of its first tools.
    fn endpoints(&self, place: usize) -> Vec<(Endpoint, Counters)> {
        let Some((server, served)) = self.servers.get_index(place) else {
            return Vec::new();
        };
        let own = Endpoint {
            name: "server".to_owned(),
            subject: self.subjects.server_all(server),
            queue_group: WORKERS,
            metadata: BTreeMap::new(),
        };
        let tools = self.tools_of(place).take(MOST_ENDPOINTS).map(|tool| {
            let urn = urn_of(server, &tool).to_string();
            let work = Work::Tool(server, tool.name.as_ref().into());
            let endpoint = Endpoint {
                name: tool.token.clone(),
                subject: self.subjects.work(&work),
                queue_group: WORKERS,
                metadata: BTreeMap::from([("digest", tool.digest.clone()), ("urn", urn)]),
            };
            (endpoint, tool.counters.clone())
        });
        let own = (own, served.counters.clone());
        std::iter::once(own).chain(tools).collect()
    }
}

fn stats((point, counters): (Endpoint, Counters)) -> EndpointStats {
    let counts = &counters.0;
    let read = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
    let (requests, nanos) = (read(&counts.requests), read(&counts.nanos));
    let last = counts.last_error.lock();
    EndpointStats {
        name: point.name,
        subject: point.subject,
        queue_group: point.queue_group,
        num_requests: requests,
        num_errors: read(&counts.errors),
        last_error: last.unwrap_or_else(PoisonError::into_inner).clone(),
        processing_time: nanos,
        average_processing_time: nanos.checked_div(requests).unwrap_or_default(),
        data: BTreeMap::new(),
    }
}
