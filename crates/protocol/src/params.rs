//! `x-mcp-header`: tool arguments that travel in `Mcp-Param-*` headers as well, so that intermediaries can route by them
//! (SEP-2243).

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
        if self.is_empty() {
            return Ok(());
        }
        let arguments = parse(arguments)?;
        for ParamHeader { header, path } in &self.0 {
            let expected = at(&arguments, path);
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
                return Err(Error::HeaderMismatch(format!(
                    "Header mismatch: header {header} says {said:?}, argument {path:?} says {}",
                    expected.map_or_else(|| "nothing".to_owned(), Value::to_string)
                )));
            }
        }
        Ok(())
    }

    /// The headers that a request with these arguments must carry.
    pub fn mirror(&self, arguments: Option<&Raw>) -> Vec<(HeaderName, HeaderValue)> {
        let Ok(arguments) = parse(arguments) else {
            return Vec::new();
        };
        let value = |param: &ParamHeader| {
            Some((
                param.header.clone(),
                headers::encode(&text(at(&arguments, &param.path)?)),
            ))
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

fn parse(arguments: Option<&Raw>) -> Result<Value, Error> {
    let Some(arguments) = arguments else {
        return Ok(Value::Null);
    };
    // A tree is built only for tools that have such headers, and only deep texts can fail here.
    arguments
        .read()
        .map_err(|error| Error::InvalidParams(format!("Invalid params: arguments: {error}")))
}

fn at<'v>(arguments: &'v Value, path: &[String]) -> Option<&'v Value> {
    path.iter()
        .try_fold(arguments, |value, name| value.get(name))
        .filter(|value| !value.is_null())
}

fn text(value: &Value) -> String {
    value
        .as_str()
        .map_or_else(|| value.to_string(), str::to_owned)
}

/// Integers are compared by value (42 is 42.0), everything else by its text.
fn same(value: &Value, said: &str) -> bool {
    text(value) == said
        || (value.is_number()
            && matches!((value.as_f64(), said.parse::<f64>()), (Some(a), Ok(b)) if a == b))
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
