//! One request at a runner: how it is written, and both forms in which it is answered.

use bytes::Bytes;
use http::HeaderValue;
use http::header::CONTENT_TYPE;
use http_body_util::BodyExt as _;
use hyper::body::Incoming;
use serde_json::value::RawValue;
use toolbus_model::json::Edit;
use toolbus_model::{Call, Error, Kind, Line, Method, Object, Outcome, Raw, Request, Revision};
use toolbus_protocol::lines::Lines;

use super::Runner;
use super::way::{BOTH, too_large};
use crate::mcp::outgoing::MAX_MESSAGE;
use crate::mcp::{dialect, retry};
use crate::pool::chain;
use crate::pulse::Pulse;

/// What a runner is sent of a request beside its name, arguments and `_meta`.
const CARRIED: [&str; 5] = [
    "requestState",
    "inputResponses",
    "ref",
    "argument",
    "context",
];

/// How long the end of an answer may stay away whose last line has come. Without it the connection is not used again.
const REST_WITHIN: std::time::Duration = std::time::Duration::from_secs(1);

impl Runner {
    /// Has a request done.
    pub(super) async fn ask(&self, request: &Request, call: &Call) -> Result<Outcome, Error> {
        let request = retry::towards(Revision::V2026_07_28, request, call)?;
        let exchange = self.exchange(&request, call);
        let answer = tokio::select! {
            answer = exchange => answer,
            // The exchange is dropped, and with it the connection: that is how a runner learns of it.
            () = call.cancelled() => Err(self.way.unknown("the runner had not answered")),
        };
        match answer {
            Ok(result) => self.outcome(result, &request, call),
            Err(error) => Err(unknown_target(error, &request)),
        }
    }

    async fn exchange(&self, request: &Request, call: &Call) -> Result<Object, Error> {
        let body = body(request, call);
        let response = self.way.post(path(&request.method), body, BOTH).await?;
        let (head, body) = response.into_parts();
        if head.status.is_success() && is_lines(head.headers.get(CONTENT_TYPE)) {
            return self.read_lines(body, call.line()).await;
        }
        let body = self.way.read_all(body).await?;
        if !head.status.is_success() {
            return Err(self.way.refused(head.status, &head.headers, &body));
        }
        let found = Object::parse(body).map_err(|error| {
            let what = format!("the runner's answer is {error}");
            self.way.unknown(&what)
        })?;
        // The last line of a stream, as the whole answer.
        match (found.get("content"), found.object("result")) {
            (None, Some(Ok(result))) => Ok(result),
            _ => Ok(found),
        }
    }

    /// Reads line after line until the one with the result.
    async fn read_lines(&self, mut body: Incoming, line: &Line) -> Result<Object, Error> {
        let mut lines = Lines::new(MAX_MESSAGE);
        loop {
            while let Some(said) = lines.next_line().map_err(|_| too_large())? {
                if let Some(end) = self.hear(said, line) {
                    self.finish(body);
                    return end;
                }
            }
            match body.frame().await {
                Some(Ok(frame)) => {
                    if let Ok(data) = frame.into_data() {
                        lines.buffer().extend_from_slice(&data);
                    }
                }
                Some(Err(error)) => return Err(self.way.lost(&chain(&error))),
                None => {
                    let rest = lines.buffer().split().freeze();
                    let end = match rest.is_empty() {
                        true => None,
                        false => self.hear(rest, line),
                    };
                    let what = "the runner ended its answer without a result";
                    return end.unwrap_or_else(|| Err(self.way.unknown(what)));
                }
            }
        }
    }

    /// Takes a line; answers with the end of the call, where it says it.
    fn hear(&self, said: Bytes, line: &Line) -> Option<Result<Object, Error>> {
        let malformed = |why: &str| {
            let what = format!("the runner's answer has a line that is not understood: {why}");
            Some(Err(self.way.unknown(&what)))
        };
        match Pulse::read(said) {
            Ok(Pulse::Sign(event)) => {
                line.tell(event);
                None
            }
            Ok(Pulse::Result(result)) => match Object::from_raw(&result) {
                Ok(result) => Some(Ok(result)),
                Err(_) => malformed("its \"result\" is no object"),
            },
            Ok(Pulse::Failed(error)) => Some(Err(error)),
            Err(why) => malformed(&why),
        }
    }

    /// Reads what may still come of an answer, so that its connection can be used again.
    fn finish(&self, mut body: Incoming) {
        let rest = async move {
            let end = async { while let Some(Ok(_)) = body.frame().await {} };
            let _ = tokio::time::timeout(REST_WITHIN, end).await;
        };
        self.tasks.spawn(rest);
    }

    fn outcome(&self, result: Object, request: &Request, call: &Call) -> Result<Outcome, Error> {
        match result.str("resultType").as_deref() {
            Some("input_required") => Ok(Outcome::InputRequired(dialect::asks(result, call))),
            None | Some("complete") => {
                if request.method == Method::ToolsCall {
                    let why = tool_result(&result);
                    why.map_err(|why| {
                        let what = format!("the runner's answer is no result of a tool: {why}");
                        self.way.unknown(&what)
                    })?;
                }
                Ok(Outcome::Complete(result))
            }
            Some(other) => {
                let what = format!("the runner answered with a result of type {other:?}");
                Err(self.way.unknown(&what))
            }
        }
    }
}

/// What a client must be able to rely on. What the blocks hold is theirs to read.
fn tool_result(result: &Object) -> Result<(), &'static str> {
    let content = result.raw("content").ok_or("it has no \"content\"")?;
    let blocks: Result<Vec<&RawValue>, _> = content.read();
    let blocks = blocks.map_err(|_| "\"content\" is no array")?;
    if !blocks.iter().all(|block| block.get().starts_with('{')) {
        return Err("an entry of \"content\" is no object");
    }
    match result.get("isError") {
        None | Some(b"true" | b"false") => Ok(()),
        Some(_) => Err("\"isError\" is neither true nor false"),
    }
}

fn path(method: &Method) -> &'static str {
    match method {
        Method::PromptsGet => "/prompts/get",
        Method::ResourcesRead => "/resources/read",
        Method::Complete => "/completion/complete",
        _ => "/run_tool",
    }
}

fn body(request: &Request, call: &Call) -> Vec<u8> {
    let params = &request.params;
    let target = request.target.as_deref().map(dialect::quoted);
    let meta = dialect::modern_meta(Revision::V2026_07_28, 1, &request.meta, call);
    let arguments = params.raw("arguments");
    let nothing: &[u8] = b"{}";
    let mut edits = Vec::with_capacity(8);
    if let (Some(member), Some(target)) = (request.method.target_member(), &target) {
        edits.push((member, Edit::Put(target)));
    }
    if matches!(request.method, Method::ToolsCall | Method::PromptsGet) {
        let arguments = arguments.as_ref().map_or(nothing, Raw::bytes);
        edits.push(("arguments", Edit::Put(arguments)));
    }
    let carried = CARRIED.map(|name| (name, params.get(name)));
    let present = carried
        .iter()
        .filter_map(|(name, value)| Some((*name, Edit::Put((*value)?))));
    edits.extend(present);
    edits.push(("_meta", Edit::Put(&meta)));
    let mut out = Vec::with_capacity(params.bytes().len() + meta.len() + 64);
    Object::empty().rewrite(&edits, &mut out);
    out
}

/// What a runner does not know is unknown to the caller in the gateway's own words.
fn unknown_target(error: Error, request: &Request) -> Error {
    let Error::Upstream { code, message, .. } = &error else {
        return error;
    };
    let said = message.to_lowercase();
    let is_unknown = said.contains("unknown") || said.contains("not found");
    let kind = match request.method {
        Method::ToolsCall if !said.contains("requeststate") => Kind::Tool,
        Method::PromptsGet => Kind::Prompt,
        Method::ResourcesRead => Kind::Resource,
        _ => return error,
    };
    match (code, &request.target) {
        (-32602 | -32002, Some(name)) if is_unknown => Error::Unknown {
            kind,
            name: name.as_ref().to_owned(),
        },
        _ => error,
    }
}

fn is_lines(kind: Option<&HeaderValue>) -> bool {
    let lines = |kind: &HeaderValue| {
        let kind = kind.as_bytes().to_ascii_lowercase();
        kind.starts_with(b"application/x-ndjson") || kind.starts_with(b"application/ndjson")
    };
    kind.is_some_and(lines)
}
