//! Which resource template a URI belongs to (RFC 6570, as far as routing needs it).

/// Longest URI that is matched, in bytes. Longer ones carry data and name no place; matching takes some microseconds for
/// each KiB and template.
const MAX_URI: usize = 64 * 1024;

/// Longest template that is matched.
const MAX_TEMPLATE: usize = 2048;

/// True when `uri` can come from `template`: literals must match, an expression stands for any text, which for a plain
/// `{name}` holds no slash.
pub fn matches(template: &str, uri: &str) -> bool {
    let Some((first, last)) = template.find('{').zip(template.rfind('}')) else {
        return template == uri && !template.contains('{');
    };
    // Most templates are another server's: their first or last words tell.
    if !uri.starts_with(&template[..first])
        || !uri.ends_with(&template[last + 1..])
        || uri.len() > MAX_URI
        || template.len() > MAX_TEMPLATE
    {
        return false;
    }
    let mut reached = Reached::start(uri);
    let mut rest = template;
    while let Some((literal, expression)) = rest.split_once('{') {
        let Some((expression, after)) = expression.split_once('}') else {
            return false;
        };
        reached.literal(literal);
        reached.expression(expression);
        rest = after;
    }
    reached.literal(rest);
    reached.is_end()
}

/// Every place of a URI up to which a template can have come. All ways are walked at once: trying one after the other
/// takes steps in the power of the number of expressions.
struct Reached<'u> {
    uri: &'u str,
    /// One for each byte, and one for the end.
    places: Vec<bool>,
}

impl<'u> Reached<'u> {
    fn start(uri: &'u str) -> Self {
        let mut places = vec![false; uri.len() + 1];
        places[0] = true;
        Self { uri, places }
    }

    fn literal(&mut self, text: &str) {
        let bytes = self.uri.as_bytes();
        for end in (0..self.places.len()).rev() {
            let begin = end.checked_sub(text.len());
            self.places[end] = begin
                .is_some_and(|begin| self.places[begin] && bytes[begin..end] == *text.as_bytes());
        }
    }

    fn expression(&mut self, expression: &str) {
        let has_operator = expression.starts_with(['+', '#', '.', '/', ';', '?', '&']);
        let spans_slashes = has_operator || expression.ends_with('*');
        let mut goes_on = false;
        for place in 0..self.places.len() {
            let may_stop = goes_on && self.uri.is_char_boundary(place);
            let begins = self.places[place];
            self.places[place] = may_stop || (begins && has_operator);
            goes_on |= begins;
            goes_on &= spans_slashes || self.uri.as_bytes().get(place) != Some(&b'/');
        }
    }

    fn is_end(&self) -> bool {
        self.places.last() == Some(&true)
    }
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
        assert!(matches("{+a}b{c*}", "/b/b/"));
        assert!(
            !matches("{c*}", ""),
            "a plain expression stands for something"
        );
        assert!(matches("{a}{b}", "éü") && !matches("{a}{b}", "é"));
        assert!(!matches("broken{", "broken") && !matches("}{", "}x"));
        assert!(matches("}", "}") && matches("a}{+b}", "a}"));
    }

    #[test]
    fn a_long_uri_of_many_ways_takes_no_time_to_speak_of() {
        let uri = format!("x://{}", "a/".repeat(MAX_URI / 2 - 2));
        let template = "x://{+a}/{+b}/{+c}/{+d}/{+e}/{+f}/{+g}/{h}";
        let begun = std::time::Instant::now();
        assert!(!matches(template, &uri) && matches(&template[..template.len() - 3], &uri));
        assert!(!matches("x://{+a}", &format!("{uri}too long")));
        assert!(begun.elapsed().as_secs() < 5);
    }
}
