//! One client that sends and reads messages on one line each way: a pair of pipes, or the stream and the posts of
//! HTTP+SSE. Both eras may be spoken on it.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use bytes::Bytes;
use tokio::sync::{Semaphore, mpsc};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use toolbus_gateway::{Gateway, Scope, Step};
use toolbus_model::{Caller, Era, Error, Object, Raw, Trace};
use toolbus_protocol::envelope::batch;
use toolbus_protocol::meta::{self, Modern};
use toolbus_protocol::{Envelope, Message, Refusal, write};

use crate::encode;
use crate::exchange::{self, Call, Terms, Work};
use crate::legacy::{Ask, Conductor, Feed, Legacy, Outlet, Session};
use crate::listen::Listening;

/// Requests at once. Beyond it nothing more is read, so that a client that floods us waits in its own pipe.
const REQUESTS: usize = 1_024;

/// Who talks to us, and where.
pub(crate) struct Party {
    pub(crate) caller: Caller,
    pub(crate) scope: Scope,
    pub(crate) door: &'static str,
}

/// A client on one line each way.
pub(crate) struct Conversation {
    gateway: Arc<Gateway>,
    legacy: Arc<Legacy>,
    party: Party,
    session: Mutex<Option<Session>>,
    feed: tokio::sync::OnceCell<Arc<Feed>>,
    running: Mutex<HashMap<Raw, CancellationToken>>,
    listening: Mutex<HashMap<Raw, CancellationToken>>,
    outlet: Outlet,
    places: Arc<Semaphore>,
    tasks: TaskTracker,
    closing: CancellationToken,
}

impl Conversation {
    /// Begins; what we say goes into `outbox`.
    pub(crate) fn begin(
        gateway: Arc<Gateway>,
        legacy: Arc<Legacy>,
        party: Party,
        outbox: mpsc::Sender<Vec<u8>>,
    ) -> Arc<Self> {
        Arc::new(Self {
            gateway,
            legacy,
            party,
            session: Mutex::default(),
            feed: tokio::sync::OnceCell::new(),
            running: Mutex::default(),
            listening: Mutex::default(),
            outlet: Outlet::Line(outbox),
            places: Arc::new(Semaphore::new(REQUESTS)),
            tasks: TaskTracker::new(),
            closing: CancellationToken::new(),
        })
    }

    /// Waits for what is under way, then stops it.
    pub(crate) async fn finish(&self, within: Duration) {
        self.tasks.close();
        if let Some(feed) = self.feed.get() {
            feed.close(&self.legacy.tapes);
        }
        for (_, listening) in lock(&self.listening).drain() {
            listening.cancel();
        }
        let _ = tokio::time::timeout(within, self.tasks.wait()).await;
        self.close();
    }

    /// Stops what is under way at once: the client is gone.
    pub(crate) fn close(&self) {
        self.closing.cancel();
        if let Some(feed) = self.feed.get() {
            feed.close(&self.legacy.tapes);
        }
    }

    /// Says that something cannot be taken.
    pub(crate) async fn refuse(&self, id: Option<&Raw>, error: &Error) {
        self.say(encode::plain_error(id, Era::Modern, error, None))
            .await;
    }

    async fn say(&self, message: Vec<u8>) {
        self.outlet.say(message, true).await;
    }

    /// Takes what the client sent: one message, or a batch of a revision that has them.
    pub(crate) async fn take(self: &Arc<Self>, text: &Bytes) {
        let batches = lock(&self.session)
            .as_ref()
            .is_some_and(Session::has_batches);
        match batch(text).filter(|_| batches) {
            Some(Ok(messages)) => {
                for message in messages {
                    self.take_one(&message).await;
                }
            }
            Some(Err(error)) => self.refuse(None, &error).await,
            None => self.take_one(text).await,
        }
    }

    async fn take_one(self: &Arc<Self>, text: &Bytes) {
        let envelope = match Message::parse(text) {
            Ok(Message::Call(envelope)) => envelope,
            Ok(Message::Reply(reply)) => {
                let session = lock(&self.session).clone();
                if let Some(session) = session
                    && !self.legacy.questions.answered(session.tag(), reply)
                {
                    tracing::debug!("an answer to a question that is not open");
                }
                return;
            }
            Err(Refusal { error, id }) => return self.refuse(id.as_ref(), &error).await,
        };
        let Some(id) = envelope.id.clone() else {
            return self.notified(&envelope);
        };
        // What follows an `initialize` may rely on its having been heard.
        let era = self.era(&envelope);
        if envelope.method == "initialize" && era == Era::Legacy {
            return self.settle(envelope, id, era).await;
        }
        let Ok(place) = Arc::clone(&self.places).acquire_owned().await else {
            return;
        };
        let conversation = Arc::clone(self);
        // What is dropped half-way cancels its call.
        let closing = self.closing.clone();
        self.tasks
            .spawn(closing.run_until_cancelled_owned(async move {
                conversation.settle(envelope, id, era).await;
                drop(place);
            }));
    }

    /// Answers a request, with its result or its error.
    async fn settle(&self, envelope: Envelope, id: Raw, era: Era) {
        if let Err(error) = self.answer(envelope, id.clone(), era).await {
            self.say(encode::plain_error(Some(&id), era, &error, None))
                .await;
        }
    }

    /// A request that says its revision, or asks for what only the modern era has, is modern.
    fn era(&self, envelope: &Envelope) -> Era {
        let is_modern =
            envelope.meta.get(meta::VERSION).is_some() || envelope.method == "server/discover";
        let in_session = lock(&self.session).is_some();
        match is_modern || (!in_session && envelope.method != "initialize") {
            true => Era::Modern,
            false => Era::Legacy,
        }
    }

    async fn answer(&self, envelope: Envelope, id: Raw, era: Era) -> Result<(), Error> {
        let Party {
            caller,
            scope,
            door,
        } = &self.party;
        if era == Era::Modern {
            let said = Modern::read(&envelope.meta)?;
            let terms = Terms::modern(&envelope, said, caller.clone(), scope.clone(), door)?;
            return self.work(terms, envelope, id, None).await;
        }
        let open = lock(&self.session).clone();
        let Some(session) = open else {
            return self.initialize(&envelope, &id).await;
        };
        if let Some(answer) = self.legacy.sessions.answer(&session, &envelope, &id) {
            self.say(answer?).await;
            return Ok(());
        }
        if let Some(subscribing) = Subscribing::read(&envelope)? {
            self.subscribe(&session, subscribing).await?;
            self.say(write::empty_result(&id)).await;
            return Ok(());
        }
        let terms = self
            .legacy
            .sessions
            .terms(&session, caller.clone(), scope.clone(), door);
        self.work(terms, envelope, id, Some(session)).await
    }

    async fn work(
        &self,
        terms: Terms,
        envelope: Envelope,
        id: Raw,
        session: Option<Session>,
    ) -> Result<(), Error> {
        match exchange::begin(&self.gateway, terms, envelope, id, None).await? {
            Work::Answered(message) => self.say(message).await,
            Work::Listening(listening) => self.listen(*listening).await,
            Work::Running(call) => match session {
                Some(session) => self.conduct(&session, *call).await,
                None => self.run(*call).await,
            },
        }
        Ok(())
    }

    async fn initialize(&self, envelope: &Envelope, id: &Raw) -> Result<(), Error> {
        self.gateway.started().await;
        let Party { caller, scope, .. } = &self.party;
        let sessions = &self.legacy.sessions;
        let (session, result) = sessions.open(envelope, caller, scope, &self.gateway)?;
        *lock(&self.session) = Some(session);
        let size = result.bytes().len();
        self.say(write::result(
            id,
            |out| out.extend_from_slice(result.bytes()),
            size,
        ))
        .await;
        Ok(())
    }

    async fn conduct(&self, session: &Session, call: Call) {
        let conductor = Conductor {
            gateway: &self.gateway,
            legacy: &self.legacy,
            session,
            outlet: &self.outlet,
        };
        if let Some(response) = conductor.conduct(call, None).await {
            self.say(response).await;
        }
    }

    async fn run(&self, mut call: Call) {
        let token = CancellationToken::new();
        let guard = std::mem::replace(&mut call.running.guard, token.drop_guard());
        lock(&self.running).insert(call.id.clone(), guard.disarm());
        let answer = loop {
            match call.running.next().await {
                Step::Notice(event) => self.outlet.tell(&event, call.token.as_ref()).await,
                Step::Answer(answer) => break answer,
            }
        };
        lock(&self.running).remove(&call.id);
        // A cancelled request is never answered.
        if answer != Err(Error::Cancelled) {
            self.say(call.finish(answer)).await;
        }
    }

    /// Tells of changes until the client cancels or we close.
    async fn listen(&self, mut listening: Listening) {
        let token = CancellationToken::new();
        lock(&self.listening).insert(listening.id.clone(), token.clone());
        while let Some(next) = token.run_until_cancelled(listening.next()).await {
            match next {
                Some(message) => self.outlet.say(message, false).await,
                None => {
                    self.say(listening.cancelled()).await;
                    self.say(listening.end()).await;
                    break;
                }
            }
        }
        lock(&self.listening).remove(&listening.id);
    }

    async fn subscribe(&self, session: &Session, what: Subscribing) -> Result<(), Error> {
        let feed = self.feed(session).await?;
        match what {
            Subscribing::To(uri) => feed.subscribe(uri, &self.ask(session)).await,
            Subscribing::From(uri) => {
                feed.unsubscribe(&uri);
                Ok(())
            }
        }
    }

    async fn feed(&self, session: &Session) -> Result<&Arc<Feed>, Error> {
        let open = || async { Feed::open(self.outlet.clone(), &self.ask(session)).await };
        self.feed.get_or_try_init(open).await
    }

    fn ask(&self, session: &Session) -> Ask<'_> {
        let Party {
            caller,
            scope,
            door,
        } = &self.party;
        let terms = self
            .legacy
            .sessions
            .terms(session, caller.clone(), scope.clone(), door);
        Ask {
            gateway: &self.gateway,
            tasks: &self.tasks,
            ending: &self.closing,
            scope: scope.clone(),
            seed: terms.seed(None, Trace::default()),
        }
    }

    fn notified(self: &Arc<Self>, envelope: &Envelope) {
        let session = lock(&self.session).clone();
        if envelope.method == "notifications/initialized"
            && let Some(session) = &session
        {
            let (conversation, session) = (Arc::clone(self), session.clone());
            self.tasks.spawn(async move {
                if let Err(error) = conversation.feed(&session).await {
                    tracing::warn!(%error, "the client cannot be told of changed lists");
                }
            });
        }
        if let Some(session) = &session {
            self.legacy.sessions.notified(session, envelope);
        }
        if envelope.method == "notifications/cancelled"
            && let Some(id) = envelope.params.raw("requestId")
        {
            for table in [&self.running, &self.listening] {
                if let Some(cancel) = lock(table).get(&id) {
                    cancel.cancel();
                }
            }
        }
    }
}

/// What `resources/subscribe` and `resources/unsubscribe` ask for.
pub(crate) enum Subscribing {
    To(Arc<str>),
    From(Arc<str>),
}

impl Subscribing {
    pub(crate) fn read(envelope: &Envelope) -> Result<Option<Self>, Error> {
        let uri = |params: &Object| -> Result<Arc<str>, Error> {
            let uri = params.str("uri").ok_or_else(|| {
                Error::InvalidParams("Invalid params: \"uri\" must be a string".to_owned())
            })?;
            Ok(uri.as_ref().into())
        };
        Ok(match envelope.method.as_str() {
            "resources/subscribe" => Some(Self::To(uri(&envelope.params)?)),
            "resources/unsubscribe" => Some(Self::From(uri(&envelope.params)?)),
            _ => None,
        })
    }
}

fn lock<T>(mutex: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
