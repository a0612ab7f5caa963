//! Who goes when every place is taken: connections on which nothing is asked, so that those who only sit there, or send
//! a head byte by byte, cannot keep everybody else out.

use std::pin::Pin;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll};
use std::time::Duration;

use http_body::{Frame, SizeHint};
use tokio::sync::{Notify, OwnedSemaphorePermit, Semaphore};
use tokio::time::{Instant, timeout};

use crate::stream::Body;

/// How long a connection may ask for nothing while others wait. A client that is about to send a request has sent it
/// by then, on any line that is worth waiting for.
const QUIET: Duration = Duration::from_secs(1);

/// How long is waited for a place before somebody has to go, each time.
const LOOK: Duration = Duration::from_millis(200);

/// The part of the places that is made free each time: enough for a crowd, and most of those who will ask again stay.
const PART: usize = 16;

/// Places for connections.
#[derive(Debug)]
pub(super) struct Room {
    places: Arc<Semaphore>,
    part: usize,
    /// How many have to go.
    wanted: AtomicUsize,
    crowded: Notify,
}

impl Room {
    /// So many places.
    pub(super) fn new(places: usize) -> Self {
        Self {
            places: Arc::new(Semaphore::new(places)),
            part: places.div_ceil(PART),
            wanted: AtomicUsize::new(0),
            crowded: Notify::new(),
        }
    }

    /// Takes a place, waiting for one.
    pub(super) async fn place(&self) -> Option<OwnedSemaphorePermit> {
        loop {
            match timeout(LOOK, Arc::clone(&self.places).acquire_owned()).await {
                Ok(place) => return place.ok(),
                Err(_) => {
                    self.wanted.store(self.part, Ordering::Relaxed);
                    self.crowded.notify_waiters();
                }
            }
        }
    }

    /// Waits until the connection has to go.
    pub(super) async fn needed(&self, quiet: &Quiet) {
        loop {
            self.crowded.notified().await;
            if quiet.lasts(QUIET) && self.is_one_wanted() {
                return;
            }
        }
    }

    fn is_one_wanted(&self) -> bool {
        let one_less = |wanted: usize| wanted.checked_sub(1);
        let (set, fetch) = (Ordering::Relaxed, Ordering::Relaxed);
        self.wanted.fetch_update(set, fetch, one_less).is_ok()
    }
}

/// Since when a connection asks for nothing; none while it is answered.
#[derive(Debug)]
pub(super) struct Quiet(Mutex<Option<Instant>>);

impl Quiet {
    pub(super) fn begin() -> Arc<Self> {
        Arc::new(Self(Mutex::new(Some(Instant::now()))))
    }

    /// A request has arrived; it is quiet again when the answer is dropped.
    pub(super) fn broken(self: &Arc<Self>) -> Asked {
        *self.lock() = None;
        Asked(Arc::clone(self))
    }

    fn lasts(&self, time: Duration) -> bool {
        self.lock().is_some_and(|since| since.elapsed() >= time)
    }

    fn lock(&self) -> MutexGuard<'_, Option<Instant>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A request that is being answered.
#[derive(Debug)]
pub(super) struct Asked(Arc<Quiet>);

impl Drop for Asked {
    fn drop(&mut self) {
        *self.0.lock() = Some(Instant::now());
    }
}

/// An answer on its way.
pub(super) struct Answering {
    pub(super) body: Body,
    pub(super) _asked: Asked,
}

impl http_body::Body for Answering {
    type Data = <Body as http_body::Body>::Data;
    type Error = <Body as http_body::Body>::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Self::Data>, Self::Error>>> {
        Pin::new(&mut self.body).poll_frame(context)
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}
