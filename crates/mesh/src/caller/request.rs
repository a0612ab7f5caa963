//! A request as it goes to a worker: the complete JSON-RPC request of 2026-07-28.

use std::sync::LazyLock;

use toolbus_model::json::{Edit, write_string};
use toolbus_model::{CallId, CallSeed, Object, Raw, Request, Revision};
use toolbus_protocol::{meta, trace, write};

/// The id and the token for progress of every request: each has a subject of its own for its replies.
const ID: u64 = 1;

/// The body of a request. It always has a token for progress, which is a sign of life also where the caller does not want
/// to see it.
pub(super) fn body(request: &Request, call: CallId, seed: &CallSeed) -> Vec<u8> {
    let meta = request_meta(&request.meta, call, seed);
    let target = request.target.as_deref().map(quoted);
    let mut edits: Vec<(&str, Edit<'_>)> = Vec::with_capacity(2);
    if let (Some(member), Some(target)) = (request.method.target_member(), &target) {
        // Only a name that differs is written anew; the spelling of the caller's own stays.
        let same = request.params.str(member).as_deref() == request.target.as_deref();
        edits.extend((!same).then_some((member, Edit::Put(target))));
    }
    edits.push(("_meta", Edit::Put(&meta)));
    let size = request.params.bytes().len() + meta.len();
    write::request(
        Some(ID),
        request.method.as_str(),
        |out| request.params.rewrite(&edits, out),
        size,
    )
}

fn request_meta(given: &Object, call: CallId, seed: &CallSeed) -> Vec<u8> {
    let level = seed.log_level.map(|level| quoted(level.as_str()));
    let parent = trace::onward(&seed.trace, call).map(|parent| quoted(&parent));
    let beside = [
        ("tracestate", seed.trace.state.as_deref().map(quoted)),
        ("baggage", seed.trace.baggage.as_deref().map(quoted)),
    ];
    let client = seed.client.as_ref().map_or(US.bytes(), Raw::bytes);
    let mut edits = vec![
        (meta::VERSION, Edit::Put(VERSION.bytes())),
        (meta::CAPABILITIES, Edit::Put(seed.capabilities.bytes())),
        (meta::CLIENT, Edit::Put(client)),
        (
            meta::LOG_LEVEL,
            level.as_deref().map_or(Edit::Drop, Edit::Put),
        ),
        (meta::PROGRESS, Edit::Put(b"1")),
    ];
    edits.extend(
        parent
            .iter()
            .map(|parent| ("traceparent", Edit::Put(&parent[..]))),
    );
    for (name, value) in &beside {
        edits.extend(value.iter().map(|value| (*name, Edit::Default(&value[..]))));
    }
    let mut out = Vec::with_capacity(given.bytes().len() + 320);
    given.rewrite(&edits, &mut out);
    out
}

static VERSION: LazyLock<Raw> = LazyLock::new(|| Raw::of(Revision::V2026_07_28.as_str()));

/// How we introduce ourselves where the client does not say who it is.
static US: LazyLock<Raw> = LazyLock::new(|| {
    Raw::of(&serde_json::json!({"name": "toolbus", "version": env!("CARGO_PKG_VERSION")}))
});

fn quoted(text: &str) -> Vec<u8> {
    let mut out = Vec::with_capacity(text.len() + 2);
    write_string(text, &mut out);
    out
}

#[cfg(test)]
pub(crate) mod tests {
    use toolbus_model::{Caller, Method, Trace};

    use super::*;

    pub(crate) fn seed() -> CallSeed {
        CallSeed {
            caller: Caller::local(),
            revision: Revision::V2026_07_28,
            door: "test",
            capabilities: Object::empty().to_raw(),
            client: None,
            log_level: None,
            progress_token: None,
            trace: Trace::default(),
        }
    }

    #[test]
    fn a_request_has_the_servers_own_name_and_says_who_asks() {
        let params = r#"{"name":"math_add","arguments":{ "a" : 1.0 },"_meta":{"x":7,"progressToken":"mine"}}"#;
        let params = Object::parse(params.into()).expect("JSON");
        let request = Request {
            method: Method::ToolsCall,
            target: Some("add".into()),
            meta: params.object("_meta").expect("there").expect("an object"),
            params,
        };
        let text = String::from_utf8(body(&request, CallId::new(), &seed())).expect("text");
        let version = env!("CARGO_PKG_VERSION");
        let expected = format!(
            r#"{{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{{"name":"add","arguments":{{ "a" : 1.0 }},"_meta":{{"x":7,"progressToken":1,"io.modelcontextprotocol/protocolVersion":"2026-07-28","io.modelcontextprotocol/clientCapabilities":{{}},"io.modelcontextprotocol/clientInfo":{{"name":"toolbus","version":"{version}"}}}}}}}}"#
        );
        assert_eq!(text, expected);
    }
}
