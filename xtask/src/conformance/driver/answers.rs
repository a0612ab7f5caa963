//! What a client says that takes everything as it is offered: the defaults of a form, the smallest arguments of a tool.

use serde_json::{Map, Value, json};

/// The answer to a question of the server's.
pub(super) fn answer(method: &str, params: &Value) -> Option<Value> {
    match method {
        "elicitation/create" => {
            Some(json!({ "action": "accept", "content": defaults(&params["requestedSchema"]) }))
        }
        "sampling/createMessage" => Some(json!({
            "role": "assistant",
            "content": { "type": "text", "text": "Yes" },
            "model": "none",
            "stopReason": "endTurn",
        })),
        "roots/list" => Some(json!({ "roots": [] })),
        _ => None,
    }
}

/// A form filled in with its defaults; what has none and is a boolean is agreed to.
fn defaults(schema: &Value) -> Value {
    let properties = schema["properties"].as_object().into_iter().flatten();
    let filled = properties.filter_map(|(name, property)| {
        let agreed = (property["type"] == "boolean").then_some(Value::Bool(true));
        let value = property.get("default").cloned().or(agreed)?;
        Some((name.clone(), value))
    });
    Value::Object(filled.collect())
}

/// Arguments for every parameter that a tool requires.
pub(super) fn arguments(schema: &Value) -> Value {
    let mut arguments = Map::new();
    for name in schema["required"].as_array().into_iter().flatten() {
        let name = name.as_str().unwrap_or_default();
        let value = match schema["properties"][name]["type"].as_str() {
            Some("number" | "integer") => json!(5),
            Some("boolean") => json!(true),
            Some("array") => json!([]),
            Some("object") => json!({}),
            Some("null") => Value::Null,
            _ => json!("text"),
        };
        arguments.insert(name.to_owned(), value);
    }
    Value::Object(arguments)
}

#[cfg(test)]
mod tests {
    use super::{answer, arguments};
    use serde_json::json;

    #[test]
    fn forms_are_filled_with_their_defaults() {
        let schema = json!({ "properties": {
            "name": { "type": "string", "default": "John Doe" },
            "ok": { "type": "boolean" },
            "free": { "type": "string" },
        } });
        let said = answer("elicitation/create", &json!({ "requestedSchema": schema }));
        let content = json!({ "name": "John Doe", "ok": true });
        assert_eq!(
            said,
            Some(json!({ "action": "accept", "content": content }))
        );
        assert_eq!(answer("ping", &json!({})), None);
    }

    #[test]
    fn required_parameters_get_a_value_of_their_type() {
        let properties = json!({ "a": { "type": "number" }, "b": { "type": "string" }, "c": {} });
        let schema = json!({ "properties": properties, "required": ["a", "b"] });
        assert_eq!(arguments(&schema), json!({ "a": 5, "b": "text" }));
    }
}
