//! Federated peers: what is called there, and what they call here.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use tokio::sync::{Semaphore, watch};
use tokio::time::sleep;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use toolbus_model::{
    Backend, BoxFuture, Call, Error, Health, Kind, Method, Object, Offer, Outcome, Request,
};
use toolbus_protocol::capability::{Parties, Receipt, Status};
use toolbus_protocol::urn::Urn;
use toolbus_protocol::write;

use super::exchange::{Ask, Exchange};
use super::mailbox::Mailbox;
use super::shelf::Offered;
use super::wire::Federation;
use super::{Published, Receipts, descriptor, foreign};
use crate::bus::{Bus, Link, Message, NotSent};

/// Requests of peers at once. Further ones are answered that there is no room.
const AT_ONCE: usize = 256;

/// Requests that wait to be read.
const WAITING: usize = 1_024;

/// Replicas of a gateway share the requests of its peers.
const QUEUE: &str = "gateways";

/// How soon what could not be subscribed to is tried again.
const AGAIN: Duration = Duration::from_secs(1);

/// A peer, as its calls are made.
#[derive(Debug, Clone)]
pub struct PeerSettings {
    /// Where everything is.
    pub published: Published,
    /// Between whom calls are made.
    pub parties: Parties,
    /// What can be called there.
    pub capabilities: Vec<Urn>,
    /// How long a call is waited for.
    pub timeout: Duration,
    /// This gateway, as the peer is told.
    pub source: String,
    /// Doors that write the receipts of their calls themselves.
    pub noted_by: &'static [&'static str],
}

/// A peer as a server of the catalog.
#[derive(Debug)]
pub struct Peer {
    settings: PeerSettings,
    subject: String,
    federation: Federation,
    exchange: Exchange,
    receipts: Option<Arc<Receipts>>,
    offer: watch::Sender<Arc<Offer>>,
    tasks: TaskTracker,
    closing: CancellationToken,
}

impl Peer {
    /// Calls a peer on this bus. Must be called within a runtime.
    pub fn open(
        bus: Arc<dyn Bus>,
        settings: PeerSettings,
        receipts: Option<Arc<Receipts>>,
    ) -> Arc<Self> {
        let Parties {
            agreement,
            source,
            destination,
        } = settings.parties.clone();
        let peer = Arc::new(Self {
            subject: settings.published.federation(&destination),
            federation: Federation {
                source,
                target: destination,
                agreement,
            },
            exchange: Exchange {
                mailbox: Mailbox::new(Arc::clone(&bus)),
                source: settings.source.clone(),
                timeout: settings.timeout,
            },
            receipts,
            offer: watch::Sender::new(Arc::new(offer(&settings, Health::Up))),
            tasks: TaskTracker::new(),
            closing: CancellationToken::new(),
            settings,
        });
        let (following, closing) = (Arc::clone(&peer).follow(bus.link()), peer.closing.clone());
        peer.tasks
            .spawn(async move { closing.run_until_cancelled(following).await });
        peer
    }

    /// Says how the connection is.
    async fn follow(self: Arc<Self>, mut link: watch::Receiver<Link>) {
        loop {
            let health = match &*link.borrow_and_update() {
                Link::Up(_) => Health::Up,
                Link::Down(why) => {
                    let what = format!("there is no connection to the broker: {why}");
                    Health::Down(Error::Unavailable(toolbus_model::Cause::new(what).into()))
                }
            };
            let new = Arc::new(offer(&self.settings, health));
            self.offer.send_if_modified(|old| {
                let is_new = *old != new;
                old.clone_from(&new);
                is_new
            });
            if link.changed().await.is_err() {
                return;
            }
        }
    }

    async fn call(&self, request: Request, call: &Call) -> Result<Outcome, Error> {
        if request.method != Method::ToolsCall {
            return Err(Error::MethodNotFound(request.method.as_str().to_owned()));
        }
        let alias = request.target.as_deref().unwrap_or_default();
        let mut known = self.settings.capabilities.iter();
        let urn = known.find(|urn| urn.alias() == alias);
        let urn = urn.ok_or_else(|| Error::Unknown {
            kind: Kind::Tool,
            name: alias.to_owned(),
        })?;
        let ask = Ask {
            urn,
            subject: self.subject.clone(),
            federation: Some(&self.federation),
        };
        let answer = self.exchange.call(&ask, &request, call).await;
        let answer = answer.map(Outcome::Complete);
        self.note(urn, &request, call, Status::of(&answer));
        answer
    }

    fn note(&self, urn: &Urn, request: &Request, call: &Call, status: Status) {
        if self.settings.noted_by.contains(&call.seed.door) {
            return;
        }
        if let Some(receipts) = &self.receipts {
            let payload = request.params.get("arguments").unwrap_or(b"{}");
            let parties = &self.settings.parties;
            receipts.record(Receipt::of(parties, urn.as_str(), payload, status));
        }
    }
}

impl Backend for Peer {
    fn offer(&self) -> watch::Receiver<Arc<Offer>> {
        self.offer.subscribe()
    }

    fn serve<'a>(
        &'a self,
        request: Request,
        call: &'a Call,
    ) -> BoxFuture<'a, Result<Outcome, Error>> {
        Box::pin(self.call(request, call))
    }

    fn stop(&self) -> BoxFuture<'_, ()> {
        Box::pin(async {
            self.closing.cancel();
            self.tasks.close();
            self.tasks.wait().await;
            self.exchange.mailbox.close().await;
        })
    }
}

fn offer(settings: &PeerSettings, health: Health) -> Offer {
    let whose = format!("At the peer {}", settings.parties.destination);
    let described = Object::of(&serde_json::json!({"description": whose}));
    let tools = settings.capabilities.iter();
    let offered = Offered {
        tools: tools.map(|urn| descriptor::tool(urn, &described)).collect(),
        ..Offered::default()
    };
    foreign::offer(&offered, health)
}

/// Answers one request: the whole response, or nothing where none is asked for.
pub type Answer = dyn Fn(Bytes) -> BoxFuture<'static, Option<Vec<u8>>> + Send + Sync;

/// Serves peers: what they ask an instance for is answered, until `closing`.
pub async fn serve(
    bus: Arc<dyn Bus>,
    published: Published,
    instance: String,
    answer: Arc<Answer>,
    closing: CancellationToken,
) {
    let (room, tasks) = (Arc::new(Semaphore::new(AT_ONCE)), TaskTracker::new());
    let subject = published.federation(&instance);
    let serving = async {
        loop {
            let mut requests = match bus.subscribe(&subject, Some(QUEUE), WAITING).await {
                Ok(requests) => requests,
                Err(error) => {
                    tracing::debug!(%error, "peers cannot be served yet");
                    sleep(AGAIN).await;
                    continue;
                }
            };
            while let Some(message) = requests.next().await {
                let Some(reply) = message.reply else { continue };
                let Ok(place) = Arc::clone(&room).try_acquire_owned() else {
                    send(&*bus, reply, busy());
                    continue;
                };
                let (answer, bus) = (Arc::clone(&answer), Arc::clone(&bus));
                tasks.spawn(async move {
                    let _place = place;
                    if let Some(response) = answer(message.payload).await {
                        send(&*bus, reply, response);
                    }
                });
            }
        }
    };
    closing.run_until_cancelled(serving).await;
    tasks.close();
    tasks.wait().await;
}

fn busy() -> Vec<u8> {
    let message = format!("Busy: {AT_ONCE} requests of peers run");
    write::error(
        None,
        -31004,
        &message,
        Some(br#"{"retryable":true,"retryAfterMs":1000}"#),
    )
}

fn send(bus: &dyn Bus, subject: String, payload: Vec<u8>) {
    let message = |payload: Vec<u8>| Message {
        subject: subject.clone(),
        payload: payload.into(),
        ..Message::default()
    };
    match bus.send(message(payload)) {
        Ok(()) => {}
        Err(NotSent::TooLarge(limit)) => {
            let text = format!("The result is larger than the {limit} bytes that the broker takes");
            let _ = bus.send(message(write::error(None, -31005, &text, None)));
        }
        Err(error) => tracing::debug!("a peer got no answer: {error}"),
    }
}
