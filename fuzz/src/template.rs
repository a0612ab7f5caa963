//! URIs against resource templates: the quick way to match them agrees with trying every way.

use toolbus_gateway::template::matches;

/// Trying every way takes steps in the power of the number of expressions.
const SHORT: usize = 40;

/// Longer templates match nothing: their bound in `gateway/template.rs`.
const LONGEST: usize = 2_048;

pub(crate) fn check(data: &[u8]) {
    let text = String::from_utf8_lossy(data);
    let (template, uri) = text.split_once('\n').unwrap_or((&text, ""));
    let ours = matches(template, uri);
    let is_short = template.len() <= LONGEST && uri.len() < SHORT;
    if is_short && template.matches('{').count() < 5 {
        assert_eq!(ours, tried(template, uri), "{template:?} {uri:?}");
    }
    assert!(template.contains('{') || ours == (template == uri));
}

fn tried(template: &str, uri: &str) -> bool {
    let Some((literal, rest)) = template.split_once('{') else {
        return template == uri;
    };
    let (Some(uri), Some((expression, rest))) = (uri.strip_prefix(literal), rest.split_once('}'))
    else {
        return false;
    };
    let has_operator = expression.starts_with(['+', '#', '.', '/', ';', '?', '&']);
    let spans = has_operator || expression.ends_with('*');
    (0..=uri.len()).any(|end| {
        uri.is_char_boundary(end)
            && (has_operator || end > 0)
            && (spans || !uri[..end].contains('/'))
            && tried(rest, &uri[end..])
    })
}
