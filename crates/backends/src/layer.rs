//! Layers: back ends around a back end, which change what it offers or look at what goes through.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

use tokio::sync::watch;
use tokio_util::sync::{CancellationToken, DropGuard};
use tokio_util::task::TaskTracker;
use toolbus_model::{
    Backend, BoxFuture, Call, CallSeed, Error, Filter, Listening, Offer, Outcome, Request,
};

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

/// A place that is held by the layers around it: it is stopped when the last of them is. So the layers of a running place
/// can be made anew.
pub struct Ground {
    backend: Arc<dyn Backend>,
    holders: Arc<AtomicUsize>,
}

/// One hold on a place.
struct Held {
    backend: Arc<dyn Backend>,
    holders: Arc<AtomicUsize>,
    is_over: AtomicBool,
}

impl Ground {
    /// A place that nobody holds yet.
    pub fn new(backend: Arc<dyn Backend>) -> Self {
        Self {
            backend,
            holders: Arc::default(),
        }
    }

    /// The place itself, for looking at it. It is not kept from being stopped.
    pub fn backend(&self) -> &Arc<dyn Backend> {
        &self.backend
    }

    /// The place, for layers around it, or for a gateway: it runs until all that were given are stopped.
    pub fn hold(&self) -> Arc<dyn Backend> {
        self.holders.fetch_add(1, Ordering::AcqRel);
        Arc::new(Held {
            backend: Arc::clone(&self.backend),
            holders: Arc::clone(&self.holders),
            is_over: AtomicBool::new(false),
        })
    }
}

impl Backend for Held {
    fn offer(&self) -> watch::Receiver<Arc<Offer>> {
        self.backend.offer()
    }

    fn serve<'a>(
        &'a self,
        request: Request,
        call: &'a Call,
    ) -> BoxFuture<'a, Result<Outcome, Error>> {
        self.backend.serve(request, call)
    }

    fn listen<'a>(
        &'a self,
        filter: Filter,
        seed: &'a CallSeed,
    ) -> BoxFuture<'a, Result<Listening, Error>> {
        self.backend.listen(filter, seed)
    }

    fn holds(&self, request: &Request) -> bool {
        self.backend.holds(request)
    }

    fn is_awaited(&self) -> bool {
        self.backend.is_awaited()
    }

    fn stop(&self) -> BoxFuture<'_, ()> {
        let is_first = !self.is_over.swap(true, Ordering::AcqRel);
        let is_last = is_first && self.holders.fetch_sub(1, Ordering::AcqRel) == 1;
        match is_last {
            true => self.backend.stop(),
            false => Box::pin(async {}),
        }
    }
}
