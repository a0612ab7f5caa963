//! The scanner against serde_json: the same texts are JSON, the same members are found, and a rewritten object differs
//! in what was asked for alone.

use bytes::Bytes;
use serde::Deserialize;
use serde::de::{MapAccess, Visitor};
use serde_json::value::RawValue;
use toolbus_model::json::{Edit, JsonError, MAX_DEPTH};
use toolbus_model::{Object, Raw};

pub(crate) fn check(data: &[u8]) {
    let text = Bytes::copy_from_slice(data);
    let known = serde_json::from_slice::<&RawValue>(data).ok();
    match (Raw::parse(text.clone()), known) {
        (Ok(value), Some(known)) => {
            assert_eq!(value.bytes(), known.get().as_bytes());
            assert!(depth(data) <= MAX_DEPTH);
        }
        (Err(JsonError::TooDeep), Some(_)) => return assert!(depth(data) > MAX_DEPTH),
        (Err(JsonError::Syntax(_)), None) => {}
        (ours, known) => panic!("we say {ours:?}, serde_json says {known:?}"),
    }
    let members = known.and_then(|known| Members::of(known.get()));
    match (Object::parse(text), members) {
        (Ok(object), Some(members)) => object_is(&object, &members),
        (Err(_), None) => {}
        (ours, members) => panic!("we say {ours:?}, serde_json finds {members:?}"),
    }
}

fn object_is(object: &Object, members: &Members<'_>) {
    assert_eq!(pairs(object), members.pairs());
    for (name, _) in members.pairs() {
        assert_eq!(object.get(&name), members.get(&name));
    }
    let first = members.pairs().first().map(|(name, _)| name.clone());
    let first = first.unwrap_or_else(|| "new".to_owned());
    for edit in [Edit::Drop, Edit::Put(b"[1]"), Edit::Default(b"{}")] {
        for name in [&*first, "name", "_meta"] {
            edited(object, members, name, edit);
        }
    }
}

/// One member is as asked for, all others are as they were, byte by byte and in their order.
fn edited(object: &Object, members: &Members<'_>, name: &str, edit: Edit<'_>) {
    let mut out = Vec::new();
    object.rewrite(&[(name, edit)], &mut out);
    let Some(written) = Members::of(std::str::from_utf8(&out).expect("UTF-8")) else {
        panic!("{} is no object", String::from_utf8_lossy(&out))
    };
    let expected = match edit {
        Edit::Drop => None,
        Edit::Put(value) => Some(value),
        Edit::Default(value) => members.get(name).or(Some(value)),
    };
    assert_eq!(written.get(name), expected, "{edit:?} of {name:?}");
    let others = |members: &Members<'_>| {
        let mut pairs = members.pairs();
        pairs.retain(|(known, _)| known != name);
        pairs
    };
    assert_eq!(others(&written), others(members));
    assert_eq!(object.edited(&[(name, edit)]).bytes(), out);
}

fn pairs(object: &Object) -> Vec<(String, String)> {
    let text = |value: &[u8]| String::from_utf8_lossy(value).into_owned();
    object
        .iter()
        .map(|(name, value)| (name.into_owned(), text(value)))
        .collect()
}

/// The members of an object as serde_json finds them: keys and values as they are written.
#[derive(Debug)]
pub(crate) struct Members<'a>(Vec<(&'a RawValue, &'a RawValue)>);

impl<'a> Members<'a> {
    /// Of this text, where it is an object of a depth that we carry.
    pub(crate) fn of(text: &'a str) -> Option<Self> {
        let members = serde_json::from_str(text).ok();
        members.filter(|_| depth(text.as_bytes()) <= MAX_DEPTH)
    }

    /// A name that has no text, such as half a surrogate pair, counts as the empty one.
    fn name(key: &RawValue) -> String {
        serde_json::from_str(key.get()).unwrap_or_default()
    }

    /// The value that counts under this name: the last one.
    pub(crate) fn get(&self, name: &str) -> Option<&'a [u8]> {
        let mut members = self.0.iter().rev();
        members
            .find(|(key, _)| Self::name(key) == name)
            .map(|(_, value)| value.get().as_bytes())
    }

    /// How often this name stands.
    pub(crate) fn count(&self, name: &str) -> usize {
        self.0
            .iter()
            .filter(|(key, _)| Self::name(key) == name)
            .count()
    }

    fn pairs(&self) -> Vec<(String, String)> {
        let pair = |(key, value): &(&RawValue, &RawValue)| (Self::name(key), value.get().into());
        self.0.iter().map(pair).collect()
    }
}

impl<'de: 'a, 'a> Deserialize<'de> for Members<'a> {
    fn deserialize<D: serde::Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        struct Read;
        impl<'de> Visitor<'de> for Read {
            type Value = Members<'de>;

            fn expecting(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                f.write_str("an object")
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
                let mut members = Vec::new();
                while let Some(member) = map.next_entry()? {
                    members.push(member);
                }
                Ok(Members(members))
            }
        }
        from.deserialize_map(Read)
    }
}

/// The deepest nesting of a text that is JSON.
pub(crate) fn depth(json: &[u8]) -> usize {
    let (mut depth, mut deepest, mut in_string, mut escaped) = (0_usize, 0, false, false);
    for byte in json {
        match byte {
            _ if escaped => escaped = false,
            b'\\' => escaped = in_string,
            b'"' => in_string = !in_string,
            b'{' | b'[' if !in_string => depth += 1,
            b'}' | b']' if !in_string => depth = depth.saturating_sub(1),
            _ => {}
        }
        deepest = deepest.max(depth);
    }
    deepest
}
