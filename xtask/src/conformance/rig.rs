//! What the suite talks to: our fixture, and the gateway before it.

use std::path::Path;
use std::process::Command;

use anyhow::Result;

use super::{Route, Upstream};
use crate::gateway;
use crate::place::{Place, cargo};
use crate::run::run;
use crate::server::Server;

/// The servers of one run; those in front stop first.
pub(super) struct Rig {
    front: Server,
    behind: Option<Server>,
}

impl Rig {
    /// Where the suite sends its requests.
    pub(super) fn url(&self) -> &str {
        self.front.url()
    }

    /// Ends all servers; one that had to be killed is an error.
    pub(super) fn stop(self) -> Result<()> {
        let front = self.front.stop();
        let behind = self.behind.map_or(Ok(()), Server::stop);
        front.and(behind)
    }
}

/// Builds the fixture and the gateway.
pub(super) fn build(place: &Place) -> Result<()> {
    let mut build = cargo();
    build
        .args("build --quiet -p toolbus-testkit --bin fixture -p toolbus --bin toolbus".split(' '));
    run(build.current_dir(place.root()))
}

/// Starts what this route needs and waits until it is ready.
pub(super) fn start(place: &Place, route: Route, scratch: &Path) -> Result<Rig> {
    let fixture = place.binary("debug", "fixture")?;
    match route {
        Route::Direct => Ok(Rig {
            front: serve_fixture(&fixture, scratch)?,
            behind: None,
        }),
        Route::Through(Upstream::Http) => {
            let behind = serve_fixture(&fixture, scratch)?;
            let server = format!("[servers.fixture.http]\nurl = {:?}\n", behind.url());
            let front = serve_gateway(place, &server, scratch)?;
            Ok(Rig {
                front,
                behind: Some(behind),
            })
        }
        Route::Through(Upstream::Stdio) => {
            let server = format!("[servers.fixture.stdio]\ncommand = [{fixture:?}, \"stdio\"]\n");
            let front = serve_gateway(place, &server, scratch)?;
            Ok(Rig {
                front,
                behind: None,
            })
        }
    }
}

fn serve_fixture(fixture: &Path, scratch: &Path) -> Result<Server> {
    Server::start("fixture", Command::new(fixture).arg("http"), scratch)
}

fn serve_gateway(place: &Place, server: &str, scratch: &Path) -> Result<Server> {
    let toolbus = Command::new(place.binary("debug", "toolbus")?);
    gateway::start(toolbus, server, scratch)
}
