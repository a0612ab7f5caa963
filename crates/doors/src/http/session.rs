//! Requests within a session, over Streamable HTTP of 2025-03-26 to 2025-11-25 (basic/transports).

use std::sync::Arc;

use bytes::Bytes;
use futures_util::StreamExt as _;
use futures_util::future::join_all;
use http::header::ACCEPT;
use http::{HeaderMap, HeaderName, HeaderValue, Response, StatusCode};
use tokio_util::sync::CancellationToken;
use toolbus_gateway::Step;
use toolbus_model::{Era, Error, Event, Outcome, Raw, Revision, Trace};
use toolbus_protocol::{Envelope, Message, Refusal, Reply, headers, write};

use super::HttpDoor;
use super::endpoint::{Failure, Visit, accepted, finished, stream, whole};
use crate::conversation::Subscribing;
use crate::encode;
use crate::exchange::{self, Call, Work};
use crate::legacy::{Ask, Conductor, Outlet, Session, Settled, Tape};
use crate::stream::{Body, KEEP_ALIVE};

/// The header by which a stream is taken up again.
const LAST_EVENT: &str = "last-event-id";

/// A request that was taken.
enum Taken {
    /// And answered.
    Answered(Vec<u8>),
    /// And is on its way.
    Running(Box<Call>),
}

/// What came first of a call that is not answered at once.
enum First {
    Notice(Event),
    Answer(Result<Outcome, Error>),
    Silence,
}

impl HttpDoor {
    /// One message within a session, or the one that opens it.
    pub(super) async fn legacy(
        &self,
        visit: &Visit<'_>,
        envelope: Envelope,
    ) -> Result<Response<Body>, Failure> {
        let id = envelope.id.clone();
        let fail = |error| Failure::before_call(Era::Legacy, id.clone(), error);
        if envelope.method == "initialize"
            && let Some(id) = &id
            && !visit.headers.contains_key(headers::SESSION)
        {
            return self.initialize(visit, &envelope, id).await.map_err(fail);
        }
        let session = self.session(visit).map_err(fail)?;
        let Some(id) = id.clone() else {
            self.legacy.sessions.notified(&session, &envelope);
            return Ok(accepted());
        };
        let taken = self.take(visit, &session, envelope, id).await;
        match taken.map_err(fail)? {
            Taken::Answered(message) => Ok(whole(StatusCode::OK, message)),
            Taken::Running(call) => Ok(self.reply_in_session(session, *call).await),
        }
    }

    async fn take(
        &self,
        visit: &Visit<'_>,
        session: &Session,
        envelope: Envelope,
        id: Raw,
    ) -> Result<Taken, Error> {
        if let Some(answer) = self.legacy.sessions.answer(session, &envelope, &id) {
            return answer.map(Taken::Answered);
        }
        if let Some(subscribing) = Subscribing::read(&envelope)? {
            self.subscribe(visit, session, subscribing).await?;
            return Ok(Taken::Answered(write::empty_result(&id)));
        }
        let (caller, scope) = (visit.caller.clone(), visit.scope.clone());
        let terms = self.legacy.sessions.terms(session, caller, scope, "http");
        match exchange::begin(&self.gateway, terms, envelope, id, None).await? {
            Work::Answered(message) => Ok(Taken::Answered(message)),
            Work::Running(call) => Ok(Taken::Running(call)),
            Work::Listening(_) => Err(Error::Internal("sessions do not listen".to_owned())),
        }
    }

    /// A legacy client that goes away has not cancelled; it says so when it wants to.
    async fn reply_in_session(&self, session: Session, mut call: Call) -> Response<Body> {
        let nothing = CancellationToken::new().drop_guard();
        let cancel = std::mem::replace(&mut call.running.guard, nothing).disarm();
        self.legacy
            .sessions
            .running(&session, &call.id, cancel.clone());
        let first = tokio::select! {
            biased;
            step = call.running.next() => match step {
                Step::Notice(event) => First::Notice(event),
                Step::Answer(asked @ Ok(Outcome::InputRequired(_))) if call.again.is_some() => First::Answer(asked),
                Step::Answer(done) => return finished(&call, done),
            },
            () = tokio::time::sleep(KEEP_ALIVE) => First::Silence,
        };
        call.running.guard = cancel.drop_guard();
        let tape = self
            .legacy
            .tapes
            .start(Tape::CALL, session.tag(), session.revision);
        let body = Body::Stream(tape.read(None));
        self.follow(session, call, first, tape);
        stream(body)
    }

    /// Has a call go on while its client reads the stream, or does not.
    fn follow(&self, session: Session, call: Call, first: First, tape: Arc<Tape>) {
        let (gateway, legacy) = (Arc::clone(&self.gateway), Arc::clone(&self.legacy));
        self.tasks.spawn(async move {
            let outlet = Outlet::Tape(Arc::clone(&tape));
            let early = match first {
                First::Notice(event) => {
                    outlet.tell(&event, call.token.as_ref()).await;
                    None
                }
                First::Answer(answer) => Some(answer),
                First::Silence => None,
            };
            let conductor = Conductor {
                gateway: &gateway,
                legacy: &legacy,
                session: &session,
                outlet: &outlet,
            };
            if let Some(response) = conductor.conduct(call, early).await {
                tape.say(response, true);
            }
            legacy.tapes.end(&tape);
        });
    }

    /// A batch, which one revision alone has. Its responses come as a JSON array, or as a stream where there is more to
    /// tell than responses.
    pub(super) async fn batch(
        &self,
        visit: &Visit<'_>,
        messages: Result<Vec<Bytes>, Error>,
    ) -> Result<Response<Body>, Failure> {
        let fail = |error| Failure::before_call(Era::Legacy, None, error);
        let session = self.session(visit).ok().filter(Session::has_batches);
        let Some(session) = session else {
            let why = "Invalid request: batches are not part of this revision; send one message at a time";
            return Err(fail(Error::InvalidRequest(why.to_owned())));
        };
        let tape = self
            .legacy
            .tapes
            .start(Tape::CALL, session.tag(), session.revision);
        let (mut calls, mut requests) = (Vec::new(), 0_usize);
        for message in messages.map_err(fail)? {
            match Message::parse(&message) {
                Ok(Message::Call(envelope)) => match envelope.id.clone() {
                    None => self.legacy.sessions.notified(&session, &envelope),
                    Some(id) => {
                        requests += 1;
                        match self.take(visit, &session, envelope, id.clone()).await {
                            Ok(Taken::Answered(answer)) => tape.say(answer, true),
                            Ok(Taken::Running(call)) => calls.push(*call),
                            Err(error) => tape.say(
                                encode::plain_error(Some(&id), Era::Legacy, &error, None),
                                true,
                            ),
                        }
                    }
                },
                Ok(Message::Reply(reply)) => {
                    self.legacy.questions.answered(session.tag(), reply);
                }
                Err(Refusal { error, id }) => {
                    requests += 1;
                    let answer = encode::plain_error(id.as_ref(), Era::Legacy, &error, None);
                    tape.say(answer, true);
                }
            }
        }
        if requests == 0 {
            self.legacy.tapes.discard(&tape);
            return Ok(accepted());
        }
        self.follow_all(session, calls, Arc::clone(&tape));
        Ok(match tape.settled().await {
            Settled::Ended(answers) => whole(StatusCode::OK, array(&answers)),
            Settled::Open => stream(Body::Stream(tape.read(None))),
        })
    }

    fn follow_all(&self, session: Session, calls: Vec<Call>, tape: Arc<Tape>) {
        let (gateway, legacy) = (Arc::clone(&self.gateway), Arc::clone(&self.legacy));
        self.tasks.spawn(async move {
            let outlet = Outlet::Tape(Arc::clone(&tape));
            let conductor = Conductor {
                gateway: &gateway,
                legacy: &legacy,
                session: &session,
                outlet: &outlet,
            };
            let conducted = calls.into_iter().map(|call| async {
                if let Some(response) = conductor.conduct(call, None).await {
                    outlet.say(response, true).await;
                }
            });
            join_all(conducted).await;
            legacy.tapes.end(&tape);
        });
    }

    /// The client's answer to a question of a server's.
    pub(super) fn answered(
        &self,
        visit: &Visit<'_>,
        reply: Reply,
    ) -> Result<Response<Body>, Failure> {
        let fail = |error| Failure::before_call(Era::Legacy, None, error);
        let session = self.session(visit).map_err(fail)?;
        if self.legacy.questions.answered(session.tag(), reply) {
            return Ok(accepted());
        }
        let why = "Invalid request: no open question has this id; it was answered or withdrawn, or another replica asked it";
        Err(fail(Error::InvalidRequest(why.to_owned())))
    }

    async fn subscribe(
        &self,
        visit: &Visit<'_>,
        session: &Session,
        what: Subscribing,
    ) -> Result<(), Error> {
        match what {
            Subscribing::To(uri) => {
                let ask = self.ask(visit, session);
                let feed = self
                    .legacy
                    .feeds
                    .of(session, &self.legacy.tapes, &ask)
                    .await?;
                feed.subscribe(uri, &ask).await
            }
            Subscribing::From(uri) => {
                if let Some(feed) = self.legacy.feeds.get(session) {
                    feed.unsubscribe(&uri);
                }
                Ok(())
            }
        }
    }

    fn ask(&self, visit: &Visit<'_>, session: &Session) -> Ask<'_> {
        let (caller, scope) = (visit.caller.clone(), visit.scope.clone());
        let terms = self
            .legacy
            .sessions
            .terms(session, caller, scope.clone(), "http");
        Ask {
            gateway: &self.gateway,
            tasks: &self.tasks,
            ending: &self.ending,
            scope,
            seed: terms.seed(None, Trace::default()),
        }
    }

    /// The stream of what belongs to no request, or one that broke off and is taken up again.
    pub(super) async fn get(&self, visit: &Visit<'_>) -> Result<Response<Body>, Failure> {
        let fail = |error| Failure::before_call(Era::Legacy, None, error);
        if !takes_events(&visit.headers) {
            let why = "Invalid request: Accept must name text/event-stream";
            let error = Error::InvalidRequest(why.to_owned());
            let message = encode::plain_error(None, Era::Legacy, &error, None);
            return Ok(whole(StatusCode::NOT_ACCEPTABLE, message));
        }
        let session = self.session(visit).map_err(fail)?;
        let last = header(&visit.headers, LAST_EVENT).map_err(fail)?;
        if let Some(event) = &last {
            if let Some((tape, at)) = self.legacy.tapes.find(session.tag(), event) {
                return Ok(self.reading(&tape, Some(at)));
            }
            if event.starts_with(Tape::CALL) {
                return Ok(lost_stream());
            }
        }
        let ask = self.ask(visit, &session);
        let feeds = &self.legacy.feeds;
        let feed = feeds.of(&session, &self.legacy.tapes, &ask).await;
        match &feed.map_err(fail)?.outlet {
            Outlet::Tape(tape) => Ok(self.reading(tape, None)),
            Outlet::Line(_) => Err(fail(Error::Internal("a session without a tape".to_owned()))),
        }
    }

    fn reading(&self, tape: &Arc<Tape>, after: Option<u64>) -> Response<Body> {
        let ended = self.ending.clone().cancelled_owned();
        stream(Body::Stream(tape.read(after).take_until(ended).boxed()))
    }

    async fn initialize(
        &self,
        visit: &Visit<'_>,
        envelope: &Envelope,
        id: &Raw,
    ) -> Result<Response<Body>, Error> {
        self.gateway.started().await;
        let sessions = &self.legacy.sessions;
        let (session, result) =
            sessions.open(envelope, &visit.caller, &visit.scope, &self.gateway)?;
        let size = result.bytes().len();
        let message = write::result(id, |out| out.extend_from_slice(result.bytes()), size);
        let mut response = whole(StatusCode::OK, message);
        let value = HeaderValue::from_str(&session.id)
            .map_err(|error| Error::Internal(error.to_string()))?;
        response
            .headers_mut()
            .insert(HeaderName::from_static(headers::SESSION), value);
        Ok(response)
    }

    /// The session that a request names.
    fn session(&self, visit: &Visit<'_>) -> Result<Session, Error> {
        let invalid = |why: String| Error::InvalidRequest(format!("Invalid request: {why}"));
        if let Some(version) = header(&visit.headers, headers::VERSION)?
            && Revision::parse(&version).is_none_or(|revision| revision.era() != Era::Legacy)
        {
            return Err(invalid(format!(
                "MCP-Protocol-Version {version:?} is not one that sessions are opened in"
            )));
        }
        let Some(id) = header(&visit.headers, headers::SESSION)? else {
            return Err(invalid(
                "no session: send `initialize` first, or use 2026-07-28 with its `_meta`"
                    .to_owned(),
            ));
        };
        self.legacy.sessions.find(&id, &visit.caller)
    }

    pub(super) fn delete(&self, visit: &Visit<'_>) -> Result<Response<Body>, Failure> {
        let session = self
            .session(visit)
            .map_err(|error| Failure::before_call(Era::Legacy, None, error))?;
        self.legacy.end(&session);
        let mut response = Response::new(Body::empty());
        *response.status_mut() = StatusCode::NO_CONTENT;
        Ok(response)
    }
}

/// A call's stream that is not kept here. The client tries again, and may reach the replica that has it.
fn lost_stream() -> Response<Body> {
    let why = "the stream of this event is kept by another replica, or not any more";
    let error = Error::StateLost(why.to_owned());
    let message = encode::plain_error(None, Era::Legacy, &error, None);
    whole(StatusCode::SERVICE_UNAVAILABLE, message)
}

fn array(messages: &[Bytes]) -> Vec<u8> {
    let mut out = vec![b'['];
    out.extend_from_slice(&messages.join(&b','));
    out.push(b']');
    out
}

fn takes_events(fields: &HeaderMap) -> bool {
    let kinds = fields
        .get_all(ACCEPT)
        .iter()
        .filter_map(|value| value.to_str().ok())
        .flat_map(|value| value.split(','))
        .filter_map(|kind| kind.split(';').next());
    kinds
        .map(|kind| kind.trim().to_ascii_lowercase())
        .any(|kind| matches!(&*kind, "text/event-stream" | "text/*" | "*/*"))
}

/// A header of a session's request. The code for mismatches belongs to the modern era.
fn header(fields: &HeaderMap, name: &str) -> Result<Option<String>, Error> {
    headers::single(fields, name)
        .map_err(|error| Error::InvalidRequest(format!("Invalid request: {error}")))
}
