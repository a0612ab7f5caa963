//! The proper half of the faulty server: it reads requests, answers what every server answers, and hands calls to the faults.

use std::io::{self, BufRead};
use std::process::ExitCode;
use std::thread;
use std::time::Duration;

use serde_json::value::RawValue;
use serde_json::{Value, json};
use tokio::signal::unix::{SignalKind, signal};

use super::Flags;
use super::faults::{After, Call, FAULTS};
use super::wire::{complain, error, line, result};

const VERSION: &str = "2025-11-25";

/// Serves stdin and stdout until stdin ends or a fault ends the process; the code is the process's own.
pub fn run(flags: Flags) -> ExitCode {
    if let Some(code) = flags.die_at_start {
        let _ = complain("cannot start: the configuration is missing");
        let _ = complain("cannot start: giving up");
        return ExitCode::from(code);
    }
    if flags.ignore_sigterm && swallow_sigterm().is_err() {
        return ExitCode::FAILURE;
    }
    thread::sleep(flags.start_delay);
    // A failed write means that the client is gone, which is how the service ends in any case.
    if let Ok(After::Exit(code)) = serve() {
        return ExitCode::from(code);
    }
    if flags.ignore_eof {
        loop {
            thread::sleep(Duration::from_secs(3600));
        }
    }
    ExitCode::SUCCESS
}

/// Installs a handler that does nothing. It stays for the life of the process, with or without a runtime.
fn swallow_sigterm() -> io::Result<()> {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()?;
    runtime.block_on(async { signal(SignalKind::terminate()).map(drop) })
}

fn serve() -> io::Result<After> {
    let (mut calls, mut lists) = (0, 0);
    for text in io::stdin().lock().lines() {
        let Ok(message) = serde_json::from_str::<Value>(&text?) else {
            line(&error(&Value::Null, -32700, "parse error"))?;
            continue;
        };
        let Some(id) = message.get("id") else {
            continue;
        };
        let params = &message["params"];
        match message["method"].as_str() {
            Some("initialize") => line(&result(id, initialized()))?,
            Some("ping") => line(&result(id, json!({})))?,
            Some("tools/list") => {
                lists += 1;
                line(&listing(id)?)?;
            }
            Some("tools/call") => {
                calls += 1;
                if let After::Exit(code) = call(id, params, calls, lists)? {
                    return Ok(After::Exit(code));
                }
            }
            Some(_) => line(&error(id, -32601, "method not found"))?,
            None => {} // an answer, and nothing was asked
        }
    }
    Ok(After::GoOn)
}

fn initialized() -> Value {
    json!({
        "protocolVersion": VERSION,
        "capabilities": { "tools": { "listChanged": true } },
        "serverInfo": { "name": "toolbus-faulty", "version": env!("CARGO_PKG_VERSION") },
    })
}

fn listing(id: &Value) -> serde_json::Result<String> {
    let mut tools = Vec::with_capacity(FAULTS.len());
    for fault in FAULTS {
        let schema: &RawValue = serde_json::from_str(fault.input)?;
        tools
            .push(json!({ "name": fault.name, "description": fault.about, "inputSchema": schema }));
    }
    Ok(result(id, json!({ "tools": tools })))
}

fn call(id: &Value, params: &Value, number: u64, lists: u64) -> io::Result<After> {
    let name = params["name"].as_str().unwrap_or_default();
    let Some(fault) = FAULTS.iter().find(|fault| fault.name == name) else {
        line(&error(id, -32602, "unknown tool"))?;
        return Ok(After::GoOn);
    };
    (fault.act)(Call {
        id: id.clone(),
        arguments: params["arguments"].clone(),
        progress_token: params["_meta"].get("progressToken").cloned(),
        number,
        lists,
    })
}
