//! What goes into a script and what comes out of it.

use std::path::Path;

use serde_json::{Value, json};

use super::support::{Gateway, text, wait_for};
use super::{failure, packages, python, result, said, shell};

/// A record of the command index.
pub(super) fn record(command: &str, schema: &Value) -> Value {
    json!({
        "schema": "omni.skill.command_index.v1",
        "tool_name": format!("demo.{command}"),
        "description": format!("The command {command}."),
        "skill_name": "demo",
        "file_path": "assets/skills/demo/scripts/commands.py",
        "function_name": command,
        "execution_mode": "script",
        "keywords": ["demo"],
        "input_schema": schema.to_string(),
        "docstring": "",
        "file_hash": "00",
        "category": "test",
    })
}

const COMMANDS: [&str; 3] = ["echo", "when", "fail"];

/// Both published indexes, made by hand, with the same tools.
fn indexes(folder: &Path) -> [String; 2] {
    let schema = json!({"type": "object"});
    let commands = COMMANDS.map(|command| record(command, &schema));
    let tools = COMMANDS.map(|command| {
        json!({"name": format!("demo.{command}"), "description": "", "category": "test", "input_schema": schema.to_string(), "file_hash": "00"})
    });
    let skills = json!([{
        "name": "demo", "description": "A skill.", "version": "1.0.0", "path": "assets/skills/demo", "tools": tools,
        "routingKeywords": ["demo"], "intents": [], "authors": ["us"], "docsAvailable": {"skill_md": true},
    }]);
    [("commands", json!(commands)), ("skills", skills)].map(|(name, index)| {
        let path = folder.join(format!("{name}.json"));
        std::fs::write(&path, index.to_string()).expect("written");
        text(&path)
    })
}

#[test]
fn both_published_programs_run_unchanged_from_both_indexes() {
    let Some(python) = python() else { return };
    let folder = tempfile::tempdir().expect("a folder");
    let [commands, skills] = indexes(folder.path());
    let runs = [
        json!([python, "-m", "omni.agent.run_tool", "{skill}", "{command}"]),
        json!([
            python,
            "-m",
            "omni.skills.run",
            "{skill}",
            "{command}",
            "--args",
            "{arguments}"
        ]),
    ];
    let servers = [("a", &commands), ("b", &skills)].into_iter().zip(runs);
    let servers = servers.map(|((name, index), run)| {
        format!(
            "[servers.{name}.script]\nindex = {}\nrun = {run}\n{}\n",
            json!(index),
            packages()
        )
    });
    let gateway = Gateway::start(&servers.collect::<String>());
    for server in ["a", "b"] {
        let path = format!("/servers/{server}/mcp");
        assert_eq!(
            gateway.tools(&path),
            ["demo.echo", "demo.when", "demo.fail"]
        );
        let call = |tool: &str, arguments: Value| {
            let params = json!({"name": tool, "arguments": arguments});
            gateway.modern(&path, "tools/call", params).json()["result"].clone()
        };
        let echo = call("demo.echo", json!({"a": "é\n\"{skill}\"", "b": [1, null]}));
        assert_eq!(
            echo["structuredContent"],
            json!({"arguments": {"a": "é\n\"{skill}\"", "b": [1, null]}}),
            "{server}: {echo}"
        );
        assert_eq!(said(&call("demo.when", json!({}))), "2026-07-28");
        let failed = call("demo.fail", json!({"reason": "no such branch"}));
        assert_eq!(failed["isError"], true);
        let text = said(&failed);
        assert!(
            text.starts_with("no such branch\ncommand: ")
                && text.contains("exit status 1\nstderr:\nValueError: no such branch"),
            "{text}"
        );
    }
}

#[test]
fn a_file_of_python_is_served_without_an_index() {
    let Some(python) = python() else { return };
    let folder = tempfile::tempdir().expect("a folder");
    let file = folder.path().join("calc.py");
    let source = r#"
import os, subprocess, sys
from toolbus import Context

def add(a: int, b: int) -> int:
    """Adds two numbers."""
    print("this must not be taken for the result")
    subprocess.run(["echo", "neither this"], check=True)
    return a + b

def steps(ctx: Context) -> str:
    """Says how far it is."""
    for step in range(3):
        ctx.report_progress(step + 1, 3, "one more")
    ctx.info("nearly")
    return "done"

def crash() -> None:
    """Ends the interpreter."""
    os._exit(7)

async def ask(ctx: Context) -> str:
    """Asks its caller."""
    return str(await ctx.elicit("Really?", bool))
"#;
    std::fs::write(&file, source).expect("written");
    let gateway = Gateway::start(&format!(
        "[servers.calc.script]\npython = {}\ninterpreter = {}\n{}\n",
        json!(text(&file)),
        json!(python),
        packages()
    ));
    assert_eq!(gateway.tools("/mcp"), ["add", "steps", "crash", "ask"]);
    let sum = result(&gateway, "add", json!({"a": 2, "b": 40}));
    assert_eq!(sum["structuredContent"], json!({"result": 42}), "{sum}");
    let params = json!({
        "name": "steps", "arguments": {},
        "_meta": {"progressToken": "mine", "io.modelcontextprotocol/logLevel": "info"},
    });
    let messages = gateway.modern("/mcp", "tools/call", params).messages();
    let progress: Vec<_> = messages
        .iter()
        .filter(|m| m["method"] == "notifications/progress")
        .collect();
    assert_eq!(progress.len(), 3, "{messages:?}");
    assert_eq!(progress[2]["params"]["message"], "one more");
    assert!(
        messages
            .iter()
            .any(|m| m["method"] == "notifications/message" && m["params"]["data"] == "nearly")
    );
    assert_eq!(said(&messages[messages.len() - 1]["result"]), "done");
    assert!(failure(&gateway, "crash", json!({})).contains("exit status 7"));
    let asked = failure(&gateway, "ask", json!({}));
    assert!(asked.contains("A script cannot"), "{asked}");
}

#[test]
fn a_script_has_a_clean_environment_and_a_folder_of_its_own() {
    let script = r#"read -r _; ls /proc/self/fd > fds; pwd > where; printf '{"where": "%s", "files": "%s", "home": "%s", "tmp": "%s", "token": "%s", "fds": "%s"}' \
        "$(cat where)" "$(echo *)" "${XDG_STATE_HOME-none}" "$TMPDIR" "$TOKEN" "$(tr '\n' ' ' < fds)""#;
    let gateway = Gateway::start(&shell(script, "env = { TOKEN = \"t\" }"));
    let told = result(&gateway, "go", json!({}))["structuredContent"].clone();
    let folder = told["where"].as_str().unwrap_or_default().to_owned();
    assert_eq!(told["files"], "fds where", "the folder was empty: {told}");
    assert_eq!(
        (&told["home"], &told["token"]),
        (&json!("none"), &json!("t"))
    );
    assert_eq!(told["tmp"].as_str(), Some(&*folder));
    assert!(folder.contains("/toolbus-call-"), "{folder}");
    assert_eq!(
        told["fds"], "0 1 2 3 4 ",
        "nothing of ours is inherited, and the last one is that of ls"
    );
    assert!(
        !Path::new(&folder).exists(),
        "the folder is gone with the call"
    );
}

#[test]
fn a_program_that_is_not_there_is_named() {
    let gateway =
        Gateway::start("[servers.s.script]\nrun = [\"/not/there\"]\n[servers.s.script.tools.go]\n");
    let answer = gateway.call("go", json!({})).json();
    let message = answer["error"]["message"].as_str().unwrap_or_default();
    assert!(
        message.contains("the script could not be started: No such file")
            && message.contains("/not/there"),
        "{answer}"
    );
}

#[test]
fn a_script_that_leaves_processes_behind_leaves_none() {
    let script = "setsid sleep 321 & sleep 322 & echo '\"done\"'; exit 0";
    let gateway = Gateway::start(&shell(script, ""));
    assert_eq!(said(&result(&gateway, "go", json!({}))), "done");
    wait_for("all of it is gone", || gateway.processes("sleep 32") == 0);
}

#[test]
fn signs_of_life_keep_a_silent_script_alive() {
    let beat = r#"for i in 1 2 3 4 5 6 7 8 9 10 11 12; do echo '{"heartbeat": true}' >&3; sleep 0.3; done; echo '"alive"'"#;
    let gateway = Gateway::start(&format!(
        "[servers.sh]\nidle_timeout = \"2s\"\n{}",
        shell(beat, "")
    ));
    assert_eq!(said(&result(&gateway, "go", json!({}))), "alive");
}
