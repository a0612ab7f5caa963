//! Patterns of paths: `*` and `?` within a name, `**` for any number of folders.

use std::fmt;

use super::path::Inner;

/// Longest pattern. Matching takes steps in the product of the lengths of pattern and path.
const MAX_PATTERN: usize = 256;

/// A pattern. One without a slash is for the last name of a path, wherever that lies.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Glob(String);

impl Glob {
    /// Checks a pattern.
    pub fn parse(text: &str) -> Result<Self, String> {
        let names = || text.split('/');
        let wrong = |why: &str| Err(format!("the pattern {text:?} {why}"));
        if text.len() > MAX_PATTERN {
            return wrong(&format!("is longer than {MAX_PATTERN} bytes"));
        }
        if names().any(|name| matches!(name, "" | "." | "..")) {
            return wrong(
                "has an empty name, `.` or `..` in it: write it like `notes/**/*.md`, without a slash at its ends",
            );
        }
        if names().any(|name| name.contains("**") && name != "**") {
            return wrong("has `**` within a name: it stands for whole folders, as in `**/*.md`");
        }
        Ok(Self(text.to_owned()))
    }

    /// The pattern is for this path.
    pub(super) fn is_for(&self, path: &Inner) -> bool {
        if self.0.contains('/') {
            let (pattern, path): (Vec<_>, Vec<_>) =
                (self.0.split('/').collect(), path.names().collect());
            return is_match(
                &pattern,
                &path,
                |part| *part == "**",
                |part, name| name_matches(part, name),
            );
        }
        let last = path.names().next_back();
        self.0 == "**" || last.is_some_and(|name| name_matches(&self.0, name))
    }

    /// The pattern is for this path, or for a folder in which it lies.
    pub(super) fn is_above(&self, path: &Inner) -> bool {
        let text = path.as_str();
        let ends = text
            .match_indices('/')
            .map(|(at, _)| at)
            .chain([text.len()]);
        ends.filter_map(|end| Inner::parse(&text[..end]))
            .any(|above| self.is_for(&above))
    }
}

impl fmt::Display for Glob {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

fn name_matches(pattern: &str, name: &str) -> bool {
    let (pattern, name): (Vec<_>, Vec<_>) = (pattern.chars().collect(), name.chars().collect());
    is_match(
        &pattern,
        &name,
        |part| *part == '*',
        |part, c| *part == '?' || part == c,
    )
}

/// Matches with one kind of part that stands for any number of things. Only the last such part is ever tried again,
/// which is enough, and keeps the steps at the product of both lengths.
fn is_match<P, T>(
    pattern: &[P],
    things: &[T],
    is_any: impl Fn(&P) -> bool,
    fits: impl Fn(&P, &T) -> bool,
) -> bool {
    let (mut p, mut t) = (0, 0);
    let mut again = None;
    while t < things.len() {
        match pattern.get(p) {
            Some(part) if is_any(part) => {
                again = Some((p, t));
                p += 1;
            }
            Some(part) if fits(part, &things[t]) => (p, t) = (p + 1, t + 1),
            _ => {
                let Some((any, begun)) = again else {
                    return false;
                };
                again = Some((any, begun + 1));
                (p, t) = (any + 1, begun + 1);
            }
        }
    }
    pattern[p..].iter().all(is_any)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn matches(pattern: &str, path: &str) -> bool {
        let pattern = Glob::parse(pattern).expect(pattern);
        pattern.is_for(&Inner::parse(path).expect(path))
    }

    #[test]
    fn patterns_find_their_paths() {
        for (pattern, path) in [
            ("*.md", "a.md"),
            ("*.md", "deep/down/a.md"),
            ("**/*.md", "a.md"),
            ("**/*.md", "deep/down/a.md"),
            ("notes/**", "notes/x/y.txt"),
            ("notes/**/z/*", "notes/z/a/z/b"),
            ("a?c", "äbc/aüc"),
            ("**", "a/b"),
            ("x*y*z", "xyyzz"),
        ] {
            assert!(matches(pattern, path), "{pattern} {path}");
        }
        for (pattern, path) in [
            ("*.md", "a.mdx"),
            ("*/a.md", "a.md"),
            ("*/a.md", "x/y/a.md"),
            ("notes/*", "notes/x/y.txt"),
            ("notes/**", "other/notes/x"),
            ("A", "a"),
        ] {
            assert!(!matches(pattern, path), "{pattern} {path}");
        }
    }

    #[test]
    fn a_folder_is_excluded_with_what_lies_in_it() {
        let above = |pattern: &str, path: &str| {
            let pattern = Glob::parse(pattern).expect(pattern);
            pattern.is_above(&Inner::parse(path).expect(path))
        };
        assert!(above("node_modules", "a/node_modules/b/c.js"));
        assert!(above("a/b", "a/b/c/d"));
        assert!(!above("a/b", "x/a/b"));
    }

    #[test]
    fn patterns_that_mean_nothing_are_refused() {
        for pattern in [
            "",
            "/a",
            "a/",
            "a//b",
            "../x",
            "a/./b",
            "x**/y",
            &"x".repeat(300),
        ] {
            let refused = Glob::parse(pattern).expect_err(pattern);
            assert!(refused.contains(&format!("{pattern:?}")), "{refused}");
        }
    }

    #[test]
    fn a_pattern_of_many_ways_takes_no_time_to_speak_of() {
        let (pattern, path) = (format!("{}b", "*a".repeat(120)), "a".repeat(4000));
        let begun = std::time::Instant::now();
        assert!(!matches(&pattern, &path));
        let folders = format!("{}x", "**/a/".repeat(50));
        assert!(!matches(&folders, &vec!["a"; 2000].join("/")));
        assert!(begun.elapsed().as_secs() < 5);
    }
}
