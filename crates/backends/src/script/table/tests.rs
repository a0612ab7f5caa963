//! Tools of an index, of the configuration, and of both.

use serde_json::{Value, json};

use super::*;
use crate::script::settings::Base;
use crate::script::spec::Limits;

fn object(value: &Value) -> Object {
    Object::of(value)
}

fn settings(run: Option<&[&str]>) -> Settings {
    let words = |words: &[&str]| words.iter().map(|word| (*word).to_owned()).collect();
    Settings {
        source: None,
        tools: Vec::new(),
        base: Base {
            run: run.map(words),
            env: vec![("A".into(), "common".into()), ("B".into(), "common".into())],
            cwd: Some("/common".into()),
            limits: Limits::default(),
        },
        at_once: 1,
        waiting: 1,
        warm: None,
    }
}

fn declared(name: &str, definition: Option<Value>) -> Declared {
    Declared {
        name: name.to_owned(),
        definition: definition.map(|input| Definition {
            members: object(&json!({"description": "d", "annotations": {"readOnlyHint": true}})),
            input: Schema::Inline(object(&input)),
            output: None,
        }),
        run: None,
        env: Vec::new(),
        cwd: None,
        limits: Limits::default(),
    }
}

fn record(name: &str) -> Record {
    Record {
        name: name.to_owned(),
        definition: object(&json!({"name": name, "inputSchema": {"type": "object"}})),
        function: None,
        file: Some("scripts/x.py".to_owned()),
    }
}

#[test]
fn a_tool_of_the_index_is_run_as_the_configuration_says() {
    let mut settings = settings(Some(&["python", "{file}", "{command}"]));
    settings.tools.push(Declared {
        run: Some(vec!["sh".into(), "{skill}".into()]),
        env: vec![("B".into(), "own".into())],
        cwd: Some("/own".into()),
        ..declared("git.log", None)
    });
    let table = Table::of(&settings, &[record("git.commit"), record("git.log")]).expect("a table");
    let words = |name: &str| -> Vec<_> {
        let tool = table.get(name).expect("a tool");
        tool.run.line.words().collect()
    };
    assert_eq!(words("git.commit"), ["python", "scripts/x.py", "commit"]);
    assert_eq!(words("git.log"), ["sh", "git"]);
    let own = &table.get("git.log").expect("a tool").run;
    assert_eq!(own.cwd, Some("/own".into()));
    let env = [("A", "common"), ("B", "own")].map(|(n, v)| (n.to_owned(), v.to_owned()));
    assert_eq!(own.env, env);
}

#[test]
fn a_declared_tool_is_listed_as_declared() {
    let mut settings = settings(Some(&["sh"]));
    settings
        .tools
        .push(declared("add", Some(json!({"properties": {}}))));
    let table = Table::of(&settings, &[]).expect("a table");
    let listed: Value = table.items()[0].definition.to_raw().read().expect("JSON");
    let expected = json!({
        "name": "add", "description": "d", "annotations": {"readOnlyHint": true},
        "inputSchema": {"type": "object", "properties": {}},
    });
    assert_eq!(listed, expected);
}

#[test]
fn what_cannot_be_run_is_told() {
    let mut twice = settings(Some(&["sh"]));
    twice.tools.push(declared("git.log", Some(json!({}))));
    let mut wrong = settings(Some(&["sh"]));
    wrong
        .tools
        .push(declared("git.log", Some(json!({"type": "array"}))));
    for (settings, records, expected) in [
        (
            settings(None),
            vec![record("a.b")],
            "the tool \"a.b\" has no `run`: say how",
        ),
        (
            settings(Some(&["{skill}"])),
            vec![record("plain")],
            "{skill} is not known of the tool \"plain\"",
        ),
        (
            twice,
            vec![record("git.log")],
            "tools.\"git.log\" is declared in the configuration and in the index",
        ),
        (
            wrong,
            vec![],
            "tools.\"git.log\": input_schema: its type is \"array\"",
        ),
    ] {
        let error = Table::of(&settings, &records).expect_err("wrong");
        assert!(error.contains(expected), "{error}");
    }
}
