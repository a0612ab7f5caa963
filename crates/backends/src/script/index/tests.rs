//! Both published formats, read exactly, and what is said of broken ones.

use serde_json::{Value, json};

use super::*;

fn command() -> Value {
    json!({
        "schema": "omni.skill.command_index.v1",
        "tool_name": "git.commit",
        "description": "Records changes.",
        "skill_name": "git",
        "file_path": "assets/skills/git/scripts/commit.py",
        "function_name": "commit",
        "execution_mode": "script",
        "keywords": ["git", "vcs"],
        "input_schema": "{\"type\": \"object\", \"properties\": {\"message\": {\"type\": \"string\"}}}",
        "docstring": "Records changes.\n\nLonger.",
        "file_hash": "0f",
        "category": "vcs",
    })
}

fn skill() -> Value {
    json!({
        "name": "git",
        "description": "Version control.",
        "version": "1.0.0",
        "path": "assets/skills/git",
        "tools": [
            {"name": "git.commit", "description": "Records.", "category": "vcs", "input_schema": "{\"type\":\"object\"}", "file_hash": "0f"},
            {"name": "log", "description": "", "category": "", "input_schema": {"properties": {"n": {"minimum": 1.50}}}, "file_hash": ""},
        ],
        "routingKeywords": ["git"],
        "intents": [],
        "authors": ["somebody"],
        "docsAvailable": {"skillMd": true},
        "later": 1,
    })
}

fn read(records: Value) -> Result<Vec<Record>, String> {
    parse(records.to_string().into())
}

#[test]
fn a_command_index_is_read() {
    let mut second = command();
    second["tool_name"] = json!("git.log.short");
    let records = read(json!([command(), second])).expect("an index");
    assert_eq!(records[0].name, "git.commit");
    assert_eq!(records[0].function.as_deref(), Some("commit"));
    assert_eq!(
        records[0].file.as_deref(),
        Some("assets/skills/git/scripts/commit.py")
    );
    assert_eq!(
        records[0].definition.bytes(),
        br#"{"name":"git.commit","description":"Records changes.","inputSchema":{"type": "object", "properties": {"message": {"type": "string"}}}}"#
    );
    let facts = records[1].facts("/");
    assert_eq!(
        (facts.skill, facts.command),
        (Some("git"), Some("log.short"))
    );
    assert_eq!(read(json!([])), Ok(vec![]));
}

#[test]
fn a_skill_index_is_read() {
    let records = read(json!([skill()])).expect("an index");
    let names: Vec<_> = records.iter().map(|record| &*record.name).collect();
    assert_eq!(names, ["git.commit", "git.log"]);
    assert_eq!(records[1].file.as_deref(), Some("assets/skills/git"));
    assert_eq!(
        records[1].definition.bytes(),
        br#"{"name":"git.log","description":"","inputSchema":{"properties":{"n":{"minimum":1.5}},"type":"object"}}"#
    );
}

/// An index whose second record differs from a good one.
fn broken(good: Value, change: impl FnOnce(&mut Value)) -> String {
    let mut bad = good.clone();
    if bad["tool_name"].is_string() {
        bad["tool_name"] = json!("git.push");
    } else {
        bad["name"] = json!("other");
        bad["tools"][0]["name"] = json!("other.commit");
    }
    change(&mut bad);
    json!([good, bad]).to_string()
}

/// A change of one field; without a value the field is left out.
fn put(
    pointer: &'static str,
    field: &'static str,
    value: Option<Value>,
) -> impl FnOnce(&mut Value) {
    move |record| {
        let members = record
            .pointer_mut(pointer)
            .and_then(Value::as_object_mut)
            .expect("an object");
        match value {
            Some(value) => members.insert(field.to_owned(), value),
            None => members.remove(field),
        };
    }
}

/// What is said of a broken index: file, record and field are named.
fn said(text: &str) -> String {
    let folder = tempfile::tempdir().expect("a folder");
    let file = folder.path().join("index.json");
    std::fs::write(&file, text).expect("written");
    let error = super::read(&file).expect_err("broken");
    let rest = error
        .strip_prefix(&*file.to_string_lossy())
        .expect("the file is named");
    rest.trim_start_matches(": ").to_owned()
}

#[test]
fn each_broken_command_index_is_told_by_record_and_field() {
    let of = |field, value| said(&broken(command(), put("", field, value)));
    let second = "record 2 (\"git.push\"), field ";
    for (field, value, expected) in [
        (
            "schema",
            Some(json!("omni.skill.command_index.v2")),
            "\"schema\": it is \"omni.skill.command_index.v2\", but must be \"omni.skill.command_index.v1\"",
        ),
        ("description", None, "\"description\": it is missing"),
        (
            "function_name",
            Some(json!(7)),
            "\"function_name\": it is a number, but must be a text",
        ),
        ("file_path", Some(json!(" ")), "\"file_path\": it is empty"),
        (
            "keywords",
            Some(json!("git")),
            "\"keywords\": it is a text, but must be an array",
        ),
        (
            "keywords",
            Some(json!(["git", null])),
            "\"keywords\": it is null, but must be an array of texts",
        ),
        (
            "input_schema",
            Some(json!({"type": "object"})),
            "\"input_schema\": it is an object, but must be a text",
        ),
        (
            "input_schema",
            Some(json!("{\"type\":")),
            "\"input_schema\": its text is not a JSON object: not valid JSON",
        ),
        (
            "input_schema",
            Some(json!("[]")),
            "\"input_schema\": its text is not a JSON object",
        ),
        (
            "input_schema",
            Some(json!("{\"type\":\"string\"}")),
            "\"input_schema\": its type is \"string\", but a tool's arguments are an \"object\"",
        ),
        (
            "skill_name",
            Some(json!("other")),
            "\"tool_name\": it must be \"skill.command\", and begin with \"other\" and a dot",
        ),
        (
            "file_hsah",
            Some(json!("")),
            "\"file_hsah\": a record has no such field; it has schema, tool_name",
        ),
    ] {
        let said = of(field, value);
        assert!(
            said.starts_with(&format!("{second}{expected}")),
            "{field}: {said}"
        );
    }
    let nameless = of("tool_name", None);
    assert_eq!(nameless, "record 2, field \"tool_name\": it is missing");
    let twice = said(&json!([command(), command()]).to_string());
    assert_eq!(twice, "the tool \"git.commit\" stands in it twice");
    let twice = command()
        .to_string()
        .replacen('{', "{\"category\":\"a\",", 1);
    let twice = said(&format!("[{twice}]"));
    assert_eq!(
        twice,
        "record 1 (\"git.commit\"), field \"category\": it stands there twice"
    );
}

#[test]
fn each_broken_skill_index_is_told_by_record_and_field() {
    let skills = |field, value| said(&broken(skill(), put("", field, value)));
    let tools = |field, value| said(&broken(skill(), put("/tools/0", field, value)));
    for (said, expected) in [
        (
            skills("version", None),
            "record 2 (\"other\"), field \"version\": it is missing",
        ),
        (
            skills("path", Some(json!([]))),
            "record 2 (\"other\"), field \"path\": it is an array, but must be a text",
        ),
        (
            skills("intents", Some(json!({}))),
            "record 2 (\"other\"), field \"intents\": it is an object, but must be an array",
        ),
        (
            skills("tools", Some(json!(true))),
            "record 2 (\"other\"), field \"tools\": it is true or false, but must be an array",
        ),
        (
            skills("tools", Some(json!(["x"]))),
            "record 2 (\"other\"), tool 1: it is not an object",
        ),
        (
            tools("category", None),
            "record 2 (\"other\"), tool 1 (\"other.commit\"), field \"category\": it is missing",
        ),
        (
            tools("name", Some(json!("git.commit"))),
            "record 2 (\"other\"), tool 1 (\"git.commit\"), field \"name\": it must be a command of \"other\", as \"other.command\"",
        ),
        (
            tools("input_schema", Some(json!("x"))),
            "record 2 (\"other\"), tool 1 (\"other.commit\"), field \"input_schema\": its text is not a JSON object",
        ),
        (
            tools("input_schema", Some(json!(1))),
            "record 2 (\"other\"), tool 1 (\"other.commit\"), field \"input_schema\": it is a number, but must be a text",
        ),
        (
            tools("hash", Some(json!(""))),
            "record 2 (\"other\"), tool 1 (\"other.commit\"), field \"hash\": a record has no such field",
        ),
    ] {
        assert!(said.starts_with(expected), "{said}");
    }
}

#[test]
fn what_is_no_index_is_told() {
    for (text, expected) in [
        (
            "[",
            "it is not JSON: EOF while parsing a list at line 1 column 1",
        ),
        ("{}", "it is not an array of records"),
        ("[1]", "record 1: it is not an object"),
        (
            "[{\"name\":\"x\"}]",
            "record 1: neither a command index (\"omni.skill.command_index.v1\"",
        ),
    ] {
        let said = said(text);
        assert!(said.starts_with(expected), "{said}");
    }
    let error = super::read(Path::new("/not/there.json")).expect_err("missing");
    assert_eq!(
        error,
        "/not/there.json: No such file or directory (os error 2)"
    );
}
