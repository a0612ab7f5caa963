//! Completing an argument of a prompt, or a variable of a template.

use std::collections::BTreeSet;

use serde_json::json;
use toolbus_model::{Error, Object};

use super::Inside;
use super::path::Inner;
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
            Some("ref/prompt") => argument_of(state, &reference, &name).transpose(),
            Some("ref/resource") => self
                .variable_of(state, &reference, &name, params)
                .transpose(),
            _ => None,
        };
        let values = values.transpose().map_err(|why| wrong(&why))?;
        Ok(values.map(|values| completion(values, &typed)))
    }

    /// The values of a template's variable; `None` where the template is not ours.
    fn variable_of(
        &self,
        state: &State,
        reference: &Object,
        name: &str,
        params: &Object,
    ) -> Result<Option<Vec<String>>, String> {
        let uri = reference.str("uri").unwrap_or_default();
        let at = self.spaces.iter().position(|space| space.template() == uri);
        let Some((space, files)) = at.and_then(|at| Some((&self.spaces[at], state.files.get(at)?)))
        else {
            return Ok(None);
        };
        match (name, space.is_skills) {
            // Written as they stand in the URI, which an expansion with `+` leaves as it is.
            ("path", false) => Ok(Some(files.keys().map(Inner::encoded).collect())),
            ("skill", true) => Ok(Some(state.skills.keys().cloned().collect())),
            ("name", true) => Ok(Some(names_of(files.keys(), chosen_skill(params)))),
            _ => Err(format!("the template {uri} has no variable {name:?}")),
        }
    }
}

/// The values of a prompt's argument; `None` where the prompt is not ours.
fn argument_of(
    state: &State,
    reference: &Object,
    name: &str,
) -> Result<Option<Vec<String>>, String> {
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
    match argument {
        Some(argument) => Ok(Some(argument.values.clone())),
        None => Err(format!("prompt {:?} has no argument {name:?}", prompt.name)),
    }
}

/// The skill that the client says it has chosen already.
fn chosen_skill(params: &Object) -> Option<String> {
    let context = params.object("context")?.ok()?;
    let arguments = context.object("arguments")?.ok()?;
    arguments.str("skill").map(std::borrow::Cow::into_owned)
}

/// The files of one skill, or of all. The template's variable holds no slash.
fn names_of<'p>(paths: impl Iterator<Item = &'p Inner>, chosen: Option<String>) -> Vec<String> {
    let of = |path: &'p Inner| match path.as_str().split_once('/') {
        Some((skill, name))
            if !name.contains('/') && chosen.as_ref().is_none_or(|chosen| chosen == skill) =>
        {
            Some(name.to_owned())
        }
        _ => None,
    };
    let names: BTreeSet<_> = paths.filter_map(of).collect();
    names.into_iter().collect()
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
