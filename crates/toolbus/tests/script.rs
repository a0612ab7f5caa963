//! A process for each call, end to end: what goes in and what comes out, limits, crowds, and files that change.

#[path = "script/calls.rs"]
mod calls;
#[path = "script/changes.rs"]
mod changes;
#[path = "script/crowd.rs"]
mod crowd;
#[path = "script/limits.rs"]
mod limits;
mod support;

use std::path::Path;

use serde_json::{Value, json};
use support::{Gateway, text, workspace};

/// A server with one tool, which a shell runs. `more` stands in its section.
fn shell(script: &str, more: &str) -> String {
    let run = json!(["sh", "-c", script]);
    format!("[servers.sh.script]\nrun = {run}\n{more}\n[servers.sh.script.tools.go]\n")
}

/// The result of a call, which must have one.
fn result(gateway: &Gateway, tool: &str, arguments: Value) -> Value {
    let answer = gateway.call(tool, arguments);
    let result = answer.json()["result"].clone();
    assert!(result["content"].is_array(), "{tool}: {}", answer.text());
    result
}

/// What a result says first.
fn said(result: &Value) -> &str {
    result["content"][0]["text"].as_str().unwrap_or_default()
}

/// What a call that failed says.
fn failure(gateway: &Gateway, tool: &str, arguments: Value) -> String {
    let result = result(gateway, tool, arguments);
    assert_eq!(result["isError"], true, "{result}");
    said(&result).to_owned()
}

/// The Python of the test environment, and a word about it where there is none.
fn python() -> Option<String> {
    let python = workspace(".venv/bin/python");
    if !python.exists() {
        use std::io::Write as _;
        let _ = writeln!(std::io::stderr(), "skipped: no Python environment");
        return None;
    }
    Some(text(&python))
}

/// Lets the Python of a script find the package `toolbus`, and the double of `omni`.
fn packages() -> String {
    let double = workspace("crates/toolbus/tests/script/double");
    let own = workspace("python/toolbus/src");
    let paths = format!("{}:{}", text(&double), text(&own));
    format!("env = {{ PYTHONPATH = {} }}", json!(paths))
}

fn write(path: &Path, text: impl AsRef<[u8]>) {
    // Aside, and then in place, as most editors do.
    let aside = path.with_extension("new");
    std::fs::write(&aside, text).expect("written");
    std::fs::rename(aside, path).expect("in place");
}
