//! Keeps what is known of foreign workers: asks them again and again, hears what they say unasked, follows the registry.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use tokio::sync::{mpsc, watch};
use tokio::time::{Instant, Interval, interval, sleep, sleep_until};
use toolbus_model::{Cause, Error, Health};

use super::descriptor;
use super::foreign::Foreign;
use super::register::Entry;
use super::shelf::{Offered, Shelf};
use crate::bus::{Bucket, BucketSettings, Bus, BusError, Change, Link, Message, Subscription};
use crate::frame::header;

/// How often workers are asked what they serve.
pub const DISCOVER_EVERY: Duration = Duration::from_secs(15);

/// How long their answers are gathered.
pub const GATHER: Duration = Duration::from_secs(5);

/// A capability is forgotten that no worker named in so many rounds.
const ROUNDS: u32 = 3;

/// Changes that come together are offered together.
const TOGETHER: Duration = Duration::from_millis(100);

/// How soon what could not be subscribed to is tried again.
const AGAIN: Duration = Duration::from_secs(1);

/// Descriptions that wait to be read: some thousand workers may answer at once.
const WAITING: usize = 65_536;

/// Earlier values that the registry keeps: with the last one, the five of the contract.
const HISTORY: u8 = 4;

/// What is listened to.
struct Ears {
    answers: Subscription,
    inbox: String,
    updates: Subscription,
}

struct Keeper {
    foreign: Arc<Foreign>,
    bus: Arc<dyn Bus>,
    shelf: Shelf,
    link: watch::Receiver<Link>,
    registry: Option<(Arc<dyn Bucket>, mpsc::Receiver<Change>)>,
    /// Everything that stood in the registry is known, or there is none.
    is_current: bool,
    /// When what has changed is offered.
    offer_at: Option<Instant>,
}

/// Keeps everything, until the server is closed.
pub(super) async fn keep(foreign: Arc<Foreign>, bus: Arc<dyn Bus>) {
    let closing = foreign.closing.clone();
    let keeper = Keeper {
        link: bus.link(),
        foreign,
        bus,
        shelf: Shelf::default(),
        registry: None,
        is_current: false,
        offer_at: None,
    };
    closing.run_until_cancelled(keeper.run()).await;
}

impl Keeper {
    async fn run(mut self) {
        let mut ears = self.listen().await;
        let mut rounds = interval(self.foreign.settings.discover_every);
        rounds.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        loop {
            tokio::select! {
                said = ears.answers.next() => match said {
                    Some(message) => self.hear(&message, false).await,
                    None => ears = self.listen().await,
                },
                said = ears.updates.next() => match said {
                    Some(message) => self.hear(&message, true).await,
                    None => ears = self.listen().await,
                },
                change = next_change(&mut self.registry) => self.follow(change),
                Ok(()) = self.link.changed() => self.linked(&mut rounds),
                _ = rounds.tick() => self.ask(&ears.inbox).await,
                () = at(self.offer_at) => self.offer(),
            }
        }
    }

    /// Listens; tries again until there is a connection.
    async fn listen(&mut self) -> Ears {
        loop {
            match self.try_listen().await {
                Ok(ears) => return ears,
                Err(error) => tracing::debug!(%error, "foreign workers cannot be listened to yet"),
            }
            self.offer();
            sleep(AGAIN).await;
        }
    }

    async fn try_listen(&self) -> Result<Ears, BusError> {
        let inbox = self.bus.inbox();
        let updates = self.foreign.settings.published.update();
        Ok(Ears {
            answers: self.bus.subscribe(&inbox, None, WAITING).await?,
            updates: self.bus.subscribe(&updates, None, WAITING).await?,
            inbox,
        })
    }

    /// One round: asks all workers, forgets those that no longer answer, finds the registry where there was none.
    async fn ask(&mut self, inbox: &str) {
        let settings = &self.foreign.settings;
        let message = Message {
            subject: settings.published.discover(),
            reply: Some(inbox.to_owned()),
            payload: Bytes::from_static(br#"{"action":"discover"}"#),
            ..Message::default()
        };
        if let Err(error) = self.bus.send(message) {
            tracing::debug!("foreign workers were not asked: {error}");
            return;
        }
        let silence = settings.discover_every * ROUNDS + settings.gather;
        if self.shelf.forget(silence) {
            self.touch();
        }
        if self.registry.is_none() {
            self.registry = self.open_registry().await;
            self.is_current |= self.registry.is_none();
        }
    }

    async fn open_registry(&self) -> Option<(Arc<dyn Bucket>, mpsc::Receiver<Change>)> {
        let settings = BucketSettings {
            max_age: None,
            history: HISTORY,
        };
        let name = self.foreign.settings.published.registry();
        let opened = async {
            let bucket = self.bus.bucket(&name, settings).await?;
            let changes = bucket.watch(">").await?;
            Ok::<_, BusError>((bucket, changes))
        };
        let opened = opened.await;
        // Without JetStream there is none, and everything counts as it does without an entry.
        opened
            .inspect_err(|error| tracing::debug!(%error, "there is no registry"))
            .ok()
    }

    /// A worker described a capability.
    async fn hear(&mut self, message: &Message, is_update: bool) {
        // Our own workers answer too. What they serve is in our own catalog.
        if message.headers.get(header::WORKER).is_some() || message.no_responders {
            return;
        }
        let (urn, described) = match descriptor::read(&message.payload) {
            Ok(read) => read,
            Err(why) => {
                return tracing::warn!("a foreign worker's description is not taken: {why}");
            }
        };
        let key = urn.subject();
        let is_registered = self.shelf.is_registered(&urn);
        let value = (is_update && !is_registered).then(|| entry_of(&described));
        let published = &self.foreign.settings.published;
        if self.shelf.hear(published, urn, described) {
            self.touch();
            if let (Some(value), Some((bucket, _))) = (value, &self.registry) {
                // What somebody else has entered meanwhile stays.
                if let Err(error) = bucket.create(&key, value).await {
                    tracing::debug!(%error, "a capability was not entered in the registry");
                }
            }
        }
    }

    fn follow(&mut self, change: Option<Change>) {
        match change {
            Some(Change::Put(key, value, _)) => self.shelf.enter(key, Entry::read(&value)),
            Some(Change::Gone(key)) => self.shelf.strike(&key),
            Some(Change::Current) => self.is_current = true,
            None => self.registry = None,
        }
        // What may not be called any more is not offered a moment longer.
        self.offer();
    }

    fn linked(&mut self, rounds: &mut Interval) {
        rounds.reset_immediately();
        self.offer();
    }

    fn touch(&mut self) {
        self.offer_at
            .get_or_insert_with(|| Instant::now() + TOGETHER);
    }

    fn offer(&mut self) {
        self.offer_at = None;
        let health = match &*self.link.borrow() {
            Link::Up(_) => Health::Up,
            Link::Down(why) => {
                let what = format!("there is no connection to the broker: {why}");
                Health::Down(Error::Unavailable(Cause::new(what).into()))
            }
        };
        // Before the registry is read nobody knows what must not be called.
        let offered = if self.is_current {
            self.shelf.offered()
        } else {
            Offered::default()
        };
        self.foreign.publish(offered, health);
    }
}

/// What the registry gets of a worker that registers itself: a draft that few may know of.
fn entry_of(described: &toolbus_model::Object) -> Bytes {
    let entry = Entry {
        capability_metadata: described.to_raw().read().unwrap_or_default(),
        ..Entry::default()
    };
    serde_json::to_vec(&entry).unwrap_or_default().into()
}

async fn next_change(
    registry: &mut Option<(Arc<dyn Bucket>, mpsc::Receiver<Change>)>,
) -> Option<Change> {
    match registry {
        Some((_, changes)) => changes.recv().await,
        None => std::future::pending().await,
    }
}

async fn at(time: Option<Instant>) {
    match time {
        Some(time) => sleep_until(time).await,
        None => std::future::pending().await,
    }
}
