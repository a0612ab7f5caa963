//! Completing an argument of a prompt, or a variable of a template.

use serde_json::json;
use toolbus_model::{Error, Object};

use super::Inside;
use super::state::State;

/// The most values of one answer (completion/complete).
const MAX_VALUES: usize = 100;

impl Inside {
    /// The values for what a request names; `None` where it names nothing of ours.
    pub(super) fn complete(&self, state: &State, params: &Object) -> Result<Option<Object>, Error> {
        let wrong = |why: &str| Error::InvalidParams(format!("Invalid params: {why}"));
        let part = |name: &str| match params.object(name) {
            Some(Ok(part)) => Ok(part),
            _ => Err(wrong(&format!("{name:?} must be an object"))),
        };
        let (reference, argument) = (part("ref")?, part("argument")?);
        let text = |name: &str| argument.str(name).map(std::borrow::Cow::into_owned);
        let (Some(name), Some(typed)) = (text("name"), text("value")) else {
            return Err(wrong(
                "\"argument\" must have a \"name\" and a \"value\", both strings",
            ));
        };
        let values = match reference.str("type").as_deref() {
            Some("ref/prompt") => {
                let prompt = reference
                    .str("name")
                    .and_then(|name| state.prompts.get(&*name));
                let Some(prompt) = prompt else {
                    return Ok(None);
                };
                let argument = prompt
                    .arguments
                    .iter()
                    .find(|argument| argument.name == name);
                let argument = argument.ok_or_else(|| {
                    wrong(&format!(
                        "prompt {:?} has no argument {name:?}",
                        prompt.name
                    ))
                })?;
                argument.values.clone()
            }
            Some("ref/resource") => {
                let uri = reference.str("uri").unwrap_or_default();
                let Some(at) = self.spaces.iter().position(|space| space.template() == uri) else {
                    return Ok(None);
                };
                let missing = || wrong(&format!("the template {uri} has no variable {name:?}"));
                self.variable(state, at, &name, params)
                    .ok_or_else(missing)?
            }
            _ => return Ok(None),
        };
        Ok(Some(completion(values, &typed)))
    }

    /// The values of a template's variable; `None` where it has no such one.
    fn variable(
        &self,
        state: &State,
        at: usize,
        name: &str,
        params: &Object,
    ) -> Option<Vec<String>> {
        let files = state.files.get(at)?;
        if !self.spaces[at].is_skills {
            // Written as they stand in the URI, which an expansion with `+` leaves as it is.
            return (name == "path")
                .then(|| files.keys().map(super::path::Inner::encoded).collect());
        }
        match name {
            "skill" => Some(state.skills.keys().cloned().collect()),
            "name" => {
                let given = params.object("context").and_then(Result::ok);
                let given = given
                    .and_then(|context| context.object("arguments"))
                    .and_then(Result::ok);
                let skill =
                    given.and_then(|given| given.str("skill").map(std::borrow::Cow::into_owned));
                let of = |path: &str| match path.split_once('/') {
                    Some((own, name)) if skill.as_ref().is_none_or(|skill| skill == own) => {
                        Some(name.to_owned())
                    }
                    _ => None,
                };
                let mut names: Vec<_> = files.keys().filter_map(|path| of(path.as_str())).collect();
                // The template's variable holds no slash.
                names.retain(|name| !name.contains('/'));
                names.sort_unstable();
                names.dedup();
                Some(names)
            }
            _ => None,
        }
    }
}

/// Those values that begin as was typed, or, if there are none, those that have it somewhere.
fn completion(values: Vec<String>, typed: &str) -> Object {
    let typed = typed.to_lowercase();
    let of = |fits: &dyn Fn(&str) -> bool| -> Vec<&String> {
        values
            .iter()
            .filter(|value| fits(&value.to_lowercase()))
            .collect()
    };
    let mut found = of(&|value| value.starts_with(&typed));
    if found.is_empty() {
        found = of(&|value| value.contains(&typed));
    }
    let total = found.len();
    found.truncate(MAX_VALUES);
    Object::of(
        &json!({"completion": {"values": found, "total": total, "hasMore": total > found.len()}}),
    )
}
