//! Coming back to a stream that ended before its time: where it goes on, when to ask, and how often
//! (2025-11-25, basic/transports, "Resumability and Redelivery"; SEP-1699).

use std::time::Duration;

use http::HeaderValue;

/// First pause where the server names none; twice as long after each failure.
const PAUSE: Duration = Duration::from_secs(1);

/// Pauses that a server can ask for. Shorter ones would keep us busy for nothing; in longer ones the call would be
/// given up as silent.
const BOUNDS: (Duration, Duration) = (Duration::from_millis(50), Duration::from_secs(60));

/// Attempts in a row that are refused or find nobody. With pauses of our own that is half a minute: a server that is
/// restarted comes back within it, and has then mostly forgotten the stream.
const MAX_FAILURES: u32 = 5;

/// Times that one stream is asked for. A server that lets us poll each second has half an hour, as long as calls take
/// at most.
const MAX_POLLS: u32 = 1_800;

/// A place in a stream.
#[derive(Debug, Clone, Default)]
pub(super) struct Place {
    /// The id of the last event that had one.
    pub(super) last_id: Option<HeaderValue>,
    /// The pause that the server asked for.
    pub(super) retry: Option<Duration>,
}

impl Place {
    /// Moves on to where a later part of the stream has ended. What it did not say still holds.
    pub(super) fn advance(&mut self, later: Self) {
        self.last_id = later.last_id.or(self.last_id.take());
        self.retry = later.retry.or(self.retry);
    }

    /// How long to wait before the stream is asked for again, after this many failures in a row.
    pub(super) fn pause(&self, failures: u32) -> Duration {
        let own = PAUSE.saturating_mul(2_u32.saturating_pow(failures));
        let asked = self.retry.map_or(own, |retry| match failures {
            0 => retry,
            _ => retry.max(own),
        });
        asked.clamp(BOUNDS.0, BOUNDS.1)
    }
}

/// The attempts to come back to one stream.
#[derive(Debug, Default)]
pub(super) struct Attempts {
    polls: u32,
    failures: u32,
}

impl Attempts {
    /// Takes one; tells how many failed before it, or nothing when there were enough.
    pub(super) fn take(&mut self) -> Option<u32> {
        self.polls += 1;
        (self.polls <= MAX_POLLS && self.failures < MAX_FAILURES).then_some(self.failures)
    }

    pub(super) fn failed(&mut self) {
        self.failures += 1;
    }

    pub(super) fn worked(&mut self) {
        self.failures = 0;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_the_server_asks_for_is_kept_within_bounds() {
        let place = |retry: Option<u64>| Place {
            last_id: None,
            retry: retry.map(Duration::from_millis),
        };
        let pauses = |retry| [0, 1, 9].map(|failures| place(retry).pause(failures).as_millis());
        assert_eq!(pauses(None), [1_000, 2_000, 60_000]);
        assert_eq!(pauses(Some(500)), [500, 2_000, 60_000]);
        assert_eq!(pauses(Some(0)), [50, 2_000, 60_000]);
        assert_eq!(pauses(Some(10_000_000)), [60_000; 3]);
    }

    #[test]
    fn attempts_end() {
        let mut attempts = Attempts::default();
        for failures in 0..MAX_FAILURES {
            assert_eq!(attempts.take(), Some(failures));
            attempts.failed();
        }
        assert_eq!(attempts.take(), None);
        attempts.worked();
        assert_eq!(attempts.take(), Some(0));
        let taken = std::iter::from_fn(|| attempts.take()).count();
        assert!(taken < MAX_POLLS as usize);
    }
}
