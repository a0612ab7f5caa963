//! So many callers, each with one call after the other, for some seconds: how many, and how long each took.

use std::future::Future;
use std::sync::Arc;
use std::time::{Duration, Instant};

use serde::Serialize;
use tokio::task::JoinSet;

use super::serve::Failure;

/// What was measured. Latencies are microseconds.
#[derive(Debug, Serialize)]
pub struct Load {
    /// Calls a second.
    pub rate: f64,
    /// The middle one.
    pub p50: f64,
    /// 99 of 100 were faster.
    pub p99: f64,
    /// Calls that were counted.
    pub calls: usize,
    /// Calls that failed, and the first reason.
    pub failed: usize,
    /// Why the first of them failed.
    pub why: Option<String>,
}

/// How much load.
#[derive(Debug, Clone, Copy)]
pub struct Plan {
    /// Callers at once.
    pub callers: usize,
    /// How long it is measured.
    pub time: Duration,
    /// How long before that calls are made which do not count: connections are opened, and caches are filled.
    pub warm_up: Duration,
}

#[derive(Default)]
struct Counted {
    latencies: Vec<f64>,
    failed: usize,
    why: Option<String>,
}

/// Makes calls as planned.
pub async fn run<F, R>(plan: Plan, call: F) -> Load
where
    F: Fn() -> R + Send + Sync + 'static,
    R: Future<Output = Result<(), Failure>> + Send,
{
    let (call, begun) = (Arc::new(call), Instant::now());
    let mut callers = JoinSet::new();
    for _ in 0..plan.callers {
        let call = Arc::clone(&call);
        callers.spawn(async move { one_after_the_other(&*call, begun, plan).await });
    }
    let mut all = Counted::default();
    while let Some(Ok(counted)) = callers.join_next().await {
        all.latencies.extend(counted.latencies);
        all.failed += counted.failed;
        all.why = all.why.or(counted.why);
    }
    all.latencies.sort_by(f64::total_cmp);
    Load {
        rate: all.latencies.len() as f64 / plan.time.as_secs_f64(),
        p50: quantile(&all.latencies, 0.5),
        p99: quantile(&all.latencies, 0.99),
        calls: all.latencies.len(),
        failed: all.failed,
        why: all.why,
    }
}

async fn one_after_the_other<F, R>(call: &F, begun: Instant, plan: Plan) -> Counted
where
    F: Fn() -> R,
    R: Future<Output = Result<(), Failure>>,
{
    let mut counted = Counted::default();
    let end = plan.warm_up + plan.time;
    loop {
        let start = Instant::now();
        let done = call().await;
        let (from, until) = (start - begun, begun.elapsed());
        if until >= end {
            return counted;
        }
        match done {
            Ok(()) if from >= plan.warm_up => {
                counted.latencies.push((until - from).as_secs_f64() * 1e6);
            }
            Ok(()) => {}
            Err(why) => {
                counted.failed += 1;
                counted.why.get_or_insert_with(|| why.to_string());
                // A call that fails at once must not fill the time.
                tokio::time::sleep(Duration::from_millis(10)).await;
            }
        }
    }
}

fn quantile(sorted: &[f64], part: f64) -> f64 {
    let place = (sorted.len() as f64 * part) as usize;
    let last = sorted.len().saturating_sub(1);
    sorted.get(place.min(last)).copied().unwrap_or(0.0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn counts_what_came_after_the_warm_up() {
        assert!((quantile(&[1.0, 2.0, 3.0], 0.5) - 2.0).abs() < 1e-9);
        assert!(quantile(&[], 0.5).abs() < 1e-9);
        let plan = Plan {
            callers: 2,
            time: Duration::from_millis(60),
            warm_up: Duration::from_millis(20),
        };
        let load = run(plan, || async { Err("no".into()) }).await;
        assert!(load.calls == 0 && load.failed > 0 && load.why.as_deref() == Some("no"));
        let load = run(plan, || async {
            std::thread::sleep(Duration::from_millis(1));
            Ok(())
        });
        let load = load.await;
        assert!(
            load.failed == 0 && load.calls > 2 && load.p50 >= 1_000.0,
            "{load:?}"
        );
    }
}
