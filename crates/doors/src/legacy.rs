//! Revisions up to 2025-11-25: sessions, requests of the server to its client, streams that are taken up again. All of
//! it is here, so that it can be taken out one day; the inside knows 2026-07-28 alone.

mod conduct;
mod feed;
mod questions;
mod sessions;
mod tape;

use std::sync::Arc;

use toolbus_gateway::Key;

pub(crate) use conduct::{Conductor, Outlet};
pub(crate) use feed::{Ask, Feed, Feeds};
pub(crate) use questions::Questions;
pub(crate) use sessions::{LIFETIME, Session, Sessions};
pub(crate) use tape::{Settled, Tape, Tapes};

/// Everything that a door remembers for clients of older revisions.
#[derive(Debug)]
pub(crate) struct Legacy {
    pub(crate) sessions: Sessions,
    pub(crate) questions: Questions,
    pub(crate) tapes: Tapes,
    pub(crate) feeds: Feeds,
}

impl Legacy {
    pub(crate) fn new(key: Key) -> Arc<Self> {
        Arc::new(Self {
            sessions: Sessions::new(key),
            questions: Questions::default(),
            tapes: Tapes::default(),
            feeds: Feeds::default(),
        })
    }

    /// A session has ended: nothing of it stays.
    pub(crate) fn end(&self, session: &Session) {
        self.sessions.end(session);
        self.close_feed(session.tag());
    }

    /// A session of this tag has ended at another replica.
    pub(crate) fn has_ended(&self, tag: &str) {
        self.sessions.has_ended(tag);
        self.close_feed(tag);
    }

    fn close_feed(&self, tag: &str) {
        if let Some(feed) = self.feeds.remove(tag) {
            feed.close(&self.tapes);
        }
    }
}
