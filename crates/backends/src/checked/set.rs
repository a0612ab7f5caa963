//! Values that are looked up by what they mean: 1.0 is 1, and the order of members does not count.

use std::hash::{BuildHasher as _, Hasher, RandomState};

use super::number::Decimal;
use super::value::Value;

/// Up to so many values are compared one by one.
const FEW: usize = 16;

/// The values of an `enum`.
#[derive(Debug)]
pub(super) struct Set {
    /// In their order, for messages.
    values: Vec<Value<'static>>,
    /// Hashes of larger sets with their places, sorted; nobody outside can know the key.
    places: Vec<(u64, usize)>,
    key: RandomState,
}

impl Set {
    pub(super) fn new(values: Vec<Value<'static>>) -> Self {
        let key = RandomState::new();
        let hashed = |(at, value): (usize, &Value<'_>)| (hash(&key, value), at);
        let mut places: Vec<_> = match values.len() {
            0..=FEW => Vec::new(),
            _ => values.iter().enumerate().map(hashed).collect(),
        };
        places.sort_unstable();
        Self {
            values,
            places,
            key,
        }
    }

    pub(super) fn values(&self) -> &[Value<'static>] {
        &self.values
    }

    /// How many values a look-up compares, about.
    pub(super) fn tries(&self) -> usize {
        self.values.len().min(FEW)
    }

    pub(super) fn has(&self, value: &Value<'_>) -> bool {
        if self.places.is_empty() {
            return self.values.iter().any(|known| same(known, value));
        }
        let wanted = hash(&self.key, value);
        let start = self.places.partition_point(|(hash, _)| *hash < wanted);
        let alike = self.places[start..].iter();
        alike
            .take_while(|(hash, _)| *hash == wanted)
            .any(|(_, at)| same(&self.values[*at], value))
    }
}

/// The places of the first two values of a list that are the same.
pub(super) fn twins(list: &[Value<'_>]) -> Option<(usize, usize)> {
    let key = RandomState::new();
    let hashed = |(at, value): (usize, &Value<'_>)| (hash(&key, value), at);
    let mut places: Vec<_> = list.iter().enumerate().map(hashed).collect();
    places.sort_unstable();
    // Without the key nobody can make many different values of one hash.
    places
        .windows(2)
        .filter(|pair| pair[0].0 == pair[1].0 && same(&list[pair[0].1], &list[pair[1].1]))
        .map(|pair| (pair[0].1, pair[1].1))
        .min()
}

/// What looking at all of a value costs, in steps.
pub(super) fn size(value: &Value<'_>) -> u64 {
    match value {
        Value::Null | Value::Bool(_) => 1,
        Value::Number(text) | Value::Text(text) => 1 + text.len() as u64 / 8,
        Value::List(list) => 1 + list.iter().map(size).sum::<u64>(),
        Value::Object(members) => {
            let members = members.iter();
            1 + members
                .map(|(name, value)| name.len() as u64 / 8 + size(value))
                .sum::<u64>()
        }
    }
}

/// Whether two values mean the same.
pub(super) fn same(a: &Value<'_>, b: &Value<'_>) -> bool {
    match (a, b) {
        (Value::Null, Value::Null) => true,
        (Value::Bool(a), Value::Bool(b)) => a == b,
        (Value::Text(a), Value::Text(b)) => a == b,
        (Value::Number(a), Value::Number(b)) => {
            a == b || Decimal::of(a).compare(Decimal::of(b)).is_eq()
        }
        (Value::List(a), Value::List(b)) => {
            a.len() == b.len() && a.iter().zip(b).all(|(a, b)| same(a, b))
        }
        (Value::Object(a), Value::Object(b)) => {
            let mut pairs = a.iter().zip(b);
            a.len() == b.len() && pairs.all(|(a, b)| a.0 == b.0 && same(&a.1, &b.1))
        }
        _ => false,
    }
}

fn hash(key: &RandomState, value: &Value<'_>) -> u64 {
    let mut hasher = key.build_hasher();
    feed(value, &mut hasher);
    hasher.finish()
}

fn feed(value: &Value<'_>, into: &mut impl Hasher) {
    match value {
        Value::Null => into.write_u8(0),
        Value::Bool(is) => into.write_u8(1 + u8::from(*is)),
        Value::Number(number) => {
            into.write_u8(3);
            Decimal::of(number).canonical(|bytes| into.write(bytes));
        }
        Value::Text(text) => {
            into.write_u8(4);
            write_text(text, into);
        }
        Value::List(list) => {
            into.write_u8(5);
            into.write_usize(list.len());
            list.iter().for_each(|value| feed(value, into));
        }
        Value::Object(members) => {
            into.write_u8(6);
            into.write_usize(members.len());
            for (name, value) in members {
                write_text(name, into);
                feed(value, into);
            }
        }
    }
}

fn write_text(text: &str, into: &mut impl Hasher) {
    into.write_usize(text.len());
    into.write(text.as_bytes());
}

#[cfg(test)]
mod tests {
    use super::super::value::Bounds;
    use super::*;

    fn read(text: &str) -> Value<'_> {
        let bounds = Bounds {
            values: 10_000,
            depth: 9,
        };
        Value::read(text.as_bytes(), bounds).expect("JSON")
    }

    #[test]
    fn values_are_the_same_by_what_they_mean() {
        let pairs = [
            ("1", "1.0"),
            (r#"{"a":1,"b":[2]}"#, r#"{"b":[2e0],"a":1.00}"#),
        ];
        for (a, b) in pairs {
            let key = RandomState::new();
            assert!(same(&read(a), &read(b)), "{a} {b}");
            assert_eq!(hash(&key, &read(a)), hash(&key, &read(b)), "{a} {b}");
        }
        for (a, b) in [("0", "false"), ("1", "true"), ("[]", "{}"), ("\"1\"", "1")] {
            assert!(!same(&read(a), &read(b)), "{a} {b}");
        }
    }

    #[test]
    fn a_large_set_finds_what_a_small_one_does() {
        let numbers = |count: usize| {
            let list = (0..count).map(|n| Value::Number(n.to_string().into()));
            Set::new(list.collect())
        };
        for count in [3, 3_000] {
            let set = numbers(count);
            assert!(set.has(&read("2.0")) && !set.has(&read("2.5")) && !set.has(&read("\"2\"")));
            assert!(!set.has(&read(&count.to_string())));
        }
    }

    #[test]
    fn twins_are_found_wherever_they_stand() {
        let twins = |text| match read(text) {
            Value::List(list) => super::twins(&list),
            _ => None,
        };
        assert_eq!(twins("[3, 1, {\"a\": 1}, 2, {\"a\": 1.0}]"), Some((2, 4)));
        assert_eq!(twins("[1, true, \"1\", [1], {\"1\": 1}]"), None);
        assert_eq!(twins("[]"), None);
    }
}
