//! How much may be under way at once.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use toolbus_model::Error;

/// What a refused caller is told to wait. Long enough that a crowd of them does not spin, short enough for a person.
const RETRY_AFTER: Duration = Duration::from_millis(250);

/// Counts calls in flight up to a limit. Nothing queues: who does not fit is told so at once and can go elsewhere.
#[derive(Debug)]
pub struct Gate {
    what: String,
    limit: usize,
    in_flight: AtomicUsize,
}

/// One place within a [`Gate`], given back when dropped.
#[derive(Debug)]
pub(crate) struct Pass(Arc<Gate>);

impl Gate {
    /// A gate for `limit` calls at once; `what` names it in the refusal.
    pub fn new(what: impl Into<String>, limit: usize) -> Arc<Self> {
        Arc::new(Self {
            what: what.into(),
            limit,
            in_flight: AtomicUsize::new(0),
        })
    }

    /// Takes a place.
    pub(crate) fn enter(self: &Arc<Self>) -> Result<Pass, Error> {
        let before = self.in_flight.fetch_add(1, Ordering::Relaxed);
        let pass = Pass(Arc::clone(self));
        if before < self.limit {
            return Ok(pass);
        }
        let what = format!(
            "{} calls of {} are in flight, which is the limit",
            self.limit, self.what
        );
        Err(Error::Busy {
            what,
            retry_after: RETRY_AFTER,
        })
    }

    /// Calls in flight now.
    pub fn in_flight(&self) -> usize {
        self.in_flight.load(Ordering::Relaxed)
    }
}

impl Drop for Pass {
    fn drop(&mut self) {
        self.0.in_flight.fetch_sub(1, Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_full_gate_refuses_and_opens_again() {
        let gate = Gate::new("caller \"ci\"", 2);
        let (first, _second) = (gate.enter().expect("first"), gate.enter().expect("second"));
        let refusal = gate.enter().expect_err("full");
        assert!(
            refusal
                .to_string()
                .contains("2 calls of caller \"ci\" are in flight"),
            "{refusal}"
        );
        drop(first);
        assert!(gate.enter().is_ok());
        assert_eq!(gate.in_flight(), 1);
    }
}
