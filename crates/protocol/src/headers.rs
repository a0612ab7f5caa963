//! The routing headers of 2026-07-28 (SEP-2243): what they must say about the body, and how values are encoded.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use http::{HeaderMap, HeaderValue};
use toolbus_model::{Error, Method};

use crate::Envelope;

/// The revision, on every POST.
pub const VERSION: &str = "mcp-protocol-version";
/// The method.
pub const METHOD: &str = "mcp-method";
/// What the request is for.
pub const NAME: &str = "mcp-name";
/// A legacy session's id.
pub const SESSION: &str = "mcp-session-id";

const PREFIX: &str = "=?base64?";
const SUFFIX: &str = "?=";

/// Checks the headers of a modern request against its body.
pub fn check_routing(headers: &HeaderMap, envelope: &Envelope, version: &str) -> Result<(), Error> {
    must_equal(headers, VERSION, version)?;
    must_equal(headers, METHOD, &envelope.method)?;
    let member = match Method::parse(&envelope.method) {
        Method::Other(name) if matches!(&*name, "tasks/get" | "tasks/update" | "tasks/cancel") => {
            Some("taskId")
        }
        method => method.target_member(),
    };
    match member.and_then(|member| envelope.params.str(member)) {
        Some(target) => must_equal(headers, NAME, &target),
        None => Ok(()),
    }
}

fn must_equal(headers: &HeaderMap, name: &str, expected: &str) -> Result<(), Error> {
    let value = single(headers, name)?.ok_or_else(|| {
        Error::HeaderMismatch(format!("Header mismatch: header {name} is missing"))
    })?;
    let value = if name == NAME { decode(&value)? } else { value };
    if value == expected {
        return Ok(());
    }
    Err(Error::HeaderMismatch(format!(
        "Header mismatch: header {name} says {value:?}, the body says {expected:?}"
    )))
}

/// The one value of a header, without surrounding white space.
pub fn single(headers: &HeaderMap, name: &str) -> Result<Option<String>, Error> {
    let mut values = headers.get_all(name).iter();
    let Some(value) = values.next() else {
        return Ok(None);
    };
    if values.next().is_some() {
        return Err(Error::HeaderMismatch(format!(
            "Header mismatch: header {name} stands more than once"
        )));
    }
    match std::str::from_utf8(value.as_bytes()) {
        Ok(text) => Ok(Some(text.trim_matches([' ', '\t']).to_owned())),
        Err(_) => Err(Error::HeaderMismatch(format!(
            "Header mismatch: header {name} is not text"
        ))),
    }
}

/// Decodes a value that may be wrapped as `=?base64?...?=`. What is not exactly wrapped is a literal.
pub fn decode(value: &str) -> Result<String, Error> {
    let Some(wrapped) = value
        .strip_prefix(PREFIX)
        .and_then(|rest| rest.strip_suffix(SUFFIX))
    else {
        return Ok(value.to_owned());
    };
    let bytes = STANDARD.decode(wrapped).ok();
    bytes
        .and_then(|bytes| String::from_utf8(bytes).ok())
        .ok_or_else(|| {
            Error::HeaderMismatch(format!(
                "Header mismatch: {value:?} is not base64 of UTF-8 text"
            ))
        })
}

/// Encodes a value so that [`decode`] gives it back: as it is where a header can carry it, wrapped otherwise.
pub fn encode(value: &str) -> HeaderValue {
    let plain = value.bytes().all(|byte| matches!(byte, b' '..=b'~'))
        && value.trim_matches([' ', '\t']) == value
        && !(value.starts_with(PREFIX) && value.ends_with(SUFFIX));
    let text = if plain {
        value.to_owned()
    } else {
        format!("{PREFIX}{}{SUFFIX}", STANDARD.encode(value))
    };
    HeaderValue::from_str(&text).unwrap_or_else(|_| HeaderValue::from_static(""))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn any_text_survives_a_header(text in any::<String>()) {
            let value = encode(&text);
            let read = value.to_str().expect("visible ASCII").trim_matches([' ', '\t']);
            prop_assert_eq!(decode(read).expect("decodes"), text);
        }

        #[test]
        fn decoding_never_panics(text in any::<String>()) {
            let _ = decode(&text);
            let _ = decode(&format!("{PREFIX}{text}{SUFFIX}"));
        }
    }

    #[test]
    fn a_wrapping_of_other_case_is_a_literal() {
        assert_eq!(
            decode("=?BASE64?YQ==?=").expect("literal"),
            "=?BASE64?YQ==?="
        );
        assert_eq!(decode("=?base64?YQ==?=").expect("text"), "a");
        assert!(decode("=?base64?!?=").is_err());
    }
}
