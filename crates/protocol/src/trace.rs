//! W3C trace context (SEP-414): read from `_meta` or headers, and continued by a span of our own.

use http::HeaderMap;
use toolbus_model::{CallId, Object, Trace};

/// Reads the trace context. What `_meta` says wins over what headers say: it survives more hops.
pub fn read(meta: &Object, headers: Option<&HeaderMap>) -> Trace {
    let from = |name: &str| {
        let header = || headers?.get(name)?.to_str().ok().map(str::to_owned);
        meta.str(name)
            .map(|value| value.into_owned())
            .or_else(header)
            .filter(|value| value.len() <= 8192)
    };
    match from("traceparent").filter(|parent| is_traceparent(parent)) {
        Some(parent) => Trace {
            parent: Some(parent),
            state: from("tracestate"),
            baggage: from("baggage"),
        },
        None => Trace {
            baggage: from("baggage"),
            ..Trace::default()
        },
    }
}

/// The trace as the next hop sees it: same trace, our span as the parent.
pub fn onward(trace: &Trace, call: CallId) -> Option<String> {
    let parent = trace.parent.as_deref()?;
    // The last 16 hex digits of a UUIDv7 are random.
    let id = call.to_string().replace('-', "");
    Some(format!("{}{}{}", &parent[..36], &id[16..], &parent[52..]))
}

/// The trace id, for records.
pub fn id(trace: &Trace) -> Option<&str> {
    trace.parent.as_deref().map(|parent| &parent[3..35])
}

/// `version-traceid-spanid-flags`, lower-case hex, ids not all zero (W3C Trace Context, 3.2.2).
fn is_traceparent(text: &str) -> bool {
    let hex = |part: &str| {
        part.bytes()
            .all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f'))
    };
    let parts: Vec<&str> = text.split('-').collect();
    let [version, trace, span, flags] = parts[..] else {
        return false;
    };
    [version, trace, span, flags].into_iter().all(hex)
        && (version.len(), trace.len(), span.len(), flags.len()) == (2, 32, 16, 2)
        && version != "ff"
        && trace.bytes().any(|byte| byte != b'0')
        && span.bytes().any(|byte| byte != b'0')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_trace_goes_on_with_a_span_of_ours() {
        let meta = Object::of(
            &serde_json::json!({"traceparent": "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"}),
        );
        let trace = read(&meta, None);
        assert_eq!(id(&trace), Some("0af7651916cd43dd8448eb211c80319c"));
        let onward = onward(&trace, CallId::new()).expect("a parent");
        assert!(is_traceparent(&onward));
        assert!(
            onward.starts_with("00-0af7651916cd43dd8448eb211c80319c-") && onward.ends_with("-01")
        );
        assert!(!onward.contains("b7ad6b7169203331"));
    }

    #[test]
    fn what_is_not_a_traceparent_is_not_carried() {
        for bad in [
            "",
            "00-0-0-0",
            "00-00000000000000000000000000000000-b7ad6b7169203331-01",
            "ÿ",
        ] {
            let trace = read(
                &Object::of(&serde_json::json!({"traceparent": bad, "tracestate": "a=b"})),
                None,
            );
            assert_eq!(trace, Trace::default(), "{bad}");
        }
    }
}
