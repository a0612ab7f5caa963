//! A gateway whose scripts are run in each way, and what the tests ask of it.

use std::fs;
use std::io::Write;
use std::net::TcpStream;

use serde_json::{Value, json};
use tempfile::TempDir;

use crate::support::{Gateway, descendants, modern_request, text, wait_for, workspace};

/// The servers whose interpreters are kept ready, by their modes.
pub(crate) const MODES: [&str; 2] = ["fork", "reuse"];

const TOOL: &str = include_str!("tool.py");

/// The same tools in each way: `cold`, and both modes.
pub(crate) struct Place {
    pub(crate) gateway: Gateway,
    folder: TempDir,
}

impl Place {
    /// Starts it with these limits.
    pub(crate) fn start(limits: &str) -> Self {
        Self::start_with(limits, "")
    }

    /// Starts it with these limits, and more lines in the module that is imported once.
    pub(crate) fn start_with(limits: &str, module: &str) -> Self {
        let folder = tempfile::tempdir().expect("a folder");
        fs::write(folder.path().join("tool.py"), TOOL).expect("written");
        write_module(&folder, 1, module);
        let mut config = String::new();
        for (server, warm) in [
            ("cold", ""),
            ("fork", "mode = \"fork\""),
            ("reuse", "mode = \"reuse\""),
        ] {
            config.push_str(&section(&folder, server, limits, warm));
        }
        Self {
            gateway: Gateway::start(&config),
            folder,
        }
    }

    /// Writes the module that is imported once.
    pub(crate) fn write_module(&self, version: u64, more: &str) {
        write_module(&self.folder, version, more);
    }

    /// Calls a tool of a server: the whole answer.
    pub(crate) fn call(&self, server: &str, tool: &str, arguments: Value) -> Value {
        let params = json!({"name": tool, "arguments": arguments});
        self.gateway
            .modern(&path(server), "tools/call", params)
            .json()
    }

    /// All that is said of a call that wants to hear of its progress.
    pub(crate) fn messages(&self, server: &str, tool: &str) -> Vec<Value> {
        let params = json!({"name": tool, "arguments": {}, "_meta": {"progressToken": "mine"}});
        self.gateway
            .modern(&path(server), "tools/call", params)
            .messages()
    }

    /// Begins a call that hangs, and waits until it runs.
    pub(crate) fn hang(&self, server: &str) -> TcpStream {
        let before = self.hanging();
        let params = json!({"name": "hangs", "arguments": {}});
        let mut stream = self.gateway.connect();
        let request = modern_request(&path(server), "tools/call", params);
        stream.write_all(&request).expect("sent");
        wait_for("the call runs", || self.hanging() > before);
        stream
    }

    /// How many calls have hung so far.
    fn hanging(&self) -> usize {
        let files = fs::read_dir(self.folder.path())
            .expect("the folder")
            .flatten();
        let names = files.filter(|file| file.file_name().to_string_lossy().starts_with("hangs."));
        names.count()
    }

    /// So many calls at once, all of which are answered.
    pub(crate) fn crowd(&self, server: &str, count: usize) {
        std::thread::scope(|scope| {
            let call = |number: usize| move || self.call(server, "echo", json!({"n": number}));
            let calls: Vec<_> = (0..count).map(|number| scope.spawn(call(number))).collect();
            for (number, call) in calls.into_iter().enumerate() {
                let answer = call.join().expect("an answer");
                assert_eq!(
                    answer["result"]["structuredContent"]["n"], number,
                    "{answer}"
                );
            }
        });
    }

    /// Waits until a server's interpreters are ready: what one says of itself.
    pub(crate) fn is_ready(&self, server: &str) -> Value {
        wait_for("interpreters are ready", || {
            self.is_from_a_ready_one(server)
        });
        self.call(server, "who", json!({}))["result"]["structuredContent"].clone()
    }

    /// Whether a call finds the module imported by another process.
    pub(crate) fn is_from_a_ready_one(&self, server: &str) -> bool {
        let who = self.call(server, "who", json!({}));
        let who = &who["result"]["structuredContent"];
        who["process"].is_u64() && who["process"] != who["imported_by"]
    }

    /// Which version of the module a call finds.
    pub(crate) fn version(&self, server: &str) -> u64 {
        let who = self.call(server, "who", json!({}));
        who["result"]["structuredContent"]["version"]
            .as_u64()
            .unwrap_or(0)
    }

    /// All processes of the gateway.
    pub(crate) fn family(&self) -> Vec<u32> {
        descendants(self.gateway.child.id())
    }

    /// Open descriptors of the gateway and all its processes.
    pub(crate) fn descriptors(&self) -> usize {
        let all = [self.gateway.child.id()].into_iter().chain(self.family());
        let open = |pid| fs::read_dir(format!("/proc/{pid}/fd")).map_or(0, Iterator::count);
        all.map(open).sum()
    }
}

fn path(server: &str) -> String {
    format!("/servers/{server}/mcp")
}

fn write_module(folder: &TempDir, version: u64, more: &str) {
    let source = format!("import os\nprocess = os.getpid()\nversion = {version}\n{more}\n");
    let file = folder.path().join("heavy.py");
    let aside = file.with_extension("new");
    fs::write(&aside, source).expect("written");
    fs::rename(aside, file).expect("in place");
}

fn section(folder: &TempDir, server: &str, limits: &str, warm: &str) -> String {
    let python = text(&workspace(".venv/bin/python"));
    let run = json!([python, text(&folder.path().join("tool.py")), "{tool}"]);
    let modules = json!({"PYTHONPATH": text(folder.path()), "PYTHONDONTWRITEBYTECODE": "1"});
    let mut section = format!(
        "[servers.{server}]\nmax_in_flight = 400\n[servers.{server}.script]\nrun = {run}\nat_once = 4\n"
    );
    section.push_str(&format!("[servers.{server}.script.env]\n"));
    for (name, value) in modules.as_object().expect("an object") {
        section.push_str(&format!("{name} = {value}\n"));
    }
    section.push_str(&format!("[servers.{server}.script.limits]\n{limits}\n"));
    if !warm.is_empty() {
        section.push_str(&format!(
            "[servers.{server}.script.warm]\n{warm}\nmodules = [\"heavy\"]\n"
        ));
    }
    for line in TOOL.lines() {
        // `    "name": ...` in the table of tools.
        let name = line
            .strip_prefix("    \"")
            .and_then(|rest| rest.split_once("\": "));
        if let Some((name, _)) = name {
            section.push_str(&format!(
                "[servers.{server}.script.tools.{name}]\ndescription = \"{name}\"\n"
            ));
            if name == "lingers" {
                section.push_str("limits.timeout = \"1s\"\n");
            }
        }
    }
    section
}
