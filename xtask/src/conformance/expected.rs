//! The list of scenarios that may fail for now, which can only shrink: `xtask/expected-failures.yml`.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::Path;

use anyhow::{Context as _, Result, bail};

/// The scenarios that may fail, by requirement set and route.
#[derive(Debug, Default)]
pub(super) struct Expected {
    lists: BTreeMap<(String, String), BTreeSet<String>>,
}

impl Expected {
    /// Reads the file.
    pub(super) fn read(path: &Path) -> Result<Self> {
        let text =
            fs::read_to_string(path).with_context(|| format!("cannot read {}", path.display()))?;
        parse(&text).with_context(|| format!("cannot parse {}", path.display()))
    }

    /// The scenarios that may fail for this set on this route.
    pub(super) fn of(&self, revision: &str, route: &str) -> &BTreeSet<String> {
        static NONE: BTreeSet<String> = BTreeSet::new();
        let key = (revision.to_owned(), route.to_owned());
        self.lists.get(&key).unwrap_or(&NONE)
    }
}

/// Reads the three shapes that the file has, and no more of YAML: `"set":`, `route:` two spaces in, `- scenario` four.
fn parse(text: &str) -> Result<Expected> {
    let mut expected = Expected::default();
    let (mut revision, mut route) = (String::new(), String::new());
    for (number, line) in (1..).zip(text.lines()) {
        let content = line.split(" #").next().unwrap_or_default().trim_end();
        let (indent, content) = (
            content.len() - content.trim_start().len(),
            content.trim_start(),
        );
        match (
            indent,
            content.strip_prefix("- "),
            content.strip_suffix(':'),
        ) {
            _ if content.is_empty() || content.starts_with('#') => {}
            (0, None, Some(name)) => revision = name.trim_matches('"').to_owned(),
            (2, None, Some(name)) => route = name.to_owned(),
            (4, Some(scenario), _) if !route.is_empty() => {
                let list = expected.lists.entry((revision.clone(), route.clone()));
                if !list.or_default().insert(scenario.to_owned()) {
                    bail!("line {number}: {scenario} is listed twice for {revision} {route}");
                }
            }
            _ => bail!("line {number}: not `\"set\":`, `  route:` or `    - scenario`"),
        }
    }
    Ok(expected)
}

#[cfg(test)]
mod tests {
    use super::parse;

    #[test]
    fn reads_sets_routes_and_scenarios() {
        let text = "# why\n\"2026-07-28\":\n  http:\n    - tasks-lifecycle # a reason\n  stdio:\n";
        let expected = parse(text).unwrap();
        assert!(
            expected
                .of("2026-07-28", "http")
                .contains("tasks-lifecycle")
        );
        assert!(expected.of("2026-07-28", "stdio").is_empty());
    }

    #[test]
    fn refuses_what_it_does_not_understand() {
        for text in [
            "http: []\n",
            "\"a\":\n   http:\n",
            "- x\n",
            "\"a\":\n  b:\n    - c\n    - c\n",
        ] {
            assert!(parse(text).is_err(), "{text:?}");
        }
    }
}
