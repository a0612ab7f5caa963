//! Servers for a single command: those of a configuration, or those behind a running gateway.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use clap::Args;
use http::{HeaderMap, HeaderValue, Uri};
use tokio::sync::watch;
use toolbus_backends::mcp::{HttpTarget, McpServer, Settings, Target};
use toolbus_gateway::audit::Audit;
use toolbus_gateway::policy::Policy;
use toolbus_gateway::{Gateway, Server, ServerSettings, Setup};
use toolbus_model::ServerName;

use super::{Failed, load};
use crate::config::{ServerKind, Source};
use crate::house::{self, House, Standing};

/// How long a command waits for servers to start; some are downloaded first.
const START_WITHIN: Duration = Duration::from_secs(90);

/// Where the servers are.
#[derive(Debug, Args)]
pub(super) struct Where {
    /// Ask the gateway that runs at this URL, such as http://127.0.0.1:7800, instead of starting servers.
    #[arg(long, value_name = "URL")]
    pub(super) url: Option<Uri>,
    /// The token to show at that URL; also taken from TOOLBUS_TOKEN.
    #[arg(long, value_name = "TOKEN", requires = "url")]
    pub(super) token: Option<String>,
}

/// What the gateway at the URL is called in this command.
pub(super) const REMOTE: &str = "gateway";

/// Opens the servers of a configuration and those on its mesh, or only the one that is asked for.
pub(super) async fn local(path: Option<&PathBuf>, only: Option<&str>) -> Result<Opened, Failed> {
    let (source, mut config) = load(path.map(PathBuf::as_path))?;
    config.callers.clear();
    let configured: Vec<String> = config.servers.keys().cloned().collect();
    if let Some(only) = only {
        config.servers.retain(|name, _| name == only);
        if !config.servers.is_empty() {
            config.mesh.server = ServerKind::None;
            config.mesh.url = None;
        }
    }
    let key = house::key_of_this_process().map_err(Failed::Usage)?;
    let house = House::open(&config, Audit::none(), key).map_err(Failed::Usage)?;
    let opened = Opened {
        wants_mesh: config.mesh.url.is_some(),
        mesh: Some(house.mesh()),
        gateway: house.gateway,
    };
    opened.gateway.settled(START_WITHIN).await;
    match only {
        Some(only) if !opened.has(only) => Err(opened.lacks(only, &configured, &source)),
        _ => Ok(opened),
    }
}

/// Servers that were opened, and how it stands with the mesh.
pub(super) struct Opened {
    pub(super) gateway: Arc<Gateway>,
    /// The mesh is named, and not only looked for.
    pub(super) wants_mesh: bool,
    mesh: Option<watch::Receiver<Standing>>,
}

impl Opened {
    /// What is wrong with the mesh.
    pub(super) fn mesh_problem(&self) -> Option<String> {
        match &*self.mesh.as_ref()?.borrow() {
            Standing::Out(why) => Some(why.clone()),
            Standing::Joining => Some("there is no connection yet".to_owned()),
            Standing::None | Standing::In(_) => None,
        }
    }

    /// The mesh, for a person.
    pub(super) fn mesh(&self) -> Option<String> {
        match &*self.mesh.as_ref()?.borrow() {
            Standing::In(mesh) => Some(mesh.describe()),
            _ => None,
        }
    }

    fn has(&self, name: &str) -> bool {
        let mut servers = self.gateway.servers().into_iter();
        servers.any(|server| server.name.as_str() == name)
    }

    fn lacks(&self, only: &str, configured: &[String], source: &Source) -> Failed {
        let names = |names: &[String]| match names {
            [] => "none".to_owned(),
            names => names.join(", "),
        };
        let found: Vec<_> = self.gateway.servers();
        let found: Vec<_> = found.iter().map(|server| server.name.to_string()).collect();
        let is_of_interest = self.wants_mesh || *source == Source::Nothing;
        let mesh = match (self.mesh(), self.mesh_problem()) {
            (Some(mesh), _) => format!("; the mesh ({mesh}) has: {}", names(&found)),
            (None, Some(problem)) if is_of_interest => {
                format!("; the mesh cannot be asked: {problem}")
            }
            (None, _) => String::new(),
        };
        Failed::Usage(format!(
            "{source} has no server {only:?}; it has: {}{mesh}",
            names(configured)
        ))
    }
}

/// Opens what a running gateway shows at `path`.
pub(super) async fn remote(place: &Where, path: &str) -> Result<Opened, Failed> {
    let base = place.url.as_ref().map(Uri::to_string).unwrap_or_default();
    let base = base.trim_end_matches('/').trim_end_matches("/mcp");
    let url: Uri = format!("{base}{path}")
        .parse()
        .map_err(|error| Failed::Usage(format!("--url: {error}")))?;
    if !matches!(url.scheme_str(), Some("http" | "https")) {
        return Err(Failed::Usage(format!(
            "--url {base}: it must begin with http:// or https://"
        )));
    }
    let mut headers = HeaderMap::new();
    let token = place
        .token
        .clone()
        .or_else(|| std::env::var("TOOLBUS_TOKEN").ok());
    if let Some(token) = token {
        let value = HeaderValue::from_str(&format!("Bearer {token}"));
        headers.insert(
            http::header::AUTHORIZATION,
            value.map_err(|_| Failed::Usage("--token: it cannot stand in a header".to_owned()))?,
        );
    }
    let name = ServerName::parse(REMOTE).map_err(Failed::Usage)?;
    let backend = McpServer::start(
        REMOTE,
        Target::Http(HttpTarget { url, headers }),
        Settings::default(),
    );
    let servers = vec![Server::new(name, backend, ServerSettings::default())];
    let gateway = Gateway::open(Setup {
        servers,
        policy: Policy::open(),
        audit: Audit::none(),
        prefix: false,
        key: house::key_of_this_process().map_err(Failed::Usage)?,
    });
    gateway.settled(START_WITHIN).await;
    Ok(Opened {
        gateway,
        wants_mesh: false,
        mesh: None,
    })
}
