//! Which faults come when: decided by the seed.

use std::time::Duration;

use super::random::Random;

/// What is done to the mesh.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(super) enum Kind {
    /// SIGKILL of a worker, which is started again.
    KillWorker,
    /// SIGSTOP of a worker, and SIGCONT some seconds later.
    StopWorker,
    /// SIGTERM of a worker, which finishes what it has and is started again.
    DrainWorker,
    /// SIGKILL of the nats-server, which is started again.
    KillBroker,
}

impl Kind {
    pub(super) const ALL: [Self; 4] = [
        Self::KillWorker,
        Self::StopWorker,
        Self::DrainWorker,
        Self::KillBroker,
    ];

    pub(super) fn name(self) -> &'static str {
        match self {
            Self::KillWorker => "worker killed (SIGKILL), started again",
            Self::StopWorker => "worker stopped for 1 to 8 s (SIGSTOP, SIGCONT)",
            Self::DrainWorker => "worker drained (SIGTERM), started again",
            Self::KillBroker => "nats-server killed (SIGKILL), started again",
        }
    }
}

/// One fault.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Fault {
    pub(super) kind: Kind,
    /// The worker that it is for.
    pub(super) worker: usize,
    /// How long to wait before it.
    pub(super) pause: Duration,
    /// How long what it hits is gone.
    pub(super) gone: Duration,
}

/// All faults of a run, without end: every four of them hold one of each kind.
pub(super) struct Plan {
    random: Random,
    workers: u64,
    waiting: Vec<Kind>,
}

impl Plan {
    pub(super) fn new(seed: u64, workers: usize) -> Self {
        Self {
            random: Random::new(seed, 1),
            workers: workers as u64,
            waiting: Vec::new(),
        }
    }
}

impl Iterator for Plan {
    type Item = Fault;

    fn next(&mut self) -> Option<Fault> {
        if self.waiting.is_empty() {
            self.waiting.extend(Kind::ALL);
            self.random.shuffle(&mut self.waiting);
        }
        let kind = self.waiting.pop()?;
        let gone = match kind {
            Kind::StopWorker => self.random.millis(1_000, 8_000),
            Kind::KillWorker | Kind::DrainWorker | Kind::KillBroker => self.random.millis(0, 1_500),
        };
        Some(Fault {
            kind,
            worker: self.random.between(0, self.workers - 1) as usize,
            pause: self.random.millis(100, 1_500),
            gone,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_seed_decides_and_every_kind_comes() {
        let plan = |seed| Plan::new(seed, 3).take(32).collect::<Vec<_>>();
        assert_eq!(plan(7), plan(7));
        assert_ne!(plan(7), plan(8));
        for kind in Kind::ALL {
            assert_eq!(plan(7).iter().filter(|fault| fault.kind == kind).count(), 8);
        }
        assert!((0..3).all(|worker| plan(7).iter().any(|fault| fault.worker == worker)));
    }
}
