//! What comes in on the subjects of work, up to the point where it has a place.

use std::sync::Arc;
use std::task::{Context, Waker};

use tokio::sync::OwnedSemaphorePermit;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;
use toolbus_protocol::urn::Urn;

use super::offered::Tool;
use super::terminal::{Terminal, id_of};
use super::{Shared, compat, listen, requests};
use crate::bus::{Message, Subscription};
use crate::frame::{Ask, header};

/// A request up to this size is read where it comes in, in bytes. A larger one would hold up those behind it.
const SHORT: usize = 16 * 1024;

/// On which kind of subject a request came in.
#[derive(Debug, Clone)]
pub(super) enum Place {
    /// That of a tool.
    Tool(Arc<Tool>),
    /// That of everything else a server does.
    Server(usize),
    /// The worker's own.
    Instance,
    /// A published one, of a tool.
    Compat(Arc<Tool>, Urn),
}

/// A request that has a place.
#[derive(Debug)]
pub(super) struct Job {
    pub(super) message: Message,
    pub(super) place: Place,
    pub(super) arrived: Instant,
    pub(super) pass: OwnedSemaphorePermit,
}

/// Reads a subscription, and after `leaving` what it still brings.
pub(super) async fn read(
    shared: Arc<Shared>,
    mut subscription: Subscription,
    place: Place,
    leaving: CancellationToken,
) {
    {
        let mut left = std::pin::pin!(leaving.cancelled());
        loop {
            tokio::select! {
                message = subscription.next() => match message {
                    Some(message) => shared.take(message, &place),
                    None => return,
                },
                () = &mut left => break,
            }
        }
    }
    // The server has confirmed then that no more will come than what is on its way.
    subscription.unsubscribe().await;
    while let Some(message) = subscription.next().await {
        shared.take(message, &place);
    }
}

impl Shared {
    /// Begins what is asked, or says that there is no room for it. Never waits: what waits here would be run
    /// when nobody wants it any more.
    fn take(self: &Arc<Self>, message: Message, place: &Place) {
        let arrived = Instant::now();
        let listens = message.headers.get(header::METHOD) == Some(listen::METHOD);
        let places = if listens {
            &self.listeners
        } else {
            &self.places
        };
        let Ok(pass) = Arc::clone(places).try_acquire_owned() else {
            return self.refuse(&message, place, listens);
        };
        let job = Job {
            message,
            place: place.clone(),
            arrived,
            pass,
        };
        let shared = Arc::clone(self);
        let is_short = job.message.payload.len() <= SHORT;
        match place {
            Place::Compat(tool, urn) => {
                let (tool, urn) = (Arc::clone(tool), urn.clone());
                self.begin(is_short, compat::handle(shared, job, tool, urn));
            }
            Place::Tool(_) | Place::Server(_) | Place::Instance => {
                self.begin(is_short, requests::handle(shared, job));
            }
        }
    }

    /// Begins a short call here, and gives it a task of its own where it does not end at once: a task would be a fifth of
    /// what it costs.
    fn begin(&self, is_short: bool, call: impl Future<Output = ()> + Send + 'static) {
        if !is_short {
            self.tasks.spawn(call);
            return;
        }
        let mut call = Box::pin(call);
        // Whatever it waits for wakes the task, which looks again first of all.
        let mut context = Context::from_waker(Waker::noop());
        if call.as_mut().poll(&mut context).is_pending() {
            self.tasks.spawn(call);
        }
    }

    fn refuse(&self, message: &Message, place: &Place, listens: bool) {
        let Some(reply) = &message.reply else { return };
        let what = match (listens, self.settings.capacity) {
            (true, _) => "this worker tells as many listeners of changes as it can".to_owned(),
            (false, capacity) => {
                format!("{capacity} calls run, which is as many as this worker takes")
            }
        };
        let busy = Terminal::busy(&id_of(&message.payload), what);
        if matches!(place, Place::Compat(..)) {
            return self.answer_plain(reply, busy.body);
        }
        let attempt = Ask::read(&message.headers).map_or(1, |ask| ask.attempt);
        self.answer(reply, attempt, busy);
    }
}
