//! Names that every client and model API accepts: `[A-Za-z0-9_.-]{1,64}`.

use std::borrow::Cow;

use sha2::{Digest, Sha256};

const LONGEST: usize = 64;
const HASH_DIGITS: usize = 8;

/// The name passes unchanged where it fits; other characters become `_`, and a longer name is shortened and ends in a
/// hash of the whole.
pub fn fit(name: &str) -> Cow<'_, str> {
    let fits = |c: char| c.is_ascii_alphanumeric() || matches!(c, '_' | '.' | '-');
    if (1..=LONGEST).contains(&name.len()) && name.chars().all(fits) {
        return Cow::Borrowed(name);
    }
    let mapped: String = name
        .chars()
        .map(|c| if fits(c) { c } else { '_' })
        .collect();
    if (1..=LONGEST).contains(&mapped.len()) {
        Cow::Owned(mapped)
    } else {
        Cow::Owned(shorten(&mapped, name))
    }
}

/// A name that always ends in a hash of `original`, for when the plain one is taken.
pub fn with_hash(original: &str) -> String {
    shorten(&fit(original), original)
}

fn shorten(mapped: &str, original: &str) -> String {
    let digest = Sha256::digest(original.as_bytes());
    let kept: String = mapped.chars().take(LONGEST - HASH_DIGITS - 1).collect();
    let hash: String = digest
        .iter()
        .take(HASH_DIGITS / 2)
        .map(|byte| format!("{byte:02x}"))
        .collect();
    format!("{kept}_{hash}")
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn good_names_pass_and_long_ones_end_in_a_hash() {
        assert_eq!(fit("get.data-2_X"), "get.data-2_X");
        assert_eq!(fit("a/b c"), "a_b_c");
        let long = "x".repeat(65);
        assert_eq!(fit(&long).len(), 64);
        assert_ne!(fit(&long), fit(&"x".repeat(66)), "never cut silently");
        assert_eq!(fit("").len(), 9, "even an empty name gets one");
    }

    proptest! {
        #[test]
        fn every_name_fits(name in any::<String>()) {
            for name in [fit(&name).into_owned(), with_hash(&name)] {
                prop_assert!((1..=64).contains(&name.len()));
                prop_assert!(name.bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'_' | b'.' | b'-')));
                prop_assert_eq!(fit(&name), name.as_str());
            }
        }
    }
}
