//! The end of a worker, without the loss of a call: it says that it leaves, serves what was on its way to it by then, takes
//! nothing new, finishes what runs, and leaves.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use tokio::time::{Instant, sleep, timeout};

use super::Shared;
use super::calls::Stop;

/// How long what comes is still served: as long as a gateway may take to hear that the worker leaves, and to know of
/// another one that came instead. Who was sent away at once could find nobody.
const FAREWELL: Duration = Duration::from_millis(500);

/// How often it is seen whether the calls have ended.
const LOOK: Duration = Duration::from_millis(20);

/// How long calls have that are stopped because the worker waits no longer: what a back end has to stop, and a little more.
const STOPPED_WITHIN: Duration = Duration::from_secs(6);

/// How long the last words of the worker's own tasks may take.
const LEAVE_WITHIN: Duration = Duration::from_secs(5);

/// Waits for the word to drain, and does it.
pub(super) async fn wait(shared: Arc<Shared>) {
    shared.draining.cancelled().await;
    shared.beat.notify_one();
    tracing::info!(worker = shared.id, calls = shared.in_flight(), "draining");
    shared.hush();
    sleep(FAREWELL).await;
    // From here on everything new is answered `busy`.
    shared.refuses.store(true, Ordering::SeqCst);
    shared.hush();
    let until = Instant::now() + shared.settings.drain_within;
    while shared.is_awaited() && Instant::now() < until {
        sleep(LOOK).await;
    }
    shared.cut_off().await;
    // What was answered is on its way to the server before the connection may be closed.
    let _ = timeout(LEAVE_WITHIN, shared.bus.round_trip()).await;
    shared.tasks.close();
    shared.ending.cancel();
    shared.closed.cancel();
}

impl Shared {
    /// Ends the streams of notices: who listens does so at another worker.
    fn hush(&self) {
        let mut calls = Vec::new();
        self.calls.all(&mut calls);
        for running in calls.iter().filter(|running| running.listens) {
            running.stop(Stop::Drained);
        }
    }

    /// Something is under way, or waits for its caller.
    fn is_awaited(&self) -> bool {
        let mut servers = self.servers.values();
        self.in_flight() > 0 || servers.any(|served| served.backend.is_awaited())
    }

    /// Stops what has not ended.
    async fn cut_off(&self) {
        let mut calls = Vec::new();
        self.calls.all(&mut calls);
        if !calls.is_empty() {
            tracing::warn!(calls = calls.len(), "calls are stopped: they took too long");
        }
        for running in calls.drain(..) {
            running.stop(Stop::Drained);
        }
        let until = Instant::now() + STOPPED_WITHIN;
        while self.in_flight() > 0 && Instant::now() < until {
            sleep(LOOK).await;
        }
    }
}
