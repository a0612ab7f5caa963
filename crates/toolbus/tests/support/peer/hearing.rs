//! How a client takes what arrives: each message is judged, questions are answered, answers find their requests.

use std::time::{Duration, Instant};

use serde_json::{Map, Value, json};

use super::shape::{self, Kind};
use super::wire::{Arrival, Origin};
use super::{Answer, Client};

impl Client {
    /// Takes the next thing that arrives.
    pub(super) fn pump(&mut self, until: Instant) -> Result<(), String> {
        let left = until.saturating_duration_since(Instant::now());
        match self.arrivals.recv_timeout(left) {
            Ok(Arrival::Message(origin, text)) => self.take(origin, text),
            Ok(Arrival::Trouble(trouble)) => Err(trouble),
            Ok(Arrival::Ended(origin, place)) => self.ended(origin, place),
            Err(_) => Err("nothing came".to_owned()),
        }
    }

    /// The end of a stream before its answer is a fault, unless the revision can take it up again.
    fn ended(&mut self, origin: Origin, place: Option<(String, Duration)>) -> Result<(), String> {
        match (origin, place) {
            (Origin::Call(id), _) if !self.running.contains_key(&id) => Ok(()),
            (Origin::Call(_), Some((last, pause))) if self.revision.has_priming() => {
                self.resumed += 1;
                self.wire.resume(origin, last, pause);
                Ok(())
            }
            (Origin::Call(id), _) => Err(format!(
                "the stream of request {id} ended without its answer"
            )),
            (Origin::Standalone | Origin::Shared, _) => {
                Err("the gateway closed the channel".to_owned())
            }
        }
    }

    pub(super) fn take(&mut self, origin: Origin, text: String) -> Result<(), String> {
        let message: Value =
            serde_json::from_str(&text).map_err(|error| format!("no JSON: {error}: {text}"))?;
        match shape::envelope(&message)? {
            Kind::Request { id, method, params } => self.question(origin, id, &method, params),
            Kind::Notice { method, params } => self.noted(origin, method, params),
            Kind::Answer { id, result } => self.answered(origin, &id, result, text),
        }
    }

    fn answered(
        &mut self,
        origin: Origin,
        id: &Value,
        outcome: Result<Value, Value>,
        text: String,
    ) -> Result<(), String> {
        let number = id.as_u64().filter(|id| self.running.contains_key(id));
        let number =
            number.ok_or_else(|| format!("an answer to nothing that was asked: {text}"))?;
        if !matches!(origin, Origin::Shared) && origin != Origin::Call(number) {
            return Err(format!("the answer to {number} came on {origin:?}"));
        }
        let running = self.running.remove(&number).expect("it is there");
        if let Ok(result) = &outcome {
            shape::result(self.revision, &self.capabilities, &running.method, result)?;
        }
        self.answers.insert(number, Answer { outcome, text });
        Ok(())
    }

    /// A request of the gateway's: it belongs to a call that runs, and gets an answer at once.
    fn question(
        &mut self,
        origin: Origin,
        id: Value,
        method: &str,
        params: Value,
    ) -> Result<(), String> {
        if self.revision.is_modern() {
            return Err(format!("a request to a client of 2026-07-28: {method}"));
        }
        let belongs = match origin {
            Origin::Call(number) => self.running.contains_key(&number),
            Origin::Shared => !self.running.is_empty(),
            Origin::Standalone => method == "ping",
        };
        if !belongs {
            return Err(format!("{method} came on {origin:?}, where no call runs"));
        }
        if !self.question_ids.insert(id.to_string()) {
            return Err(format!("the id {id} was used before"));
        }
        shape::question(self.revision, &self.capabilities, method, &params)?;
        let result = self.say(method, params);
        let answer = match self.refusal {
            Some(message) => {
                let error = json!({ "code": -1, "message": message });
                json!({ "jsonrpc": "2.0", "id": id, "error": error })
            }
            None => json!({ "jsonrpc": "2.0", "id": id, "result": result }),
        };
        self.wire.tell(&answer.to_string())
    }

    pub(super) fn responses(&mut self, requests: &Value) -> Value {
        let requests = requests.as_object().into_iter().flatten();
        let answers = requests.map(|(key, request)| {
            let method = request["method"].as_str().unwrap_or_default();
            (key.clone(), self.say(method, request["params"].clone()))
        });
        Value::Object(answers.collect())
    }

    /// The answer to a question, which is remembered.
    fn say(&mut self, method: &str, params: Value) -> Value {
        let answer = match method {
            "ping" => json!({}),
            "roots/list" => json!({ "roots": [{ "uri": "file:///work", "name": "work" }] }),
            "sampling/createMessage" => json!({
                "role": "assistant", "model": "none", "stopReason": "endTurn",
                "content": { "type": "text", "text": "Paris" },
            }),
            _ if self.action != "accept" => json!({ "action": self.action }),
            _ if params["mode"] == "url" => json!({ "action": "accept" }),
            _ => json!({ "action": "accept", "content": filled(&params["requestedSchema"]) }),
        };
        self.asked.push((method.to_owned(), params));
        answer
    }

    fn noted(&mut self, origin: Origin, method: String, params: Value) -> Result<(), String> {
        let listening = match origin {
            Origin::Call(id) => self.listens(id).then_some(id),
            Origin::Shared => params["_meta"]["io.modelcontextprotocol/subscriptionId"]
                .as_u64()
                .filter(|id| self.listens(*id)),
            Origin::Standalone => None,
        };
        shape::notice(self.revision, &method, &params, listening)?;
        if method == "notifications/progress" {
            self.progressed(&params)?;
        }
        self.notices.push((method, params));
        Ok(())
    }

    fn listens(&self, id: u64) -> bool {
        let running = self.running.get(&id);
        running.is_some_and(|running| running.method == "subscriptions/listen")
    }

    /// Progress is of a request that runs, under its own token, and goes up.
    fn progressed(&mut self, params: &Value) -> Result<(), String> {
        let token = &params["progressToken"];
        let mut running = self.running.values_mut();
        let owner = running.find(|running| running.token.as_ref() == Some(token));
        let owner = owner.ok_or_else(|| format!("progress of nothing that runs: {params}"))?;
        let progress = params["progress"].as_f64().unwrap_or_default();
        if owner.progress.is_some_and(|before| progress <= before) {
            return Err(format!("progress does not go up: {params}"));
        }
        owner.progress = Some(progress);
        Ok(())
    }
}

/// A form filled in with its defaults, and with something of the right type where there is none.
fn filled(schema: &Value) -> Value {
    let properties = schema["properties"].as_object().into_iter().flatten();
    let filled = properties.map(|(name, property)| {
        let value = match (property.get("default"), property["type"].as_str()) {
            (Some(default), _) => default.clone(),
            (None, Some("boolean")) => json!(true),
            (None, Some("integer" | "number")) => json!(1),
            (None, _) => json!(format!("my {name}")),
        };
        (name.clone(), value)
    });
    Value::Object(filled.collect::<Map<_, _>>())
}
