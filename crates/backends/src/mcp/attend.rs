//! Keeps what a server tells us in line with what is listened to, for as long as a connection to it lasts.

use std::collections::HashSet;
use std::sync::Arc;
use std::time::{Duration, Instant};

use futures_util::{StreamExt as _, stream};
use tokio::time::{sleep, timeout};
use toolbus_model::json::Edit;
use toolbus_model::{Era, Error, Raw};

use super::connect::Means;
use super::dialect::quoted;
use super::link::{Connection, Tells};
use super::listen::{Granted, Hearer, Listen, Wish};
use super::outgoing::Outgoing;

/// How long a server may take to acknowledge a listen, or to answer a subscription.
pub(super) const DECIDE_WITHIN: Duration = Duration::from_secs(10);

/// How long resources that nobody listens to any more stay in a listen. Many a listener that goes comes back.
const SHRINK_AFTER: Duration = Duration::from_secs(5);

/// First and longest pause before what was lost is asked for again.
const BACKOFF: (Duration, Duration) = (Duration::from_millis(250), Duration::from_secs(30));

/// A listen that lasted this long was a good one, so that the next is begun without a longer pause.
const STEADY: Duration = Duration::from_secs(10);

/// Subscriptions that are asked for at once.
const AT_ONCE: usize = 16;

/// Whoever attends to one connection.
#[derive(Debug)]
pub(super) struct Attendant {
    pub(super) connection: Arc<Connection>,
    pub(super) means: Means,
}

/// A listen that is open, and what it is for.
struct Open {
    listen: Listen,
    uris: HashSet<Arc<str>>,
    granted: Arc<Granted>,
    since: Instant,
}

/// What came of asking for a listen.
enum Asked {
    Open(Open),
    /// The server does not serve such requests.
    Refused,
    /// It may be there later.
    Lost,
}

impl Attendant {
    /// Attends until the connection is lost, or nobody uses it any more.
    pub(super) async fn attend(self) {
        let work = async {
            match self.connection.peer.revision.era() {
                Era::Modern => self.listen().await,
                Era::Legacy => self.subscribe().await,
            }
        };
        tokio::select! {
            biased;
            // What it has not asked for yet is its successor's to ask for.
            () = self.connection.retired.cancelled() => {}
            () = work => {}
            _ = self.connection.link.lost() => {}
        }
    }

    /// Keeps one listen open for everything that is wanted. A wider one is there before the narrower one ends.
    async fn listen(&self) {
        let (mut open, mut failures, mut shrink): (Option<Open>, u32, bool) = (None, 0, false);
        let lists = self.connection.peer.changing();
        loop {
            let wanted = self.means.news.wanted();
            let tells_of_any = self.connection.peer.subscribes() && !wanted.all.is_empty();
            if !lists.any() && !tells_of_any {
                open = None;
                self.means.news.decide(&wanted.open, |_| false);
                self.connection.telling.note(Tells::No);
                self.means.news.wanted_changed().await;
                continue;
            }
            let is_granted = |open: &Open| wanted.open.iter().all(|uri| open.granted.has(uri));
            let Some(current) = open.as_ref().filter(|open| is_granted(open) && !shrink) else {
                match self.ask(wanted.all).await {
                    Asked::Open(newer) => open = Some(newer),
                    Asked::Refused => return self.refuse_all().await,
                    Asked::Lost => {
                        failures += 1;
                        sleep(pause(failures)).await;
                    }
                }
                shrink = false;
                continue;
            };
            // Whoever comes back before the listen is narrowed finds what it wants.
            self.means.news.decide(&wanted.open, |_| true);
            let has_surplus = current.uris.len() > wanted.all.len();
            tokio::select! {
                () = current.listen.ended() => {
                    failures = match current.since.elapsed() >= STEADY {
                        true => 0,
                        false => failures + 1,
                    };
                    open = None;
                    self.connection.telling.note(Tells::No);
                    self.means.news.lost();
                    // Perhaps the server is gone: reading its lists will tell.
                    self.means.news.relist();
                    sleep(pause(failures)).await;
                }
                () = self.means.news.wanted_changed() => {}
                () = sleep(SHRINK_AFTER), if has_surplus => shrink = true,
            }
        }
    }

    async fn ask(&self, all: HashSet<Arc<str>>) -> Asked {
        let peer = &self.connection.peer;
        let uris: Vec<_> = all.iter().cloned().collect();
        let wish = Wish {
            lists: peer.changing(),
            uris: match peer.subscribes() {
                true => uris.clone(),
                false => Vec::new(),
            },
            tasks: Vec::new(),
        };
        let hearer = Hearer::All(Arc::clone(&self.means.news));
        let nothing = Raw::of(&serde_json::json!({}));
        let listen = Listen::begin(&self.connection, &self.means, &wish, &nothing, hearer);
        match timeout(DECIDE_WITHIN, listen.granted()).await {
            Ok(Ok(granted)) => {
                let missed =
                    self.connection
                        .telling
                        .note(match granted.lists.cover(peer.lists()) {
                            true => Tells::Yes,
                            false => Tells::No,
                        });
                if missed {
                    self.means.news.relist();
                }
                self.means.news.decide(&uris, |uri| granted.has(uri));
                Asked::Open(Open {
                    listen,
                    uris: all,
                    granted,
                    since: Instant::now(),
                })
            }
            Ok(Err(Some(error))) if is_refusal(&error) => Asked::Refused,
            _ => Asked::Lost,
        }
    }

    /// The server listens to nobody.
    async fn refuse_all(&self) {
        self.connection.telling.note(Tells::No);
        loop {
            self.means
                .news
                .decide(&self.means.news.wanted().open, |_| false);
            self.means.news.wanted_changed().await;
        }
    }

    /// Keeps an older session subscribed to what is wanted.
    async fn subscribe(&self) {
        let (mut subscribed, mut failures): (HashSet<Arc<str>>, u32) = (HashSet::new(), 0);
        loop {
            let wanted = self.means.news.wanted();
            let unwanted: Vec<_> = subscribed.difference(&wanted.all).cloned().collect();
            let unsubscribe = |uri: Arc<str>| async move {
                // Whoever does not take it tells us more than is wanted, which does no harm.
                let _ = self.request("resources/unsubscribe", &uri).await;
            };
            subscribed.retain(|uri| wanted.all.contains(uri));
            stream::iter(unwanted)
                .for_each_concurrent(AT_ONCE, unsubscribe)
                .await;
            if !self.connection.peer.subscribes() {
                self.means.news.decide(&wanted.open, |_| false);
            } else if !self.subscribe_to(wanted.open, &mut subscribed).await {
                failures += 1;
                // Perhaps the server is gone: reading its lists will tell.
                self.means.news.relist();
                sleep(pause(failures)).await;
                continue;
            }
            failures = 0;
            self.means.news.wanted_changed().await;
        }
    }

    /// Asks for these; false where for some there was no decision.
    async fn subscribe_to(&self, open: Vec<Arc<str>>, subscribed: &mut HashSet<Arc<str>>) -> bool {
        let asked = stream::iter(open).map(|uri| async move {
            let answer = self.request("resources/subscribe", &uri).await;
            (uri, answer)
        });
        let mut answers = asked.buffer_unordered(AT_ONCE);
        let mut is_decided = true;
        while let Some((uri, answer)) = answers.next().await {
            match answer {
                Ok(()) => {
                    subscribed.insert(Arc::clone(&uri));
                    self.means.news.decide(&[uri], |_| true);
                }
                Err(Error::Upstream { .. }) => self.means.news.decide(&[uri], |_| false),
                Err(_) => is_decided = false,
            }
        }
        is_decided
    }

    async fn request(&self, method: &'static str, uri: &str) -> Result<(), Error> {
        let (link, revision) = (&self.connection.link, self.connection.peer.revision);
        let uri = quoted(uri);
        let outgoing = Outgoing::own(
            &self.means.ids,
            revision,
            method,
            &[("uri", Edit::Put(&uri))],
        );
        let late = |_| Error::OutcomeUnknown(link.cause("the server did not answer").into());
        let answer = timeout(DECIDE_WITHIN, link.exchange(outgoing)).await;
        answer.map_err(late)?.map(drop)
    }
}

fn pause(failures: u32) -> Duration {
    let pause = BACKOFF.0.saturating_mul(2_u32.saturating_pow(failures));
    pause.min(BACKOFF.1)
}

/// The server knows no such request, or not with such parameters. Anything else may be otherwise later.
fn is_refusal(error: &Error) -> bool {
    let codes = [-32600, -32601, -32602];
    matches!(error, Error::Upstream { code, .. } if codes.contains(code))
}
