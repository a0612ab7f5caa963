//! Servers as a configuration wants them, and how each is made.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use http::header::AUTHORIZATION;
use http::{HeaderMap, HeaderName, HeaderValue};
use indexmap::IndexMap;
use toolbus_backends::checked::Checked;
use toolbus_backends::content::{self, Content};
use toolbus_backends::edited::{self, Edited};
use toolbus_backends::layer::Ground;
use toolbus_backends::mcp::{self, Begin, HttpTarget, Known, McpServer, Starts, Target};
use toolbus_backends::process::Command;
use toolbus_backends::runner::{self, Runner};
use toolbus_backends::script::{self, ScriptServer};
use toolbus_backends::tools::ToolServer;
use toolbus_gateway::{Server, ServerSettings, Unset};
use toolbus_model::{Backend, Offer, ServerName};

use super::embedded;
use crate::config::{self, Config, Secret, Span};
use crate::memory::Memory;

/// How long a process runs that nobody uses: longer than most pauses in a conversation with a model.
const IDLE_STOP: Duration = Duration::from_secs(10 * 60);

/// What a server is made of. As long as its place reads the same, that runs on.
#[derive(Clone, PartialEq)]
pub(super) struct Recipe {
    place: Place,
    layers: Layers,
}

/// What is around the place, inside out. It is made anew without the place having to notice.
#[derive(Clone, PartialEq)]
struct Layers {
    validates: bool,
    content: Option<content::Settings>,
    edits: edited::Settings,
}

/// A server that was made, and what of.
pub(super) struct Made {
    recipe: Recipe,
    ground: Arc<Ground>,
}

/// Where the work is done.
#[derive(Clone, PartialEq)]
enum Place {
    /// At an MCP server.
    Mcp(Target, mcp::Settings),
    /// In a process for each call.
    Script(Box<script::Settings>),
    /// At a tool runner.
    Runner(runner::Settings),
    /// In this process, in a Python module.
    Embedded(embedded::Settings),
    /// Nowhere: there are files and prompts alone.
    Files(content::Settings),
}

/// A server as the configuration wants it.
pub(super) struct Wanted {
    pub(super) name: ServerName,
    pub(super) recipe: Recipe,
    pub(super) settings: ServerSettings,
}

impl Wanted {
    /// All servers of a configuration. Nothing is started before everything is known to be right.
    pub(super) fn all(config: &Config) -> Result<Vec<Self>, String> {
        let wanted = config.servers.iter().map(|(name, server)| {
            Ok(Self {
                name: ServerName::parse(name)?,
                recipe: Recipe::of(name, server)?,
                settings: settings(server),
            })
        });
        wanted.collect()
    }

    /// Makes the server, in place of an old one where there is one.
    pub(super) fn start(
        &self,
        memory: Option<&Arc<Memory>>,
        starts: &Starts,
        old: Option<&Made>,
    ) -> (Server, Made) {
        let name = self.name.as_str();
        let place: Arc<dyn Backend> = match &self.recipe.place {
            Place::Mcp(target, treatment) => self.start_mcp(target, treatment, memory, starts, old),
            Place::Script(settings) => {
                let place = ScriptServer::begin(name, script::Settings::clone(settings));
                Arc::new(ToolServer(place))
            }
            Place::Runner(settings) => Runner::start(name, settings.clone()),
            Place::Embedded(settings) => embedded::start(self.name.as_str(), settings),
            Place::Files(settings) => Content::around(name, settings.clone(), None),
        };
        self.on(&Arc::new(Ground::new(place)))
    }

    /// Makes the server on the place of an old one, which runs on.
    pub(super) fn on(&self, ground: &Arc<Ground>) -> (Server, Made) {
        let (name, layers) = (self.name.as_str(), self.recipe.layers.clone());
        let mut backend = ground.hold();
        if layers.validates {
            backend = Checked::around(name, backend);
        }
        if let Some(settings) = layers.content {
            backend = Content::around(name, settings, Some(backend));
        }
        if !layers.edits.is_nothing() {
            backend = Edited::around(name, layers.edits, backend);
        }
        let server = Server::new(self.name.clone(), backend, self.settings.clone());
        let (recipe, ground) = (self.recipe.clone(), Arc::clone(ground));
        (server, Made { recipe, ground })
    }

    /// An MCP server, which is remembered: what it offered last is served before it runs.
    fn start_mcp(
        &self,
        target: &Target,
        treatment: &mcp::Settings,
        memory: Option<&Arc<Memory>>,
        starts: &Starts,
        old: Option<&Made>,
    ) -> Arc<dyn Backend> {
        let place = memory.map(|memory| (memory, memory.place(&self.name, target)));
        let remembered = place
            .as_ref()
            .and_then(|(memory, place)| memory.recall(place));
        let listed = old.and_then(|old| Some((old.listed()?, &old.recipe)));
        let known = match (remembered, listed) {
            (_, Some((offer, recipe))) if recipe.is_at(target) => Known::Own(offer),
            (Some(offer), _) => Known::Own(Arc::new(offer)),
            (None, Some((offer, _))) => Known::Predecessors(offer),
            (None, None) => Known::Nothing,
        };
        let begin = Begin {
            starts: starts.clone(),
            known,
        };
        let (target, treatment) = (target.clone(), treatment.clone());
        let backend = McpServer::begin(self.name.as_str(), target, treatment, begin);
        if let Some((memory, place)) = place {
            memory.follow(place, backend.offer());
        }
        backend
    }
}

impl Made {
    /// It is reached as is wanted now.
    pub(super) fn is_at_place_of(&self, wanted: &Wanted) -> bool {
        self.recipe.place == wanted.recipe.place
    }

    /// It is what is wanted now.
    pub(super) fn is(&self, wanted: &Wanted) -> bool {
        self.recipe == wanted.recipe
    }

    pub(super) fn ground(&self) -> &Arc<Ground> {
        &self.ground
    }

    /// What the place offers, if it was ever listed.
    fn listed(&self) -> Option<Arc<Offer>> {
        let offer = self.ground.backend().offer().borrow().clone();
        offer.capabilities.is_some().then_some(offer)
    }
}

impl Recipe {
    fn of(name: &str, server: &config::Server) -> Result<Self, String> {
        let wrong = |why| format!("[servers.{name}{why}");
        let content = server
            .content
            .as_ref()
            .map(|content| content.settings(name));
        let content = content.transpose();
        let content = content.map_err(|error| format!("[servers.{name}.content]: {error}"))?;
        let (place, content) = match content {
            Some(settings) if server.has_no_place() => (Place::Files(settings), None),
            content => (place(server).map_err(wrong)?, content),
        };
        let layers = Layers {
            validates: server.validates(),
            content,
            edits: server.edits(),
        };
        Ok(Self { place, layers })
    }

    fn is_at(&self, target: &Target) -> bool {
        matches!(&self.place, Place::Mcp(own, _) if own == target)
    }
}

/// What is wrong with a server, as far as can be known without starting it.
pub(crate) fn check(name: &str, server: &config::Server) -> Result<(), String> {
    Recipe::of(name, server).map(drop)
}

/// Where a server's work is done. An error goes on behind `[servers.NAME`.
fn place(server: &config::Server) -> Result<Place, String> {
    if let Some(section) = &server.embedded {
        let settings = embedded::settings(section);
        return Ok(Place::Embedded(
            settings.map_err(|why| format!(".embedded]: {why}"))?,
        ));
    }
    if let Some(script) = &server.script {
        let settings = script.settings();
        let settings = settings.map_err(|why| format!(".script]: {why}"))?;
        return Ok(Place::Script(settings.into()));
    }
    if let Some(runner) = &server.runner {
        let wrong = |why| format!(".runner]: {why}");
        return Ok(Place::Runner(runner::Settings {
            place: runner.place().map_err(wrong)?,
            headers: headers(&runner.headers, runner.bearer.as_ref()).map_err(wrong)?,
        }));
    }
    let target = target(server).map_err(|why| format!("]: {why}"))?;
    Ok(Place::Mcp(target, treatment(server)))
}

/// How to reach a server, with its secrets in place.
fn target(server: &config::Server) -> Result<Target, String> {
    match (server.child(), &server.http) {
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
            headers: headers(&http.headers, http.bearer.as_ref())?,
        })),
        (None, None) => Err("it has no kind".to_owned()),
    }
}

fn headers(given: &IndexMap<String, Secret>, bearer: Option<&Secret>) -> Result<HeaderMap, String> {
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
    for (name, value) in given {
        put(name, value.reveal()?)?;
    }
    if let Some(token) = bearer {
        put(
            AUTHORIZATION.as_str(),
            format!("Bearer {}", token.reveal()?),
        )?;
    }
    Ok(headers)
}

fn treatment(server: &config::Server) -> mcp::Settings {
    let mut treatment = mcp::Settings {
        sharing: match server.sessions {
            config::Sessions::Shared => mcp::Sharing::Shared,
            config::Sessions::PerCaller => mcp::Sharing::PerCaller,
        },
        ..mcp::Settings::default()
    };
    if let Some(stdio) = server.child() {
        let idle_stop = match stdio.start {
            config::Start::FirstUse => Some(IDLE_STOP),
            config::Start::Now => None,
        };
        treatment.start = match stdio.start {
            config::Start::FirstUse => mcp::Start::FirstUse,
            config::Start::Now => mcp::Start::Now,
        };
        treatment.idle_stop = stdio.idle_stop.map_or(idle_stop, Span::limit);
        treatment.max_lifetime = stdio.max_lifetime.and_then(Span::limit);
    }
    treatment
}

fn settings(server: &config::Server) -> ServerSettings {
    let tools: HashMap<_, _> = server
        .tools
        .iter()
        .filter(|(_, tool)| tool.has_limits())
        .map(|(name, tool)| (name.clone(), server.deadlines(Some(tool))))
        .collect();
    let default = ServerSettings::default();
    ServerSettings {
        deadlines: server.deadlines(None),
        unset: Unset {
            idle: server.idle_timeout.is_none(),
            total: server.total_timeout.is_none(),
        },
        tools,
        in_flight: server.max_in_flight.unwrap_or(default.in_flight),
        grace: server.grace.map_or(default.grace, Span::limit),
    }
}
