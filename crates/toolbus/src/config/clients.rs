//! The files of MCP clients (`mcpServers`, or `servers` in VS Code's form), read as they are.

use indexmap::IndexMap;
use serde::Deserialize;
use toolbus_model::ServerName;

use super::values::{Secret, Url};
use super::{Config, Http, Server, Start, Stdio};

/// What we read of such a file. Clients put members of their own beside, which are left alone.
#[derive(Debug, Deserialize)]
struct ClientFile {
    #[serde(rename = "mcpServers", alias = "servers")]
    servers: IndexMap<String, ClientServer>,
}

#[derive(Debug, Deserialize)]
struct ClientServer {
    command: Option<String>,
    #[serde(default)]
    args: Vec<String>,
    #[serde(default)]
    env: IndexMap<String, String>,
    cwd: Option<std::path::PathBuf>,
    #[serde(alias = "serverUrl", alias = "httpUrl")]
    url: Option<String>,
    #[serde(default)]
    headers: IndexMap<String, String>,
    #[serde(default)]
    disabled: bool,
}

/// Reads a client's file.
pub(super) fn parse(text: &str) -> Result<Config, String> {
    let file: ClientFile = serde_json::from_str(text).map_err(|error| {
        format!("not a client file: {error}; such files hold {{\"mcpServers\": {{\"name\": {{\"command\": ...}}}}}}")
    })?;
    let mut config = Config::default();
    for (name, server) in file.servers {
        if server.disabled {
            continue;
        }
        let server = server
            .read()
            .map_err(|error| format!("server {name:?}: {error}"))?;
        let name = ServerName::from_foreign(&name).as_str().to_owned();
        if config.servers.insert(name.clone(), server).is_some() {
            return Err(format!("two servers would be named {name:?}; rename one"));
        }
    }
    Ok(config)
}

impl ClientServer {
    fn read(self) -> Result<Server, String> {
        let secrets = |map: IndexMap<String, String>| {
            map.into_iter()
                .map(|(name, value)| Ok((name, expand(&value)?)))
                .collect::<Result<IndexMap<_, _>, String>>()
        };
        match (self.command, self.url) {
            (Some(program), None) => {
                let command = std::iter::once(program).chain(self.args).collect();
                let stdio = Stdio {
                    command,
                    env: secrets(self.env)?,
                    cwd: self.cwd,
                    start: Start::default(),
                    idle_stop: None,
                    max_lifetime: None,
                };
                Ok(Server {
                    stdio: Some(stdio),
                    ..Server::default()
                })
            }
            (None, Some(url)) => {
                let http = Http {
                    url: Url::parse(&url)?,
                    headers: secrets(self.headers)?,
                    bearer: None,
                };
                Ok(Server {
                    http: Some(http),
                    ..Server::default()
                })
            }
            _ => Err("give it a `command` or a `url`".to_owned()),
        }
    }
}

/// Fills in `${NAME}` and `${env:NAME}`, as clients do.
fn expand(value: &str) -> Result<Secret, String> {
    let (mut out, mut rest) = (String::new(), value);
    while let Some((before, after)) = rest.split_once("${") {
        let Some((name, after)) = after.split_once('}') else {
            break;
        };
        let (name, default) = name.split_once(":-").unwrap_or((name, ""));
        let name = name.strip_prefix("env:").unwrap_or(name);
        out.push_str(before);
        match std::env::var(name) {
            Ok(value) => out.push_str(&value),
            Err(_) if !default.is_empty() => out.push_str(default),
            Err(_) => return Err(format!("the environment variable {name} is not set")),
        }
        rest = after;
    }
    out.push_str(rest);
    Ok(Secret::Literal(out))
}
