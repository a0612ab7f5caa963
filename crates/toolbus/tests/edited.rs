//! Tools under other names, with more description, and fewer of them: for callers, for the audit, and after a change.

mod support;

use std::process::Command;

use serde_json::{Value, json};
use support::place::Place;
use support::{Gateway, toolbus, wait_for};

fn tools() -> Value {
    let tool = |name: &str| json!({"name": name, "description": "Its own.", "inputSchema": {"type": "object"}});
    json!(["math.add", "math.sub", "text.upper"].map(tool))
}

const SUM: &str = "[servers.fx.tools.\"math.add\"]\nname = \"sum\"\nextra_description = \"Prefer it.\"\n\
    annotations = { readOnlyHint = true }\n";

fn listed(gateway: &Gateway, name: &str) -> Value {
    let answer = gateway.modern("/mcp", "tools/list", json!({})).json();
    let tools = answer["result"]["tools"]
        .as_array()
        .cloned()
        .unwrap_or_default();
    let found = tools.into_iter().find(|tool| tool["name"] == name);
    found.unwrap_or_default()
}

fn is_unknown(answer: &Value, name: &str) -> bool {
    answer["error"]["message"] == format!("Unknown tool: {name}")
}

#[test]
fn a_tool_is_called_by_its_alias_and_known_to_policies_by_its_own_name() {
    let place = Place::new(&tools());
    let callers = "[callers.all]\ntoken = \"all-all-all\"\n[callers.some]\ntoken = \"some-some\"\ndeny = [\"fx.math.add\"]\n";
    let mut gateway = Gateway::start(&(callers.to_owned() + &place.server("", SUM)));
    let ask = |token: &str, method: &str, params: Value| {
        let request = String::from_utf8(support::modern_request("/mcp", method, params));
        let request = request.expect("UTF-8");
        let bearer = format!("\r\nauthorization: Bearer {token}\r\n");
        gateway
            .send(request.replacen("\r\n", &bearer, 1).as_bytes())
            .json()
    };
    let sum = || json!({"name": "sum", "arguments": {"a": 1}});
    let called = ask("all-all-all", "tools/call", sum());
    assert_eq!(called["result"]["structuredContent"]["a"], 1, "{called}");
    assert_eq!(place.calls(), ["math.add"], "the server hears its own name");
    let denied = ask("some-some", "tools/call", sum());
    assert!(is_unknown(&denied, "sum"), "{denied}");
    let original = ask("all-all-all", "tools/call", json!({"name": "math.add"}));
    assert!(is_unknown(&original, "math.add"), "{original}");
    assert_eq!(gateway.stop(), Some(0));
    let records = gateway.records();
    let told = |n: usize| {
        [
            &records[n]["asked"],
            &records[n]["server"],
            &records[n]["name"],
        ]
    };
    assert_eq!(told(0), ["sum", "fx", "math.add"], "{records:?}");
    assert_eq!(records[1]["outcome"], "denied", "{records:?}");
}

#[test]
fn definitions_are_changed_and_filters_hide_completely() {
    let place = Place::new(&tools());
    let gateway = Gateway::start(&place.server("show = [\"math.*\"]\nhide = [\"*.sub\"]", SUM));
    assert_eq!(gateway.tools("/mcp"), ["sum"]);
    assert_eq!(gateway.tools("/servers/fx/mcp"), ["sum"]);
    let sum = listed(&gateway, "sum");
    assert_eq!(sum["description"], "Its own.\n\nPrefer it.", "{sum}");
    assert_eq!(sum["annotations"]["readOnlyHint"], true, "{sum}");
    for hidden in ["math.sub", "text.upper"] {
        let answer = gateway.call(hidden, json!({})).json();
        assert!(is_unknown(&answer, hidden), "{answer}");
    }
    assert!(place.calls().is_empty());
}

#[test]
fn a_change_applies_while_the_process_runs_on() {
    let place = Place::new(&tools());
    let gateway = Gateway::start(&place.server("", ""));
    let pid = |tool: &str| {
        let answer = gateway.call(tool, json!({})).json();
        answer["result"]["structuredContent"]["pid"].clone()
    };
    let before = pid("math.add");
    assert!(before.is_number(), "{before}");
    gateway.configure(&place.server("", SUM));
    wait_for("the alias is listed", || {
        gateway.tools("/mcp") == ["sum", "math.sub", "text.upper"]
    });
    assert_eq!(pid("sum"), before, "the process ran on");
    gateway.configure(&place.server("hide = [\"text.*\"]", &SUM.replace("sum", "total")));
    wait_for("the other alias is listed", || {
        gateway.tools("/mcp") == ["total", "math.sub"]
    });
    assert_eq!(pid("total"), before);
    gateway.configure(&place.server("", ""));
    wait_for("the own name is back", || {
        gateway.tools("/mcp") == ["math.add", "math.sub", "text.upper"]
    });
    assert_eq!(pid("math.add"), before);
    assert_eq!(gateway.processes("tools.py"), 1);
}

#[test]
fn what_cannot_be_done_is_said() {
    let place = Place::new(&tools());
    let other = "[servers.fx.tools.\"math.sub\"]\nname = \"sum\"\n";
    let folder = tempfile::tempdir().expect("a folder");
    let check = |config: &str| {
        let file = folder.path().join("toolbus.toml");
        std::fs::write(&file, config).expect("written");
        let output = Command::new(toolbus()).arg("check").arg(file).output();
        let output = output.expect("toolbus runs");
        String::from_utf8_lossy(&output.stderr).into_owned()
    };
    let twice = check(&place.server("", &(SUM.to_owned() + other)));
    assert!(
        twice.contains("name \"sum\" is the one of the tool \"math.add\" as well"),
        "{twice}"
    );
    let wrong = check(&place.server("", &SUM.replace("\"sum\"", "\"to sum\"")));
    assert!(
        wrong.contains("name \"to sum\": use 1 to 64 letters"),
        "{wrong}"
    );
    let sections = "[servers.fx.tools.\"math.add\"]\nname = \"math.sub\"\n[servers.fx.tools.none]\ntitle = \"T\"\n";
    let gateway = Gateway::start(&place.server("", sections));
    assert_eq!(
        gateway.tools("/mcp"),
        ["math.add", "math.sub", "text.upper"]
    );
    let log = gateway.log();
    assert!(
        log.contains("its alias \\\"math.sub\\\" is the name of another tool")
            || log.contains("its alias \"math.sub\" is the name of another tool"),
        "{log}"
    );
    assert!(log.contains("there is no tool"), "{log}");
}
