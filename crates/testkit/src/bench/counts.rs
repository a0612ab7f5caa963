//! How often each JSON-RPC method reached the echo upstream: the proof that one call costs one request.

use std::fmt::Write as _;
use std::sync::atomic::{AtomicU64, Ordering};

/// The methods counted under their own name; all others share the last place.
const METHODS: [&str; 7] = [
    "tools/call",
    "tools/list",
    "server/discover",
    "initialize",
    "notifications/initialized",
    "ping",
    "other",
];

/// One number per method.
#[derive(Debug, Default)]
pub struct Counts {
    by_method: [AtomicU64; METHODS.len()],
}

impl Counts {
    /// Counts one request of this method.
    pub fn add(&self, method: &str) {
        let place = METHODS.iter().position(|known| *known == method);
        let place = place.unwrap_or(METHODS.len() - 1);
        self.by_method[place].fetch_add(1, Ordering::Relaxed);
    }

    /// Sets every number to zero.
    pub fn reset(&self) {
        for count in &self.by_method {
            count.store(0, Ordering::Relaxed);
        }
    }

    /// The numbers as a JSON object, each method that was seen under its name, and `total`.
    #[must_use]
    pub fn to_json(&self) -> String {
        let mut json = String::from("{");
        let mut total = 0;
        for (method, count) in METHODS.iter().zip(&self.by_method) {
            let count = count.load(Ordering::Relaxed);
            total += count;
            if count > 0 {
                let _ = write!(json, "\"{method}\":{count},");
            }
        }
        let _ = write!(json, "\"total\":{total}}}");
        json
    }
}

#[cfg(test)]
mod tests {
    use super::Counts;

    #[test]
    fn counts_by_method_and_in_total() {
        let counts = Counts::default();
        counts.add("tools/call");
        counts.add("tools/call");
        counts.add("prompts/list");
        assert_eq!(counts.to_json(), r#"{"tools/call":2,"other":1,"total":3}"#);
        counts.reset();
        assert_eq!(counts.to_json(), r#"{"total":0}"#);
    }
}
