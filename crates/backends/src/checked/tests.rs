//! Schemas held against values, and the words in which it is told what is wrong.

use super::compile::compile;
use super::run::{Verdict, check};
use super::value::Value;
use super::{BOUNDS, Bounds};

mod against_python;

/// What is told of a value; nothing where it fits.
fn told(schema: &str, value: &str) -> Result<Vec<String>, String> {
    let schema = compile(schema.as_bytes())?;
    let value = Value::read(value.as_bytes(), BOUNDS).map_err(|error| format!("{error:?}"))?;
    Ok(match check(&schema, &value) {
        Verdict::Fits => Vec::new(),
        Verdict::Wrong(problems) => {
            let lines = problems.lines();
            let lines = lines.split("\n- ").skip(1);
            lines.map(str::to_owned).collect()
        }
        Verdict::TooCostly => vec!["too costly".to_owned()],
    })
}

const ORDER: &str = r##"{
  "type": "object",
  "properties": {
    "name": {"type": "string", "minLength": 1, "maxLength": 5, "pattern": "^[a-z]+$"},
    "count": {"type": "integer", "minimum": 1, "exclusiveMaximum": 10, "multipleOf": 2},
    "kind": {"enum": ["small", "large"]},
    "fixed": {"const": 3},
    "tags": {"type": "array", "items": {"type": "string"}, "maxItems": 2, "uniqueItems": true},
    "to": {"$ref": "#/$defs/address"},
    "note": {"anyOf": [{"type": "string"}, {"type": "null"}]},
    "pay": {"oneOf": [
      {"properties": {"by": {"const": "card"}, "number": {"type": "string"}}, "required": ["by", "number"]},
      {"properties": {"by": {"const": "cash"}}, "required": ["by"]}]}
  },
  "required": ["name", "count"],
  "dependentRequired": {"tags": ["kind"]},
  "additionalProperties": false,
  "$defs": {"address": {"type": "object", "properties": {"street": {"type": "string"}}, "required": ["street", "city"]}}
}"##;

#[test]
fn every_failing_path_is_told_in_words() {
    let cases: [(&str, &[&str]); 12] = [
        (
            r#"{"name": "ab", "count": 2.0, "note": null, "pay": {"by": "cash"}}"#,
            &[],
        ),
        (
            "{}",
            &[
                "Missing required field: 'name'",
                "Missing required field: 'count'",
            ],
        ),
        ("[]", &["must be of type object, but is of type array"]),
        (
            r#"{"name": "", "count": "2"}"#,
            &[
                "/count: must be of type integer, but is of type string",
                "/name: must have at least 1 characters, but has 0",
                "/name: must match the pattern ^[a-z]+$, but is \"\"",
            ],
        ),
        (
            r#"{"name": "ab", "count": 12.5}"#,
            &[
                "/count: must be of type integer, but is 12.5",
                "/count: must be less than 10, but is 12.5",
                "/count: must be a multiple of 2, but is 12.5",
            ],
        ),
        (
            r#"{"name": "ab", "count": 2, "kind": "huge", "fixed": "3"}"#,
            &[
                "/fixed: must be 3, but is \"3\"",
                "/kind: must be one of \"small\", \"large\", but is \"huge\"",
            ],
        ),
        (
            r#"{"name": "ab", "count": 2, "colour": 1}"#,
            &[
                "Unexpected field: 'colour'; there are 'count', 'fixed', 'kind', 'name', 'note', 'pay', 'tags', 'to'",
            ],
        ),
        (
            r#"{"name": "ab", "count": 2, "tags": ["a", 1, "a"]}"#,
            &[
                "/tags: must have at most 2 elements, but has 3",
                "/tags/1: must be of type string, but is 1",
                "/tags: must not have equal elements, but 0 and 2 are",
                "Missing required field: 'kind', which must stand beside 'tags'",
            ],
        ),
        (
            r#"{"name": "ab", "count": 2, "to": {"street": 1}}"#,
            &[
                "/to: Missing required field: 'city'",
                "/to/street: must be of type string, but is 1",
            ],
        ),
        (
            r#"{"name": "ab", "count": 2, "note": 5}"#,
            &[
                "/note: fits none of 2 forms: must be of type string, but is 5; must be of type null, but is 5",
            ],
        ),
        (
            r#"{"name": "ab", "count": 2, "pay": {"by": "card"}}"#,
            &[
                "/pay: fits none of 2 forms; of the nearest one: /pay: Missing required field: 'number'",
            ],
        ),
        (
            r#"{"name": "ab", "count": 1e400}"#,
            &["/count: must be less than 10, but is 1e400"],
        ),
    ];
    for (value, expected) in cases {
        let mut told = told(ORDER, value).expect("a schema");
        let mut expected: Vec<String> = expected.iter().map(|line| (*line).to_owned()).collect();
        told.sort();
        expected.sort();
        assert_eq!(told, expected, "{value}");
    }
}

#[test]
fn numbers_keep_their_meaning() {
    let integer = r#"{"type": "integer"}"#;
    for fits in ["1.0", "1e3", "123456789012345678901234567890", "-0.0"] {
        assert_eq!(told(integer, fits), Ok(vec![]), "{fits}");
    }
    assert_eq!(told(integer, "1.5").map(|told| told.len()), Ok(1));
    let large = r#"{"const": 9007199254740993}"#;
    assert_eq!(told(large, "9007199254740993.0"), Ok(vec![]));
    assert_eq!(
        told(large, "9007199254740992").map(|told| told.len()),
        Ok(1)
    );
}

#[test]
fn older_dialects_are_known() {
    let old = r##"{"$schema": "http://json-schema.org/draft-07/schema#",
      "properties": {"a": {"$ref": "#/definitions/n", "maximum": 1}, "b": {"items": [{"type": "string"}], "additionalItems": false}},
      "dependencies": {"b": ["a"]}, "definitions": {"n": {"type": "integer"}}}"##;
    assert_eq!(
        told(old, r#"{"a": 5, "b": ["x"]}"#),
        Ok(vec![]),
        "$ref hides its neighbours"
    );
    let wrong = told(old, r#"{"b": ["x", 1]}"#).expect("a schema");
    assert_eq!(wrong.len(), 2, "{wrong:?}");
    let new = r##"{"properties": {"a": {"$ref": "#/$defs/n", "maximum": 1}}, "$defs": {"n": {"type": "integer"}}}"##;
    assert_eq!(told(new, r#"{"a": 5}"#).map(|told| told.len()), Ok(1));
}

#[test]
fn what_cannot_be_bounded_or_understood_is_refused_with_its_reason() {
    let doubling = |levels: usize| {
        let define = |n: usize| {
            let next = n + 1;
            format!(
                r##""d{n}": {{"allOf": [{{"$ref": "#/$defs/d{next}"}}, {{"$ref": "#/$defs/d{next}"}}]}}"##
            )
        };
        let all: Vec<String> = (0..levels).map(define).collect();
        format!(
            r##"{{"$ref": "#/$defs/d0", "$defs": {{{}, "d{levels}": {{}}}}}}"##,
            all.join(",")
        )
    };
    let cases = [
        ("{".to_owned(), "it is not JSON"),
        ("7".to_owned(), "a schema in it is neither an object"),
        (
            r#"{"type": "text"}"#.to_owned(),
            "`type` must be one of the seven types",
        ),
        (
            r#"{"required": true}"#.to_owned(),
            "`required` must be a list of names",
        ),
        (
            r#"{"minLength": -1}"#.to_owned(),
            "`minLength` must be an integer of at least 0",
        ),
        (
            r#"{"multipleOf": 0}"#.to_owned(),
            "`multipleOf` must be above 0",
        ),
        (
            r#"{"$ref": "https://example.com/s.json"}"#.to_owned(),
            "nothing is fetched",
        ),
        (
            r#"{"$ref": "file:///etc/passwd"}"#.to_owned(),
            "nothing is fetched",
        ),
        (
            r##"{"$ref": "#/$defs/none"}"##.to_owned(),
            "leads to nothing",
        ),
        (r##"{"$ref": "#none"}"##.to_owned(), "names no anchor"),
        (r##"{"$ref": "#"}"##.to_owned(), "goes in circles"),
        (
            r##"{"anyOf": [{"not": {"$ref": "#"}}]}"##.to_owned(),
            "goes in circles",
        ),
        (doubling(40), "more than 5000 schemas"),
        (doubling(5_000), "more than"),
        (r#"{"pattern": "(?=a)b"}"#.to_owned(), "look-around"),
        (r#"{"pattern": "(a)\\1"}"#.to_owned(), "backreferences"),
        (
            r#"{"pattern": "((a{1000}){1000}){1000}"}"#.to_owned(),
            "is too large",
        ),
        (
            r#"{"$schema": "http://json-schema.org/draft-04/schema#"}"#.to_owned(),
            "is a dialect that is not known",
        ),
        (
            format!("{}{}", r#"{"not":"#.repeat(200), "}".repeat(200)),
            "nested deeper than 100",
        ),
        (
            format!(r#"{{"enum": [{}0]}}"#, "0,".repeat(60_000)),
            "more than 50000 values",
        ),
        (
            format!(r#"{{"const": "{}"}}"#, "x".repeat(600_000)),
            "more than 524288 bytes",
        ),
    ];
    for (schema, why) in cases {
        let error = compile(schema.as_bytes()).map(drop).expect_err(why);
        assert!(error.contains(why), "{why}: {error}");
    }
}

#[test]
fn patterns_are_those_of_ecma() {
    let cases = [
        (r"^\\d+$", "12", true),
        (r"^\\d+$", "\u{663}", false),
        (r"^\\w$", "é", false),
        (r"^[\\w-]+\\/[^\\s]$", "a-b/c", true),
        (r"^[[&&a]+$", "[&a", true),
        (r"^\\p{L}+$", "éß", true),
        (r"\\bcat\\b", "a cat.", true),
        (r"a\\cAb", "a\\u0001b", true),
        (r"^[^]$", "\\n", true),
        (r"[]", "a", false),
        (r"^.{2}$", "💥é", true),
        (r"^(\\p{L}| ){0,9}$", "Grüße au", true),
    ];
    for (pattern, text, fits) in cases {
        let schema = format!(r#"{{"pattern": "{pattern}"}}"#);
        let told = told(&schema, &format!("\"{text}\"")).expect(pattern);
        assert_eq!(told.is_empty(), fits, "{pattern} {text}: {told:?}");
    }
}

#[test]
fn a_tree_of_dynamic_references_is_as_strict_as_its_outermost() {
    let tree = r##"{"$id": "https://x/strict", "$dynamicAnchor": "node", "$ref": "tree", "unevaluatedProperties": false,
      "$defs": {"tree": {"$id": "https://x/tree", "$dynamicAnchor": "node", "type": "object",
        "properties": {"children": {"type": "array", "items": {"$dynamicRef": "#node"}}}}}}"##;
    assert_eq!(
        told(tree, r#"{"children": [{"children": []}]}"#),
        Ok(vec![])
    );
    let wrong = told(tree, r#"{"children": [{"daat": 1}]}"#).expect("a schema");
    assert_eq!(wrong, ["/children/0: Unexpected field: 'daat'"]);
}

#[test]
fn a_deep_value_costs_no_stack() {
    let schema = r##"{"$defs": {"n": {"properties": {"x": {"$ref": "#/$defs/n"}}, "additionalProperties": {"$ref": "#/$defs/n"}}}, "$ref": "#/$defs/n"}"##;
    let deep = |levels: usize| format!("{}1{}", r#"{"x":"#.repeat(levels), "}".repeat(levels));
    // As small as a thread of the runtime may be, and a debug build's frames are the largest.
    let small = std::thread::Builder::new().stack_size(1024 * 1024);
    let held = small.spawn(move || {
        let wide = Bounds {
            values: 1_000,
            depth: 250,
        };
        let fits = told(schema, &deep(60));
        let schema = compile(schema.as_bytes()).expect("a schema");
        let text = deep(240);
        let value = Value::read(text.as_bytes(), wide).expect("a value");
        (fits, check(&schema, &value))
    });
    let (fits, beyond) = held.expect("a thread").join().expect("no overflow");
    assert_eq!(fits, Ok(vec![]));
    assert_eq!(beyond, Verdict::TooCostly);
}
