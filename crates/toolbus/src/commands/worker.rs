//! `toolbus worker`: serves functions and MCP servers on the mesh.

mod python;
mod served;

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use clap::Args;
use tokio::time::timeout;
use toolbus_mesh::bus::Bus;
use toolbus_mesh::worker::{CAPACITY, CallerKey, Compat, Given, Settings, Worker, WorkerId};
use toolbus_model::{Health, Offer, ServerName};

use super::Failed;
use super::up::Stop;
use crate::broker::{self, Purpose};
use crate::config::{Mesh, ServerKind, Span, Urls};
use served::Served;

/// How long servers may take to start before what is known is told anyway.
const TELL_WITHIN: Duration = Duration::from_secs(20);

/// How long the servers may take to end.
const STOP_WITHIN: Duration = Duration::from_secs(10);

const EXAMPLES: &str = "\
Examples:
  toolbus worker math.py                       the functions of a Python file
  toolbus worker -- npx -y some-mcp-server     an MCP server that speaks on stdio
  toolbus worker --url http://127.0.0.1:9000/mcp
  toolbus worker toolbus.toml                  all servers of a configuration

The mesh is that of --nats, else of [mesh] in the configuration, else of NATS_URL, else of this user on this machine.";

#[derive(Debug, Args)]
#[command(after_help = EXAMPLES)]
pub(super) struct Arguments {
    /// Python files, each of which is a server (FILE.py:OBJECT for one object of it); or a configuration, or a folder that
    /// holds one.
    #[arg(value_name = "FILE|FOLDER", conflicts_with_all = ["url", "socket", "command"])]
    paths: Vec<PathBuf>,
    /// A server's MCP endpoint.
    #[arg(long, value_name = "URL", conflicts_with_all = ["socket", "command"])]
    url: Option<String>,
    /// The Unix socket at which a process of its own serves.
    #[arg(long, value_name = "PATH", conflicts_with = "command")]
    socket: Option<PathBuf>,
    /// The command of a server that speaks MCP on stdio.
    #[arg(last = true, value_name = "COMMAND")]
    command: Vec<String>,
    /// What the server is called on the mesh. From the file, command or URL where it is not given.
    #[arg(long)]
    name: Option<String>,
    /// The Python that runs files. That of VIRTUAL_ENV where it is not given, else python3.
    #[arg(long, value_name = "PATH")]
    python: Option<PathBuf>,
    /// A variable for the server, as NAME=VALUE, or as NAME with the value it has here.
    #[arg(long, value_name = "NAME[=VALUE]")]
    env: Vec<String>,
    /// It keeps state for each caller: a caller's calls stay with one worker.
    #[arg(long)]
    stateful: bool,
    /// Calls at once. What comes beyond it goes to other workers.
    #[arg(long, default_value_t = CAPACITY, value_parser = capacity)]
    capacity: usize,
    /// How long calls may take to end once the worker is to stop.
    #[arg(long, value_name = "DURATION", default_value = "30s", value_parser = span)]
    drain_within: Span,
    #[command(flatten)]
    place: Place,
}

/// Where the mesh is.
#[derive(Debug, Args)]
#[command(next_help_heading = "Mesh")]
struct Place {
    /// The NATS server, or several with commas between them.
    #[arg(long, value_name = "URL")]
    nats: Option<String>,
    /// A file with NATS credentials (.creds).
    #[arg(long, value_name = "FILE")]
    creds: Option<PathBuf>,
    /// The configuration whose [mesh] counts. ./toolbus.toml where it is not given and there is one.
    #[arg(long, value_name = "FILE")]
    config: Option<PathBuf>,
    /// What all subjects begin with.
    #[arg(long)]
    prefix: Option<String>,
    /// The worker's own id, where the permissions of the NATS server name it. No other worker may have it.
    #[arg(long, value_parser = WorkerId::parse)]
    id: Option<WorkerId>,
    /// The tenant.
    #[arg(long)]
    tenant: Option<String>,
    /// The prefix of the published subjects on which it is reached as well, such as coreason.
    #[arg(long, value_name = "PREFIX")]
    compat: Option<String>,
    /// The public key that gateways sign callers with: 32 bytes in base64, or a PEM file. Calls without are refused then.
    #[arg(long, value_name = "KEY|FILE")]
    caller_key: Vec<String>,
}

fn capacity(text: &str) -> Result<usize, String> {
    match text.parse() {
        Ok(capacity @ 1..=100_000) => Ok(capacity),
        _ => Err("use a number from 1 to 100000".to_owned()),
    }
}

fn span(text: &str) -> Result<Span, String> {
    humantime::parse_duration(text)
        .map(Span)
        .map_err(|error| format!("{error}; write it like 30s or 5m"))
}

pub(super) async fn run(arguments: Arguments) -> Result<(), Failed> {
    let mut stop = Stop::new().map_err(Failed::NoOutcome)?;
    let served = Served::of(&arguments).await?;
    let mesh = arguments.place.mesh(served.mesh.clone())?;
    let settings = arguments.settings(&mesh)?;
    let subjects = mesh.subjects().map_err(Failed::Usage)?;
    let servers = served.start()?;
    let work = async {
        let (bus, place) = open(&mesh).await?;
        let started = Worker::start(Arc::clone(&bus), subjects, servers.clone(), settings).await;
        let worker = started.map_err(|error| Failed::NoOutcome(error.to_string()))?;
        Ok::<_, Failed>((worker, bus, place))
    };
    let begun = tokio::select! {
        begun = work => begun,
        _ = stop.requested() => {
            end(&servers).await;
            return Ok(());
        }
    };
    let (worker, bus, place) = match begun {
        Ok(begun) => begun,
        Err(failed) => {
            end(&servers).await;
            return Err(failed);
        }
    };
    let outcome = serve(&worker, &servers, &place, &served, &mut stop).await;
    let ended = async {
        worker.drain().await;
        end(&servers).await;
        bus.close().await;
    };
    tokio::select! {
        () = ended => tracing::info!("stopped"),
        name = stop.requested() => tracing::warn!("{name} again: stopped at once"),
    }
    outcome
}

async fn open(mesh: &Mesh) -> Result<(Arc<dyn Bus>, String), Failed> {
    let opened = broker::open(mesh, Purpose::Worker).await;
    opened.map_err(Failed::Usage)
}

/// Serves until it is told to stop, or there is nothing to serve any more.
async fn serve(
    worker: &Worker,
    servers: &[Given],
    place: &str,
    served: &Served,
    stop: &mut Stop,
) -> Result<(), Failed> {
    tracing::info!(
        worker = worker.id(),
        "toolbus {} on {place}",
        env!("CARGO_PKG_VERSION")
    );
    let told = async {
        tell(servers).await;
        std::future::pending::<()>().await;
    };
    tokio::select! {
        name = stop.requested() => tracing::info!("{name}: finishing what is under way"),
        () = worker.closed() => tracing::info!("drained"),
        error = served.is_over(servers) => return Err(Failed::NoOutcome(error)),
        () = told => {}
    }
    Ok(())
}

/// What there is, once the servers have answered.
async fn tell(servers: &[Given]) {
    for (name, backend, _) in servers {
        let mut offer = backend.offer();
        let settled = offer.wait_for(|offer| offer.is_settled());
        let _ = timeout(TELL_WITHIN, settled).await;
        let offer = backend.offer().borrow().clone();
        tell_one(name, &offer);
    }
}

fn tell_one(name: &ServerName, offer: &Offer) {
    match &offer.health {
        Health::Down(error) => tracing::warn!(server = %name, "down: {error}"),
        Health::Starting => tracing::warn!(server = %name, "still starting"),
        Health::Resting | Health::Up => tracing::info!(
            server = %name,
            tools = offer.tools.len(),
            prompts = offer.prompts.len(),
            resources = offer.resources.len() + offer.templates.len(),
            "served"
        ),
    }
}

/// Ends the servers.
async fn end(servers: &[Given]) {
    for (name, backend, _) in servers {
        if timeout(STOP_WITHIN, backend.stop()).await.is_err() {
            tracing::warn!(server = %name, "the server did not end in time");
        }
    }
}

impl Arguments {
    fn settings(&self, mesh: &Mesh) -> Result<Settings, Failed> {
        let compat = mesh.compat.as_deref().map(Compat::new).transpose();
        let keys = self.place.caller_key.iter().map(|text| caller_key(text));
        Ok(Settings {
            id: self.place.id.clone(),
            capacity: self.capacity,
            caller_keys: keys.collect::<Result<_, _>>()?,
            compat: compat.map_err(|error| Failed::Usage(format!("--compat: {error}")))?,
            drain_within: self.drain_within.0,
        })
    }
}

/// A key, or the file it is in.
fn caller_key(text: &str) -> Result<CallerKey, Failed> {
    let read = std::fs::read_to_string(text);
    let text = read.as_deref().unwrap_or(text);
    CallerKey::parse(text).map_err(|error| Failed::Usage(format!("--caller-key: {error}")))
}

impl Place {
    /// The mesh of the configuration, with what the command line says of it.
    fn mesh(&self, configured: Option<Mesh>) -> Result<Mesh, Failed> {
        let mut mesh = match configured {
            Some(mesh) if self.config.is_none() => mesh,
            _ => super::load(self.config.as_deref())?.1.mesh,
        };
        if let Some(url) = &self.nats {
            mesh.url = Some(Urls::One(url.clone()));
            mesh.server = ServerKind::Auto;
        }
        if let Some(path) = &self.creds {
            (mesh.token, mesh.user, mesh.password, mesh.nkey) = (None, None, None, None);
            mesh.credentials = Some(path.clone());
        }
        for (given, place) in [
            (&self.prefix, &mut mesh.prefix),
            (&self.tenant, &mut mesh.tenant),
        ] {
            if let Some(given) = given {
                given.clone_into(place);
            }
        }
        if self.compat.is_some() {
            mesh.compat.clone_from(&self.compat);
        }
        Ok(mesh)
    }
}
