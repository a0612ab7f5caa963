//! What a worker serves, as the command line says it.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use indexmap::IndexMap;
use toolbus_backends::mcp::{McpServer, Settings, Target};
use toolbus_mesh::worker::Given;
use toolbus_model::{Backend, Error, Health, ServerName};

use super::{Arguments, python};
use crate::commands::{Failed, load};
use crate::config::{self, Config, Http, Mesh, Secret, Server, Sessions, Start, Stdio, Url};
use crate::house;

/// Programs that run another one, which is what the server is called by.
const RUNNERS: [&str; 7] = ["npx", "bunx", "uvx", "pipx", "python", "python3", "node"];

/// What a worker serves, before it is started.
pub(super) struct Served {
    config: Config,
    /// A socket at which a process serves that is not ours to start again.
    socket: Option<(ServerName, PathBuf)>,
    /// The mesh of a configuration that was named.
    pub(super) mesh: Option<Mesh>,
    stateful: bool,
}

impl Served {
    /// What the command line says.
    pub(super) async fn of(arguments: &Arguments) -> Result<Self, Failed> {
        let mut served = Self {
            config: Config::default(),
            socket: None,
            mesh: None,
            stateful: arguments.stateful,
        };
        if let Some(socket) = &arguments.socket {
            let name = name_of(arguments, || stem(socket))?;
            served.socket = Some((name, socket.clone()));
        } else if let Some(url) = &arguments.url {
            let url = Url::parse(url).map_err(|error| Failed::Usage(format!("--url: {error}")))?;
            let host = || url.0.host().unwrap_or("server").to_owned();
            let name = name_of(arguments, host)?;
            served.add(name, http(url));
        } else if !arguments.command.is_empty() {
            let name = name_of(arguments, || called(&arguments.command))?;
            served.add(name, stdio(arguments.command.clone(), arguments)?);
        } else if arguments
            .paths
            .iter()
            .any(|path| python_file(path).is_some())
        {
            served.add_files(arguments).await?;
        } else {
            served.configured(arguments)?;
        }
        config::check(&served.config).map_err(Failed::Usage)?;
        Ok(served)
    }

    fn add(&mut self, name: ServerName, server: Server) {
        self.config.servers.insert(name.to_string(), server);
    }

    async fn add_files(&mut self, arguments: &Arguments) -> Result<(), Failed> {
        let python = python::find(arguments.python.as_deref()).await?;
        if arguments.name.is_some() && arguments.paths.len() > 1 {
            let why = "--name is for one server; several files are called as they are";
            return Err(Failed::Usage(why.to_owned()));
        }
        for given in &arguments.paths {
            let Some((path, object)) = python_file(given) else {
                let why = "serve Python files, or one configuration";
                return Err(Failed::Usage(format!("{}: {why}", given.display())));
            };
            let file = std::path::absolute(&path)
                .ok()
                .filter(|file| file.is_file());
            let missing = || Failed::Usage(format!("{}: there is no such file", path.display()));
            let file = file.ok_or_else(missing)?;
            let name = name_of(arguments, || stem(&path))?;
            if self.config.servers.contains_key(name.as_str()) {
                let why = format!("two files are called {name}: serve them by two workers");
                return Err(Failed::Usage(why));
            }
            let line = python::command(&python, &file, object.as_deref());
            self.add(name, stdio(line, arguments)?);
        }
        Ok(())
    }

    fn configured(&mut self, arguments: &Arguments) -> Result<(), Failed> {
        if let [_, second, ..] = &arguments.paths[..] {
            let why = "name one configuration, or several Python files";
            return Err(Failed::Usage(format!("{}: {why}", second.display())));
        }
        if arguments.name.is_some() || !arguments.env.is_empty() {
            let why = "--name and --env are for one server; a configuration says them for each";
            return Err(Failed::Usage(why.to_owned()));
        }
        let (source, config) = load(arguments.paths.first().map(PathBuf::as_path))?;
        if config.servers.is_empty() {
            let place = match arguments.paths.is_empty() {
                true => String::new(),
                false => format!("{source} has no servers; "),
            };
            return Err(Failed::Usage(format!(
                "there is nothing to serve: {place}name a Python file, a configuration with servers, or a command behind --"
            )));
        }
        self.mesh = Some(config.mesh.clone());
        self.config = config;
        Ok(())
    }

    /// Starts the servers.
    pub(super) fn start(&self) -> Result<Vec<Given>, Failed> {
        let options = |name: &ServerName| {
            let server = self.config.servers.get(name.as_str());
            let own = server.is_some_and(|server| server.sessions == Sessions::PerCaller);
            toolbus_mesh::worker::ServerOptions {
                stateful: own || self.stateful,
            }
        };
        if let Some((name, path)) = &self.socket {
            let target = Target::Unix(path.clone());
            let server = McpServer::start(name.as_str(), target, Settings::default());
            return Ok(vec![(name.clone(), server, options(name))]);
        }
        let started = house::back_ends(&self.config).map_err(Failed::Usage)?;
        let given = |(name, backend): (ServerName, Arc<dyn Backend>)| {
            let options = options(&name);
            (name, backend, options)
        };
        Ok(started.into_iter().map(given).collect())
    }

    /// Completes when there is nothing to serve any more, and says why: the process at a socket is not ours to start again.
    pub(super) async fn is_over(&self, servers: &[Given]) -> String {
        let (Some((_, path)), Some((_, backend, _))) = (&self.socket, servers.first()) else {
            return std::future::pending().await;
        };
        let mut offer = backend.offer();
        let down = offer.wait_for(|offer| matches!(offer.health, Health::Down(_)));
        let why = match down.await.map(|offer| offer.health.clone()) {
            Ok(Health::Down(error)) => error,
            _ => Error::Internal("its state is not known any more".to_owned()),
        };
        format!("what served at {} is gone: {why}", path.display())
    }
}

/// A Python file, and the object of it that is named behind a colon.
fn python_file(given: &Path) -> Option<(PathBuf, Option<String>)> {
    let text = given.to_str()?;
    if text.ends_with(".py") {
        return Some((given.to_owned(), None));
    }
    let (file, object) = text
        .rsplit_once(':')
        .filter(|(file, _)| file.ends_with(".py"))?;
    Some((file.into(), Some(object.to_owned())))
}

fn stem(path: &Path) -> String {
    let stem = path.file_stem().unwrap_or_default();
    stem.to_string_lossy().into_owned()
}

/// The name that was given, or the nearest one to what it is.
fn name_of(arguments: &Arguments, own: impl FnOnce() -> String) -> Result<ServerName, Failed> {
    match &arguments.name {
        Some(name) => {
            ServerName::parse(name).map_err(|why| Failed::Usage(format!("--name: {why}")))
        }
        None => Ok(ServerName::from_foreign(&own())),
    }
}

/// What a command is called by: its program, or what that one runs.
fn called(command: &[String]) -> String {
    let last = |text: &str| {
        let text = text.rsplit('/').next().unwrap_or_default();
        // A version behind it is no part of the name.
        text.split('@').next().unwrap_or_default().to_owned()
    };
    let program = command.first().map(|program| last(program));
    let program = program.unwrap_or_default();
    if !RUNNERS.contains(&program.as_str()) {
        return program;
    }
    let mut words = command[1..].iter().filter(|word| !word.starts_with('-'));
    match words.next() {
        Some(run) => stem(Path::new(&last(run))),
        None => program,
    }
}

fn stdio(command: Vec<String>, arguments: &Arguments) -> Result<Server, Failed> {
    let variable = |given: &String| match given.split_once('=') {
        Some((name, value)) => Ok((name.to_owned(), Secret::Literal(value.to_owned()))),
        None if std::env::var_os(given).is_some() => {
            Ok((given.clone(), Secret::Variable(given.clone())))
        }
        None => Err(Failed::Usage(format!("--env {given}: it is not set"))),
    };
    let env: Result<IndexMap<_, _>, _> = arguments.env.iter().map(variable).collect();
    Ok(Server {
        stdio: Some(Stdio {
            command,
            env: env?,
            cwd: None,
            start: Start::Now,
            idle_stop: None,
            max_lifetime: None,
        }),
        ..Server::default()
    })
}

fn http(url: Url) -> Server {
    Server {
        http: Some(Http {
            url,
            headers: IndexMap::new(),
            bearer: None,
        }),
        ..Server::default()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_object_of_a_file_can_be_named() {
        let read = |text| python_file(Path::new(text));
        assert_eq!(read("a/math.py"), Some(("a/math.py".into(), None)));
        assert_eq!(
            read("math.py:mcp"),
            Some(("math.py".into(), Some("mcp".to_owned())))
        );
        assert_eq!(read("toolbus.toml"), None);
    }

    #[test]
    fn a_server_is_called_by_what_runs() {
        for (line, name) in [
            (
                "npx -y @modelcontextprotocol/server-files /data",
                "server-files",
            ),
            ("npx some-server@1.2", "some-server"),
            ("/usr/bin/python3 tools/math.py", "math"),
            ("./target/fixture --stdio", "fixture"),
            ("npx", "npx"),
        ] {
            let line: Vec<String> = line.split(' ').map(str::to_owned).collect();
            assert_eq!(called(&line), name);
        }
    }
}
