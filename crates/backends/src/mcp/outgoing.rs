//! What goes to a server: requests with ids that are never used twice.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use http::{HeaderName, HeaderValue};
use toolbus_model::json::Edit;
use toolbus_model::{Method, Revision};

use super::dialect::own_body;
use super::ear::Ear;

/// The largest message that a server may send: four times what callers may send.
pub(crate) const MAX_MESSAGE: usize = 40 * 1024 * 1024;

/// Request ids, never used twice towards one server.
#[derive(Debug, Default)]
pub(super) struct Ids(AtomicU64);

impl Ids {
    pub(super) fn next(&self) -> u64 {
        self.0.fetch_add(1, Ordering::Relaxed) + 1
    }
}

/// A request on its way to a server.
#[derive(Debug)]
pub(super) struct Outgoing {
    /// Never used before towards this server, on whichever connection.
    pub(super) id: u64,
    pub(super) revision: Revision,
    pub(super) method: Method,
    /// What it is for, where the method names something.
    pub(super) target: Option<Arc<str>>,
    /// Arguments that travel in headers as well.
    pub(super) headers: Vec<(HeaderName, HeaderValue)>,
    pub(super) body: Vec<u8>,
    /// Who hears what the server says meanwhile.
    pub(super) ear: Option<Ear>,
}

impl Outgoing {
    /// A request of our own, with these members in `params`.
    pub(super) fn own(
        ids: &Ids,
        revision: Revision,
        method: &str,
        members: &[(&str, Edit<'_>)],
    ) -> Self {
        let id = ids.next();
        let body = own_body(revision, id, method, members);
        Self {
            id,
            revision,
            method: Method::parse(method),
            target: None,
            headers: Vec::new(),
            body,
            ear: None,
        }
    }
}
