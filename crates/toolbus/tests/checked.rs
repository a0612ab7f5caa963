//! Arguments and results are held against a tool's schemas, where that is wanted: before anything runs, and in words.

mod support;

use serde_json::{Value, json};
use support::place::Place;
use support::{Gateway, wait_for};

fn tools() -> Value {
    json!([
        {"name": "add", "inputSchema": {
            "type": "object", "required": ["a", "b"], "additionalProperties": false,
            "properties": {"a": {"type": "integer"}, "b": {"type": "integer", "minimum": 0}},
        }},
        {"name": "report", "inputSchema": {"type": "object"}, "outputSchema": {
            "type": "object", "required": ["total"], "properties": {"total": {"type": "number"}},
        }},
        {"name": "vague", "inputSchema": {"type": "object", "$ref": "https://example.com/args.json"}},
    ])
}

fn text(answer: &Value) -> &str {
    let text = &answer["result"]["content"][0]["text"];
    text.as_str().unwrap_or_default()
}

fn outcomes(gateway: &Gateway) -> Vec<Value> {
    let records = gateway.records();
    let outcomes = records.iter().map(|record| record["outcome"].clone());
    outcomes.collect()
}

#[test]
fn wrong_arguments_are_told_all_at_once_and_nothing_is_started() {
    let place = Place::new(&tools());
    let mut gateway = Gateway::start(&place.server("validate = true", ""));
    let wrong = gateway
        .call("add", json!({"a": "1", "c": 2, "d": 3}))
        .json();
    assert_eq!(wrong["result"]["isError"], true, "{wrong}");
    let expected = "Invalid arguments for tool 'add':\n\
        - Missing required field: 'b'\n\
        - /a: must be of type integer, but is of type string\n\
        - Unexpected field: 'c'; there are 'a', 'b'\n\
        - Unexpected field: 'd'; there are 'a', 'b'";
    assert_eq!(text(&wrong), expected);
    let invalid = &wrong["result"]["_meta"]["toolbus/invalid"];
    assert_eq!(invalid["part"], "arguments", "{wrong}");
    assert_eq!(invalid["fault"], "caller", "{wrong}");
    assert_eq!(invalid["problems"][1]["path"], "/a", "{wrong}");
    let none = gateway.modern("/mcp", "tools/call", json!({"name": "add"}));
    assert!(
        none.text().contains("Missing required field: 'a'"),
        "{}",
        none.text()
    );
    assert!(place.calls().is_empty(), "nothing was started");
    let right = gateway.call("add", json!({"a": 1.0, "b": 12345678901234567890_u64}));
    assert_eq!(
        right.json()["result"]["structuredContent"]["a"],
        1.0,
        "{}",
        right.text()
    );
    assert_eq!(place.calls(), ["add"]);
    assert_eq!(gateway.stop(), Some(0));
    assert_eq!(
        outcomes(&gateway),
        ["invalid_arguments", "invalid_arguments", "ok"]
    );
}

#[test]
fn a_result_that_breaks_its_promise_is_the_tools_fault() {
    let place = Place::new(&tools());
    let mut gateway = Gateway::start(&place.server("validate = true", ""));
    let wrong = gateway
        .call("report", json!({"answer": {"total": "12"}}))
        .json();
    assert_eq!(wrong["result"]["isError"], true, "{wrong}");
    assert_eq!(
        text(&wrong),
        "Tool 'report' ran, but its result does not fit its outputSchema. This is a fault of the tool, not of the \
         arguments:\n- /total: must be of type number, but is of type string"
    );
    assert_eq!(
        wrong["result"]["_meta"]["toolbus/invalid"]["fault"],
        "backend"
    );
    assert_eq!(wrong["result"].get("structuredContent"), None);
    let right = gateway
        .call("report", json!({"answer": {"total": 12}}))
        .json();
    assert_eq!(right["result"]["structuredContent"]["total"], 12, "{right}");
    assert_eq!(place.calls().len(), 2);
    assert_eq!(gateway.stop(), Some(0));
    assert_eq!(outcomes(&gateway), ["invalid_result", "ok"]);
    assert!(
        gateway
            .log()
            .contains("does not fit the tool's outputSchema")
    );
}

#[test]
fn a_schema_that_cannot_be_used_is_told_once_and_its_tool_works() {
    let place = Place::new(&tools());
    let gateway = Gateway::start(&place.server("validate = true", ""));
    assert!(gateway.tools("/mcp").contains(&"vague".to_owned()));
    for _ in 0..3 {
        let answer = gateway.call("vague", json!({"any": "thing"})).json();
        assert_eq!(
            answer["result"]["structuredContent"]["any"], "thing",
            "{answer}"
        );
    }
    let told = gateway.log().matches("nothing is fetched").count();
    assert_eq!(told, 1, "{}", gateway.log());
}

#[test]
fn an_mcp_server_checks_for_itself_unless_it_is_asked_here() {
    let place = Place::new(&tools());
    let gateway = Gateway::start(&place.server("", ""));
    let pid = |arguments: Value| {
        let answer = gateway.call("vague", arguments).json();
        answer["result"]["structuredContent"]["pid"].clone()
    };
    let before = pid(json!({}));
    let passed = gateway.call("add", json!({"a": "1"})).json();
    assert_eq!(passed["result"]["structuredContent"]["a"], "1", "{passed}");
    gateway.configure(&place.server("validate = true", ""));
    wait_for("the change is used", || {
        let answer = gateway.call("add", json!({"a": "1"})).json();
        answer["result"]["isError"] == true
    });
    assert_eq!(pid(json!({})), before, "the process ran on");
}
