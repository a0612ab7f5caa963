//! The stream of an older session that belongs to no request: what its server says of its own accord (2025-11-25,
//! basic/transports, "Listening for Messages from the Server").

use std::sync::{Arc, Weak};
use std::time::{Duration, Instant};

use http::StatusCode;
use tokio::time::sleep;
use toolbus_model::{Error, Revision};
use toolbus_protocol::Message;

use super::events::{Ended, Events};
use super::http::HttpLink;
use super::link::{Peer, Telling, Tells};
use super::resume::Place;

/// A stream that lasted this long was a good one, so that the next is asked for without a longer pause.
const STEADY: Duration = Duration::from_secs(10);

/// The shortest pause between two requests for the stream. Changes that come in it are told when it is over.
const PAUSE: Duration = Duration::from_secs(1);

/// The stream, across its connections.
#[derive(Debug)]
pub(super) struct Standalone {
    /// Not the link itself: it ends when nobody else holds it.
    link: Weak<HttpLink>,
    revision: Revision,
    telling: Arc<Telling>,
    /// What to say while the stream is open.
    open: Tells,
    place: Place,
    /// Connections in a row that were not to be had, or did not last.
    failures: u32,
    /// What was said since the last connection will not be told.
    has_gap: bool,
}

/// Why there is no stream.
enum Missing {
    /// It may be there later.
    Now,
    /// The server has none.
    Always,
}

impl Standalone {
    /// The stream of this link's session; `telling` learns whether changes of lists are told on it.
    pub(super) fn of(link: &Arc<HttpLink>, peer: &Peer, telling: Arc<Telling>) -> Self {
        Self {
            link: Arc::downgrade(link),
            revision: peer.revision,
            telling,
            open: match peer.changing().cover(peer.lists()) {
                true => Tells::Yes,
                false => Tells::No,
            },
            place: Place::default(),
            failures: 0,
            has_gap: false,
        }
    }

    /// Hears what the server says, until the session is over or the server turns out to have no such stream.
    pub(super) async fn hear(mut self) {
        loop {
            match self.open().await {
                Ok(events) => self.read(events).await,
                Err(Missing::Now) => {
                    self.failures += 1;
                    // Perhaps the server is gone: reading its lists will tell.
                    if let (1, Some(link)) = (self.failures, self.link.upgrade()) {
                        link.news().relist();
                    }
                }
                Err(Missing::Always) => break,
            }
            self.telling.note(Tells::No);
            sleep(self.place.pause(self.failures).max(PAUSE)).await;
        }
        self.telling.note(Tells::No);
    }

    async fn open(&mut self) -> Result<Events, Missing> {
        let link = self.link.upgrade().ok_or(Missing::Always)?;
        let (client, request) = (link.client(), link.get(self.revision, &self.place));
        let in_session = link.is_session();
        drop(link);
        let failure = match client.stream(request, in_session).await {
            Ok(events) => {
                if let (true, Some(link)) = (std::mem::take(&mut self.has_gap), self.link.upgrade())
                {
                    link.news().missed();
                }
                if let (true, Some(link)) = (self.telling.note(self.open), self.link.upgrade()) {
                    link.news().relist();
                }
                return Ok(events);
            }
            Err(failure) => failure,
        };
        if failure.error == Error::SessionUnknown {
            if let Some(link) = self.link.upgrade() {
                link.over().cancel();
            }
            return Err(Missing::Always);
        }
        if failure.status.is_none_or(may_change) {
            self.has_gap |= self.place.last_id.is_none();
            return Err(Missing::Now);
        }
        // The stream cannot go on where it was; perhaps there is a new one.
        self.has_gap = true;
        match self.place.last_id.take() {
            Some(_) => Err(Missing::Now),
            None => Err(Missing::Always),
        }
    }

    async fn read(&mut self, mut events: Events) {
        let since = Instant::now();
        let ended = loop {
            let event = match events.next().await {
                Ok(event) => event,
                Err(ended) => break ended,
            };
            let Some(link) = self.link.upgrade() else {
                return;
            };
            if let Ok(Message::Call(said)) = Message::parse(&event.data) {
                if said.id.is_some() && said.method != "ping" {
                    link.news().note_asks_apart();
                }
                link.told(&said, self.revision, None).await;
            }
        };
        self.place.advance(events.place());
        if matches!(ended, Ended::TooLarge) {
            // It would come again.
            self.place.last_id = None;
        }
        self.has_gap |= self.place.last_id.is_none();
        let is_asked = matches!(ended, Ended::Closed) && self.place.retry.is_some();
        self.failures = match is_asked || since.elapsed() >= STEADY {
            true => 0,
            false => self.failures + 1,
        };
    }
}

/// Whether another attempt could be answered otherwise. A page for people, or "method not allowed", stays what it is.
fn may_change(status: StatusCode) -> bool {
    match status {
        // Some servers allow one stream for each session, and have not noticed yet that the last one is lost.
        StatusCode::CONFLICT | StatusCode::TOO_MANY_REQUESTS => true,
        StatusCode::NOT_IMPLEMENTED => false,
        status => status.is_server_error(),
    }
}
