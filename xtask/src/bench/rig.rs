//! What is measured, running: the echo upstream, the bare proxy and the gateway before it.

use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result};
use serde_json::Value;

use super::message::begin_session;
use super::plan::{Cell, Era, Target};
use super::process::Pins;
use crate::place::{Place, cargo};
use crate::run::run;
use crate::say::say;
use crate::server::Server;
use crate::{gateway, http};

/// The servers, and the core of each.
pub(super) struct Rig {
    pub(super) pins: Pins,
    pub(super) scratch: PathBuf,
    lanes: Vec<Lane>,
    echo: Server,
}

/// One way from the load generator to the upstream.
pub(super) struct Lane {
    pub(super) target: Target,
    /// `None` is the upstream itself.
    server: Option<Server>,
    session: Option<String>,
}

/// Builds what these targets need, optimised.
pub(super) fn build(place: &Place, targets: &[Target]) -> Result<()> {
    let mut build = cargo();
    build.args(["build", "--quiet", "--release", "-p", "toolbus-testkit"]);
    build.args(["--bin", "echo-upstream", "--bin", "bare-proxy"]);
    if targets.contains(&Target::Gateway) {
        build.args(["-p", "toolbus", "--bin", "toolbus"]);
    }
    say("building, optimised");
    run(build.current_dir(place.root()))
}

impl Rig {
    /// Starts everything and begins a legacy session on each lane.
    pub(super) fn start(place: &Place, targets: &[Target], pins: Pins) -> Result<Self> {
        let scratch = place.scratch("bench")?;
        let echo = place.binary("release", "echo-upstream")?;
        let echo = Server::start("echo-upstream", &mut pins.upstream(echo.as_ref()), &scratch)?;
        let mut lanes = Vec::new();
        for target in Target::ALL
            .into_iter()
            .filter(|target| targets.contains(target))
        {
            let server = match target {
                Target::Direct => None,
                Target::Bare => Some(bare_proxy(place, &pins, &echo, &scratch)?),
                Target::Gateway => Some(gateway(place, &pins, &echo, &scratch)?),
            };
            let url = server.as_ref().unwrap_or(&echo).url();
            let session = begin_session(url)
                .with_context(|| format!("cannot begin a session at the {}", target.name()))?;
            lanes.push(Lane {
                target,
                server,
                session,
            });
        }
        Ok(Self {
            pins,
            scratch,
            lanes,
            echo,
        })
    }

    /// Every lane, in the order of the tables.
    pub(super) fn lanes(&self) -> &[Lane] {
        &self.lanes
    }

    /// Where the load of this lane goes.
    pub(super) fn url<'a>(&'a self, lane: &'a Lane) -> &'a str {
        self.server(lane).url()
    }

    /// The process whose cost is counted on this lane.
    pub(super) fn pid(&self, lane: &Lane) -> u32 {
        self.server(lane).pid()
    }

    /// Gives the upstream the core of the process under test while it is that itself.
    pub(super) fn place_upstream(&self, lane: &Lane) -> Result<()> {
        self.pins
            .move_to_test(self.echo.pid(), lane.server.is_none())
    }

    /// Sets the upstream's counts to zero.
    pub(super) fn reset_counts(&self) -> Result<()> {
        http::ask("POST", &self.echo.at("/reset")).map(|_| ())
    }

    /// How many requests reached the upstream since: calls, and all together.
    pub(super) fn counts(&self) -> Result<(u64, u64)> {
        let answer = http::ask("GET", &self.echo.at("/counts"))?;
        let counts: Value = serde_json::from_slice(&answer.body)?;
        let count = |method: &str| counts[method].as_u64().unwrap_or(0);
        Ok((count("tools/call"), count("total")))
    }

    /// Ends all servers, those in front first.
    pub(super) fn stop(self) -> Result<()> {
        for server in self.lanes.into_iter().filter_map(|lane| lane.server) {
            server.stop()?;
        }
        self.echo.stop()
    }

    fn server<'a>(&'a self, lane: &'a Lane) -> &'a Server {
        lane.server.as_ref().unwrap_or(&self.echo)
    }
}

impl Lane {
    /// The session of this lane, for a cell whose era has sessions.
    pub(super) fn session(&self, cell: Cell) -> Option<&str> {
        self.session.as_deref().filter(|_| cell.era == Era::Legacy)
    }
}

fn bare_proxy(place: &Place, pins: &Pins, echo: &Server, scratch: &Path) -> Result<Server> {
    let program = place.binary("release", "bare-proxy")?;
    let mut command = pins.under_test(program.as_ref());
    Server::start("bare-proxy", command.arg("--to").arg(echo.url()), scratch)
}

fn gateway(place: &Place, pins: &Pins, echo: &Server, scratch: &Path) -> Result<Server> {
    let program = place.binary("release", "toolbus")?;
    let server = format!("[servers.echo.http]\nurl = {:?}\n", echo.url());
    gateway::start(pins.under_test(program.as_ref()), &server, scratch)
}
