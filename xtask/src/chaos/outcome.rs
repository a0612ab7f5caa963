//! What became of one call, as its caller sees it.

use serde_json::Value;

use crate::soak::client::Answer;

/// Nobody had it, and nothing ran.
pub(super) const UNAVAILABLE: i64 = -31001;
/// It may have run.
pub(super) const UNKNOWN: i64 = -31003;
/// There was no room, and nothing ran.
pub(super) const BUSY: i64 = -31004;

#[derive(Clone, Debug, PartialEq)]
pub(super) enum Outcome {
    /// The result that belongs to it.
    Ok,
    /// An error, and whether it names its call.
    Error {
        code: i64,
        names_call: bool,
        message: String,
    },
    /// Anything but one response: none, two, another call's, or no JSON-RPC.
    None(String),
}

impl Outcome {
    /// Reads an answer to the request of this id, which was to execute `unique`.
    pub(super) fn of(answer: &Answer, id: u64, unique: &str) -> Self {
        let responses = responses(answer);
        let [response] = responses.as_slice() else {
            let (status, count) = (answer.head.status, responses.len());
            return Self::None(format!("HTTP {status} with {count} responses"));
        };
        if response["id"] != id {
            return Self::None(format!("a response to {}", response["id"]));
        }
        let error = &response["error"];
        if let Some(code) = error["code"].as_i64() {
            let call = error["data"]["callId"].as_str().unwrap_or_default();
            return Self::Error {
                code,
                names_call: call.len() == 36,
                message: error["message"].as_str().unwrap_or_default().to_owned(),
            };
        }
        match response["result"]["content"][0]["text"].as_str() {
            Some(text) if text == unique => Self::Ok,
            _ => Self::None(format!("another result: {response}")),
        }
    }
}

/// Every response in it: a body of JSON is one, a stream of events holds any number beside its notices.
fn responses(answer: &Answer) -> Vec<Value> {
    let kind = answer.head.header("content-type").unwrap_or_default();
    if !kind.starts_with("text/event-stream") {
        return vec![answer.json()];
    }
    let text = String::from_utf8_lossy(&answer.body);
    let data = text.lines().filter_map(|line| line.strip_prefix("data:"));
    let messages = data.filter_map(|data| serde_json::from_str::<Value>(data).ok());
    messages
        .filter(|message| message["method"].is_null())
        .collect()
}
