//! Exchanges in which nothing of a payload is parsed: what was sent and what arrived can be compared byte by byte.

use std::collections::BTreeMap;
use std::time::Instant;

use serde::Deserialize;
use serde_json::value::RawValue;

use super::wire::Arrival;
use super::{Client, PATIENCE};

/// A message, cut along its outermost members.
#[derive(Debug, Deserialize)]
pub struct Cut {
    pub id: Option<Box<RawValue>>,
    pub method: Option<String>,
    pub params: Option<Box<RawValue>>,
    pub result: Option<Box<RawValue>>,
    pub error: Option<Box<RawValue>>,
}

/// Everything that came of one request.
#[derive(Debug, Default)]
pub struct Exchange {
    /// The params of notifications and of questions, by method.
    pub heard: Vec<(String, String)>,
    pub result: Option<String>,
    pub error: Option<String>,
}

/// The members of an object in their order, each as the text that it stands in.
#[derive(Clone, Debug, Default)]
pub struct Members(pub Vec<(String, String)>);

impl Members {
    pub fn of(object: &str) -> Result<Self, String> {
        // The keys as they are written: a map would not tell "a" from "\u0061".
        let map: Ordered = serde_json::from_str(object)
            .map_err(|error| format!("no object: {error}: {object}"))?;
        Ok(Self(map.0))
    }

    pub fn get(&self, key: &str) -> Option<&str> {
        let found = self.0.iter().find(|(known, _)| known == key);
        found.map(|(_, value)| value.as_str())
    }

    pub fn without(mut self, keys: &[&str]) -> Self {
        self.0.retain(|(key, _)| !keys.contains(&key.as_str()));
        self
    }
}

struct Ordered(Vec<(String, String)>);

impl<'de> Deserialize<'de> for Ordered {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Visitor;
        impl<'de> serde::de::Visitor<'de> for Visitor {
            type Value = Ordered;

            fn expecting(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                out.write_str("an object")
            }

            fn visit_map<A: serde::de::MapAccess<'de>>(
                self,
                mut map: A,
            ) -> Result<Ordered, A::Error> {
                let mut members = Vec::new();
                while let Some((key, value)) = map.next_entry::<String, Box<RawValue>>()? {
                    members.push((key, value.get().to_owned()));
                }
                Ok(Ordered(members))
            }
        }
        deserializer.deserialize_map(Visitor)
    }
}

impl Client {
    /// Sends a request with these members of `params`, and these of its `_meta`; a question on the way gets this answer.
    pub fn exchange(
        &mut self,
        method: &str,
        params: &[(&str, &str)],
        meta: &[(&str, &str)],
        answer: &str,
    ) -> Result<Exchange, String> {
        let id = (self.last + 1).to_string();
        self.exchange_as(&id, method, params, meta, answer)
    }

    /// [`Client::exchange`] under an id that is this text.
    pub fn exchange_as(
        &mut self,
        id: &str,
        method: &str,
        params: &[(&str, &str)],
        meta: &[(&str, &str)],
        answer: &str,
    ) -> Result<Exchange, String> {
        self.last += 1;
        let text = self.text(id, method, params, meta);
        self.wire.request(self.last, &text)?;
        let until = Instant::now() + PATIENCE;
        let mut exchange = Exchange::default();
        loop {
            let left = until.saturating_duration_since(Instant::now());
            let message = match self.arrivals.recv_timeout(left) {
                Ok(Arrival::Message(_, text)) => text,
                Ok(Arrival::Trouble(trouble)) => return Err(trouble),
                Ok(Arrival::Ended(..)) => continue,
                Err(_) => return Err(format!("{method} was not answered")),
            };
            let cut: Cut = serde_json::from_str(&message)
                .map_err(|error| format!("no message: {error}: {message}"))?;
            let params = cut
                .params
                .map_or_else(String::new, |params| params.get().to_owned());
            match (cut.method, cut.id) {
                (Some(method), None) => exchange.heard.push((method, params)),
                (Some(method), Some(id)) => {
                    exchange.heard.push((method, params));
                    let text = format!(r#"{{"jsonrpc":"2.0","id":{id},"result":{answer}}}"#);
                    self.wire.tell(&text)?;
                }
                (None, Some(known)) if known.get() == id => {
                    exchange.result = cut.result.map(|result| result.get().to_owned());
                    exchange.error = cut.error.map(|error| error.get().to_owned());
                    return Ok(exchange);
                }
                (None, _) => return Err(format!("an answer to nothing: {message}")),
            }
        }
    }

    fn text(
        &self,
        id: &str,
        method: &str,
        params: &[(&str, &str)],
        meta: &[(&str, &str)],
    ) -> String {
        let mut meta: Vec<(&str, String)> = meta
            .iter()
            .map(|(key, value)| (*key, (*value).to_owned()))
            .collect();
        if self.revision.is_modern() {
            let version = format!("{:?}", self.revision.name());
            meta.push(("io.modelcontextprotocol/protocolVersion", version));
            let capabilities = self.capabilities.to_string();
            meta.push(("io.modelcontextprotocol/clientCapabilities", capabilities));
            meta.extend(self.log_level.map(|level| {
                let level = format!("{level:?}");
                ("io.modelcontextprotocol/logLevel", level)
            }));
        }
        let mut members: Vec<String> = params
            .iter()
            .map(|(key, value)| format!("{key:?}:{value}"))
            .collect();
        if !meta.is_empty() {
            let meta: Vec<_> = meta
                .iter()
                .map(|(key, value)| format!("{key:?}:{value}"))
                .collect();
            members.push(format!(r#""_meta":{{{}}}"#, meta.join(",")));
        }
        let params = members.join(",");
        format!(r#"{{"jsonrpc":"2.0","id":{id},"method":{method:?},"params":{{{params}}}}}"#)
    }
}

/// The texts of an object by their keys, of which the last counts.
pub fn by_key(object: &str) -> BTreeMap<String, String> {
    let members: BTreeMap<String, Box<RawValue>> = serde_json::from_str(object).unwrap_or_default();
    let texts = members.into_iter();
    texts
        .map(|(key, value)| (key, value.get().to_owned()))
        .collect()
}
