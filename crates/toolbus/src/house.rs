//! The one place where everything is wired: from a configuration to a gateway with its servers.

use std::collections::HashMap;
use std::sync::Arc;

use http::header::AUTHORIZATION;
use http::{HeaderMap, HeaderName, HeaderValue};
use sha2::{Digest, Sha256};
use toolbus_backends::mcp::{self, HttpTarget, McpServer, Target};
use toolbus_backends::process::Command;
use toolbus_doors::{Access, Limits};
use toolbus_gateway::audit::Audit;
use toolbus_gateway::policy::{DEFAULT_IN_FLIGHT, Policy, Rules};
use toolbus_gateway::{Gateway, Key, Server, ServerSettings, Setup};
use toolbus_model::{Caller, ServerName};

use crate::config::{self, Config};
use crate::state;

/// Shortest `state_key` that is accepted, in characters.
const SHORTEST_KEY: usize = 16;

/// A gateway, and what its back ends were made of.
pub(crate) struct House {
    pub(crate) gateway: Arc<Gateway>,
    made_of: HashMap<ServerName, Recipe>,
}

/// What a back end is made of. As long as it reads the same, the back end runs on.
#[derive(Clone, PartialEq)]
struct Recipe {
    target: Target,
    treatment: mcp::Settings,
}

/// What a change of the configuration meant for the servers, by their names.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct Changes {
    /// New ones.
    pub(crate) added: Vec<String>,
    /// Those that are reached in another way: started anew.
    pub(crate) restarted: Vec<String>,
    /// Those with other limits: they run on.
    pub(crate) adjusted: Vec<String>,
    /// Those that are gone.
    pub(crate) removed: Vec<String>,
}

/// A server as the configuration wants it.
struct Wanted {
    name: ServerName,
    recipe: Recipe,
    settings: ServerSettings,
}

impl House {
    /// Opens the gateway of a configuration; its servers start. Must be called within a runtime.
    pub(crate) fn open(config: &Config, audit: Audit, key: Key) -> Result<Self, String> {
        let wanted = Wanted::all(config)?;
        let gateway = Gateway::open(Setup {
            servers: wanted.iter().map(Wanted::start).collect(),
            policy: policy(config),
            audit,
            prefix: config.gateway.prefix_names,
            key,
        });
        let made_of = Wanted::recipes(wanted);
        Ok(Self { gateway, made_of })
    }

    /// Puts another configuration in place of the one before. A server that is reached as before runs on.
    pub(crate) fn apply(&mut self, config: &Config) -> Result<Changes, String> {
        let wanted = Wanted::all(config)?;
        let before = self.gateway.servers();
        let mut changes = Changes::default();
        let place = |wanted: &Wanted| {
            let name = wanted.name.to_string();
            let Some(old) = before.iter().find(|old| old.name == wanted.name) else {
                changes.added.push(name);
                return Arc::new(wanted.start());
            };
            if self.made_of.get(&wanted.name) != Some(&wanted.recipe) {
                changes.restarted.push(name);
                return Arc::new(wanted.start());
            }
            if old.settings == wanted.settings {
                return Arc::clone(old);
            }
            changes.adjusted.push(name);
            let (backend, settings) = (Arc::clone(&old.backend), wanted.settings.clone());
            Arc::new(Server::new(wanted.name.clone(), backend, settings))
        };
        let servers = wanted.iter().map(place).collect();
        self.gateway
            .replace(servers, policy(config), config.gateway.prefix_names);
        self.made_of = Wanted::recipes(wanted);
        let gone = before
            .iter()
            .filter(|old| !self.made_of.contains_key(&old.name));
        changes.removed = gone.map(|old| old.name.to_string()).collect();
        Ok(changes)
    }
}

impl Wanted {
    /// All servers of a configuration. Nothing is started before everything is known to be right.
    fn all(config: &Config) -> Result<Vec<Self>, String> {
        let wanted = config.servers.iter().map(|(name, server)| {
            Ok(Self {
                name: ServerName::parse(name)?,
                recipe: Recipe {
                    target: target(server).map_err(|error| format!("[servers.{name}]: {error}"))?,
                    treatment: treatment(server),
                },
                settings: settings(server),
            })
        });
        wanted.collect()
    }

    fn start(&self) -> Server {
        let Recipe { target, treatment } = self.recipe.clone();
        let backend = McpServer::start(self.name.as_str(), target, treatment);
        Server::new(self.name.clone(), backend, self.settings.clone())
    }

    fn recipes(all: Vec<Self>) -> HashMap<ServerName, Recipe> {
        let recipes = all.into_iter().map(|wanted| (wanted.name, wanted.recipe));
        recipes.collect()
    }
}

/// How to reach a server, with its secrets in place.
pub(crate) fn target(server: &config::Server) -> Result<Target, String> {
    match (&server.stdio, &server.http) {
        (Some(stdio), _) => {
            let env = stdio
                .env
                .iter()
                .map(|(name, value)| Ok((name.clone(), value.reveal()?)));
            let env = env.collect::<Result<_, String>>()?;
            Ok(Target::Stdio(Command {
                line: stdio.command.clone(),
                env,
                cwd: stdio.cwd.clone(),
            }))
        }
        (None, Some(http)) => Ok(Target::Http(HttpTarget {
            url: http.url.0.clone(),
            headers: headers(http)?,
        })),
        (None, None) => Err("it has no kind".to_owned()),
    }
}

fn headers(http: &config::Http) -> Result<HeaderMap, String> {
    let mut headers = HeaderMap::new();
    let mut put = |name: &str, value: String| {
        let name: HeaderName = name
            .parse()
            .map_err(|_| format!("{name:?} is not a header name"))?;
        let mut value = HeaderValue::from_str(&value)
            .map_err(|_| format!("the value of {name} cannot stand in a header"))?;
        value.set_sensitive(true);
        headers.insert(name, value);
        Ok::<(), String>(())
    };
    for (name, value) in &http.headers {
        put(name, value.reveal()?)?;
    }
    if let Some(token) = &http.bearer {
        put(
            AUTHORIZATION.as_str(),
            format!("Bearer {}", token.reveal()?),
        )?;
    }
    Ok(headers)
}

fn treatment(server: &config::Server) -> mcp::Settings {
    mcp::Settings {
        sharing: match server.sessions {
            config::Sessions::Shared => mcp::Sharing::Shared,
            config::Sessions::PerCaller => mcp::Sharing::PerCaller,
        },
        ..mcp::Settings::default()
    }
}

fn settings(server: &config::Server) -> ServerSettings {
    let tools: HashMap<_, _> = server
        .tools
        .iter()
        .map(|(name, tool)| (name.clone(), server.deadlines(Some(tool))))
        .collect();
    let default = ServerSettings::default();
    ServerSettings {
        deadlines: server.deadlines(None),
        tools,
        in_flight: server.max_in_flight.unwrap_or(default.in_flight),
        ..default
    }
}

fn policy(config: &Config) -> Policy {
    if config.callers.is_empty() {
        return Policy::open();
    }
    Policy::new(config.callers.iter().map(|(name, caller)| {
        let in_flight = caller.max_in_flight.unwrap_or(DEFAULT_IN_FLIGHT);
        (
            Caller::named(name),
            Rules::new(name, caller.allow.clone(), caller.deny.clone(), in_flight),
        )
    }))
}

/// Who may come in by HTTP, at the address of this configuration.
pub(crate) fn access(config: &Config) -> Result<Access, String> {
    let mut tokens: Vec<(String, Caller)> = Vec::new();
    for (name, caller) in &config.callers {
        let token = caller
            .token
            .reveal()
            .map_err(|error| format!("[callers.{name}] token: {error}"))?;
        if token.is_empty() {
            return Err(format!("[callers.{name}] token: it is empty"));
        }
        if let Some((_, other)) = tokens.iter().find(|(known, _)| *known == token) {
            return Err(format!(
                "[callers.{name}] token: it is the one of {:?} as well",
                other.as_str()
            ));
        }
        tokens.push((token, Caller::named(name)));
    }
    let access = Access::new(tokens, !config.gateway.listen.ip().is_loopback());
    Ok(access.allowing(config.gateway.hosts.clone(), config.gateway.origins.clone()))
}

/// What the HTTP listener bears.
pub(crate) fn limits(config: &Config) -> Limits {
    Limits {
        body: config.gateway.max_body_bytes,
        connections: config.gateway.max_connections,
        ..Limits::default()
    }
}

/// The key that seals what callers take away and bring back.
pub(crate) fn key(config: &Config) -> Result<Key, String> {
    let Some(secret) = &config.gateway.state_key else {
        return state::key();
    };
    let text = secret
        .reveal()
        .map_err(|error| format!("[gateway] state_key: {error}"))?;
    if text.chars().count() < SHORTEST_KEY {
        return Err(format!(
            "[gateway] state_key: use at least {SHORTEST_KEY} characters"
        ));
    }
    Ok(Key::new(&Sha256::digest(text.as_bytes()).into()))
}

/// A key for what does not leave this process.
pub(crate) fn key_of_this_process() -> Result<Key, String> {
    Ok(Key::new(&Key::generate()?))
}

/// Where records go.
pub(crate) fn audit(config: &Config) -> Result<Audit, String> {
    let path = match &config.audit.file {
        Some(path) => path.clone(),
        None => state::folder()?.join("audit.jsonl"),
    };
    Audit::to_file(&path).map_err(|error| {
        format!(
            "the audit file {} cannot be written: {error}",
            path.display()
        )
    })
}
