//! Which resource template a URI belongs to (RFC 6570, as far as routing needs it).

/// True when `uri` can come from `template`: literals must match, an expression stands for any text, which for a plain
/// `{name}` holds no slash.
pub(crate) fn matches(template: &str, uri: &str) -> bool {
    let Some(open) = template.find('{') else {
        return template == uri;
    };
    let (literal, rest) = template.split_at(open);
    let Some(uri) = uri.strip_prefix(literal) else {
        return false;
    };
    let Some(close) = rest.find('}') else {
        return false;
    };
    let (expression, rest) = (&rest[1..close], &rest[close + 1..]);
    let operator = expression.chars().next().filter(|c| "+#./;?&".contains(*c));
    let spans_slashes = operator.is_some() || expression.ends_with('*');
    let longest = if spans_slashes {
        uri.len()
    } else {
        uri.find('/').unwrap_or(uri.len())
    };
    let shortest = usize::from(operator.is_none());
    // Longest first: a later literal then finds the last place where it can stand.
    (shortest..=longest)
        .rev()
        .any(|end| uri.is_char_boundary(end) && matches(rest, &uri[end..]))
}

/// Expressions in one template that are still matched: matching takes steps in the power of their number.
const MAX_EXPRESSIONS: usize = 8;

/// True when [`matches`] may be asked of this template.
pub(crate) fn is_matchable(template: &str) -> bool {
    template.len() <= 2048 && template.matches('{').count() <= MAX_EXPRESSIONS
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn uris_find_their_templates() {
        assert!(matches(
            "test://template/{id}/data",
            "test://template/42/data"
        ));
        assert!(!matches(
            "test://template/{id}/data",
            "test://template//data"
        ));
        assert!(!matches(
            "test://template/{id}/data",
            "test://template/a/b/data"
        ));
        assert!(matches("file:///{+path}", "file:///a/b/c.txt"));
        assert!(matches("db://{table}{?limit}", "db://users?limit=3"));
        assert!(matches("db://{table}{?limit}", "db://users"));
        assert!(matches("a{x}b{y}c", "a1b2b3c"));
        assert!(!matches("broken{", "broken"));
    }
}
