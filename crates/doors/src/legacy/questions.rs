//! What clients of older revisions were asked and have not answered yet.

use std::collections::HashMap;
use std::sync::{Mutex, MutexGuard, PoisonError};

use tokio::sync::oneshot;
use toolbus_model::{Error, Object, Raw};
use toolbus_protocol::Reply;
use uuid::Uuid;

/// Questions that are open at once: each holds a call that waits.
const MAX_OPEN: usize = 10_000;

/// A client's answer: its result, or its error.
pub(crate) type Answer = Result<Object, Error>;

type Open = HashMap<(String, Raw), oneshot::Sender<Answer>>;

/// Open questions, by session and request id.
#[derive(Debug, Default)]
pub(crate) struct Questions(Mutex<Open>);

/// A question that waits for its answer. Dropped, it is forgotten.
pub(crate) struct Question<'a> {
    questions: &'a Questions,
    key: (String, Raw),
    answer: oneshot::Receiver<Answer>,
}

impl Questions {
    /// A new question to a session's client.
    pub(crate) fn ask(&self, session: &str) -> Result<Question<'_>, Error> {
        let id = Raw::of(&format!("toolbus-{}", Uuid::now_v7().simple()));
        let key = (session.to_owned(), id);
        let (sender, answer) = oneshot::channel();
        let mut open = self.lock();
        if open.len() >= MAX_OPEN {
            return Err(Error::Busy {
                what: format!("{MAX_OPEN} questions to clients are open, which is the limit"),
                retry_after: std::time::Duration::from_secs(1),
            });
        }
        open.insert(key.clone(), sender);
        Ok(Question {
            questions: self,
            key,
            answer,
        })
    }

    /// Takes a client's answer; false where nothing like it was asked here.
    pub(crate) fn answered(&self, session: &str, reply: Reply) -> bool {
        let Some(id) = reply.id else { return false };
        let waiting = self.lock().remove(&(session.to_owned(), id));
        waiting.is_some_and(|waiting| waiting.send(reply.result).is_ok())
    }

    fn lock(&self) -> MutexGuard<'_, Open> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Question<'_> {
    /// The id of the request that asks it.
    pub(crate) fn id(&self) -> &Raw {
        &self.key.1
    }

    /// Waits for the answer.
    pub(crate) async fn answer(&mut self) -> Answer {
        let gone = |_| Error::StateLost("the question was withdrawn".to_owned());
        (&mut self.answer).await.map_err(gone)?
    }
}

impl Drop for Question<'_> {
    fn drop(&mut self) {
        self.questions.lock().remove(&self.key);
    }
}
