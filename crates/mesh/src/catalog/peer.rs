//! A worker as this gateway knows it: when it was last heard of, and how much it has to do.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU32, AtomicU64, Ordering};
use std::time::Duration;

use tokio::time::Instant;

use crate::registry::{HEARTBEAT, Heartbeat};

/// A worker whose heart missed this many beats is only asked when nobody else is there.
const MISSED_BEATS: u32 = 3;

/// How long a worker is not asked that was silent when it was: until its heart has beaten anew.
const SILENT_FOR: Duration = Duration::from_secs(10);

/// What can be hoped of a worker. The better ones are less.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Standing {
    /// Its heart beats, and it has room.
    Good,
    /// As many calls as it takes are under way.
    Full,
    /// It was not heard of for too long.
    Suspect,
    /// It takes nothing new, or is not there.
    Gone,
}

/// A worker.
#[derive(Debug)]
pub(crate) struct Peer {
    /// Its id.
    pub(crate) id: Arc<str>,
    born: Instant,
    /// Milliseconds after `born`.
    seen: AtomicU64,
    /// The same, until when it is not asked, because it was silent.
    shunned: AtomicU64,
    /// Calls of this gateway.
    own: AtomicU32,
    /// Calls of others, as of its last heartbeat.
    others: AtomicU32,
    capacity: AtomicU32,
    draining: AtomicBool,
    /// The server said that nobody is there.
    gone: AtomicBool,
}

/// A call of this gateway at a worker.
#[derive(Debug)]
pub(crate) struct AtWork(Arc<Peer>);

impl Peer {
    /// A worker that was just heard of.
    pub(crate) fn new(id: &str, capacity: usize) -> Arc<Self> {
        Arc::new(Self {
            id: id.into(),
            born: Instant::now(),
            seen: AtomicU64::new(0),
            shunned: AtomicU64::new(0),
            own: AtomicU32::new(0),
            others: AtomicU32::new(0),
            capacity: AtomicU32::new(number(capacity)),
            draining: AtomicBool::new(false),
            gone: AtomicBool::new(false),
        })
    }

    /// Its record was written anew.
    pub(crate) fn registered(&self, capacity: usize, draining: bool) {
        self.capacity.store(number(capacity), Ordering::Relaxed);
        self.is_here(draining);
    }

    /// Its record was written again, as it was.
    pub(crate) fn registered_again(&self) {
        self.is_here(self.draining.load(Ordering::Relaxed));
    }

    /// Its heart beats.
    pub(crate) fn beats(&self, beat: &Heartbeat) {
        let own = self.own.load(Ordering::Relaxed);
        let others = number(beat.in_flight).saturating_sub(own);
        self.others.store(others, Ordering::Relaxed);
        self.capacity
            .store(number(beat.capacity), Ordering::Relaxed);
        self.is_here(beat.draining);
    }

    fn is_here(&self, draining: bool) {
        self.draining.store(draining, Ordering::Relaxed);
        self.seen.store(self.now(), Ordering::Relaxed);
        self.shunned.store(0, Ordering::Relaxed);
        self.gone.store(false, Ordering::Relaxed);
    }

    /// Nobody is there any more. True the first time.
    pub(crate) fn is_gone(&self) -> bool {
        !self.gone.swap(true, Ordering::Relaxed)
    }

    /// It gave no sign when it was asked.
    pub(crate) fn was_silent(&self) {
        let until = self.now() + millis(SILENT_FOR);
        self.shunned.store(until, Ordering::Relaxed);
    }

    /// What can be hoped of it.
    pub(crate) fn standing(&self) -> Standing {
        let now = self.now();
        let unseen = now.saturating_sub(self.seen.load(Ordering::Relaxed));
        if self.gone.load(Ordering::Relaxed) || self.draining.load(Ordering::Relaxed) {
            Standing::Gone
        } else if unseen > millis(HEARTBEAT * MISSED_BEATS)
            || self.shunned.load(Ordering::Relaxed) > now
        {
            Standing::Suspect
        } else if self.load() >= self.capacity.load(Ordering::Relaxed) {
            Standing::Full
        } else {
            Standing::Good
        }
    }

    /// It is listed as somebody who serves.
    pub(crate) fn is_live(&self) -> bool {
        let unseen = self.unseen();
        !self.gone.load(Ordering::Relaxed) && unseen <= HEARTBEAT * MISSED_BEATS
    }

    /// How long it was not heard of.
    pub(crate) fn unseen(&self) -> Duration {
        let seen = self.seen.load(Ordering::Relaxed);
        Duration::from_millis(self.now().saturating_sub(seen))
    }

    /// Calls that it is at, as far as is known: our own, and those of others as of the last heartbeat, which count half
    /// with each beat that is due since.
    pub(crate) fn load(&self) -> u32 {
        let beats = self.unseen().as_millis() / HEARTBEAT.as_millis();
        let others = self.others.load(Ordering::Relaxed);
        let others = others.checked_shr(number(beats as usize)).unwrap_or(0);
        self.own.load(Ordering::Relaxed).saturating_add(others)
    }

    /// Calls of this gateway that it is at.
    pub(crate) fn own(&self) -> u32 {
        self.own.load(Ordering::Relaxed)
    }

    /// Counts a call of this gateway for as long as this is held.
    pub(crate) fn at_work(self: &Arc<Self>) -> AtWork {
        self.own.fetch_add(1, Ordering::Relaxed);
        AtWork(Arc::clone(self))
    }

    fn now(&self) -> u64 {
        millis(self.born.elapsed())
    }
}

impl AtWork {
    /// The worker.
    pub(crate) fn peer(&self) -> &Arc<Peer> {
        &self.0
    }
}

impl Drop for AtWork {
    fn drop(&mut self) {
        self.0.own.fetch_sub(1, Ordering::Relaxed);
    }
}

fn number(count: usize) -> u32 {
    u32::try_from(count).unwrap_or(u32::MAX)
}

fn millis(time: Duration) -> u64 {
    u64::try_from(time.as_millis()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn beat(in_flight: usize, draining: bool) -> Heartbeat {
        Heartbeat {
            in_flight,
            capacity: 8,
            draining,
            digest: String::new(),
        }
    }

    #[tokio::test(start_paused = true)]
    async fn the_calls_of_others_fade_and_ones_own_count() {
        let peer = Peer::new("w", 8);
        let held = [peer.at_work(), peer.at_work()];
        peer.beats(&beat(6, false));
        assert_eq!(peer.load(), 6);
        tokio::time::advance(HEARTBEAT).await;
        assert_eq!(peer.load(), 4);
        drop(held);
        tokio::time::advance(HEARTBEAT * 60).await;
        assert_eq!(peer.load(), 0);
    }

    #[tokio::test(start_paused = true)]
    async fn three_missing_beats_make_a_suspect_and_a_beat_ends_it() {
        let peer = Peer::new("w", 8);
        assert_eq!(peer.standing(), Standing::Good);
        tokio::time::advance(HEARTBEAT * 3 + Duration::from_millis(2)).await;
        assert_eq!(
            (peer.standing(), peer.is_live()),
            (Standing::Suspect, false)
        );
        peer.beats(&beat(8, false));
        assert_eq!(peer.standing(), Standing::Full);
        peer.was_silent();
        assert_eq!(peer.standing(), Standing::Suspect);
        assert!(peer.is_gone() && !peer.is_gone());
        assert_eq!(peer.standing(), Standing::Gone);
        peer.beats(&beat(0, true));
        assert_eq!((peer.standing(), peer.is_live()), (Standing::Gone, true));
        peer.beats(&beat(0, false));
        assert_eq!(peer.standing(), Standing::Good);
    }
}
