//! The sections of the file.

use std::borrow::Cow;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use indexmap::IndexMap;
use schemars::JsonSchema;
use serde::Deserialize;

use super::capabilities::Clearance;
use super::content::Content;
use super::edits::Tool;
use super::embedded::Embedded;
use super::runner::{Python, Runner};
use super::script::Script;
use super::values::{Secret, Span, Url};

/// `[gateway]`
#[derive(Debug, Clone, PartialEq, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub(crate) struct Gateway {
    /// Where to listen. Port 0 takes a free one. An address other than loopback needs callers with tokens.
    pub(crate) listen: SocketAddr,
    /// Host names that lead here besides the loopback ones, such as the name of a proxy in front.
    pub(crate) hosts: Vec<String>,
    /// Origins of web pages that may call, besides pages of this machine.
    pub(crate) origins: Vec<String>,
    /// Seals session ids; replicas that share it serve each other's sessions. At least 16 characters. Made at the
    /// first run where it is not set.
    pub(crate) state_key: Option<Secret>,
    /// Show every tool and prompt with its server's name in front.
    pub(crate) prefix_names: bool,
    /// Largest request body, in bytes.
    pub(crate) max_body_bytes: usize,
    /// Connections at once.
    pub(crate) max_connections: usize,
}

impl Default for Gateway {
    fn default() -> Self {
        let limits = toolbus_doors::Limits::default();
        Self {
            listen: SocketAddr::from(([127, 0, 0, 1], 7800)),
            hosts: Vec::new(),
            origins: Vec::new(),
            state_key: None,
            prefix_names: false,
            max_body_bytes: limits.body,
            max_connections: limits.connections,
        }
    }
}

/// `[callers.NAME]`
#[derive(Debug, Clone, PartialEq, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct Caller {
    /// The bearer token by which the caller is known.
    pub(crate) token: Secret,
    /// What the caller may use, as `server.name` with `*` for any text. Everything where it is not set.
    pub(crate) allow: Option<Vec<String>>,
    /// What the caller may not use, whatever `allow` says.
    #[serde(default)]
    pub(crate) deny: Vec<String>,
    /// Calls at once.
    pub(crate) max_in_flight: Option<usize>,
    /// For which tenant the caller calls. A call whose arguments name another one is refused.
    pub(crate) tenant: Option<String>,
    /// How much the caller may know of what foreign workers serve. Everything where it is not set.
    pub(crate) clearance: Option<Clearance>,
}

/// `[audit]`
#[derive(Debug, Clone, Default, PartialEq, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub(crate) struct Audit {
    /// The file that gets one line per call. `audit.jsonl` in the state folder where it is not set.
    pub(crate) file: Option<PathBuf>,
    /// Send each record to the mesh as well, where the stream `{PREFIX}_AUDIT` keeps it.
    pub(crate) mesh: bool,
}

/// `[servers.NAME]`, which needs one of `stdio` and `http`.
#[derive(Debug, Clone, Default, PartialEq, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub(crate) struct Server {
    /// A server that runs as a child process.
    pub(crate) stdio: Option<Stdio>,
    /// A server at a URL.
    pub(crate) http: Option<Http>,
    /// A Python module inside this process.
    pub(crate) embedded: Option<Embedded>,
    /// Resources and prompts from files: beside the tools of another kind, or by themselves.
    pub(crate) content: Option<Content>,
    /// A process for each call.
    pub(crate) script: Option<Script>,
    /// A long-lived tool runner behind HTTP.
    pub(crate) runner: Option<Runner>,
    /// A Python file that runs as a child process.
    pub(crate) python: Option<Python>,
    /// Longest silence of a call: no progress, no log line. 120s where it is not set.
    pub(crate) idle_timeout: Option<Span>,
    /// Longest time of a call in all. 30m where it is not set.
    pub(crate) total_timeout: Option<Span>,
    /// Calls at once.
    pub(crate) max_in_flight: Option<usize>,
    /// Who shares a session, where the server speaks an older revision. It is `shared` where it is not set.
    pub(crate) sessions: Sessions,
    /// How long what the server offers stays listed while it is down. 10m where it is not set.
    pub(crate) grace: Option<Span>,
    /// Whether arguments and results are checked against the tools' schemas. It is `true` where it is not set, but for
    /// MCP servers (`stdio`, `http`), which check for themselves.
    pub(crate) validate: Option<bool>,
    /// Which tools are shown, by the server's own names with `*` for any text. All where it is not set.
    pub(crate) show: Option<Vec<String>>,
    /// Which tools are not shown, whatever `show` says.
    pub(crate) hide: Vec<String>,
    /// Limits and changes of single tools, by the server's own names.
    pub(crate) tools: IndexMap<String, Tool>,
}

/// Who shares a session.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum Sessions {
    /// All callers whose clients can be asked the same.
    #[default]
    Shared,
    /// Nobody: each caller has a session, or a process, of its own.
    PerCaller,
}

/// `[servers.NAME.stdio]`
#[derive(Debug, Clone, PartialEq, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct Stdio {
    /// The program and its arguments.
    pub(crate) command: Vec<String>,
    /// Environment variables. The child gets these, PATH, HOME and the like, and nothing else of ours.
    #[serde(default)]
    pub(crate) env: IndexMap<String, Secret>,
    /// The working folder. The one of `toolbus` where it is not set.
    pub(crate) cwd: Option<PathBuf>,
    /// When the process starts. With its first use where it is not set.
    #[serde(default)]
    pub(crate) start: Start,
    /// How long the process runs that nobody uses. 10m where it is not set, and no limit with `start = "now"`.
    pub(crate) idle_stop: Option<Span>,
    /// How old the process gets: after this another one takes its place. Any age where it is not set.
    pub(crate) max_lifetime: Option<Span>,
}

/// When a process starts.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum Start {
    /// With its first use, where its lists are known from an earlier run. Otherwise at once, to learn them.
    #[default]
    FirstUse,
    /// At once.
    Now,
}

/// `[servers.NAME.http]`
#[derive(Debug, Clone, PartialEq, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct Http {
    /// The server's MCP endpoint.
    pub(crate) url: Url,
    /// Headers for every request.
    #[serde(default)]
    pub(crate) headers: IndexMap<String, Secret>,
    /// A token that is sent as `Authorization: Bearer`.
    pub(crate) bearer: Option<Secret>,
}

impl Server {
    /// The kinds of place that it has, by the names of their sections.
    fn kinds(&self) -> Vec<&'static str> {
        let kinds = [
            ("stdio", self.stdio.is_some()),
            ("http", self.http.is_some()),
            ("script", self.script.is_some()),
            ("runner", self.runner.is_some()),
            ("python", self.python.is_some()),
            ("embedded", self.embedded.is_some()),
        ];
        let present = kinds.into_iter().filter(|(_, present)| *present);
        present.map(|(kind, _)| kind).collect()
    }

    /// Its kind of place, as its section is called.
    pub(crate) fn kind(&self) -> &'static str {
        self.kinds().first().copied().unwrap_or("content")
    }

    /// Whether its tools' schemas are held against arguments and results. MCP servers do that themselves.
    pub(crate) fn validates(&self) -> bool {
        let is_mcp = self.stdio.is_some() || self.http.is_some() || self.python.is_some();
        self.validate.unwrap_or(!is_mcp && !self.has_no_place())
    }

    /// It has no tools of its own, anywhere.
    pub(crate) fn has_no_place(&self) -> bool {
        self.kinds().is_empty()
    }

    /// What the types cannot say. The answer goes on behind `[servers.NAME`.
    pub(super) fn check(&self) -> Result<(), String> {
        match &self.kinds()[..] {
            [] if self.content.is_some() => {}
            [] => {
                let why =
                    "it needs a section that says where its tools run, such as `stdio` or `http`";
                return Err(format!("] has no kind: {why}"));
            }
            [_] => {}
            many => {
                let many = many.join("` and `");
                return Err(format!("] has more than one kind: keep one of `{many}`"));
            }
        }
        if self
            .stdio
            .as_ref()
            .is_some_and(|stdio| stdio.command.is_empty())
        {
            let why = "`command` is empty; give a program and its arguments";
            return Err(format!(".stdio]: {why}"));
        }
        if let Some(runner) = &self.runner {
            runner.check().map_err(|why| format!(".runner]: {why}"))?;
        }
        if let Some(script) = &self.script {
            script.check().map_err(|why| format!(".script]: {why}"))?;
        }
        self.check_edits()?;
        if let Some(embedded) = &self.embedded {
            embedded
                .check()
                .map_err(|why| format!(".embedded]: {why}"))?;
        }
        if let Some(content) = &self.content {
            content.check().map_err(|why| format!(".content]: {why}"))?;
        }
        Ok(())
    }

    /// The child that serves it, where it is one.
    pub(crate) fn child(&self) -> Option<Cow<'_, Stdio>> {
        let python = self.python.as_ref();
        let of_python = || python.map(|python| Cow::Owned(python.stdio()));
        self.stdio.as_ref().map(Cow::Borrowed).or_else(of_python)
    }

    /// The limits of time for the server, and for single tools. An idle limit above the total one means the total one.
    pub(crate) fn deadlines(&self, tool: Option<&Tool>) -> toolbus_gateway::Deadlines {
        let default = toolbus_gateway::Deadlines::default();
        let pick = |own: Option<Span>, servers: Option<Span>, default: Option<Duration>| {
            own.or(servers).map_or(default, Span::limit)
        };
        let total = pick(
            tool.and_then(|tool| tool.total_timeout),
            self.total_timeout,
            default.total,
        );
        let idle = pick(
            tool.and_then(|tool| tool.idle_timeout),
            self.idle_timeout,
            default.idle,
        );
        toolbus_gateway::Deadlines { idle, total }.clamped()
    }
}
