//! The JSON-RPC envelope, read in one pass over the bytes; payloads are located, not parsed.

use std::borrow::Cow;
use std::ops::Range;

use bytes::Bytes;
use toolbus_model::json::{Cut, JsonError, Reader, unescape};
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
        let mut seen = Seen::default();
        let mut reader = Reader::new(body).map_err(not_json)?;
        let read = reader
            .members(|reader, key| seen.member(body, reader, key))
            .and_then(|_| reader.end());
        read.map_err(|error| diagnose(body, error))?;
        seen.into_message(body)
    }
}

/// Messages of one batch: what 2025-03-26 allows without a bound.
const MAX_BATCH: usize = 1_000;

/// The messages of a batch, uncut; none where `body` is no array.
pub fn batch(body: &Bytes) -> Option<Result<Vec<Bytes>, Error>> {
    if body.iter().find(|byte| !byte.is_ascii_whitespace()) != Some(&b'[') {
        return None;
    }
    let raw = match Raw::parse(body.clone()) {
        Ok(raw) => raw,
        Err(error) => return Some(Err(not_json(error).error)),
    };
    let invalid = |why: &str| Error::InvalidRequest(format!("Invalid request: {why}"));
    let messages: Vec<&serde_json::value::RawValue> = match raw.read() {
        Ok(messages) => messages,
        Err(error) => return Some(Err(Error::Parse(format!("Parse error: {error}")))),
    };
    Some(match messages.len() {
        0 => Err(invalid("a batch must not be empty")),
        count if count > MAX_BATCH => Err(invalid(&format!(
            "a batch has at most {MAX_BATCH} messages"
        ))),
        _ => Ok(messages
            .into_iter()
            .map(|message| Bytes::copy_from_slice(message.get().as_bytes()))
            .collect()),
    })
}

/// The members of the envelope, as found.
#[derive(Default)]
struct Seen {
    jsonrpc: Option<Raw>,
    id: Option<Raw>,
    method: Option<Raw>,
    params: Option<Cut>,
    result: Option<Cut>,
    error: Option<Raw>,
}

impl Seen {
    fn member(
        &mut self,
        body: &Bytes,
        reader: &mut Reader<'_>,
        key: Range<usize>,
    ) -> Result<(), JsonError> {
        let key = unescape(&body[key]).unwrap_or_default();
        let again = match key.as_ref() {
            // Objects within the envelope are cut in the same pass.
            "params" => self.params.replace(reader.object()?).is_some(),
            "result" => self.result.replace(reader.object()?).is_some(),
            name => {
                let value = Raw::checked(body.slice(reader.value()?));
                match name {
                    "jsonrpc" => self.jsonrpc.replace(value).is_some(),
                    "id" => self.id.replace(value).is_some(),
                    "method" => self.method.replace(value).is_some(),
                    "error" => self.error.replace(value).is_some(),
                    _ => false,
                }
            }
        };
        if again {
            Err(JsonError::Shape(format!("member {key:?} stands twice")))
        } else {
            Ok(())
        }
    }

    fn into_message(self, body: &Bytes) -> Result<Message, Refusal> {
        let id = self.id;
        let refuse = |why: &str| Refusal {
            error: Error::InvalidRequest(why.to_owned()),
            id: id.clone().filter(is_id),
        };
        if self.jsonrpc.as_ref().and_then(Raw::as_str).as_deref() != Some("2.0") {
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
            let Some(method) = method.as_str().map(Cow::into_owned) else {
                return Err(refuse(
                    "Invalid request: member \"method\" must be a string",
                ));
            };
            let params = self.params.map_or_else(Object::empty, |cut| cut.of(body));
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
            (Some(result), None) => Ok(result.of(body)),
            (None, Some(error)) => Err(upstream_error(&error)),
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

fn upstream_error(error: &Raw) -> Error {
    let fields = Object::from_raw(error).ok();
    let read = fields.as_ref().and_then(|fields| {
        let message = fields.str("message").unwrap_or_default().into_owned();
        Some(Error::Upstream {
            code: fields.raw("code")?.read().ok()?,
            message,
            data: fields.raw("data"),
        })
    });
    read.unwrap_or_else(|| {
        let message = format!(
            "The server's error is not a JSON-RPC error: {:.200}",
            format!("{error:?}")
        );
        Error::Upstream {
            code: -32603,
            message,
            data: None,
        }
    })
}

fn not_json(error: JsonError) -> Refusal {
    Error::Parse(format!("Parse error: {error}")).into()
}

/// The fast reading failed. Reads once more, slowly, to say what is wrong and to whom to answer.
fn diagnose(body: &Bytes, error: JsonError) -> Refusal {
    let JsonError::Shape(why) = &error else {
        return not_json(error);
    };
    // The first thing that was wrong is not the worst: what follows may not even be JSON.
    if let Err(worse) = Raw::parse(body.clone()) {
        return not_json(worse);
    }
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
