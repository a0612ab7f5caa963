//! The gateway as a chore starts it: with a configuration of its own, and its state in the chore's folder.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::thread;
use std::time::{Duration, Instant};

use anyhow::Result;
use serde_json::json;

use crate::http;
use crate::server::Server;
use crate::soak::requests::Endpoint;

/// How long the gateway may take to list what is behind it.
const READY: Duration = Duration::from_secs(20);

/// Starts this `toolbus` before these servers, sections of its configuration, and waits until it has listed them.
pub(crate) fn start(toolbus: Command, servers: &str, scratch: &Path) -> Result<Server> {
    start_with(toolbus, "", servers, scratch)
}

/// The same with more lines in the gateway's own section.
pub(crate) fn start_with(
    toolbus: Command,
    settings: &str,
    servers: &str,
    scratch: &Path,
) -> Result<Server> {
    let mut gateway = begin(toolbus, settings, servers, scratch)?;
    let ready = gateway.at("/ready");
    let begun = Instant::now();
    while !http::ask("GET", &ready).is_ok_and(|answer| answer.status == 200) {
        if begun.elapsed() > READY {
            return Err(gateway.failed("was not ready in time"));
        }
        thread::sleep(Duration::from_millis(20));
    }
    Ok(gateway)
}

/// Waits until a gateway that learns its tools from the mesh lists this one.
pub(crate) fn wait_for_tool(gateway: &mut Server, tool: &str) -> Result<()> {
    let list = Endpoint::of(gateway)?.modern(1, "tools/list", None, json!({}))?;
    let wanted = format!("\"{tool}\"");
    let begun = Instant::now();
    loop {
        let mut connection = http::Connection::open(gateway.url())?;
        let answer = connection.exchange(&list)?;
        if answer.status == 200 && answer.text().contains(&wanted) {
            return Ok(());
        }
        if begun.elapsed() > READY {
            return Err(gateway.failed(&format!("did not list {tool} in time")));
        }
        thread::sleep(Duration::from_millis(20));
    }
}

/// The same as [`start_with`], without waiting for the servers.
pub(crate) fn begin(
    toolbus: Command,
    settings: &str,
    servers: &str,
    scratch: &Path,
) -> Result<Server> {
    let mut up = up_with(toolbus, settings, servers, scratch)?;
    Server::start("toolbus", &mut up, scratch)
}

/// `toolbus up` with a configuration of these servers, not started yet.
pub(crate) fn up(toolbus: Command, servers: &str, scratch: &Path) -> Result<Command> {
    up_with(toolbus, "", servers, scratch)
}

fn up_with(mut toolbus: Command, settings: &str, servers: &str, scratch: &Path) -> Result<Command> {
    let config = write_config(settings, servers, scratch)?;
    toolbus.arg("up").arg(config).env("XDG_STATE_HOME", scratch);
    Ok(toolbus)
}

/// Writes the configuration, which a running gateway reads again when it is told to.
pub(crate) fn write_config(settings: &str, servers: &str, scratch: &Path) -> Result<PathBuf> {
    let (config, audit) = (scratch.join("toolbus.toml"), scratch.join("audit.jsonl"));
    let gateway = format!("[gateway]\nlisten = \"127.0.0.1:0\"\n{settings}\n");
    let text = format!("{gateway}\n[audit]\nfile = {audit:?}\n\n{servers}");
    fs::write(&config, text)?;
    Ok(config)
}
