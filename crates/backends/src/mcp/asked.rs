//! A call at an older server that may ask its caller: it can outlast the call that it began with.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::oneshot;
use tokio::time::{sleep, timeout};
use tokio_util::sync::{CancellationToken, DropGuard};
use tokio_util::task::TaskTracker;
use toolbus_model::json::{Edit, write_string};
use toolbus_model::{Call, Caller, Era, Error, Object, Raw};
use toolbus_protocol::write;

use super::abilities::Abilities;
use super::dialect;
use super::ear::{Asking, Ear, Question};
use super::link::Connection;
use super::outgoing::Outgoing;
use super::sessions::Lease;

/// Questions that come within this time go to the caller together. A server that asks two at once writes them at once.
const TOGETHER: Duration = Duration::from_millis(5);

/// How long a server has to take the news that a call is over.
const TELL_WITHIN: Duration = Duration::from_secs(5);

/// The member by which a door says that its client refused a question: code, message and data of the error.
const REFUSED: &str = "toolbus/error";

/// A request under way that may outlast a call. Dropped, it is cancelled.
#[derive(Debug)]
pub(super) struct Conversation {
    owner: Caller,
    connection: Arc<Connection>,
    asking: Arc<Asking>,
    answer: oneshot::Receiver<Result<Object, Error>>,
    stop: CancellationToken,
    _guard: DropGuard,
}

/// How far a conversation came.
#[derive(Debug)]
pub(super) enum Turn {
    /// It is over.
    Over(Result<Object, Error>),
    /// The server asks.
    Asks(Conversation),
}

impl Conversation {
    /// Sends a request on its way, as a task of its own. `outgoing.ear` is set here.
    pub(super) fn begin(
        lease: Lease,
        outgoing: Outgoing,
        call: &Call,
        abilities: Abilities,
        tasks: &TaskTracker,
    ) -> Self {
        let asking = Arc::new(Asking::new(call.line().clone(), abilities));
        let (sender, answer) = oneshot::channel();
        let stop = CancellationToken::new();
        let conversation = Self {
            owner: call.seed.caller.clone(),
            connection: Arc::clone(&lease.connection),
            asking: Arc::clone(&asking),
            answer,
            _guard: stop.clone().drop_guard(),
            stop: stop.clone(),
        };
        let outgoing = Outgoing {
            ear: Some(Ear::Questions(Arc::clone(&asking))),
            ..outgoing
        };
        let owner = call.seed.caller.clone();
        tasks.spawn(carry(lease, owner, outgoing, asking, stop, sender));
        conversation
    }

    pub(super) fn connection(&self) -> &Arc<Connection> {
        &self.connection
    }

    pub(super) fn is_of(&self, caller: &Caller) -> bool {
        self.owner == *caller
    }

    /// What is open.
    pub(super) fn questions(&self) -> Vec<Question> {
        self.asking.open()
    }

    /// Goes on until the request has an answer, or the server asks, or the call is cancelled.
    pub(super) async fn listen(mut self, call: &Call) -> Turn {
        loop {
            tokio::select! {
                biased;
                answer = &mut self.answer => return self.over(answer),
                () = self.asking.asked() => {}
                () = call.cancelled() => {
                    self.stop.cancel();
                    let answer = (&mut self.answer).await;
                    return self.over(answer);
                }
            }
            tokio::select! {
                biased;
                answer = &mut self.answer => return self.over(answer),
                () = sleep(TOGETHER) => {}
            }
            // The server may not want to know it any more.
            if !self.asking.is_quiet() {
                return Turn::Asks(self);
            }
        }
    }

    fn over(&self, answer: Result<Result<Object, Error>, oneshot::error::RecvError>) -> Turn {
        let lost = || Err(Error::Internal("a request's task was lost".to_owned()));
        Turn::Over(answer.unwrap_or_else(|_| lost()))
    }

    /// Takes a caller's answers to the server; `call` is the one that brought them, and is told what comes now. Those that
    /// are missing are asked again.
    pub(super) async fn go_on(mut self, answers: &Object, call: &Call) -> Turn {
        self.asking.turn_to(call.line().clone());
        if let Ok(answer) = self.answer.try_recv() {
            return Turn::Over(answer);
        }
        let brought = |question: &Question| is_answer(answers.get(&question.key));
        for question in self.asking.take(brought) {
            let Some(answer) = answers.raw(&question.key) else {
                continue;
            };
            if let Err(error) = self.connection.answer(reply(&question.id, &answer)).await {
                let what = format!("the caller's answer could not be delivered: {error}");
                let cause = self.connection.link.cause(&what);
                return Turn::Over(Err(Error::OutcomeUnknown(cause.into())));
            }
        }
        if self.asking.is_quiet() {
            return self.listen(call).await;
        }
        Turn::Asks(self)
    }

    /// Refuses what is open: nobody can be asked now.
    pub(super) async fn refuse(&self, why: &str) {
        refuse(&self.connection, &self.asking, why).await;
    }
}

/// Carries a request from its sending to its answer, whichever calls come and go meanwhile.
async fn carry(
    lease: Lease,
    owner: Caller,
    outgoing: Outgoing,
    asking: Arc<Asking>,
    stop: CancellationToken,
    sender: oneshot::Sender<Result<Object, Error>>,
) {
    let (connection, id) = (Arc::clone(&lease.connection), outgoing.id);
    let exchange = connection.link.exchange(outgoing);
    tokio::pin!(exchange);
    let answer = tokio::select! {
        biased;
        answer = &mut exchange => Some(answer),
        () = stop.cancelled() => None,
    };
    if let Some(answer) = answer {
        if answer == Err(Error::SessionUnknown) {
            lease.forget();
        }
        // The session is free before its caller knows: the next call of the same client gets it.
        drop(lease);
        let _ = sender.send(answer);
        return;
    }
    let tell = async {
        let _ = connection.notify(dialect::cancelled(id)).await;
        refuse(&connection, &asking, "the client did not answer").await;
    };
    // A server that is gone needs no telling.
    let _ = timeout(TELL_WITHIN, tell).await;
    if connection.link.asks_by_turns() {
        // What it asks later could be taken for the next call's: that one must be of the same caller.
        lease.keep_for(&owner);
    }
    drop(lease);
    let cause = connection.link.cause("the server had not answered");
    let _ = sender.send(Err(Error::OutcomeUnknown(cause.into())));
}

/// Questions as their caller is asked them: a result of 2026-07-28 (basic/patterns/mrtr). The id of an elicitation is for
/// callers of 2025-11-25 only, who are told under it that a page is done.
pub(super) fn input_required(questions: &[Question], state: &str, caller: Era) -> Object {
    let edits = match caller {
        Era::Modern => &[("elicitationId", Edit::Drop)][..],
        Era::Legacy => &[],
    };
    let mut out = br#"{"resultType":"input_required","inputRequests":{"#.to_vec();
    for (n, question) in questions.iter().enumerate() {
        if n > 0 {
            out.push(b',');
        }
        write_string(&question.key, &mut out);
        out.extend_from_slice(br#":{"method":"#);
        write_string(&question.method, &mut out);
        out.extend_from_slice(br#","params":"#);
        match question.method.as_str() {
            "elicitation/create" => question.params.rewrite(edits, &mut out),
            _ => out.extend_from_slice(question.params.bytes()),
        }
        out.push(b'}');
    }
    out.extend_from_slice(br#"},"requestState":"#);
    write_string(state, &mut out);
    out.push(b'}');
    // What was written is an object of checked values.
    Object::parse(out.into()).unwrap_or_else(|_| Object::empty())
}

async fn refuse(connection: &Connection, asking: &Asking, why: &str) {
    for question in asking.take(|_| true) {
        let answer = write::error(Some(&question.id), -32603, why, None);
        let _ = connection.answer(answer).await;
    }
}

/// An answer is an object; anything else is asked again.
fn is_answer(value: Option<&[u8]>) -> bool {
    value.is_some_and(|value| value.first() == Some(&b'{'))
}

/// A caller's answer as the response to an older server's request.
fn reply(id: &Raw, answer: &Raw) -> Vec<u8> {
    match refused(answer) {
        Some((code, message, data)) => {
            write::error(Some(id), code, &message, data.as_ref().map(Raw::bytes))
        }
        None => {
            let result = Object::from_raw(answer).unwrap_or_else(|_| Object::empty());
            let size = result.bytes().len();
            write::result(
                id,
                |out| result.rewrite(&[("resultType", Edit::Drop)], out),
                size,
            )
        }
    }
}

/// The error that a client gave instead of an answer.
pub(super) fn refused(answer: &Raw) -> Option<(i64, String, Option<Raw>)> {
    let meta = Object::from_raw(answer).ok()?.object("_meta")?.ok()?;
    let error = meta.object(REFUSED)?.ok()?;
    let code = error.raw("code")?.read().ok()?;
    let message = error.str("message").unwrap_or_default().into_owned();
    Some((code, message, error.raw("data")))
}
