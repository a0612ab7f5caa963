//! Time: one timer for all calls of a worker, and its heartbeat.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use tokio::time::{Instant, MissedTickBehavior, interval, timeout};

use super::Shared;
use super::calls::{Phase, Running, Stop};
use crate::bus::Message;
use crate::frame::{Frame, KEEP_ALIVE, MISSED};
use crate::registry::{HEARTBEAT, Heartbeat};

/// How often the calls are looked at: half of what a call may take without an `ack`.
const TICK: Duration = Duration::from_millis(25);

/// After this many looks at nothing the timer rests until there is a call.
const QUIET: u32 = 40;

/// Looks after the calls until the worker ends.
pub(super) async fn watch(shared: Arc<Shared>) {
    let watching = async {
        let mut tick = interval(TICK);
        tick.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let (mut calls, mut quiet) = (Vec::new(), 0);
        loop {
            tick.tick().await;
            shared.calls.all(&mut calls);
            quiet = if calls.is_empty() { quiet + 1 } else { 0 };
            let now = Instant::now();
            for running in calls.drain(..) {
                shared.look_after(&running, now);
            }
            if quiet > QUIET {
                shared.rest().await;
                quiet = 0;
            }
        }
    };
    shared.ending.run_until_cancelled(watching).await;
}

/// Beats until the worker ends.
pub(super) async fn beat(shared: Arc<Shared>) {
    let beating = async {
        loop {
            shared.beat_once();
            let _ = timeout(HEARTBEAT, shared.beat.notified()).await;
        }
    };
    shared.ending.run_until_cancelled(beating).await;
}

impl Shared {
    /// Waits for a call.
    async fn rest(&self) {
        self.rests.store(true, Ordering::SeqCst);
        let mut calls = Vec::new();
        self.calls.all(&mut calls);
        // Whoever comes from now on rings; who came just before is seen.
        if calls.is_empty() {
            self.wake.notified().await;
        }
        self.rests.store(false, Ordering::SeqCst);
    }

    /// Gives a call's sign of life, and stops it when its time is over.
    fn look_after(&self, running: &Running, now: Instant) {
        if running.deadline.is_some_and(|deadline| deadline <= now) && running.stopped().is_none() {
            running.stop(Stop::Deadline);
        }
        let mut state = running.state();
        if state.sign > now {
            return;
        }
        match state.phase {
            Phase::Ended => {}
            Phase::Claimed => {
                // The word did not come. It is not waited for any longer.
                state.end();
                running.decided.notify_one();
            }
            Phase::Runs => {
                let frame = if state.told {
                    Frame::KeepAlive
                } else {
                    Frame::Ack
                };
                let heard = running
                    .listens
                    .then(|| format!("{}.{}", self.inbox, running.id));
                self.sign(running.id, &state, frame, heard);
                (state.told, state.sign) = (true, now + KEEP_ALIVE);
                if !std::mem::take(&mut state.unheard.1) {
                    state.unheard.0 = 0;
                }
            }
        }
    }

    /// Nobody heard a sign of life. Once is not enough: the gateway may be on its way back.
    pub(super) fn unheard(&self, running: &Running) {
        let is_gone = {
            let mut state = running.state();
            state.unheard = (state.unheard.0 + 1, true);
            state.unheard.0 >= MISSED
        };
        if is_gone {
            running.stop(Stop::Unheard);
        }
    }

    fn beat_once(&self) {
        let heartbeat = Heartbeat {
            in_flight: self.in_flight(),
            capacity: self.settings.capacity,
            draining: self.is_draining(),
            digest: self.offered().digest.clone(),
        };
        let payload = serde_json::to_vec(&heartbeat).unwrap_or_default();
        // The next one follows.
        let _ = self.bus.send(Message {
            subject: self.subjects.heartbeat(&self.id),
            payload: payload.into(),
            ..Message::default()
        });
    }
}
