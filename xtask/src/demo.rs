//! The main job on real input: two real servers behind one gateway, called by a real client in both eras of MCP.

mod mesh;
mod roles;

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, anyhow, bail, ensure};
use serde_json::Value;

use crate::place::{Place, cargo};
use crate::run::run;
use crate::say::say;
use crate::server::Server;
use crate::{gateway, http, setup};

/// The configuration that is shown, from the top of the checkout. It has servers only, so that it can be told where to
/// listen here, and listens where everyone expects it when a reader starts it.
const CONFIG: &str = "examples/quickstart/toolbus.toml";

/// The script that calls.
const CLIENT: &str = "examples/quickstart/client.py";

/// The modes of the Python client: every request on its own, and sessions.
const MODES: [&str; 2] = ["2026-07-28", "legacy"];

/// How long after the gateway its last child may end: more than a kill and a look at the process table take.
const GONE: Duration = Duration::from_secs(2);

/// What the steps need to know.
struct Demo<'a> {
    place: &'a Place,
    toolbus: PathBuf,
    scratch: PathBuf,
}

/// Runs each step, tells what it does, and stops at the first that fails.
pub(crate) fn demo(place: &Place) -> Result<()> {
    let try_again = "mend that and run `make demo` again; what is done already is not done twice";
    step(
        "1. Set-up: Python's MCP packages in .venv, Node and an MCP server for it in .tools",
        try_again,
        || setup::setup(place),
    )?;
    let toolbus = step("2. Build toolbus", try_again, || build(place))?;
    let begun = Instant::now();
    let demo = Demo {
        place,
        toolbus,
        scratch: place.scratch("demo")?,
    };
    let ask_the_doctor = format!("`{}` says which server has what", demo.typed("doctor"));
    step(
        "3. Are the servers well? A Python file and a Node program, each started once",
        "each server's remedy stands above; where a package is broken, remove .venv and .tools and try again",
        || demo.run(&demo.typed("doctor")),
    )?;
    let mut gateway = step(
        "4. One door for both: toolbus up, on a free port",
        &ask_the_doctor,
        || demo.open(),
    )?;
    step(
        "5. A real client calls their tools through it, in both eras of MCP",
        &ask_the_doctor,
        || MODES.iter().try_for_each(|mode| demo.call(&gateway, mode)),
    )?;
    step(
        "6. The audit has one record for each call",
        "read the file; a call without its record is a bug of toolbus",
        || demo.audit(),
    )?;
    step(
        "7. Two workers on the mesh: one Python file, started twice, and then one of them is killed",
        "worker-1.log and worker-2.log beside the audit say what the workers did",
        || demo.mesh(&mut gateway),
    )?;
    step(
        "8. Stop",
        "end what is left with `kill`; it is a bug of toolbus",
        || stop(gateway),
    )?;
    step(
        "9. The same tools on the command line, without a gateway",
        &ask_the_doctor,
        || demo.run(&demo.typed_call()),
    )?;
    step(
        "10. One Python file in three roles: a process that stays, a runner over HTTP, and a process for each call",
        "docs/python.md has the roles; `toolbus doctor examples/roles/toolbus.toml` says which of them is not well",
        || demo.roles(),
    )?;
    say(format_args!(
        "\nDone: all of it worked, in {:.1} s after set-up and build.",
        begun.elapsed().as_secs_f64()
    ));
    demo.say_what_next();
    Ok(())
}

/// One step under its heading; an error names it, and what to do.
fn step<T>(heading: &str, remedy: &str, work: impl FnOnce() -> Result<T>) -> Result<T> {
    say(format_args!("\n{heading}"));
    work().map_err(|error| anyhow!("the demo stopped at step {heading}\n{error:#}\n{remedy}"))
}

/// Builds without optimization: the first build is what a newcomer waits for, `make test` uses the same one, and a few
/// calls are fast either way.
fn build(place: &Place) -> Result<PathBuf> {
    let mut cargo = cargo();
    cargo
        .args(["build", "--package", "toolbus"])
        .current_dir(place.root());
    run(&mut cargo)?;
    place.binary("debug", "toolbus")
}

impl Demo<'_> {
    /// A command of toolbus about the servers shown, as one types it at the top of the checkout.
    fn typed(&self, command: &str) -> String {
        format!("{} {command} {CONFIG}", self.program())
    }

    /// The program, as one types it there.
    fn program(&self) -> std::path::Display<'_> {
        let toolbus = self.toolbus.strip_prefix(self.place.root());
        toolbus.unwrap_or(&self.toolbus).display()
    }

    fn typed_call(&self) -> String {
        self.typed("call") + " math.add a=1 b=2"
    }

    /// Runs a line exactly as a reader would.
    fn run(&self, typed: &str) -> Result<()> {
        say(format_args!("$ {typed}"));
        let mut words = typed.split(' ');
        let mut command = Command::new(self.place.root().join(words.next().unwrap_or_default()));
        command.args(words).current_dir(self.place.root());
        run(&mut command)
    }

    /// Starts the gateway; its files go into a folder of ours, and not where a user's are.
    fn open(&self) -> Result<Server> {
        let path = self.place.root().join(CONFIG);
        let servers =
            fs::read_to_string(&path).with_context(|| format!("cannot read {}", path.display()))?;
        let mut toolbus = Command::new(&self.toolbus);
        toolbus.current_dir(self.place.root());
        toolbus.env(mesh::NATS_SERVER, self.place.venv().join("bin/nats-server"));
        let gateway = gateway::start(toolbus, &servers, &self.scratch)?;
        let ready: Value = serde_json::from_slice(&http::ask("GET", &gateway.at("/ready"))?.body)?;
        let servers = ready["servers"].as_object();
        for (name, state) in servers.context("/ready names no servers")? {
            ensure!(state == "up", "server {name} is {state}");
            say(format_args!("server {name} is up"));
        }
        say(format_args!("toolbus listens at {}", gateway.url()));
        Ok(gateway)
    }

    fn call(&self, gateway: &Server, mode: &str) -> Result<()> {
        let mut python = Command::new(self.place.venv().join("bin/python"));
        python.args([CLIENT, gateway.url(), mode]);
        run(python.current_dir(self.place.root()))
    }

    /// Counts the records per server and revision, and shows one as it is.
    fn audit(&self) -> Result<()> {
        let path = self.scratch.join("audit.jsonl");
        let text =
            fs::read_to_string(&path).with_context(|| format!("cannot read {}", path.display()))?;
        let lines = |event: &str| -> Vec<(&str, Value)> {
            let parsed = text
                .lines()
                .filter_map(|line| Some((line, serde_json::from_str::<Value>(line).ok()?)));
            parsed.filter(|(_, line)| line["event"] == event).collect()
        };
        let (begun, records) = (lines("open"), lines("call"));
        let mut counts = BTreeMap::new();
        for (_, record) in &records {
            let word = |member: &str| record[member].as_str().unwrap_or("nobody").to_owned();
            let key = (word("revision"), word("server"), word("outcome"));
            *counts.entry(key).or_insert(0) += 1;
        }
        for ((revision, server, outcome), count) in &counts {
            say(format_args!(
                "caller speaks {revision}: {count} calls of server {server}, outcome {outcome}"
            ));
        }
        let shown = path.strip_prefix(self.place.root()).unwrap_or(&path);
        say(format_args!("one record of {}:", shown.display()));
        say(records.first().context("there is none")?.0);
        ensure!(
            begun.len() == records.len(),
            "{} calls were begun, but there are {} records",
            begun.len(),
            records.len()
        );
        Ok(())
    }

    fn say_what_next(&self) {
        let (call, up) = (self.typed_call(), self.typed("up"));
        let (tools, doctor) = (self.typed("tools"), self.typed("doctor"));
        let url = "http://127.0.0.1:7800/mcp";
        say("\nWhat to type next:");
        for (line, what) in [
            (call, "call a tool"),
            (tools, "what else there is to call"),
            (doctor, "what is wrong with which server"),
            (up, "serve them, until Ctrl-C"),
            (
                format!(".venv/bin/python {CLIENT} {url}"),
                "and call them from another terminal",
            ),
        ] {
            say(format_args!("  # {what}\n  {line}"));
        }
        say(format_args!(
            "Any MCP client can use {url} meanwhile; {CONFIG} is where servers are added."
        ));
    }
}

/// Stops the gateway and sees that nothing which it started is left.
fn stop(gateway: Server) -> Result<()> {
    let started = descendants(gateway.pid());
    gateway.stop()?;
    let begun = Instant::now();
    while let Some(left) = started.iter().find(|pid| runs(**pid)) {
        if begun.elapsed() > GONE {
            bail!("process {left} is left, which toolbus had started");
        }
        std::thread::sleep(Duration::from_millis(10));
    }
    say(format_args!(
        "toolbus has ended, and so have the {} processes that it had started",
        started.len()
    ));
    Ok(())
}

/// Every process below this one.
fn descendants(pid: u32) -> Vec<u32> {
    let mut found = vec![pid];
    let mut at = 0;
    while at < found.len() {
        let threads = fs::read_dir(format!("/proc/{}/task", found[at]));
        for thread in threads.into_iter().flatten().flatten() {
            let children = fs::read_to_string(thread.path().join("children")).unwrap_or_default();
            found.extend(children.split_whitespace().flat_map(str::parse::<u32>));
        }
        at += 1;
    }
    found.split_off(1)
}

fn runs(pid: u32) -> bool {
    Path::new("/proc").join(pid.to_string()).exists()
}
