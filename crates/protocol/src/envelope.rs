//! The JSON-RPC envelope, read in one pass over the bytes; payloads are located, not parsed.

use std::borrow::Cow;
use std::fmt;

use bytes::Bytes;
use serde::de::{IgnoredAny, MapAccess, Visitor};
use serde_json::value::RawValue;
use toolbus_model::json::{Cut, JsonError, Places, check_depth};
use toolbus_model::{Error, Object, Raw};

/// A request or notification.
#[derive(Debug, Clone)]
pub struct Envelope {
    /// The sender's id, in the sender's spelling; a notification has none.
    pub id: Option<Raw>,
    /// The method's name.
    pub method: String,
    /// `params`; `{}` where there are none.
    pub params: Object,
    /// `params._meta`; `{}` where there is none.
    pub meta: Object,
}

/// A response.
#[derive(Debug, Clone)]
pub struct Reply {
    /// The id of the request it answers; absent where the peer could not read it.
    pub id: Option<Raw>,
    /// The result, or the peer's error.
    pub result: Result<Object, Error>,
}

/// One JSON-RPC message.
#[derive(Debug, Clone)]
pub enum Message {
    /// A request or notification.
    Call(Envelope),
    /// A response.
    Reply(Reply),
}

/// Why bytes are not a message, and the id to answer with where one could be read.
#[derive(Debug, Clone, PartialEq)]
pub struct Refusal {
    /// What is wrong.
    pub error: Error,
    /// The request's id.
    pub id: Option<Raw>,
}

impl From<Error> for Refusal {
    fn from(error: Error) -> Self {
        Self { error, id: None }
    }
}

impl Message {
    /// Reads one message.
    pub fn parse(body: &Bytes) -> Result<Self, Refusal> {
        check_depth(body).map_err(not_json)?;
        let mut reader = serde_json::Deserializer::from_slice(body);
        let seen = serde::de::Deserializer::deserialize_map(&mut reader, Top { body })
            .and_then(|seen| reader.end().map(|()| seen))
            .map_err(|error| diagnose(body, error.into()))?;
        seen.into_message(body)
    }
}

/// The members of the envelope, as found.
#[derive(Default)]
struct Seen<'a> {
    jsonrpc: Option<&'a RawValue>,
    id: Option<&'a RawValue>,
    method: Option<&'a RawValue>,
    params: Option<Places>,
    result: Option<Places>,
    error: Option<&'a RawValue>,
}

struct Top<'s> {
    body: &'s Bytes,
}

impl<'de> Visitor<'de> for Top<'_> {
    type Value = Seen<'de>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a JSON-RPC message, which is an object")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Seen<'de>, A::Error> {
        let mut seen = Seen::default();
        while let Some(key) = map.next_key::<Cow<'de, str>>()? {
            let again = match key.as_ref() {
                "jsonrpc" => seen.jsonrpc.replace(map.next_value()?).is_some(),
                "id" => seen.id.replace(map.next_value()?).is_some(),
                "method" => seen.method.replace(map.next_value()?).is_some(),
                "params" => seen
                    .params
                    .replace(map.next_value_seed(Cut::of(self.body))?)
                    .is_some(),
                "result" => seen
                    .result
                    .replace(map.next_value_seed(Cut::of(self.body))?)
                    .is_some(),
                "error" => seen.error.replace(map.next_value()?).is_some(),
                _ => {
                    map.next_value::<IgnoredAny>()?;
                    false
                }
            };
            if again {
                return Err(serde::de::Error::custom(format!(
                    "member {key:?} stands twice"
                )));
            }
        }
        Ok(seen)
    }
}

impl Seen<'_> {
    fn into_message(self, body: &Bytes) -> Result<Message, Refusal> {
        let raw = |value: &RawValue| Raw::parse(body.slice_ref(value.get().as_bytes())).ok();
        let id = self.id.and_then(raw);
        let refuse = |why: &str| Refusal {
            error: Error::InvalidRequest(why.to_owned()),
            id: id.clone().filter(is_id),
        };
        if self.jsonrpc.map(RawValue::get) != Some("\"2.0\"") {
            return Err(refuse(
                "Invalid request: member \"jsonrpc\" must be \"2.0\"",
            ));
        }
        if let Some(method) = self.method {
            if id.as_ref().is_some_and(|id| !is_id(id)) {
                return Err(refuse(
                    "Invalid request: member \"id\" must be a string or an integer",
                ));
            }
            let Ok(method) = serde_json::from_str::<String>(method.get()) else {
                return Err(refuse(
                    "Invalid request: member \"method\" must be a string",
                ));
            };
            let params = self
                .params
                .map_or_else(Object::empty, |places| places.within(body));
            let meta = match params.object("_meta") {
                None => Object::empty(),
                Some(Ok(meta)) => meta,
                Some(Err(_)) => {
                    let error = Error::InvalidParams(
                        "Invalid params: \"_meta\" must be an object".to_owned(),
                    );
                    return Err(Refusal { error, id });
                }
            };
            return Ok(Message::Call(Envelope {
                id,
                method,
                params,
                meta,
            }));
        }
        let result = match (self.result, self.error) {
            (Some(result), None) => Ok(result.within(body)),
            (None, Some(error)) => Err(upstream_error(error.get())),
            _ => return Err(refuse("Invalid request: member \"method\" is missing")),
        };
        Ok(Message::Reply(Reply {
            id: id.filter(is_id),
            result,
        }))
    }
}

/// An id is a string or an integer; `1.0` is an integer in JSON's eyes.
fn is_id(id: &Raw) -> bool {
    let text = id.bytes();
    let (digits, fraction) = match text.iter().position(|byte| *byte == b'.') {
        Some(dot) => (&text[..dot], &text[dot + 1..]),
        None => (text, &b"0"[..]),
    };
    let digits = digits.strip_prefix(b"-").unwrap_or(digits);
    text.first() == Some(&b'"')
        || (!digits.is_empty()
            && digits.iter().all(u8::is_ascii_digit)
            && fraction.iter().all(|byte| *byte == b'0'))
}

fn upstream_error(text: &str) -> Error {
    #[derive(serde::Deserialize)]
    struct Wire<'a> {
        code: i64,
        #[serde(default)]
        message: String,
        #[serde(borrow)]
        data: Option<&'a RawValue>,
    }
    match serde_json::from_str::<Wire<'_>>(text) {
        Ok(wire) => Error::Upstream {
            code: wire.code,
            message: wire.message,
            data: wire
                .data
                .and_then(|data| Raw::parse(Bytes::copy_from_slice(data.get().as_bytes())).ok()),
        },
        Err(_) => Error::Upstream {
            code: -32603,
            message: format!("The server's error is not a JSON-RPC error: {text:.200}"),
            data: None,
        },
    }
}

fn not_json(error: JsonError) -> Refusal {
    Error::Parse(format!("Parse error: {error}")).into()
}

/// The fast reading failed. Reads once more, slowly, to say what is wrong and to whom to answer.
fn diagnose(body: &Bytes, error: JsonError) -> Refusal {
    let JsonError::Shape(why) = &error else {
        return not_json(error);
    };
    if body.iter().find(|byte| !byte.is_ascii_whitespace()) == Some(&b'[') {
        let why =
            "Invalid request: batches are not part of this revision; send one message at a time";
        return Error::InvalidRequest(why.to_owned()).into();
    }
    let top = match Object::parse(body.clone()) {
        Ok(top) => top,
        Err(JsonError::Shape(_)) => {
            return Error::InvalidRequest(
                "Invalid request: a message must be an object".to_owned(),
            )
            .into();
        }
        Err(syntax) => return not_json(syntax),
    };
    let id = top.raw("id").filter(is_id);
    let error = match top.duplicate(&["jsonrpc", "id", "method", "params", "result", "error"]) {
        Some(name) => {
            Error::InvalidRequest(format!("Invalid request: member {name:?} stands twice"))
        }
        None if top
            .get("params")
            .is_some_and(|params| params.first() != Some(&b'{')) =>
        {
            Error::InvalidParams("Invalid params: member \"params\" must be an object".to_owned())
        }
        None => Error::InvalidRequest(format!("Invalid request: {why}")),
    };
    Refusal { error, id }
}

#[cfg(test)]
mod tests;
