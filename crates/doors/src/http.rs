//! Streamable HTTP: the listener, its bounds, and the paths. What happens at an MCP endpoint is in `endpoint`.

mod api;
mod endpoint;
mod old_sse;
mod room;
mod session;
mod socket;

use std::convert::Infallible;
use std::io;
use std::sync::Arc;
use std::time::Duration;

use arc_swap::ArcSwap;
use http::{Method, Request, Response, StatusCode, header};
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use serde_json::json;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::broadcast;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use toolbus_gateway::{Gateway, Scope};
use toolbus_model::{Caller, Error, ServerName};

use crate::capability::{Api, Ledger, Settings};
use crate::guard::{Access, Refusal};
use crate::legacy::Legacy;
use crate::observe::{self, json_response};
use crate::stream::Body;
use old_sse::{MESSAGES, OldStreams};
use room::{Answering, Quiet, Room};
use socket::Socket;

/// What a listener bears.
#[derive(Debug, Clone)]
pub struct Limits {
    /// Largest request body, in bytes.
    pub body: usize,
    /// Connections at once; further ones wait to be accepted, until one on which nothing is asked has gone.
    pub connections: usize,
    /// Longest time for a request's head to arrive, which is also how long an idle connection is kept.
    pub head_within: Duration,
    /// Longest time for a request's body to arrive.
    pub body_within: Duration,
    /// Longest time in which a client takes nothing of an answer that waits for it.
    pub taken_within: Duration,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            body: 10 * 1024 * 1024,
            connections: 4_096,
            head_within: Duration::from_secs(30),
            body_within: Duration::from_secs(60),
            taken_within: Duration::from_secs(60),
        }
    }
}

/// Most headers of one request, and the most bytes of its head.
const MAX_HEADERS: usize = 64;
const MAX_HEAD: usize = 64 * 1024;

/// How long open connections may take to finish when the door closes.
const CLOSE_WITHIN: Duration = Duration::from_secs(5);

/// How to authenticate.
pub(crate) const CHALLENGE: header::HeaderValue =
    header::HeaderValue::from_static("Bearer realm=\"toolbus\"");

/// After a failed accept, such as for want of descriptors.
const ACCEPT_AGAIN: Duration = Duration::from_millis(100);

/// The HTTP door.
pub struct HttpDoor {
    gateway: Arc<Gateway>,
    access: ArcSwap<Access>,
    legacy: Arc<Legacy>,
    old_streams: Arc<OldStreams>,
    limits: Limits,
    capabilities: ArcSwap<Api>,
    /// What outlives a request: calls whose clients went away, and what tells of changes.
    tasks: TaskTracker,
    /// Ends streams that would not end by themselves.
    ending: CancellationToken,
}

/// How long a session can last: as long it has to be known that it was ended.
pub const SESSION_LIFETIME: Duration = crate::legacy::LIFETIME;

impl HttpDoor {
    /// A door to this gateway.
    pub fn new(gateway: Arc<Gateway>, access: Access, limits: Limits) -> Arc<Self> {
        Arc::new(Self {
            legacy: Legacy::new(gateway.key().clone()),
            old_streams: Arc::default(),
            tasks: TaskTracker::new(),
            ending: CancellationToken::new(),
            capabilities: ArcSwap::new(Api::new(
                Arc::clone(&gateway),
                Settings::default(),
                Ledger::default(),
            )),
            gateway,
            access: ArcSwap::from_pointee(access),
            limits,
        })
    }

    /// Serves the capability API like this from now on.
    pub fn serve_capabilities(&self, api: Arc<Api>) {
        self.capabilities.store(api);
    }

    /// The short names of sessions that clients end here from now on. Other replicas are to be told.
    pub fn farewells(&self) -> broadcast::Receiver<String> {
        self.legacy.sessions.farewells()
    }

    /// A session of this short name was ended at another replica.
    pub fn end_session(&self, tag: &str) {
        self.legacy.has_ended(tag);
    }

    /// Lets others in from now on. Who is inside already finishes what is under way.
    pub fn admit(&self, access: Access) {
        self.access.store(Arc::new(access));
    }

    /// Serves connections until `closing`, then lets the open ones finish what they are at.
    pub async fn serve(
        self: Arc<Self>,
        listener: TcpListener,
        closing: CancellationToken,
    ) -> io::Result<()> {
        let (tasks, room) = (
            TaskTracker::new(),
            Arc::new(Room::new(self.limits.connections)),
        );
        let (legacy, ending) = (Arc::clone(&self.legacy), self.ending.clone());
        let clearing = async move { legacy.feeds.clear_out(&legacy.tapes).await };
        self.tasks.spawn(ending.run_until_cancelled_owned(clearing));
        while let Some(place) = closing.run_until_cancelled(room.place()).await {
            let stream = match closing.run_until_cancelled(listener.accept()).await {
                None => break,
                Some(Ok((stream, _))) => stream,
                Some(Err(error)) => {
                    tracing::warn!(%error, "a connection could not be accepted");
                    tokio::time::sleep(ACCEPT_AGAIN).await;
                    continue;
                }
            };
            let (door, room, closing) = (Arc::clone(&self), Arc::clone(&room), closing.clone());
            tasks.spawn(async move {
                let (_place, quiet) = (place, Quiet::begin());
                tokio::select! {
                    () = door.connection(stream, &quiet, &closing) => {}
                    () = room.needed(&quiet) => tracing::debug!("a quiet connection made room"),
                }
            });
        }
        self.ending.cancel();
        tasks.close();
        self.tasks.close();
        let all = async { tokio::join!(tasks.wait(), self.tasks.wait()) };
        let _ = tokio::time::timeout(CLOSE_WITHIN, all).await;
        Ok(())
    }

    async fn connection(
        self: Arc<Self>,
        stream: TcpStream,
        quiet: &Arc<Quiet>,
        closing: &CancellationToken,
    ) {
        // Small answers must not wait for the acknowledgement of earlier ones.
        let _ = stream.set_nodelay(true);
        let socket = Socket::new(stream);
        let service = service_fn(|request| {
            let (door, socket, asked) = (Arc::clone(&self), socket.clone(), quiet.broken());
            async move {
                let answer = door.answer(request, &socket).await;
                Ok::<_, Infallible>(answer.map(|body| Answering {
                    body,
                    _asked: asked,
                }))
            }
        });
        let connection = http1::Builder::new()
            .timer(TokioTimer::new())
            .header_read_timeout(self.limits.head_within)
            .max_headers(MAX_HEADERS)
            .max_buf_size(MAX_HEAD)
            .serve_connection(
                TokioIo::new(socket.served(self.limits.taken_within)),
                service,
            );
        tokio::pin!(connection);
        let ended = match closing.run_until_cancelled(connection.as_mut()).await {
            Some(ended) => ended,
            None => {
                connection.as_mut().graceful_shutdown();
                connection.await
            }
        };
        if let Err(error) = ended {
            tracing::debug!(%error, "a connection ended early");
        }
    }

    async fn answer(&self, request: Request<Incoming>, socket: &Socket) -> Response<Body> {
        let access = self.access.load_full();
        if let Some(path) = request.uri().path().strip_prefix(api::ROOT) {
            let path = path.to_owned();
            return self.api(&path, &access, request, socket).await;
        }
        if let Err(refusal) = access.check_place(request.headers()) {
            return self.refuse(refusal);
        }
        let place = Place::of(request.uri().path());
        // Who comes is asked everywhere but at the two places that a load balancer looks at.
        let caller = access.authenticate(request.headers());
        match (place, request.method()) {
            (Place::Health, &Method::GET) => observe::health(),
            (Place::Ready, &Method::GET) => observe::ready(&self.gateway, caller.is_ok()),
            (Place::Nowhere, _) => nowhere(),
            (place, _) => match caller {
                Ok(caller) => self.enter(place, caller, request, socket).await,
                Err(refusal) => self.refuse(refusal),
            },
        }
    }

    async fn enter(
        &self,
        place: Place,
        caller: Caller,
        request: Request<Incoming>,
        socket: &Socket,
    ) -> Response<Body> {
        match (place, request.method()) {
            (Place::Endpoint(scope), _) => self.endpoint(scope, caller, request, socket).await,
            (Place::OldStream(scope), &Method::GET) => self.old_stream(scope, caller),
            (Place::OldPost(id), &Method::POST) => self.old_post(&id, &caller, request).await,
            (Place::Metrics, &Method::GET) => observe::metrics(&self.gateway),
            (Place::OldPost(_), _) => not_allowed("POST"),
            _ => not_allowed("GET"),
        }
    }

    fn refuse(&self, refusal: Refusal) -> Response<Body> {
        self.gateway.metrics.refused();
        match refusal {
            Refusal::Forbidden(why) => json_response(
                StatusCode::FORBIDDEN,
                &json!({"jsonrpc": "2.0", "error": {"code": -32600, "message": why}}),
            ),
            Refusal::Unauthenticated(error) => {
                let why = json!({"jsonrpc": "2.0", "error": {"code": -32600, "message": error.to_string()}});
                let mut response = json_response(StatusCode::UNAUTHORIZED, &why);
                response
                    .headers_mut()
                    .insert(header::WWW_AUTHENTICATE, CHALLENGE);
                response
            }
        }
    }
}

/// What a path leads to.
enum Place {
    /// `/mcp` and `/servers/{name}/mcp`.
    Endpoint(Scope),
    /// `/sse` and `/servers/{name}/sse`: HTTP+SSE of 2024-11-05.
    OldStream(Scope),
    /// Where a client of such a stream posts.
    OldPost(String),
    Health,
    Ready,
    Metrics,
    Nowhere,
}

impl Place {
    fn of(path: &str) -> Self {
        match path {
            "/mcp" => return Self::Endpoint(Scope::All),
            "/sse" => return Self::OldStream(Scope::All),
            "/health" => return Self::Health,
            "/ready" => return Self::Ready,
            "/metrics" => return Self::Metrics,
            _ => {}
        }
        if let Some(id) = path.strip_prefix(MESSAGES) {
            return Self::OldPost(id.to_owned());
        }
        let named = path.strip_prefix("/servers/");
        let parts = named.and_then(|rest| rest.split_once('/'));
        let server = |name| ServerName::parse(name).map(Scope::One);
        match parts.map(|(name, kind)| (server(name), kind)) {
            Some((Ok(scope), "mcp")) => Self::Endpoint(scope),
            Some((Ok(scope), "sse")) => Self::OldStream(scope),
            _ => Self::Nowhere,
        }
    }
}

fn nowhere() -> Response<Body> {
    let help = "serve MCP at /mcp or /servers/{name}/mcp, for clients of 2024-11-05 at /sse; capabilities are at /api/v1/capabilities; see also /health, /ready, /metrics";
    json_response(
        StatusCode::NOT_FOUND,
        &json!({"error": "not found", "help": help}),
    )
}

fn not_allowed(allow: &'static str) -> Response<Body> {
    let error = Error::InvalidRequest(format!("Invalid request: use {allow}"));
    let mut response = json_response(
        StatusCode::METHOD_NOT_ALLOWED,
        &json!({"jsonrpc": "2.0", "error": {"code": -32600, "message": error.to_string()}}),
    );
    response
        .headers_mut()
        .insert(header::ALLOW, header::HeaderValue::from_static(allow));
    response
}
