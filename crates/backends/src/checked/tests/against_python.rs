//! The same schemas and values, given to the `jsonschema` of Python: both must say the same.

use std::io::Write;
use std::path::Path;
use std::process::{Command, Stdio};

use serde_json::{Value as Json, json};

use super::super::run::Verdict;
use super::{BOUNDS, Value, check, compile};

/// How many pairs are compared.
const PAIRS: usize = 4_000;

/// Reads lines of `[schema, value]`, and writes one letter for each.
const JUDGE: &str = "
import json, sys
from jsonschema import Draft202012Validator, Draft7Validator
for line in sys.stdin:
    schema, value = json.loads(line)
    kind = Draft7Validator if '$schema' in schema else Draft202012Validator
    sys.stdout.write('y' if kind(schema).is_valid(value) else 'n')
";

/// Numbers that are the same in every run.
struct Chance(u64);

impl Chance {
    fn below(&mut self, limit: usize) -> usize {
        self.0 = self
            .0
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1);
        usize::try_from(self.0 >> 33).unwrap_or(0) % limit
    }

    fn of<T: Clone>(&mut self, all: &[T]) -> T {
        all[self.below(all.len())].clone()
    }

    fn value(&mut self, depth: usize) -> Json {
        let kinds = if depth == 0 { 5 } else { 8 };
        match self.below(kinds) {
            0 => Json::Null,
            1 => json!(self.below(2) == 0),
            2 => json!(self.below(7)),
            3 => self.of(&[json!(1.0), json!(2.5), json!(-3), json!(1000.0), json!(0.5)]),
            4 => json!(self.of(&["", "a", "ab", "abc", "12", "ü"])),
            5 => {
                let count = self.below(4);
                (0..count).map(|_| self.value(depth - 1)).collect()
            }
            _ => {
                let count = self.below(4);
                let member = |_| (self.of(&NAMES).to_owned(), self.value(depth - 1));
                Json::Object((0..count).map(member).collect())
            }
        }
    }

    fn schema(&mut self, depth: usize) -> Json {
        let mut schema = serde_json::Map::new();
        for _ in 0..1 + self.below(3) {
            let (name, value) = self.keyword(depth);
            schema.insert(name.to_owned(), value);
        }
        Json::Object(schema)
    }

    fn schemas(&mut self, depth: usize) -> Json {
        (0..1 + self.below(3)).map(|_| self.schema(depth)).collect()
    }

    fn table(&mut self, names: &[&str], depth: usize) -> Json {
        let member = |_| (self.of(names).to_owned(), self.schema(depth));
        Json::Object((0..2).map(member).collect())
    }

    fn keyword(&mut self, depth: usize) -> (&'static str, Json) {
        let flat = self.below(if depth == 0 { 14 } else { 34 });
        let below = depth.saturating_sub(1);
        match flat {
            0 | 1 => ("type", json!(self.of(&TYPES))),
            2 => ("type", json!([self.of(&TYPES), "null"])),
            3 => ("enum", (0..3).map(|_| self.value(1)).collect()),
            4 => ("const", self.value(1)),
            5 => ("minimum", json!(self.below(5))),
            6 => ("exclusiveMaximum", json!(self.below(5))),
            7 => ("multipleOf", self.of(&[json!(2), json!(0.5), json!(1.5)])),
            8 => ("minLength", json!(self.below(4))),
            9 => (
                "pattern",
                json!(self.of(&["^a", "b$", "^[a-c]+$", "\\d", "^$"])),
            ),
            10 => ("required", json!([self.of(&NAMES)])),
            11 => ("maxItems", json!(self.below(3))),
            12 => ("uniqueItems", json!(true)),
            13 => ("minProperties", json!(self.below(3))),
            14..=17 => ("properties", self.table(&NAMES, below)),
            18 => ("patternProperties", self.table(&["^a", "b"], below)),
            19 => ("additionalProperties", json!(false)),
            20 => ("additionalProperties", self.schema(below)),
            21 => ("items", self.schema(below)),
            22 => ("contains", self.schema(below)),
            23 => ("propertyNames", self.schema(0)),
            24 => ("allOf", self.schemas(below)),
            25 | 26 => ("anyOf", self.schemas(below)),
            27 => ("oneOf", self.schemas(below)),
            28 => ("not", self.schema(below)),
            29 => ("if", self.schema(below)),
            30 => ("then", self.schema(below)),
            31 => ("else", self.schema(below)),
            32 => ("$ref", json!(self.of(&["#/$defs/x", "#/$defs/y"]))),
            _ => self.younger(below),
        }
    }

    /// Keywords that only the newer dialect has; the older one passes over them.
    fn younger(&mut self, below: usize) -> (&'static str, Json) {
        match self.below(5) {
            0 => ("prefixItems", self.schemas(below)),
            1 => ("unevaluatedProperties", json!(false)),
            2 => ("unevaluatedItems", json!(false)),
            3 => ("dependentSchemas", self.table(&NAMES, below)),
            _ => ("dependentRequired", json!({"a": ["b"]})),
        }
    }

    fn pair(&mut self) -> (Json, Json) {
        let mut schema = self.schema(3);
        let defs = json!({"x": self.schema(0), "y": self.schema(0)});
        schema["$defs"] = defs;
        if self.below(4) == 0 {
            schema["$schema"] = json!("http://json-schema.org/draft-07/schema#");
        }
        (schema, self.value(3))
    }
}

const NAMES: [&str; 4] = ["a", "b", "ab", "c"];
const TYPES: [&str; 7] = [
    "null", "boolean", "object", "array", "number", "string", "integer",
];

#[test]
fn both_say_the_same() {
    let python = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../.venv/bin/python");
    if !python.exists() {
        let _ = writeln!(std::io::stderr(), "skipped: no .venv with jsonschema");
        return;
    }
    let mut chance = Chance(20_261_120);
    let pairs: Vec<(Json, Json)> = (0..PAIRS).map(|_| chance.pair()).collect();
    let mut judge = Command::new(python)
        .args(["-c", JUDGE])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .expect("Python starts");
    let mut input = judge.stdin.take().expect("a pipe");
    for pair in &pairs {
        writeln!(input, "{}", json!(pair)).expect("Python reads");
    }
    drop(input);
    let output = judge.wait_with_output().expect("an answer");
    assert!(output.status.success(), "Python failed");
    assert_eq!(output.stdout.len(), PAIRS);
    let mut fitting = 0;
    for ((schema, value), theirs) in pairs.iter().zip(output.stdout) {
        let read = compile(schema.to_string().as_bytes()).expect("a schema");
        let text = value.to_string();
        let own = check(
            &read,
            &Value::read(text.as_bytes(), BOUNDS).expect("a value"),
        );
        assert_eq!(
            own == Verdict::Fits,
            theirs == b'y',
            "{schema} {value}: {own:?}"
        );
        fitting += usize::from(theirs == b'y');
    }
    assert!(
        (PAIRS / 10..PAIRS * 9 / 10).contains(&fitting),
        "{fitting} fit: hardly a test"
    );
}
