//! `{{name}}` in a text, and what else stands there.

/// A piece of a text.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Part {
    /// Stands as it is.
    Text(String),
    /// Stands for a value, by its place among the names.
    Value(usize),
}

impl Part {
    /// What stands there with these values.
    pub(super) fn with<'a>(&'a self, values: &'a [String]) -> &'a str {
        match self {
            Self::Text(text) => text,
            Self::Value(at) => &values[*at],
        }
    }
}

/// Cuts a text at its placeholders. One is `{{name}}`, with or without spaces within; `\{{` writes braces that are none.
/// Other things in braces stay as they are. `line` is the one where the text begins.
pub(super) fn parts(text: &str, line: usize, names: &[&str]) -> Result<Vec<Part>, String> {
    let mut parts = Vec::new();
    let mut plain = String::new();
    let mut rest = text;
    while let Some(at) = rest.find("{{") {
        let (before, from) = rest.split_at(at);
        if let Some(before) = before.strip_suffix('\\') {
            plain.push_str(before);
            plain.push_str("{{");
            rest = &from[2..];
            continue;
        }
        plain.push_str(before);
        let Some((name, after)) = placeholder(from) else {
            plain.push('{');
            rest = &from[1..];
            continue;
        };
        let Some(value) = names.iter().position(|known| *known == name) else {
            let line = line + text[..text.len() - from.len()].matches('\n').count();
            return Err(format!(
                "line {line}: the placeholder {{{{{name}}}}} has no argument in the front matter: add one of this name under `arguments`, or write `\\{{{{{name}}}}}` where no placeholder is meant"
            ));
        };
        parts.extend(taken(&mut plain));
        parts.push(Part::Value(value));
        rest = after;
    }
    plain.push_str(rest);
    parts.extend(taken(&mut plain));
    Ok(parts)
}

fn taken(plain: &mut String) -> Option<Part> {
    let text = std::mem::take(plain);
    (!text.is_empty()).then_some(Part::Text(text))
}

/// The name in the placeholder with which `text` begins, and what follows.
fn placeholder(text: &str) -> Option<(&str, &str)> {
    let (name, after) = text.strip_prefix("{{")?.split_once("}}")?;
    let name = name.trim_matches(' ');
    is_name(name).then_some((name, after))
}

/// A name that an argument can have.
pub(super) fn is_name(name: &str) -> bool {
    let fits = |c: char| c.is_alphanumeric() || c == '_' || c == '-';
    name.chars().all(fits) && name.starts_with(|c: char| c.is_alphabetic() || c == '_')
}

#[cfg(test)]
mod tests {
    use super::*;

    fn cut(text: &str) -> Result<String, String> {
        let parts = parts(text, 1, &["a", "file-name"])?;
        let shown = parts.into_iter().map(|part| match part {
            Part::Text(text) => format!("[{text}]"),
            Part::Value(at) => at.to_string(),
        });
        Ok(shown.collect())
    }

    #[test]
    fn placeholders_are_cut_out() {
        for (text, shown) in [
            ("", ""),
            ("{{a}}", "0"),
            ("x {{ file-name }}{{a}} y", "[x ]10[ y]"),
            ("{{{a}}}", "[{]0[}]"),
            ("\\{{a}} {{#if a}} {{ }} {{a", "[{{a}} {{#if a}} {{ }} {{a]"),
            ("{{ä", "[{{ä]"),
        ] {
            assert_eq!(cut(text).as_deref(), Ok(shown), "{text}");
        }
    }

    #[test]
    fn a_placeholder_of_nothing_is_told() {
        let told = cut("one\ntwo {{fil}}").expect_err("refused");
        assert!(
            told.starts_with("line 2: the placeholder {{fil}} has no argument"),
            "{told}"
        );
    }
}
