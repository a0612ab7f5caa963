//! What is asked in each role, and what is expected: read from `transcripts.json`, played by a client.

use std::path::PathBuf;

use serde_json::{Value, json};
use sha2::{Digest as _, Sha256};

use crate::peer::Client;
use crate::support;

/// Texts longer than this are told by their length and digest.
const LONG: usize = 1024;

/// One call: what it is to show, what is asked, and what is to be seen.
pub(crate) struct Step {
    pub(crate) name: String,
    tool: String,
    arguments: Value,
    pub(crate) expected: Seen,
}

/// What a client saw of one call.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Seen {
    /// `result` or `error`, without what differs from call to call.
    pub(crate) answer: Value,
    /// The progress that was told, in its order.
    pub(crate) progress: Value,
    /// What the person was asked.
    pub(crate) questions: Value,
}

impl Seen {
    pub(crate) fn of(value: &Value) -> Self {
        let list = |key: &str| value.get(key).cloned().unwrap_or_else(|| json!([]));
        Self {
            answer: value["answer"].clone(),
            progress: list("progress"),
            questions: list("questions"),
        }
    }
}

impl Step {
    fn of(value: &Value) -> Self {
        let text = |key: &str| value[key].as_str().unwrap_or_default().to_owned();
        Self {
            name: text("step"),
            tool: text("tool"),
            arguments: value["arguments"].clone(),
            expected: Seen::of(value),
        }
    }

    /// Asks as a client that can be asked itself, and wants to hear of progress.
    pub(crate) fn play(&self, client: &mut Client) -> Seen {
        let params = json!({
            "name": self.tool, "arguments": self.arguments, "_meta": { "progressToken": self.name },
        });
        let outcome = client.ask("tools/call", params);
        let outcome = outcome.unwrap_or_else(|error| panic!("{}: {error}", self.name));
        let progress = client.noticed("notifications/progress");
        let questions = client.questions();
        Seen {
            answer: match outcome {
                Ok(result) => json!({ "result": plain(result, &["resultType", "_meta"]) }),
                Err(error) => json!({ "error": failure(error) }),
            },
            progress: progress
                .into_iter()
                .map(|params| plain(params, &["progressToken", "_meta"]))
                .collect(),
            // 2025-11-25 may leave the mode out, where it is a form.
            questions: questions
                .into_iter()
                .map(|(method, params)| json!({ method: plain(params, &["mode", "_meta"]) }))
                .collect(),
        }
    }

    pub(crate) fn with(self, expected: Seen) -> Self {
        Self { expected, ..self }
    }

    pub(crate) fn written(&self) -> Value {
        let mut step = json!({ "step": self.name, "tool": self.tool, "arguments": self.arguments });
        let Seen {
            answer,
            progress,
            questions,
        } = &self.expected;
        for (key, value) in [("progress", progress), ("questions", questions)] {
            if *value != json!([]) {
                step[key] = value.clone();
            }
        }
        step["answer"] = answer.clone();
        step
    }
}

/// An error without what is of one call, and without the command, exit status and last words of a process, which are
/// of one machine.
fn failure(mut error: Value) -> Value {
    if let Some(data) = error["data"].as_object_mut() {
        data.remove("callId");
        data.remove("cause");
    }
    let mut message = error["message"].as_str().unwrap_or_default();
    for detail in [";", ": client error"] {
        message = message.split(detail).next().unwrap_or_default();
    }
    error["message"] = message.to_owned().into();
    error
}

fn plain(mut value: Value, without: &[&str]) -> Value {
    if let Some(members) = value.as_object_mut() {
        members.retain(|key, _| !without.contains(&key.as_str()));
    }
    shorten(&mut value);
    value
}

fn shorten(value: &mut Value) {
    match value {
        Value::String(text) if text.len() > LONG => {
            let digest = Sha256::digest(text.as_bytes());
            let digest: String = digest.iter().map(|byte| format!("{byte:02x}")).collect();
            *text = format!("{} bytes, SHA-256 {digest}", text.len());
        }
        Value::String(text) => {
            *text = text.replace(&*support::text(&support::workspace("")), "{checkout}/");
        }
        Value::Array(items) => items.iter_mut().for_each(shorten),
        Value::Object(members) => members.values_mut().for_each(shorten),
        _ => {}
    }
}

fn path() -> PathBuf {
    support::workspace("crates/toolbus/tests/roles/transcripts.json")
}

fn read() -> Value {
    let text = std::fs::read_to_string(path()).expect("the transcripts");
    serde_json::from_str(&text).expect("JSON")
}

pub(crate) fn steps() -> Vec<Step> {
    let steps = read()["steps"].clone();
    let steps = steps.as_array().expect("a list").iter();
    steps.map(Step::of).collect()
}

/// The tools, as `tools/list` has them.
pub(crate) fn definitions() -> Value {
    read()["tools"].clone()
}

pub(crate) fn write(tools: &Value, steps: &[Value]) {
    let lines = |items: &[Value]| {
        let lines: Vec<String> = items.iter().map(|item| format!("    {item}")).collect();
        lines.join(",\n")
    };
    let tools = tools.as_array().expect("a list");
    let text = format!(
        "{{\n  \"tools\": [\n{}\n  ],\n  \"steps\": [\n{}\n  ]\n}}\n",
        lines(tools),
        lines(steps)
    );
    std::fs::write(path(), text).expect("written");
}
