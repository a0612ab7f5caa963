//! References between schemas: made absolute by RFC 3986, section 5, and never fetched.

/// What a schema is called that does not say.
pub(super) const NAMELESS: &str = "schema:///";

/// `reference`, seen from `base`, which is absolute: what it names, and the fragment, where there is one.
pub(super) fn resolve(base: &str, reference: &str) -> (String, String) {
    let (reference, fragment) = reference.split_once('#').unwrap_or((reference, ""));
    (absolute(base, reference), decoded(fragment))
}

fn absolute(base: &str, reference: &str) -> String {
    if reference.is_empty() {
        return base.to_owned();
    }
    if scheme(reference).is_some() {
        return reference.to_owned();
    }
    let scheme = scheme(base).unwrap_or_default();
    let rest = &base[scheme.len()..];
    if reference.starts_with("//") {
        return format!("{scheme}{reference}");
    }
    let host = match rest.strip_prefix("//") {
        Some(host) => 2 + host.find('/').unwrap_or(host.len()),
        None => 0,
    };
    let (host, path) = rest.split_at(host);
    let path = path.split('?').next().unwrap_or_default();
    let folder = path.rfind('/').map_or("/", |at| &path[..=at]);
    let whole = match reference.starts_with('/') {
        true => reference.to_owned(),
        false => format!("{folder}{reference}"),
    };
    format!("{scheme}{host}{}", without_dots(&whole))
}

/// The scheme of an absolute URI, with its colon.
fn scheme(uri: &str) -> Option<&str> {
    let end = uri.find(|c: char| !c.is_ascii_alphanumeric() && !"+-.".contains(c))?;
    let is_one = end > 0 && uri[end..].starts_with(':');
    is_one.then(|| &uri[..=end])
}

fn without_dots(path: &str) -> String {
    let (path, query) = path.split_at(path.find('?').unwrap_or(path.len()));
    let mut kept: Vec<&str> = Vec::new();
    let mut steps = path.split('/').skip(1).peekable();
    while let Some(step) = steps.next() {
        let is_last = steps.peek().is_none();
        match step {
            "." if is_last => kept.push(""),
            "." => {}
            ".." => {
                kept.pop();
                if is_last {
                    kept.push("");
                }
            }
            step => kept.push(step),
        }
    }
    format!("/{}{query}", kept.join("/"))
}

/// Text without its percent signs.
fn decoded(text: &str) -> String {
    if !text.contains('%') {
        return text.to_owned();
    }
    let bytes = text.as_bytes();
    let mut out = Vec::with_capacity(bytes.len());
    let mut at = 0;
    while at < bytes.len() {
        let hex = text.get(at + 1..at + 3).filter(|_| bytes[at] == b'%');
        match hex.and_then(|hex| u8::from_str_radix(hex, 16).ok()) {
            Some(byte) => {
                out.push(byte);
                at += 3;
            }
            None => {
                out.push(bytes[at]);
                at += 1;
            }
        }
    }
    String::from_utf8_lossy(&out).into_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn references_are_seen_from_their_base() {
        let seen = |base, reference| {
            let (uri, fragment) = resolve(base, reference);
            format!("{uri}|{fragment}")
        };
        let base = "http://a/b/c/d?q";
        assert_eq!(seen(base, "#/x%25y/z"), "http://a/b/c/d?q|/x%y/z");
        assert_eq!(seen(base, "g"), "http://a/b/c/g|");
        assert_eq!(seen(base, "./g#s"), "http://a/b/c/g|s");
        assert_eq!(seen(base, "/g"), "http://a/g|");
        assert_eq!(seen(base, "//g"), "http://g|");
        assert_eq!(seen(base, "../../g"), "http://a/g|");
        assert_eq!(seen(base, "../.."), "http://a/|");
        assert_eq!(seen(base, "urn:x:y#z"), "urn:x:y|z");
        assert_eq!(seen("urn:x:y", "#z"), "urn:x:y|z");
        assert_eq!(seen("http://a", "g"), "http://a/g|");
        assert_eq!(seen(NAMELESS, "item.json"), "schema:///item.json|");
    }
}
