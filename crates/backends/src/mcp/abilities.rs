//! A caller's capabilities: what a server may ask of it, and what an older server is told of them.

use toolbus_model::json::Edit;
use toolbus_model::{Error, Object};

/// The extension under which results may be tasks. At older servers tasks are something else of the same name.
pub(super) const TASKS: &str = "io.modelcontextprotocol/tasks";

/// The largest capabilities that an older server is told. They are kept for as long as its session is, and most fit
/// into a hundredth of it.
const MAX_TOLD: usize = 64 * 1024;

/// Everything that an older server may ask of a client. Some list certain tools only for clients that can be asked.
pub(super) const EVERYTHING: &str =
    r#"{"elicitation":{"form":{},"url":{}},"sampling":{"context":{},"tools":{}},"roots":{}}"#;

/// What a caller can be asked.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(super) struct Abilities {
    form: bool,
    pub(super) url: bool,
    sampling: bool,
    pub(super) roots: bool,
}

impl Abilities {
    pub(super) fn of(capabilities: &Object) -> Self {
        let declared = |object: &Object, name: &str| {
            object
                .get(name)
                .is_some_and(|value| value.first() == Some(&b'{'))
        };
        let modes = capabilities.object("elicitation").and_then(Result::ok);
        let url = modes.as_ref().is_some_and(|modes| declared(modes, "url"));
        // A client that names no mode means forms (2025-11-25, client/elicitation).
        let form = modes.is_some_and(|modes| !url || declared(&modes, "form"));
        Self {
            form,
            url,
            sampling: declared(capabilities, "sampling"),
            roots: declared(capabilities, "roots"),
        }
    }

    /// There is something that it can be asked.
    pub(super) fn any(self) -> bool {
        self != Self::default()
    }

    /// Whether this can be asked; if not, perhaps why not.
    pub(super) fn allow(self, method: &str, params: &Object) -> Result<(), Option<&'static str>> {
        let by_url = || params.str("mode").as_deref() == Some("url");
        let allowed = match method {
            "elicitation/create" if !self.form && !self.url => false,
            "elicitation/create" if by_url() && !self.url => {
                return Err(Some("the client did not declare elicitation by URL"));
            }
            "elicitation/create" if !by_url() && !self.form => {
                return Err(Some("the client did not declare elicitation by form"));
            }
            "elicitation/create" => true,
            "sampling/createMessage" => self.sampling,
            "roots/list" => self.roots,
            _ => false,
        };
        if allowed { Ok(()) } else { Err(None) }
    }
}

/// A caller's capabilities as an older server is told them at `initialize`: as they are, without what cannot be carried.
pub(super) fn as_told(capabilities: &Object) -> Result<Object, Error> {
    let without = |name: &str, member: &str| {
        let object = capabilities.object(name)?.ok()?;
        Some(object.edited(&[(member, Edit::Drop)]))
    };
    let (roots, extensions) = (
        without("roots", "listChanged"),
        without("extensions", TASKS),
    );
    let mut edits = vec![("tasks", Edit::Drop)];
    edits.extend(
        roots
            .iter()
            .map(|roots| ("roots", Edit::Put(roots.bytes()))),
    );
    edits.extend(extensions.iter().map(|known| match known.is_empty() {
        true => ("extensions", Edit::Drop),
        false => ("extensions", Edit::Put(known.bytes())),
    }));
    let told = capabilities.edited(&edits);
    if told.bytes().len() > MAX_TOLD {
        let what = "client's capabilities";
        return Err(Error::TooLarge {
            what,
            limit: MAX_TOLD,
        });
    }
    Ok(told)
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::{Value, json};

    fn told(capabilities: Value) -> Value {
        let told = as_told(&Object::of(&capabilities)).expect("small");
        told.to_raw().read().expect("JSON")
    }

    #[test]
    fn an_older_server_is_told_everything_that_can_be_carried() {
        let carried = json!({
            "sampling": {"tools": {}}, "experimental": {"x": [1.0]}, "elicitation": {"form": {}, "later": {}},
            "roots": {"own": 1}, "extensions": {"a/b": {}},
        });
        let mut declared = carried.clone();
        declared["roots"]["listChanged"] = true.into();
        declared["extensions"][TASKS] = json!({});
        declared["tasks"] = json!({"list": {}});
        assert_eq!(told(declared), carried);
        assert_eq!(told(json!({"extensions": {TASKS: {}}})), json!({}));
        assert_eq!(told(json!({})), json!({}));
    }

    #[test]
    fn capabilities_without_end_are_refused() {
        let large = json!({"experimental": {"x": "y".repeat(MAX_TOLD)}});
        let refused = as_told(&Object::of(&large));
        assert!(
            matches!(refused, Err(Error::TooLarge { .. })),
            "{refused:?}"
        );
    }

    #[test]
    fn a_client_that_names_no_mode_of_elicitation_means_forms() {
        let allows = |capabilities: Value, mode: &str| {
            let abilities = Abilities::of(&Object::of(&capabilities));
            let params = Object::of(&json!({ "mode": mode }));
            abilities.allow("elicitation/create", &params)
        };
        assert_eq!(allows(json!({"elicitation": {}}), "form"), Ok(()));
        assert!(allows(json!({"elicitation": {}}), "url").is_err());
        assert!(allows(json!({"elicitation": {"url": {}}}), "form").is_err());
        assert_eq!(allows(json!({"elicitation": {"url": {}}}), "url"), Ok(()));
        assert_eq!(allows(json!({"elicitation": true}), "form"), Err(None));
        assert_eq!(allows(json!({"sampling": {}}), "form"), Err(None));
    }

    #[test]
    fn what_is_declared_beside_questions_makes_nobody_an_asker() {
        let any = |capabilities: Value| Abilities::of(&Object::of(&capabilities)).any();
        assert!(!any(
            json!({"experimental": {}, "extensions": {"a/b": {}}, "tasks": {}})
        ));
        assert!(any(json!({"roots": {}})) && any(json!({"sampling": {}})));
    }
}
