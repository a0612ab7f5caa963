//! `x-mcp-header`: tool arguments that travel in `Mcp-Param-*` headers as well, so that intermediaries can route by them
//! (SEP-2243).

use std::borrow::Cow;

use bytes::Bytes;
use http::{HeaderMap, HeaderName, HeaderValue};
use serde_json::Value;
use toolbus_model::{Error, Object, Raw};

use crate::headers;

const ANNOTATION: &str = "x-mcp-header";

/// Keywords whose values are data, not schemas.
const DATA_KEYWORDS: [&str; 4] = ["default", "const", "enum", "examples"];

/// Deepest chain of `properties` that is followed.
const MAX_CHAIN: usize = 32;

/// Most arguments of one tool that travel in headers: a request with more headers is refused by most servers, ours too.
const MAX_HEADERS: usize = 64;

/// One argument that travels in a header.
#[derive(Debug, Clone, PartialEq, Eq)]
struct ParamHeader {
    header: HeaderName,
    path: Vec<String>,
}

/// The arguments of one tool that travel in headers.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct ParamHeaders(Vec<ParamHeader>);

impl ParamHeaders {
    /// Reads a tool's `inputSchema`. An error says which rule an annotation breaks: such a tool is to be dropped.
    pub fn of_tool(definition: &Object) -> Result<Self, String> {
        let Some(schema) = definition.get("inputSchema") else {
            return Ok(Self::default());
        };
        if memchr::memmem::find(schema, ANNOTATION.as_bytes()).is_none() {
            return Ok(Self::default());
        }
        let schema: Value = serde_json::from_slice(schema).map_err(|error| error.to_string())?;
        let mut found = Self::default();
        found.collect(&schema, &mut Vec::new())?;
        Ok(found)
    }

    /// [`ParamHeaders::of_tool`] of a definition's text. Costs next to nothing for a tool without annotations.
    pub fn of_definition(definition: &Bytes) -> Result<Self, String> {
        if memchr::memmem::find(definition, ANNOTATION.as_bytes()).is_none() {
            return Ok(Self::default());
        }
        Self::of_tool(&Object::parse(definition.clone()).map_err(|error| error.to_string())?)
    }

    /// No argument travels in a header.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    fn collect(&mut self, schema: &Value, path: &mut Vec<String>) -> Result<(), String> {
        let Value::Object(keywords) = schema else {
            return Ok(());
        };
        if path.len() > MAX_CHAIN {
            return Err(format!(
                "{ANNOTATION}: properties nested deeper than {MAX_CHAIN}"
            ));
        }
        if let Some(annotation) = keywords.get(ANNOTATION) {
            self.add(annotation, keywords.get("type"), path)?;
        }
        for (keyword, value) in keywords {
            if keyword == "properties" {
                for (name, property) in value.as_object().into_iter().flatten() {
                    path.push(name.clone());
                    self.collect(property, path)?;
                    path.pop();
                }
            } else if keyword != ANNOTATION
                && !DATA_KEYWORDS.contains(&keyword.as_str())
                && annotated(value, 0)
            {
                return Err(format!(
                    "{ANNOTATION} below {keyword:?}: only chains of \"properties\" may lead to it"
                ));
            }
        }
        Ok(())
    }

    fn add(
        &mut self,
        annotation: &Value,
        kind: Option<&Value>,
        path: &[String],
    ) -> Result<(), String> {
        let name = annotation.as_str().filter(|name| !name.is_empty());
        let name = name.ok_or_else(|| format!("{ANNOTATION} must be a non-empty string"))?;
        let header = HeaderName::try_from(format!("mcp-param-{name}"))
            .map_err(|_| format!("{ANNOTATION} {name:?} is not a header token"))?;
        if path.is_empty() {
            return Err(format!(
                "{ANNOTATION} {name:?} stands at the root, not on a property"
            ));
        }
        if !matches!(
            kind.and_then(Value::as_str),
            Some("string" | "integer" | "boolean")
        ) {
            return Err(format!(
                "{ANNOTATION} {name:?}: the property must be a string, an integer or a boolean"
            ));
        }
        if self.0.len() == MAX_HEADERS {
            return Err(format!("{ANNOTATION}: more than {MAX_HEADERS} of them"));
        }
        if self.0.iter().any(|known| known.header == header) {
            return Err(format!("{ANNOTATION} {name:?} stands twice"));
        }
        self.0.push(ParamHeader {
            header,
            path: path.to_vec(),
        });
        Ok(())
    }

    /// Checks the headers of a request against its arguments.
    pub fn check(&self, headers: &HeaderMap, arguments: Option<&Raw>) -> Result<(), Error> {
        let arguments = arguments.and_then(|arguments| Object::from_raw(arguments).ok());
        for ParamHeader { header, path } in &self.0 {
            let expected = at(arguments.as_ref(), path);
            let said = match headers::single(headers, header.as_str())? {
                Some(value) => Some(headers::decode(&value)?),
                None => None,
            };
            let agrees = match (&expected, &said) {
                (None, None) => true,
                (Some(value), Some(said)) => same(value, said),
                _ => false,
            };
            if !agrees {
                let path = path.join(".");
                let expected = expected.as_ref().map(Raw::bytes).unwrap_or(b"nothing");
                return Err(Error::HeaderMismatch(format!(
                    "Header mismatch: header {header} says {said:?}, argument {path:?} says {}",
                    String::from_utf8_lossy(expected)
                )));
            }
        }
        Ok(())
    }

    /// The headers that a request with these arguments must carry. A string that is no text, such as half a surrogate
    /// pair, has none: the server will refuse it.
    pub fn mirror(&self, arguments: Option<&Raw>) -> Vec<(HeaderName, HeaderValue)> {
        let arguments = arguments.and_then(|arguments| Object::from_raw(arguments).ok());
        let value = |param: &ParamHeader| {
            let value = at(arguments.as_ref(), &param.path)?;
            Some((param.header.clone(), headers::encode(&text(&value)?)))
        };
        self.0.iter().filter_map(value).collect()
    }
}

fn annotated(value: &Value, depth: usize) -> bool {
    depth < toolbus_model::json::MAX_DEPTH
        && match value {
            Value::Object(members) => members.iter().any(|(key, value)| {
                key == ANNOTATION
                    || (!DATA_KEYWORDS.contains(&key.as_str()) && annotated(value, depth + 1))
            }),
            Value::Array(items) => items.iter().any(|item| annotated(item, depth + 1)),
            _ => false,
        }
}

/// The argument at the end of this path; `null` counts as none.
fn at(arguments: Option<&Object>, path: &[String]) -> Option<Raw> {
    let (first, rest) = path.split_first()?;
    let below = |value: Raw, name: &String| Object::from_raw(&value).ok()?.raw(name);
    let value = rest.iter().try_fold(arguments?.raw(first)?, below)?;
    (value.bytes() != b"null").then_some(value)
}

/// What a header says of this value: strings without their quotes, all else as it is written.
fn text(value: &Raw) -> Option<Cow<'_, str>> {
    if value.bytes().first() == Some(&b'"') {
        value.as_str()
    } else {
        std::str::from_utf8(value.bytes()).ok().map(Cow::Borrowed)
    }
}

/// Numbers are compared by value (42 is 42.0), everything else by its text.
fn same(value: &Raw, said: &str) -> bool {
    let Some(text) = text(value) else {
        return false;
    };
    let is_number = matches!(value.bytes().first(), Some(b'-' | b'0'..=b'9'));
    text == said || (is_number && same_number(&text, said))
}

/// Integers digit by digit, so that large ones are not taken for their neighbours.
fn same_number(value: &str, said: &str) -> bool {
    if let (Some(value), Some(said)) = (integer(value), integer(said)) {
        return value == said;
    }
    let is_number = said.starts_with(['-', '0', '1', '2', '3', '4', '5', '6', '7', '8', '9']);
    let finite = |text: &str| text.parse::<f64>().ok().filter(|number| number.is_finite());
    is_number && finite(value).is_some_and(|value| finite(said) == Some(value))
}

/// Sign and digits of an integer, which may be written with zeros behind a point.
fn integer(text: &str) -> Option<(bool, &str)> {
    let (digits, fraction) = text.split_once('.').unwrap_or((text, "0"));
    let is_negative = digits.starts_with('-');
    let digits = digits.strip_prefix('-').unwrap_or(digits);
    let is_integer = !digits.is_empty()
        && digits.bytes().all(|byte| byte.is_ascii_digit())
        && fraction.bytes().all(|byte| byte == b'0');
    let digits = digits.trim_start_matches('0');
    is_integer.then_some((is_negative && !digits.is_empty(), digits))
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn of(schema: Value) -> Result<ParamHeaders, String> {
        ParamHeaders::of_tool(&Object::of(&json!({"name": "t", "inputSchema": schema})))
    }

    #[test]
    fn nested_properties_are_found_and_checked() {
        let params = of(json!({"type": "object", "properties": {
            "region": {"type": "string", "x-mcp-header": "Region"},
            "deep": {"type": "object", "properties": {"n": {"type": "integer", "x-mcp-header": "N"}}},
            "x-mcp-header": {"type": "string"}}}))
        .expect("valid");
        let arguments = Raw::of(&json!({"region": "zürich", "deep": {"n": 42.0}}));
        let mirrored: HeaderMap = params.mirror(Some(&arguments)).into_iter().collect();
        assert_eq!(mirrored["mcp-param-region"], "=?base64?esO8cmljaA==?=");
        assert!(params.check(&mirrored, Some(&arguments)).is_ok());
        assert!(
            params.check(&HeaderMap::new(), Some(&arguments)).is_err(),
            "missing headers"
        );
        assert!(
            params.check(&mirrored, Some(&Raw::of(&json!({})))).is_err(),
            "headers without arguments"
        );
        let mut numeric = mirrored.clone();
        numeric.insert("mcp-param-n", HeaderValue::from_static("42"));
        assert!(
            params.check(&numeric, Some(&arguments)).is_ok(),
            "42 is 42.0"
        );
        numeric.insert("mcp-param-n", HeaderValue::from_static("43"));
        assert!(params.check(&numeric, Some(&arguments)).is_err());
    }

    #[test]
    fn integers_are_compared_exactly() {
        let params = of(json!({"type": "object", "properties": {"n": {"type": "integer", "x-mcp-header": "N"}}}))
            .expect("valid");
        let agree = |argument: &str, said: &str| {
            let arguments = Raw::parse(format!("{{\"n\":{argument}}}").into()).expect("JSON");
            let headers = HeaderMap::from_iter([(
                HeaderName::from_static("mcp-param-n"),
                HeaderValue::from_str(said).expect("a value"),
            )]);
            params.check(&headers, Some(&arguments)).is_ok()
        };
        for (argument, said) in [
            ("42", "42.0"),
            ("-0", "0"),
            ("1e3", "1000"),
            (
                "123456789012345678901234567890",
                "123456789012345678901234567890.0",
            ),
        ] {
            assert!(
                agree(argument, said) && agree(said, argument),
                "{argument} {said}"
            );
        }
        for (argument, said) in [
            ("9007199254740993", "9007199254740992"),
            ("1e999", "inf"),
            ("1e999", "1e888"),
            ("0", "-"),
            ("1", "+1"),
            ("\"1\"", "1.0"),
        ] {
            assert!(!agree(argument, said), "{argument} {said}");
        }
        let large = Raw::parse("{\"n\":123456789012345678901234567890}".into()).expect("JSON");
        assert_eq!(
            params.mirror(Some(&large))[0].1,
            "123456789012345678901234567890"
        );
    }

    #[test]
    fn broken_annotations_are_errors() {
        let string = |name: Value| json!({"type": "object", "properties": {"a": {"type": "string", "x-mcp-header": name}}});
        assert!(of(string(json!(""))).is_err());
        assert!(of(string(json!("a b"))).is_err());
        assert!(of(string(json!(7))).is_err());
        assert!(of(json!({"type": "object", "properties": {"a": {"type": "number", "x-mcp-header": "A"}}})).is_err());
        assert!(of(json!({"type": "object", "properties": {"a": {"type": "array", "items": {"type": "string", "x-mcp-header": "A"}}}})).is_err());
        assert!(of(json!({"type": "object", "properties": {"a": {"type": "string", "x-mcp-header": "A"}, "b": {"type": "string", "x-mcp-header": "a"}}})).is_err());
        assert!(
            of(json!({"type": "object", "properties": {"a": {"default": {"x-mcp-header": ""}}}}))
                .is_ok()
        );
    }
}
