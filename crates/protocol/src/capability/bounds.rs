//! Bounds on what is executed, where the operator turns them on: ids, the number and depth of values, their strings.

use std::fmt;

use serde::de::{DeserializeSeed, Deserializer, Error as _, MapAccess, SeqAccess, Visitor};
use toolbus_model::Raw;

/// What parameters may have.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Bounds {
    /// Values in all, at every depth.
    pub nodes: usize,
    /// Objects and arrays within each other.
    pub depth: usize,
    /// Characters of one string, a member's name included.
    pub characters: usize,
}

impl Bounds {
    /// Those of the published contract.
    pub const STRICT: Self = Self {
        nodes: 10_000,
        depth: 10,
        characters: 10_000,
    };

    /// Counts through a value without building it.
    pub fn check(self, value: &[u8]) -> Result<(), String> {
        let mut nodes = 0;
        let walk = Walk {
            bounds: self,
            nodes: &mut nodes,
            depth: 0,
        };
        let mut reader = serde_json::Deserializer::from_slice(value);
        walk.deserialize(&mut reader).map_err(|error| {
            let text = error.to_string();
            // The place in the text is no help here.
            text.split(" at line ")
                .next()
                .unwrap_or_default()
                .to_owned()
        })
    }
}

/// Checks the id of a request: an integer, or 1 to 128 of `[a-zA-Z0-9_.:-]`.
pub fn check_id(id: &Raw) -> Result<(), String> {
    let fits = |byte: u8| byte.is_ascii_alphanumeric() || b"_.:-".contains(&byte);
    let is_fine = match id.as_str() {
        Some(text) => (1..=128).contains(&text.len()) && text.bytes().all(fits),
        None => id.read::<i64>().is_ok(),
    };
    if is_fine {
        return Ok(());
    }
    Err("an id is an integer, or has 1 to 128 of [a-zA-Z0-9_.:-]".to_owned())
}

struct Walk<'n> {
    bounds: Bounds,
    nodes: &'n mut usize,
    depth: usize,
}

impl Walk<'_> {
    fn inner(&mut self) -> Walk<'_> {
        Walk {
            bounds: self.bounds,
            nodes: self.nodes,
            depth: self.depth,
        }
    }

    fn enter<E: serde::de::Error>(&mut self) -> Result<(), E> {
        self.depth += 1;
        if self.depth > self.bounds.depth {
            return Err(E::custom(format!(
                "nested deeper than {} levels",
                self.bounds.depth
            )));
        }
        Ok(())
    }

    fn text<E: serde::de::Error>(&self, text: &str) -> Result<(), E> {
        let limit = self.bounds.characters;
        if text.len() > limit && text.chars().nth(limit).is_some() {
            return Err(E::custom(format!(
                "a string has more than {limit} characters"
            )));
        }
        Ok(())
    }
}

impl<'de> DeserializeSeed<'de> for Walk<'_> {
    type Value = ();

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<(), D::Error> {
        *self.nodes += 1;
        if *self.nodes > self.bounds.nodes {
            let nodes = self.bounds.nodes;
            return Err(D::Error::custom(format!("more than {nodes} values")));
        }
        deserializer.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for Walk<'_> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("JSON")
    }

    fn visit_bool<E>(self, _: bool) -> Result<(), E> {
        Ok(())
    }

    fn visit_i64<E>(self, _: i64) -> Result<(), E> {
        Ok(())
    }

    fn visit_u64<E>(self, _: u64) -> Result<(), E> {
        Ok(())
    }

    fn visit_f64<E>(self, _: f64) -> Result<(), E> {
        Ok(())
    }

    fn visit_unit<E>(self) -> Result<(), E> {
        Ok(())
    }

    fn visit_str<E: serde::de::Error>(self, text: &str) -> Result<(), E> {
        self.text(text)
    }

    fn visit_seq<A: SeqAccess<'de>>(mut self, mut values: A) -> Result<(), A::Error> {
        self.enter()?;
        while values.next_element_seed(self.inner())?.is_some() {}
        Ok(())
    }

    fn visit_map<A: MapAccess<'de>>(mut self, mut members: A) -> Result<(), A::Error> {
        self.enter()?;
        while let Some(name) = members.next_key::<std::borrow::Cow<'de, str>>()? {
            self.text(&name)?;
            members.next_value_seed(self.inner())?;
        }
        Ok(())
    }
}
