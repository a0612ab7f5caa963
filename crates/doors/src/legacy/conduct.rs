//! A call of an older client from its first notice to its response: questions that a server answered with are put to
//! the client as requests, and its answers go back with the call's next round.

use std::sync::Arc;
use std::time::Duration;

use futures_util::future::try_join_all;
use tokio::sync::mpsc;
use tokio::time::timeout;
use tokio_util::sync::CancellationToken;
use toolbus_gateway::{Gateway, Step};
use toolbus_model::json::{Edit, write_string};
use toolbus_model::{Cause, Error, EventKind, Object, Outcome, Raw, Revision};
use toolbus_protocol::write;
use uuid::Uuid;

use super::{Legacy, Session, Tape};
use crate::encode;
use crate::exchange::{Again, Call};

/// Rounds of questions that one call may take.
const MAX_ROUNDS: usize = 100;

/// How long a client may take to answer: a person may have to.
const ANSWER_WITHIN: Duration = Duration::from_secs(30 * 60);

/// What is waited before a call goes on that has to come back without having asked anything.
const COME_BACK: Duration = Duration::from_millis(200);

/// Where a client is told what belongs to a call.
#[derive(Debug, Clone)]
pub(crate) enum Outlet {
    /// On the call's own stream.
    Tape(Arc<Tape>),
    /// On the one line that the client has.
    Line(mpsc::Sender<Vec<u8>>),
}

impl Outlet {
    /// Responses and questions are `owed`: they are not left out for slow readers.
    pub(crate) async fn say(&self, message: Vec<u8>, owed: bool) {
        match self {
            Self::Tape(tape) => tape.say(message, owed),
            // Without a reader there is no client.
            Self::Line(line) => drop(line.send(message).await),
        }
    }

    pub(crate) async fn tell(&self, event: &toolbus_model::Event, token: Option<&Raw>) {
        match (event.kind, self) {
            (EventKind::Paused, Self::Tape(tape)) => tape.pause(),
            (EventKind::Paused, Self::Line(_)) => {}
            _ => self.say(encode::notice(event, token), false).await,
        }
    }
}

/// What a call's way needs.
pub(crate) struct Conductor<'a> {
    pub(crate) gateway: &'a Arc<Gateway>,
    pub(crate) legacy: &'a Legacy,
    pub(crate) session: &'a Session,
    pub(crate) outlet: &'a Outlet,
}

impl Conductor<'_> {
    /// Follows a call until its response. `early` is an answer that has come already. A cancelled call has no response.
    pub(crate) async fn conduct(
        &self,
        mut call: Call,
        mut early: Option<Result<Outcome, Error>>,
    ) -> Option<Vec<u8>> {
        let cancel = CancellationToken::new();
        self.legacy
            .sessions
            .running(self.session, &call.id, cancel.clone());
        let mut rounds = 0;
        let answer = loop {
            let answer = match early.take() {
                Some(answer) => answer,
                None => self.follow(&mut call, &cancel).await,
            };
            let (Ok(Outcome::InputRequired(result)), Some(again)) = (&answer, &call.again) else {
                break answer;
            };
            rounds += 1;
            if rounds > MAX_ROUNDS {
                break Err(Error::Internal(format!(
                    "the server asked in {MAX_ROUNDS} rounds and was not done"
                )));
            }
            let next = cancel.run_until_cancelled(self.next_round(result, again));
            match next.await.unwrap_or(Err(Error::Cancelled)) {
                Ok(params) => call.running = again.call(self.gateway, params),
                Err(error) => break Err(error),
            }
        };
        cancel.cancel();
        (answer != Err(Error::Cancelled)).then(|| call.finish(answer))
    }

    /// Passes notices on until the call is answered.
    async fn follow(&self, call: &mut Call, cancel: &CancellationToken) -> Result<Outcome, Error> {
        loop {
            tokio::select! {
                biased;
                () = cancel.cancelled() => return Err(Error::Cancelled),
                step = call.running.next() => match step {
                    Step::Notice(event) => self.outlet.tell(&event, call.token.as_ref()).await,
                    Step::Answer(answer) => return answer,
                }
            }
        }
    }

    /// Asks the client what the server asked; the parameters of the call's next round.
    async fn next_round(&self, result: &Object, again: &Again) -> Result<Object, Error> {
        let questions = match result.object("inputRequests") {
            Some(Ok(questions)) => questions,
            Some(Err(_)) => return Err(malformed("inputRequests is no object")),
            None => Object::empty(),
        };
        if questions.is_empty() {
            tokio::time::sleep(COME_BACK).await;
        }
        let asked = questions.iter().map(|(key, question)| {
            let question = Object::parse(bytes::Bytes::copy_from_slice(question));
            self.ask(key.into_owned(), question)
        });
        let answers = timeout(ANSWER_WITHIN, try_join_all(asked)).await;
        let answers = answers.map_err(|_| {
            let minutes = ANSWER_WITHIN.as_secs() / 60;
            let what = format!("the client did not answer the server's question in {minutes} min");
            Error::DeadlineExceeded(Cause::new(what).into())
        })??;
        let mut responses = vec![b'{'];
        for (n, (key, answer)) in answers.iter().enumerate() {
            if n > 0 {
                responses.push(b',');
            }
            write_string(key, &mut responses);
            responses.push(b':');
            responses.extend_from_slice(answer.bytes());
        }
        responses.push(b'}');
        let state = result.raw("requestState");
        Ok(again.params.edited(&[
            (
                "inputResponses",
                if answers.is_empty() {
                    Edit::Drop
                } else {
                    Edit::Put(&responses)
                },
            ),
            (
                "requestState",
                state
                    .as_ref()
                    .map_or(Edit::Drop, |state| Edit::Put(state.bytes())),
            ),
        ]))
    }

    /// Puts one question to the client. An error is an answer too: the server may be one that can be told of it.
    async fn ask(
        &self,
        key: String,
        question: Result<Object, toolbus_model::json::JsonError>,
    ) -> Result<(String, Raw), Error> {
        let question = question.map_err(|_| malformed("an input request is no object"))?;
        let method = question
            .str("method")
            .ok_or_else(|| malformed("an input request has no method"))?;
        let params = match question.object("params") {
            Some(Ok(params)) => params,
            _ => Object::empty(),
        };
        if !self.session.can_be_asked(&method) {
            let why = format!("Method not found: {method} (the client did not declare it)");
            return Ok((key, refusal(-32601, &why, None)));
        }
        let params = self.in_words_of_session(&method, params);
        let mut open = self.legacy.questions.ask(self.session.tag())?;
        let request = write::request_as(open.id(), &method, params.bytes());
        self.outlet.say(request, true).await;
        match open.answer().await {
            Ok(answer) => Ok((key, answer.to_raw())),
            Err(Error::Upstream {
                code,
                message,
                data,
            }) => Ok((key, refusal(code, &message, data.as_ref()))),
            Err(error) => Err(error),
        }
    }

    /// Older revisions name an elicitation by URL, so that its end can be told.
    fn in_words_of_session(&self, method: &str, params: Object) -> Object {
        let by_url = method == "elicitation/create" && params.str("mode").as_deref() == Some("url");
        if !by_url || self.session.revision < Revision::V2025_11_25 {
            return params;
        }
        let id = Raw::of(&Uuid::now_v7().simple().to_string());
        params.edited(&[("elicitationId", Edit::Default(id.bytes()))])
    }
}

/// A client's error in the place of its answer.
fn refusal(code: i64, message: &str, data: Option<&Raw>) -> Raw {
    let error = write::error_object(code, message, data.map(Raw::bytes));
    let mut text = br#"{"_meta":{"toolbus/error":"#.to_vec();
    text.extend_from_slice(&error);
    text.extend_from_slice(b"}}");
    Raw::checked(text.into())
}

fn malformed(why: &str) -> Error {
    Error::Upstream {
        code: -32603,
        message: format!("the server's question cannot be read: {why}"),
        data: None,
    }
}
