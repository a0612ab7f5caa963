//! The caller's end of a call: its notices in their order, then its answer.

use std::pin::Pin;
use std::task::{Context, Poll, ready};

use tokio::sync::oneshot;
use tokio_util::sync::{CancellationToken, DropGuard};
use toolbus_model::{CallId, Error, Event, Events, Outcome};

/// A call on its way. Dropping it tells the back end to stop.
#[derive(Debug)]
pub struct Running {
    /// The call's id.
    pub id: CallId,
    /// Stops the call when dropped.
    pub guard: DropGuard,
    events: Events,
    answer: oneshot::Receiver<Result<Outcome, Error>>,
    /// The answer, while notices that came before it are handed out.
    answered: Option<Result<Outcome, Error>>,
}

/// What a call comes to next.
#[derive(Debug)]
pub enum Step {
    /// It says something.
    Notice(Event),
    /// It has ended so, and nothing follows.
    Answer(Result<Outcome, Error>),
}

impl Running {
    pub(crate) fn new(
        id: CallId,
        guard: DropGuard,
        events: Events,
        answer: oneshot::Receiver<Result<Outcome, Error>>,
    ) -> Self {
        Self {
            id,
            guard,
            events,
            answer,
            answered: None,
        }
    }

    /// The next notice, or the answer when all that was said before it has been handed out. Nothing is lost when the
    /// wait is given up. Not to be asked again after the answer.
    pub async fn next(&mut self) -> Step {
        std::future::poll_fn(|context| self.poll_next(context)).await
    }

    /// [`Running::next`] as a poll.
    pub fn poll_next(&mut self, context: &mut Context<'_>) -> Poll<Step> {
        if let Poll::Ready(Some(event)) = self.events.poll_recv(context) {
            return Poll::Ready(Step::Notice(event));
        }
        let answered = match self.answered.take() {
            Some(answered) => answered,
            None => {
                let answer = ready!(Pin::new(&mut self.answer).poll(context));
                answer.unwrap_or_else(|_| Err(Error::Internal("the call was lost".to_owned())))
            }
        };
        // Between the two looks above both a notice and the answer may have come.
        match self.events.poll_recv(context) {
            Poll::Ready(Some(event)) => {
                self.answered = Some(answered);
                Poll::Ready(Step::Notice(event))
            }
            _ => Poll::Ready(Step::Answer(answered)),
        }
    }

    /// Tells the back end to stop; the answer still comes.
    pub fn cancel(&mut self) {
        let done = CancellationToken::new().drop_guard();
        drop(std::mem::replace(&mut self.guard, done));
    }

    /// The answer, for those who asked for no notices.
    pub async fn answer(&mut self) -> Result<Outcome, Error> {
        loop {
            if let Step::Answer(answer) = self.next().await {
                return answer;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::mpsc;

    use toolbus_model::{
        Call, CallSeed, Caller, EventKind, LogLevel, Object, Raw, Revision, Trace,
    };

    use super::*;

    fn seed() -> CallSeed {
        CallSeed {
            caller: Caller::local(),
            revision: Revision::V2026_07_28,
            door: "test",
            capabilities: Object::empty().to_raw(),
            client: None,
            log_level: Some(LogLevel::Debug),
            progress_token: Some(Raw::of("mine")),
            trace: Trace::default(),
        }
    }

    /// The back end says something and ends while the caller looks: thousands of times, so that the two meet at every
    /// point of the look.
    #[test]
    fn an_answer_overtakes_no_notice() {
        let (work, calls) = mpsc::sync_channel(1);
        let back_end = std::thread::spawn(move || {
            while let Ok((call, sender)) = calls.recv() {
                let (call, sender): (std::sync::Arc<Call>, oneshot::Sender<_>) = (call, sender);
                let params = Object::of(&serde_json::json!({"level": "info", "data": 1}));
                let kind = EventKind::Log;
                call.line().tell(Event { kind, params });
                let _ = sender.send(Ok(Outcome::Complete(Object::empty())));
            }
        });
        let mut context = Context::from_waker(std::task::Waker::noop());
        for round in 0..20_000 {
            let (call, end) = Call::begin(seed(), CancellationToken::new());
            let (sender, answer) = oneshot::channel();
            let mut running = Running::new(end.id, end.cancel.drop_guard(), end.events, answer);
            work.send((call, sender)).expect("a back end");
            let mut heard = 0;
            loop {
                match running.poll_next(&mut context) {
                    Poll::Ready(Step::Notice(_)) => heard += 1,
                    Poll::Ready(Step::Answer(answer)) => break drop(answer.expect("a result")),
                    Poll::Pending => {}
                }
            }
            assert_eq!(heard, 1, "round {round}");
        }
        drop(work);
        back_end.join().expect("no panic");
    }
}
