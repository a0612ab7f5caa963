//! Paths within a folder, and how they are written in a URI: each path in exactly one way.

use std::fmt;

/// Longest path, in bytes; the kernel's own limit.
const MAX_PATH: usize = 4096;

/// A path below a folder that cannot lead out of it: names, with slashes between them.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(super) struct Inner(String);

impl Inner {
    /// The path, if each of its names is one that a file may have here.
    pub(super) fn parse(text: &str) -> Option<Self> {
        let fits = text.len() <= MAX_PATH && text.split('/').all(is_name);
        fits.then(|| Self(text.to_owned()))
    }

    /// The path that the end of a URI stands for.
    ///
    /// Only the one spelling that [`Inner::encoded`] writes is taken: who may read what is told by patterns of URIs, and
    /// a second spelling would pass them.
    pub(super) fn decode(text: &str) -> Option<Self> {
        let mut bytes = Vec::with_capacity(text.len());
        let mut rest = text.as_bytes();
        while let [first, after @ ..] = rest {
            rest = after;
            match (first, after) {
                (b'%', [high, low, after @ ..]) => {
                    bytes.push(digit(*high)? << 4 | digit(*low)?);
                    rest = after;
                }
                (b'%', _) => return None,
                (plain, _) => bytes.push(*plain),
            }
        }
        let path = Self::parse(&String::from_utf8(bytes).ok()?)?;
        (path.encoded() == text).then_some(path)
    }

    /// As it stands in a URI: unreserved characters (RFC 3986) and slashes as they are, all others in capital hex digits.
    pub(super) fn encoded(&self) -> String {
        let mut text = String::with_capacity(self.0.len());
        for byte in self.0.bytes() {
            if byte.is_ascii_alphanumeric() || b"-._~/".contains(&byte) {
                text.push(byte.into());
            } else {
                text.push_str(&format!("%{byte:02X}"));
            }
        }
        text
    }

    /// The path below this one of an entry called `name`.
    pub(super) fn below(folder: Option<&Self>, name: &str) -> Option<Self> {
        match folder {
            None => Self::parse(name),
            Some(folder) => Self::parse(&format!("{folder}/{name}")),
        }
    }

    pub(super) fn as_str(&self) -> &str {
        &self.0
    }

    pub(super) fn names(&self) -> std::str::Split<'_, char> {
        self.0.split('/')
    }
}

impl fmt::Display for Inner {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// A name that leads one step down. Backslashes and control characters are refused because others read them differently.
fn is_name(name: &str) -> bool {
    let odd = |c: char| c == '\\' || c.is_control();
    !matches!(name, "" | "." | "..") && !name.contains(odd)
}

/// The value of a hex digit as we write it.
fn digit(byte: u8) -> Option<u8> {
    match byte {
        b'0'..=b'9' => Some(byte - b'0'),
        b'A'..=b'F' => Some(byte - b'A' + 10),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn whatever_is_taken_stays_below_and_is_spelt_as_we_spell_it() {
        const PARTS: [&str; 20] = [
            "..", ".", "/", "//", "%2e", "%2E", "%2F", "%5C", "\\", "%00", "%25", "a", "b.md", "~",
            "?", "#", "%C3%A4", "ä", "\u{2024}", "%",
        ];
        let (mut seed, mut taken) = (7_u64, 0);
        for _ in 0..50_000 {
            let mut text = String::new();
            for _ in 0..=seed % 6 {
                seed = seed
                    .wrapping_mul(6_364_136_223_846_793_005)
                    .wrapping_add(1_442_695_040_888_963_407);
                text.push_str(PARTS[usize::try_from(seed >> 33).expect("small") % PARTS.len()]);
            }
            let Some(path) = Inner::decode(&text) else {
                continue;
            };
            taken += 1;
            assert_eq!(path.encoded(), text);
            let stays =
                |name: &str| !matches!(name, "" | "." | "..") && !name.contains(['\0', '\\', '/']);
            assert!(path.names().all(stays), "{text}");
        }
        assert!(taken > 100, "{taken}");
    }

    #[test]
    fn a_path_has_one_spelling() {
        for (path, uri) in [
            ("a/b.md", "a/b.md"),
            ("mein heft.md", "mein%20heft.md"),
            ("ü/50%.md", "%C3%BC/50%25.md"),
            ("a+b(1)?.md", "a%2Bb%281%29%3F.md"),
            ("%2e%2e", "%252e%252e"),
        ] {
            let inner = Inner::parse(path).expect(path);
            assert_eq!(inner.encoded(), uri);
            assert_eq!(Inner::decode(uri), Some(inner));
        }
        for other in [
            "%61.md", "a%2fb.md", "a%2Fb.md", "ü", "a b", "%c3%bc", "%C3", "%", "%4", "a?b", "a#b",
        ] {
            assert_eq!(Inner::decode(other), None, "{other}");
        }
    }
}
