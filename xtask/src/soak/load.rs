//! Idle sessions and open streams: what each takes, and that an update reaches all of them.

use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, bail};
use serde_json::{Value, json};
use tokio::task::JoinSet;

use super::client::Connection;
use super::kernel::{descriptors, settled};
use super::report::Report;
use super::requests::Endpoint;
use super::rig::{Ground, at_url};
use crate::bench::process::resident_mib;
use crate::server::Server;

const PART: &str = "load";

/// Connections on which sessions are opened and used.
const WORKERS: usize = 32;

/// KiB that one idle session may take: it is its id, which the client keeps.
const A_SESSION: f64 = 1.0;

/// KiB that one open stream may take, its connection included.
const A_STREAM: f64 = 64.0;

/// How often streams are opened and closed again in the end, and what an allocator may keep besides, in MiB.
const AGAIN: usize = 3;
const SLACK: f64 = 32.0;

/// How long an update may take to everyone.
const UPDATE: Duration = Duration::from_secs(20);

/// What is listened to.
const WATCHED: &str = "test://watched-resource";

struct Scene<'a> {
    gateway: &'a Server,
    endpoint: Endpoint,
    report: &'a mut Report,
}

pub(super) async fn run(ground: &Ground<'_>, short: bool, report: &mut Report) -> Result<()> {
    let (sessions, streams) = if short { (500, 100) } else { (10_000, 2_000) };
    let fixture = ground.fixture("fixture")?;
    let servers = at_url("fixture", &fixture, "");
    let gateway = ground.gateway("max_connections = 10000", &servers)?;
    let endpoint = Endpoint::of(&gateway)?;
    let mut scene = Scene {
        gateway: &gateway,
        endpoint,
        report,
    };
    // Some sessions before, so that what is made once has been made.
    scene.open_sessions(WORKERS * 4).await?;
    let before = descriptors(gateway.pid())?;
    let ids = scene.sessions(sessions).await?;
    scene
        .streams(&ids[..streams.min(ids.len())], streams)
        .await?;
    let after = settled(UPDATE, || descriptors(gateway.pid()), |now| *now <= before).await?;
    let bound = format!("{before}, as before");
    scene.report.hold(
        PART,
        "descriptors once all have gone",
        after,
        bound,
        after <= before,
    );
    scene.again(streams).await?;
    gateway.stop()?;
    fixture.stop()
}

impl Scene<'_> {
    fn mib(&self) -> Result<f64> {
        resident_mib(self.gateway.pid())
    }

    fn per_one(&mut self, what: &str, count: usize, before: f64, limit: f64) -> Result<()> {
        let now = self.mib()?;
        let kib = (now - before) * 1024.0 / count as f64;
        let whole = format!("memory with {count} {what}");
        self.report
            .note(PART, &whole, format!("{before:.1} -> {now:.1} MiB"));
        // A few of them do not show beside what an allocator does.
        let held = kib < limit || count < 1_000;
        self.report.hold(
            PART,
            &format!("{what}, each"),
            format!("{kib:.2} KiB"),
            format!("{limit} KiB"),
            held,
        );
        Ok(())
    }

    async fn sessions(&mut self, count: usize) -> Result<Vec<String>> {
        let before = self.mib()?;
        let begun = Instant::now();
        let ids = self.open_sessions(count).await?;
        let what = format!("{count} sessions opened");
        self.report
            .note(PART, &what, format!("{:.1?}", begun.elapsed()));
        self.per_one("idle sessions", count, before, A_SESSION)?;
        let begun = Instant::now();
        let endpoint = self.endpoint.clone();
        let pings = ids
            .iter()
            .map(|id| endpoint.legacy(id, 2, "ping", &json!({})));
        let pings = pings.collect::<Result<Vec<_>>>()?;
        let alive = at_work(&self.endpoint, pings, |answer| {
            answer.result().map(|_| true)
        });
        let alive = alive.await?.len();
        let held = alive == count && begun.elapsed() < UPDATE;
        self.report.hold(
            PART,
            "of them alive, asked one after the other",
            alive,
            count,
            held,
        );
        Ok(ids)
    }

    async fn open_sessions(&self, count: usize) -> Result<Vec<String>> {
        let requests = vec![self.endpoint.initialize()?; count];
        at_work(&self.endpoint, requests, |answer| {
            answer.result()?;
            let id = answer.head.header("mcp-session-id");
            id.map(str::to_owned).context("no session id")
        })
        .await
    }

    async fn streams(&mut self, sessions: &[String], count: usize) -> Result<()> {
        let before = self.mib()?;
        let mut modern = self.listen(count).await?;
        self.per_one("listen streams", count, before, A_STREAM)?;
        let before = self.mib()?;
        let mut legacy = self.legacy_streams(sessions).await?;
        self.per_one("streams of sessions", sessions.len(), before, A_STREAM)?;
        let all = count + sessions.len();
        for (tool, arguments, method) in [
            (
                "test_trigger_tool_change",
                json!({}),
                "notifications/tools/list_changed",
            ),
            (
                "test_touch_resource",
                json!({"uri": WATCHED}),
                "notifications/resources/updated",
            ),
        ] {
            let begun = Instant::now();
            self.call(tool, &arguments).await?;
            let told = told(&mut modern, method).await? + told(&mut legacy, method).await?;
            let what = format!("streams told of {method}");
            self.report.hold(PART, &what, told, all, told == all);
            self.report.note(
                PART,
                "until the last one was",
                format!("{:.1?}", begun.elapsed()),
            );
        }
        Ok(())
    }

    async fn listen(&self, count: usize) -> Result<Vec<Connection>> {
        let wants = json!({"notifications": {"toolsListChanged": true, "resourceSubscriptions": [WATCHED]}});
        let listens = (1..=count as u64).map(|id| {
            let wants = wants.clone();
            self.endpoint
                .modern(id, "subscriptions/listen", None, wants)
        });
        let mut streams = self.open(listens.collect::<Result<_>>()?).await?;
        for stream in &mut streams {
            let first = stream.event().await?.context("no acknowledgement")?;
            if first["method"] != "notifications/subscriptions/acknowledged" {
                bail!("a stream begins with {first}");
            }
        }
        Ok(streams)
    }

    /// Memory that the streams before have left is used for those that come.
    async fn again(&mut self, count: usize) -> Result<()> {
        let before = self.mib()?;
        for _ in 0..AGAIN {
            self.listen(count).await?;
        }
        let (now, bound) = (self.mib()?, before + SLACK);
        let what = format!("memory after {AGAIN} times {count} listen streams more");
        self.report.hold(
            PART,
            &what,
            format!("{now:.1} MiB"),
            format!("{bound:.1} MiB"),
            now < bound,
        );
        Ok(())
    }

    /// A stream of each session, which also subscribes to the resource.
    async fn legacy_streams(&self, sessions: &[String]) -> Result<Vec<Connection>> {
        let subscribe = |id: &String| {
            self.endpoint
                .legacy(id, 3, "resources/subscribe", &json!({"uri": WATCHED}))
        };
        let streams = sessions.iter().map(|id| self.endpoint.stream(id));
        let opened = self.open(streams.collect::<Result<_>>()?).await?;
        let subscribes = sessions.iter().map(subscribe).collect::<Result<_>>()?;
        at_work(&self.endpoint, subscribes, |answer| {
            answer.result().map(drop)
        })
        .await?;
        Ok(opened)
    }

    async fn open(&self, requests: Vec<Vec<u8>>) -> Result<Vec<Connection>> {
        let mut streams = Vec::with_capacity(requests.len());
        for request in requests {
            let mut stream = Connection::open(self.endpoint.address).await?;
            stream.subscribe(&request).await?;
            streams.push(stream);
        }
        Ok(streams)
    }

    async fn call(&self, tool: &str, arguments: &Value) -> Result<()> {
        let mut connection = Connection::open(self.endpoint.address).await?;
        let request = self.endpoint.call(1, tool, arguments)?;
        connection.exchange(&request).await?.result().map(drop)
    }
}

/// How many of these streams hear of it within the time there is.
async fn told(streams: &mut [Connection], method: &str) -> Result<usize> {
    let deadline = tokio::time::Instant::now() + UPDATE;
    let mut told = 0;
    for stream in streams {
        let heard = async {
            while let Some(event) = stream.event().await? {
                if event["method"] == method {
                    return Ok(true);
                }
            }
            Ok::<_, anyhow::Error>(false)
        };
        told += usize::from(
            tokio::time::timeout_at(deadline, heard)
                .await
                .is_ok_and(|heard| heard.unwrap_or(false)),
        );
    }
    Ok(told)
}

/// Sends requests over some kept connections, and takes from each answer what is wanted.
async fn at_work<T: Send + 'static>(
    endpoint: &Endpoint,
    requests: Vec<Vec<u8>>,
    take: fn(&super::client::Answer) -> Result<T>,
) -> Result<Vec<T>> {
    let (requests, address) = (Arc::new(requests), endpoint.address);
    let mut workers = JoinSet::new();
    for first in 0..WORKERS {
        let requests = Arc::clone(&requests);
        workers.spawn(async move {
            let mut connection = Connection::open(address).await?;
            let mut taken = Vec::new();
            for request in requests.iter().skip(first).step_by(WORKERS) {
                taken.push(take(&connection.exchange(request).await?)?);
            }
            Ok::<_, anyhow::Error>(taken)
        });
    }
    let mut all = Vec::with_capacity(requests.len());
    while let Some(taken) = workers.join_next().await {
        all.extend(taken??);
    }
    Ok(all)
}
