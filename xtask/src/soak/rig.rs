//! The gateway under test and the servers behind it.

use std::fmt::Write as _;
use std::path::PathBuf;
use std::process::Command;

use anyhow::{Context as _, Result};

use super::kernel::MARK;
use crate::gateway;
use crate::place::Place;
use crate::server::Server;

/// Where a part runs.
pub(super) struct Ground<'a> {
    pub(super) place: &'a Place,
    pub(super) profile: &'static str,
    /// A folder of its own, which is also the mark of its processes.
    pub(super) scratch: PathBuf,
}

impl Ground<'_> {
    /// What marks the processes of this part.
    pub(super) fn mark(&self) -> String {
        self.scratch.display().to_string()
    }

    /// A binary of this checkout, marked.
    pub(super) fn command(&self, name: &str) -> Result<Command> {
        let mut command = Command::new(self.place.binary(self.profile, name)?);
        command.env(MARK, self.mark());
        Ok(command)
    }

    /// The same, which gets so many descriptors and no more.
    pub(super) fn with_descriptors(&self, name: &str, count: usize) -> Result<Command> {
        let mut command = Command::new("sh");
        let script = format!("ulimit -n {count}; exec \"$0\" \"$@\"");
        command.arg("-c").arg(script).env(MARK, self.mark());
        command.arg(self.place.binary(self.profile, name)?);
        Ok(command)
    }

    /// Starts the fixture as a server at a URL.
    pub(super) fn fixture(&self, name: &str) -> Result<Server> {
        let mut command = self.command("fixture")?;
        Server::start(name, command.args(["http", "--era", "both"]), &self.scratch)
    }

    /// Starts the gateway before these servers, sections of its configuration, and waits until it has listed them.
    /// `settings` are lines of its own section.
    pub(super) fn gateway(&self, settings: &str, servers: &str) -> Result<Server> {
        gateway::start_with(self.command("toolbus")?, settings, servers, &self.scratch)
    }

    /// The section of a server that runs as a child.
    pub(super) fn child(&self, name: &str, binary: &str, arguments: &[&str]) -> Result<String> {
        let program = self.place.binary(self.profile, binary)?;
        let program = program
            .to_str()
            .context("the path of the checkout is no text")?;
        let command: Vec<&str> = std::iter::once(program)
            .chain(arguments.iter().copied())
            .collect();
        let mut section = format!("[servers.{name}.stdio]\ncommand = {command:?}\n");
        writeln!(section, "env = {{ {MARK} = {:?} }}\n", self.mark())?;
        Ok(section)
    }
}

/// The section of a server at this URL, with lines of its own.
pub(super) fn at_url(name: &str, server: &Server, lines: &str) -> String {
    format!(
        "[servers.{name}]\n{lines}\n[servers.{name}.http]\nurl = {:?}\n\n",
        server.url()
    )
}
