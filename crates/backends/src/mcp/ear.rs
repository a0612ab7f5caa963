//! What is heard of a request while it is under way: notices go to its caller, questions wait for an answer.

use std::sync::{Arc, Mutex};

use tokio::sync::Notify;
use toolbus_model::json::Edit;
use toolbus_model::{Event, EventKind, Line, Object, Raw};
use toolbus_protocol::{Envelope, write};

use super::abilities::Abilities;
use super::listen::Hearing;
use super::lock;

/// In `_meta` of a log line: the request that it belongs to, which MCP has no place for. Our SDK writes it, so that log
/// lines find their callers also while several calls share a stream.
pub(super) const REQUEST: &str = "toolbus/request";

/// Questions of one request that wait for answers at once. More than a person could be shown.
const MAX_OPEN: usize = 64;

/// Who hears what a server says in the course of a request. Cheap to clone.
#[derive(Debug, Clone)]
pub(super) enum Ear {
    /// A caller who may be told, and not asked.
    Notices(Line),
    /// A caller who can be asked.
    Questions(Arc<Asking>),
    /// Those who listen to changes; the request is a listen.
    Changes(Arc<Hearing>),
}

/// The caller of a request that may have to answer questions, and the questions. The request can outlast a call: then
/// the line is another's.
#[derive(Debug)]
pub(super) struct Asking {
    line: Mutex<Line>,
    abilities: Abilities,
    open: Mutex<Open>,
    asked: Notify,
}

#[derive(Debug, Default)]
struct Open {
    questions: Vec<Question>,
    /// How many there were so far, so that no key is used twice.
    count: u32,
}

/// Something that a server wants to know.
#[derive(Debug, Clone)]
pub(super) struct Question {
    /// The key under which the caller finds it and answers it.
    pub(super) key: String,
    /// The id of the server's request.
    pub(super) id: Raw,
    pub(super) method: String,
    pub(super) params: Object,
}

impl Ear {
    /// Takes what a server says in the course of the request. Answers with what is to be sent back at once.
    pub(super) fn hear(&self, said: &Envelope) -> Option<Vec<u8>> {
        if let Self::Changes(hearing) = self {
            hearing.hear(said);
            return said.id.as_ref().map(|id| refusal(id, &said.method));
        }
        let kind = match said.method.as_str() {
            "notifications/progress" => EventKind::Progress,
            "notifications/message" => EventKind::Log,
            "notifications/elicitation/complete" => EventKind::ElicitationComplete,
            _ => return self.ask(said),
        };
        let params = match said.meta.get(REQUEST) {
            Some(_) => without_request(said),
            None => said.params.clone(),
        };
        self.tell(Event { kind, params });
        None
    }

    /// Tells whoever waits for the request now.
    pub(super) fn tell(&self, event: Event) {
        match self {
            Self::Notices(line) => line.tell(event),
            Self::Questions(asking) => lock(&asking.line).tell(event),
            Self::Changes(_) => {}
        }
    }

    fn ask(&self, said: &Envelope) -> Option<Vec<u8>> {
        match (self, &said.id) {
            (Self::Questions(asking), Some(id)) => asking.ask(id, said),
            (Self::Notices(_) | Self::Changes(_), Some(id)) => Some(refusal(id, &said.method)),
            (Self::Questions(asking), None) if said.method == "notifications/cancelled" => {
                asking.withdraw(said.params.raw("requestId").as_ref());
                None
            }
            (_, None) => None,
        }
    }
}

impl Asking {
    pub(super) fn new(line: Line, abilities: Abilities) -> Self {
        Self {
            line: Mutex::new(line),
            abilities,
            open: Mutex::default(),
            asked: Notify::new(),
        }
    }

    /// From now on this line is told.
    pub(super) fn turn_to(&self, line: Line) {
        *lock(&self.line) = line;
    }

    /// Waits until there is a question.
    pub(super) async fn asked(&self) {
        while self.is_quiet() {
            self.asked.notified().await;
        }
    }

    /// There is no question.
    pub(super) fn is_quiet(&self) -> bool {
        lock(&self.open).questions.is_empty()
    }

    /// The questions that are open.
    pub(super) fn open(&self) -> Vec<Question> {
        lock(&self.open).questions.clone()
    }

    /// Takes the questions that `take` wants.
    pub(super) fn take(&self, take: impl Fn(&Question) -> bool) -> Vec<Question> {
        lock(&self.open)
            .questions
            .extract_if(.., |question| take(question))
            .collect()
    }

    fn ask(&self, id: &Raw, said: &Envelope) -> Option<Vec<u8>> {
        if let Err(refused) = self.abilities.allow(&said.method, &said.params) {
            return Some(refused.map_or_else(
                || refusal(id, &said.method),
                |why| write::error(Some(id), -32602, why, None),
            ));
        }
        let mut open = lock(&self.open);
        if open.questions.len() >= MAX_OPEN {
            let why = "too many questions wait for answers; ask again later";
            return Some(write::error(Some(id), -32603, why, None));
        }
        open.count += 1;
        let question = Question {
            key: format!("q{}", open.count),
            id: id.clone(),
            method: said.method.clone(),
            params: said.params.clone(),
        };
        open.questions.push(question);
        self.asked.notify_one();
        None
    }

    /// The server does not want to know it any more.
    fn withdraw(&self, id: Option<&Raw>) {
        lock(&self.open)
            .questions
            .retain(|question| Some(&question.id) != id);
    }
}

/// The params of a notice without the id that only we know.
fn without_request(said: &Envelope) -> Object {
    let meta = said.meta.edited(&[(REQUEST, Edit::Drop)]);
    let left = match meta.is_empty() {
        true => Edit::Drop,
        false => Edit::Put(meta.bytes()),
    };
    said.params.edited(&[("_meta", left)])
}

/// Our answer to a server's request that nobody is to see: `ping` is granted, anything else was not offered to it.
pub(super) fn refusal(id: &Raw, method: &str) -> Vec<u8> {
    match method {
        "ping" => write::result(id, |out| out.extend_from_slice(b"{}"), 2),
        _ => {
            let why = format!("Method not found: {method}");
            write::error(Some(id), -32601, &why, None)
        }
    }
}

#[cfg(test)]
mod tests;
