//! Fields of a record: there, and of their kind.

use serde_json::value::RawValue;
use toolbus_model::{Object, Raw};

/// A record, and how errors call it.
pub(super) struct Fields<'a> {
    pub(super) of: &'a Object,
    pub(super) called: String,
}

impl Fields<'_> {
    /// An error about a field.
    pub(super) fn wrong(&self, field: &str, why: &str) -> String {
        format!("{}, field {field:?}: {why}", self.called)
    }

    pub(super) fn text(&self, field: &str) -> Result<String, String> {
        let value = self.value(field)?;
        let text = value
            .as_str()
            .ok_or_else(|| self.kind(field, &value, "a text"))?;
        Ok(text.into_owned())
    }

    /// A text that is not empty.
    pub(super) fn name(&self, field: &str) -> Result<String, String> {
        let text = self.text(field)?;
        match text.trim().is_empty() {
            true => Err(self.wrong(field, "it is empty")),
            false => Ok(text),
        }
    }

    pub(super) fn list(&self, field: &str) -> Result<Vec<Raw>, String> {
        let value = self.value(field)?;
        let list = value.read::<Vec<&RawValue>>();
        let list = list.map_err(|_| self.kind(field, &value, "an array"))?;
        Ok(list.into_iter().map(Raw::of).collect())
    }

    pub(super) fn texts(&self, field: &str) -> Result<(), String> {
        let list = self.list(field)?;
        match list.iter().find(|value| value.as_str().is_none()) {
            Some(other) => Err(self.kind(field, other, "an array of texts")),
            None => Ok(()),
        }
    }

    /// A schema that is written as a text that holds JSON.
    pub(super) fn schema_text(&self, field: &str) -> Result<Object, String> {
        let text = self.text(field)?;
        let schema = Object::parse(text.into_bytes().into());
        schema
            .map_err(|error| self.wrong(field, &format!("its text is not a JSON object: {error}")))
    }

    /// Nothing but these fields, and each only once.
    pub(super) fn only(&self, known: &[&str]) -> Result<(), String> {
        self.once(known)?;
        match self.of.iter().find(|(name, _)| !known.contains(&&**name)) {
            Some((name, _)) => {
                let why = format!("a record has no such field; it has {}", known.join(", "));
                Err(self.wrong(&name, &why))
            }
            None => Ok(()),
        }
    }

    /// Each of these fields at most once.
    pub(super) fn once(&self, known: &[&str]) -> Result<(), String> {
        match self.of.duplicate(known) {
            Some(twice) => Err(self.wrong(twice, "it stands there twice")),
            None => Ok(()),
        }
    }

    fn value(&self, field: &str) -> Result<Raw, String> {
        self.of
            .raw(field)
            .ok_or_else(|| self.wrong(field, "it is missing"))
    }

    fn kind(&self, field: &str, value: &Raw, wanted: &str) -> String {
        let is = match value.bytes().first() {
            Some(b'{') => "an object",
            Some(b'[') => "an array",
            Some(b'"') => "a text",
            Some(b't' | b'f') => "true or false",
            Some(b'n') => "null",
            _ => "a number",
        };
        self.wrong(field, &format!("it is {is}, but must be {wanted}"))
    }
}
