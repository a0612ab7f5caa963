//! An MCP server for benchmarks: one tool, `echo`, answered as fast as hyper can, and a count of what reached it.
//!
//! `echo-upstream [--port N] [--sessions]` prints its URL as the first line on stdout. `GET /counts` answers the
//! number of requests by JSON-RPC method, `POST /reset` sets them to zero. With `--sessions` an `initialize` is
//! answered with an `Mcp-Session-Id`, which is not asked for afterwards.

use std::sync::Arc;

use bytes::{Bytes, BytesMut};
use http::{HeaderValue, Method, Request, Response, StatusCode, header};
use http_body_util::{BodyExt as _, Limited};
use hyper::body::{Body as _, Incoming};
use hyper::service::service_fn;
use toolbus_testkit::bench::answers::answer;
use toolbus_testkit::bench::counts::Counts;
use toolbus_testkit::bench::parts::Parts;
use toolbus_testkit::bench::serve::{Failure, listen, serve};

/// The largest body read: twice what a gateway lets through by default.
const MAX_BODY: usize = 20 * 1024 * 1024;

struct Options {
    port: u16,
    sessions: bool,
}

// One thread: it is pinned to one core, and a thread that need not share wakes nobody.
#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Failure> {
    let options = options()?;
    let counts = Arc::new(Counts::default());
    let listener = listen(options.port).await?;
    let service = service_fn(move |request| {
        let counts = Arc::clone(&counts);
        async move { route(request, &counts, options.sessions).await }
    });
    serve(listener, service).await
}

fn options() -> Result<Options, Failure> {
    let mut options = Options {
        port: 0,
        sessions: false,
    };
    let mut arguments = std::env::args().skip(1);
    while let Some(argument) = arguments.next() {
        match argument.as_str() {
            "--port" => options.port = arguments.next().ok_or("--port needs a number")?.parse()?,
            "--sessions" => options.sessions = true,
            other => {
                return Err(format!("unknown option {other}; known: --port N, --sessions").into());
            }
        }
    }
    Ok(options)
}

async fn route(
    request: Request<Incoming>,
    counts: &Counts,
    sessions: bool,
) -> Result<Response<Parts>, Failure> {
    match (request.method(), request.uri().path()) {
        (&Method::POST, "/mcp") => mcp(request.into_body(), counts, sessions).await,
        (&Method::DELETE, "/mcp") => Ok(empty(StatusCode::NO_CONTENT)),
        (&Method::GET, "/counts") => Ok(json(StatusCode::OK, Bytes::from(counts.to_json()).into())),
        (&Method::POST, "/reset") => {
            counts.reset();
            Ok(empty(StatusCode::NO_CONTENT))
        }
        (_, "/mcp") => Ok(empty(StatusCode::METHOD_NOT_ALLOWED)),
        _ => Ok(empty(StatusCode::NOT_FOUND)),
    }
}

async fn mcp(body: Incoming, counts: &Counts, sessions: bool) -> Result<Response<Parts>, Failure> {
    let body = whole(body).await?;
    let answer = answer(&body, counts);
    if answer.status == StatusCode::ACCEPTED {
        return Ok(empty(answer.status));
    }
    let mut response = json(answer.status, answer.body);
    if sessions && answer.begins_session {
        let session = HeaderValue::from_static("echo-session");
        response.headers_mut().insert("mcp-session-id", session);
    }
    Ok(response)
}

/// The whole body; one that came in one piece is not copied.
async fn whole(body: Incoming) -> Result<Bytes, Failure> {
    let length = body.size_hint().exact();
    let length = length.and_then(|length| usize::try_from(length).ok());
    let mut body = Limited::new(body, MAX_BODY);
    let mut read = BytesMut::new();
    while let Some(frame) = body.frame().await {
        let Ok(piece) = frame?.into_data() else {
            continue;
        };
        if length == Some(piece.len()) {
            return Ok(piece);
        }
        if read.is_empty() {
            read.reserve(length.unwrap_or_default().min(MAX_BODY));
        }
        read.extend_from_slice(&piece);
    }
    Ok(read.freeze())
}

fn json(status: StatusCode, body: Parts) -> Response<Parts> {
    let mut response = empty(status);
    let json = HeaderValue::from_static("application/json");
    response.headers_mut().insert(header::CONTENT_TYPE, json);
    *response.body_mut() = body;
    response
}

fn empty(status: StatusCode) -> Response<Parts> {
    let mut response = Response::new(Parts::default());
    *response.status_mut() = status;
    response
}
