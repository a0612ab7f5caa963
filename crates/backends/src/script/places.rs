//! Places for processes: some at once, and a queue in order of arrival before them.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use toolbus_model::{Call, Cause, Error};

/// When to come back where the queue is full.
const COME_BACK: Duration = Duration::from_secs(1);

/// Places for processes.
#[derive(Debug)]
pub(super) struct Places {
    free: Arc<Semaphore>,
    at_once: usize,
    waiting: AtomicUsize,
    most_waiting: usize,
}

/// Somebody in the queue.
struct Waiting<'a>(&'a AtomicUsize);

impl Drop for Waiting<'_> {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}

impl Places {
    pub(super) fn new(at_once: usize, most_waiting: usize) -> Self {
        let at_once = at_once.max(1);
        Self {
            free: Arc::new(Semaphore::new(at_once)),
            at_once,
            waiting: AtomicUsize::new(0),
            most_waiting,
        }
    }

    /// A place for as long as what is returned is held.
    pub(super) async fn enter(&self, call: &Call) -> Result<OwnedSemaphorePermit, Error> {
        if let Ok(place) = Arc::clone(&self.free).try_acquire_owned() {
            return Ok(place);
        }
        let before = self.waiting.fetch_add(1, Ordering::Relaxed);
        let _waiting = Waiting(&self.waiting);
        if before >= self.most_waiting {
            let (waiting, at_once) = (self.most_waiting, self.at_once);
            let what = format!("{waiting} calls wait for one of {at_once} processes already");
            return Err(Error::Busy {
                what,
                retry_after: COME_BACK,
            });
        }
        tokio::select! {
            biased;
            () = call.cancelled() => Err(self.not_begun()),
            place = Arc::clone(&self.free).acquire_owned() => place.map_err(|_| self.not_begun()),
        }
    }

    fn not_begun(&self) -> Error {
        let cause = Cause {
            status: Some("it was not started".to_owned()),
            remedy: Some("allow more at once (`at_once`) or longer waiting".to_owned()),
            ..Cause::new(format!("none of {} processes became free", self.at_once))
        };
        Error::Unavailable(cause.into())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::script::tests::call;

    #[tokio::test]
    async fn who_does_not_fit_waits_and_who_cannot_wait_is_refused() {
        let (places, call) = (Arc::new(Places::new(1, 1)), call());
        let first = places.enter(&call).await.expect("a place");
        let mut second = Box::pin(places.enter(&call));
        assert!(futures_util::poll!(&mut second).is_pending());
        let refused = places.enter(&call).await.expect_err("no place");
        assert_eq!(
            refused.to_string(),
            "Busy: 1 calls wait for one of 1 processes already; try again in 1000 ms"
        );
        drop(first);
        drop(second.await.expect("a place"));
        drop(places.enter(&call).await.expect("a place"));
        assert_eq!(places.waiting.load(Ordering::Relaxed), 0);
    }

    #[tokio::test]
    async fn a_call_that_is_stopped_waits_no_longer() {
        let (places, call) = (Places::new(1, 1), call());
        let _first = places.enter(&call).await.expect("a place");
        call.cancel();
        let error = places.enter(&call).await.expect_err("stopped");
        assert!(error.to_string().contains("it was not started"), "{error}");
    }
}
