//! One MCP endpoint: the ladder that every POST climbs, and the choice of its era, request by request.

use bytes::Bytes;
use http::header::{ACCEPT, CONNECTION, CONTENT_LENGTH, CONTENT_TYPE, HeaderValue, RETRY_AFTER};
use http::{HeaderMap, HeaderName, Method, Request, Response, StatusCode};
use http_body_util::BodyExt as _;
use hyper::body::Incoming;
use toolbus_gateway::{Scope, Step};
use toolbus_model::{Caller, Era, Error, Outcome, Raw, Revision};
use toolbus_protocol::envelope::batch;
use toolbus_protocol::gather::Gather;
use toolbus_protocol::meta::{self, Modern};
use toolbus_protocol::{Envelope, Message, Refusal, headers};

use super::socket::Socket;
use super::{HttpDoor, not_allowed};
use crate::encode;
use crate::exchange::{self, Call, Terms, Work};
use crate::reply::Wire;
use crate::stream::{Body, Events, KEEP_ALIVE};

/// How much of a body that is too large is read and thrown away: a client that is still writing when the connection
/// closes never sees why.
const DRAINED: usize = 64 * 1024 * 1024;

const JSON: HeaderValue = HeaderValue::from_static("application/json");
const EVENTS: HeaderValue = HeaderValue::from_static("text/event-stream");

/// An error on its way out, with all that decides how it looks.
pub(super) struct Failure {
    pub(super) error: Error,
    id: Option<Raw>,
    era: Era,
    call: Option<toolbus_model::CallId>,
}

/// Who asks, and where.
pub(super) struct Visit<'s> {
    socket: Option<&'s Socket>,
    pub(super) scope: Scope,
    pub(super) caller: Caller,
    pub(super) headers: HeaderMap,
}

impl HttpDoor {
    /// Answers a request to an MCP endpoint.
    pub(super) async fn endpoint(
        &self,
        scope: Scope,
        caller: Caller,
        request: Request<Incoming>,
        socket: &Socket,
    ) -> Response<Body> {
        let (head, body) = request.into_parts();
        let visit = Visit {
            socket: is_last(&head).then_some(socket),
            scope,
            caller,
            headers: head.headers,
        };
        let answer = match head.method {
            Method::POST => self.post(&visit, body).await,
            // What has no session has no stream outside of its requests either.
            Method::GET if is_in_session(&visit.headers) => self.get(&visit).await,
            Method::DELETE => self.delete(&visit),
            _ => return not_allowed("POST, GET, DELETE"),
        };
        answer.unwrap_or_else(|failure| {
            self.gateway.metrics.refused();
            failure.into_response()
        })
    }

    async fn post(&self, visit: &Visit<'_>, body: Incoming) -> Result<Response<Body>, Failure> {
        let era = header_era(&visit.headers);
        if let Some(refused) = unacceptable(&visit.headers) {
            return Ok(refused);
        }
        let body = self
            .read(&visit.headers, body)
            .await
            .map_err(|error| Failure::before_call(era, None, error))?;
        if era == Era::Legacy
            && let Some(messages) = batch(&body)
        {
            return self.batch(visit, messages).await;
        }
        let message = Message::parse(&body)
            .map_err(|Refusal { error, id }| Failure::before_call(era, id, error))?;
        match message {
            Message::Call(envelope) if is_modern(&visit.headers, &envelope) => {
                self.modern(visit, envelope).await
            }
            Message::Call(envelope) => self.legacy(visit, envelope).await,
            Message::Reply(_) if era == Era::Modern => {
                let why = "Invalid request: nothing is asked here that a response could answer";
                let error = Error::InvalidRequest(why.to_owned());
                Err(Failure::before_call(era, None, error))
            }
            Message::Reply(reply) => self.answered(visit, reply),
        }
    }

    pub(super) async fn read(
        &self,
        headers: &HeaderMap,
        mut body: Incoming,
    ) -> Result<Bytes, Error> {
        let limit = self.limits.body;
        let too_large = || Error::TooLarge {
            what: "request body",
            limit,
        };
        let announced = headers
            .get(CONTENT_LENGTH)
            .and_then(|value| value.to_str().ok()?.parse::<usize>().ok());
        if announced.is_some_and(|length| length > limit.saturating_add(DRAINED)) {
            return Err(too_large());
        }
        let late = |_| {
            Error::InvalidRequest("Invalid request: the body did not arrive in time".to_owned())
        };
        let collect = async {
            let (mut gather, mut surplus) = (Gather::new(limit), None);
            while let Some(frame) = body.frame().await {
                let frame = frame
                    .map_err(|error| Error::InvalidRequest(format!("Invalid request: {error}")))?;
                let Ok(data) = frame.into_data() else {
                    continue;
                };
                if let Some(thrown) = &mut surplus {
                    *thrown += data.len();
                } else if gather.push(data).is_err() {
                    (gather, surplus) = (Gather::new(0), Some(0));
                }
                if surplus > Some(DRAINED) {
                    break;
                }
            }
            if surplus.is_some() {
                Err(too_large())
            } else {
                Ok(gather.finish())
            }
        };
        tokio::time::timeout(self.limits.body_within, collect)
            .await
            .map_err(late)?
    }

    /// 2026-07-28: every request on its own.
    async fn modern(
        &self,
        visit: &Visit<'_>,
        envelope: Envelope,
    ) -> Result<Response<Body>, Failure> {
        let Some(id) = envelope.id.clone() else {
            // Over HTTP a client cancels by closing; no other notification is defined.
            return Ok(accepted());
        };
        let fail = |error| Failure::before_call(Era::Modern, Some(id.clone()), error);
        let said = Modern::read(&envelope.meta).map_err(fail)?;
        headers::check_routing(&visit.headers, &envelope, &said.version).map_err(fail)?;
        let terms = Terms::modern(
            &envelope,
            said,
            visit.caller.clone(),
            visit.scope.clone(),
            "http",
        )
        .map_err(fail)?;
        let work = exchange::begin(
            &self.gateway,
            terms,
            envelope,
            id.clone(),
            Some(&visit.headers),
        )
        .await;
        match work.map_err(fail)? {
            Work::Answered(message) => Ok(whole(StatusCode::OK, message)),
            Work::Running(call) => Ok(reply(*call, visit.socket).await),
            Work::Listening(listening) => {
                let ending = self.ending.child_token();
                Ok(stream(Body::Stream(listening.events(ending))))
            }
        }
    }
}

/// No request comes after this one on its connection, so that hyper does not see when the client leaves.
pub(super) fn is_last(head: &http::request::Parts) -> bool {
    let closes = |value: &HeaderValue| value.as_bytes().eq_ignore_ascii_case(b"close");
    head.version == http::Version::HTTP_10 || head.headers.get(CONNECTION).is_some_and(closes)
}

/// Answers with JSON where the result comes first, and with a stream where a notice or a long silence does.
async fn reply(mut call: Call, socket: Option<&Socket>) -> Response<Body> {
    let gone = async {
        match socket {
            Some(socket) => socket.gone().await,
            None => std::future::pending().await,
        }
    };
    let first = tokio::select! {
        biased;
        step = call.running.next() => match step {
            Step::Notice(event) => Some(encode::notice(&event, call.token.as_ref())),
            Step::Answer(answer) => return finished(&call, answer),
        },
        () = gone => return whole(StatusCode::OK, Vec::new()), // To nobody; dropping the call cancels it.
        () = tokio::time::sleep(KEEP_ALIVE) => None,
    };
    stream(Body::Events(Box::new(Events::new(call, first))))
}

/// An answer that is an event stream.
pub(super) fn stream(body: Body) -> Response<Body> {
    let mut response = Response::new(body);
    let fields = response.headers_mut();
    fields.insert(CONTENT_TYPE, EVENTS);
    fields.insert(
        http::header::CACHE_CONTROL,
        HeaderValue::from_static("no-cache"),
    );
    fields.insert(
        HeaderName::from_static("x-accel-buffering"),
        HeaderValue::from_static("no"),
    );
    response
}

pub(super) fn finished(call: &Call, answer: Result<Outcome, Error>) -> Response<Body> {
    match call.write(answer) {
        Ok(message) => whole(StatusCode::OK, message),
        Err(error) => {
            let failure = Failure {
                error,
                id: Some(call.id.clone()),
                era: call.era,
                call: Some(call.running.id),
            };
            failure.into_response()
        }
    }
}

/// Body first: a request that says its revision in `_meta` is modern, and so is one whose header names a revision that
/// no session was ever opened in.
fn is_modern(fields: &HeaderMap, envelope: &Envelope) -> bool {
    envelope.meta.get(meta::VERSION).is_some()
        || (envelope.method != "initialize" && header_era(fields) == Era::Modern)
}

/// The request names a session, and no revision that has none.
fn is_in_session(fields: &HeaderMap) -> bool {
    fields.contains_key(headers::SESSION) && header_era(fields) == Era::Legacy
}

/// The era that the header speaks of; without one it is an older client.
pub(super) fn header_era(fields: &HeaderMap) -> Era {
    match fields.get(headers::VERSION).map(|value| {
        value
            .to_str()
            .ok()
            .and_then(|text| Revision::parse(text.trim()))
    }) {
        None => Era::Legacy,
        Some(Some(revision)) => revision.era(),
        Some(None) => Era::Modern,
    }
}

/// 415 and 406, where the request's own headers ask for them.
pub(super) fn unacceptable(fields: &HeaderMap) -> Option<Response<Body>> {
    let refuse = |status, why: &str| {
        let error = Error::InvalidRequest(format!("Invalid request: {why}"));
        let mut response = whole(status, encode::plain_error(None, Era::Modern, &error, None));
        *response.status_mut() = status;
        Some(response)
    };
    let is_json = fields
        .get(CONTENT_TYPE)
        .and_then(|value| value.to_str().ok())
        .is_some_and(|value| {
            value
                .split(';')
                .next()
                .is_some_and(|kind| kind.trim().eq_ignore_ascii_case("application/json"))
        });
    if !is_json {
        return refuse(
            StatusCode::UNSUPPORTED_MEDIA_TYPE,
            "Content-Type must be application/json",
        );
    }
    let mut accepted = fields.get_all(ACCEPT).iter().peekable();
    accepted.peek()?;
    let kinds: Vec<String> = accepted
        .filter_map(|value| value.to_str().ok())
        .flat_map(|value| value.split(','))
        .map(|kind| {
            kind.split(';')
                .next()
                .unwrap_or_default()
                .trim()
                .to_ascii_lowercase()
        })
        .collect();
    let takes = |kind: &str, family: &str| {
        kinds
            .iter()
            .any(|known| known == kind || known == family || known == "*/*")
    };
    if takes("application/json", "application/*") && takes("text/event-stream", "text/*") {
        return None;
    }
    refuse(
        StatusCode::NOT_ACCEPTABLE,
        "Accept must name application/json and text/event-stream",
    )
}

pub(super) fn accepted() -> Response<Body> {
    let mut response = Response::new(Body::empty());
    *response.status_mut() = StatusCode::ACCEPTED;
    response
}

pub(super) fn whole(status: StatusCode, message: Vec<u8>) -> Response<Body> {
    let mut response = Response::new(Body::of(message));
    *response.status_mut() = status;
    response.headers_mut().insert(CONTENT_TYPE, JSON);
    response
}

impl Failure {
    /// An error of a request that did not become a call.
    pub(super) fn before_call(era: Era, id: Option<Raw>, error: Error) -> Self {
        Self {
            error,
            id,
            era,
            call: None,
        }
    }

    pub(super) fn into_response(self) -> Response<Body> {
        let wire = Wire::of(&self.error, self.era, self.call);
        let mut response = whole(wire.status, encode::error(self.id.as_ref(), &wire));
        if let Some(wait) = wire.retry_after {
            let seconds = wait.as_secs() + u64::from(wait.subsec_nanos() > 0);
            response
                .headers_mut()
                .insert(RETRY_AFTER, HeaderValue::from(seconds));
        }
        response
    }
}
