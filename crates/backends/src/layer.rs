//! Layers: back ends around a back end, which change what it offers or look at what goes through.

use std::sync::Arc;

use tokio::sync::watch;
use tokio_util::sync::{CancellationToken, DropGuard};
use tokio_util::task::TaskTracker;
use toolbus_model::Offer;

/// An offer made of another one: at once, and anew at each of its changes, for as long as this is held.
#[derive(Debug)]
pub(crate) struct Derived {
    offers: watch::Receiver<Arc<Offer>>,
    _held: DropGuard,
}

impl Derived {
    /// Makes the offer. Must be called within a runtime.
    pub(crate) fn of(
        mut from: watch::Receiver<Arc<Offer>>,
        make: impl Fn(&Arc<Offer>) -> Arc<Offer> + Send + 'static,
    ) -> Self {
        let first = make(&from.borrow_and_update());
        let (sender, offers) = watch::channel(first);
        let ended = CancellationToken::new();
        let held = ended.clone().drop_guard();
        let follow = async move {
            while from.changed().await.is_ok() {
                let next = make(&from.borrow_and_update());
                sender.send_replace(next);
            }
            // The last word stays; a closed channel would read as a lost back end.
            std::future::pending::<()>().await;
        };
        TaskTracker::new().spawn(ended.run_until_cancelled_owned(follow));
        Self {
            offers,
            _held: held,
        }
    }

    /// The offer now, and at each change.
    pub(crate) fn offer(&self) -> watch::Receiver<Arc<Offer>> {
        self.offers.clone()
    }
}
