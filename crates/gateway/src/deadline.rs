//! How long a call may take: in all, and without a sign of life.

use std::future::Future;
use std::pin::pin;
use std::time::Duration;

use tokio::time::{Instant, sleep_until, timeout};
use toolbus_model::{Call, Cause, Error, Object, Outcome};

/// How long a back end has to stop its work once a call is over.
const STOP_WITHIN: Duration = Duration::from_secs(5);

/// The two limits of a call. `None` turns one off.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Deadlines {
    /// Longest silence: no progress, no log line.
    pub idle: Option<Duration>,
    /// Longest time in all.
    pub total: Option<Duration>,
}

impl Default for Deadlines {
    fn default() -> Self {
        Self {
            idle: Some(Duration::from_secs(120)),
            total: Some(Duration::from_secs(30 * 60)),
        }
    }
}

/// Which limits nobody configured: these a tool may set for itself.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Unset {
    /// That of silence.
    pub idle: bool,
    /// That of time in all.
    pub total: bool,
}

/// The limits that a tool sets for itself, in seconds, in its definition's `_meta`.
const OWN_IDLE: &str = "toolbus/idleTimeout";
const OWN_TOTAL: &str = "toolbus/totalTimeout";

/// Longest limit that a tool can set for itself. Only the operator can turn one off.
pub(crate) const OWN_LONGEST: Duration = Duration::from_secs(24 * 60 * 60);

/// What a tool's definition says about its time.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) struct OwnWord {
    idle: Option<Duration>,
    total: Option<Duration>,
}

impl OwnWord {
    pub(crate) fn of(definition: &Object) -> Self {
        let meta = definition.object("_meta").and_then(Result::ok);
        let read = |name| {
            let seconds: f64 = meta.as_ref()?.raw(name)?.read().ok()?;
            let is_limit = seconds > 0.0;
            is_limit.then(|| Duration::from_secs_f64(seconds.min(OWN_LONGEST.as_secs_f64())))
        };
        Self {
            idle: read(OWN_IDLE),
            total: read(OWN_TOTAL),
        }
    }
}

impl Deadlines {
    /// These limits, but where nobody configured one, and the tool sets it, the tool's.
    #[must_use]
    pub(crate) fn or_own(self, unset: Unset, own: OwnWord) -> Self {
        let total = own.total.filter(|_| unset.total).or(self.total);
        let idle = own.idle.filter(|_| unset.idle).or(self.idle);
        Self { idle, total }.clamped()
    }

    /// An idle limit above the total one means the total one.
    #[must_use]
    pub fn clamped(self) -> Self {
        let clamp = |idle: Duration| self.total.map_or(idle, |total| idle.min(total));
        Self {
            idle: self.idle.map(clamp),
            total: self.total,
        }
    }

    /// These limits, and in all no more than `limit`.
    #[must_use]
    pub fn within(self, limit: Option<Duration>) -> Self {
        let total = self.total.into_iter().chain(limit).min();
        Self { total, ..self }
    }

    /// When the call's time is up, as things stand.
    fn next(self, call: &Call) -> Option<Instant> {
        let idle = self.idle.map(|idle| call.last_sign() + idle);
        let total = self.total.map(|total| call.started + total);
        idle.into_iter().chain(total).min()
    }

    fn sentence(self, call: &Call) -> String {
        let show = |limit: Option<Duration>| {
            limit.map_or("off".to_owned(), |l| {
                humantime::format_duration(l).to_string()
            })
        };
        let (waited, silent) = (call.started.elapsed(), call.last_sign().elapsed());
        format!(
            "no result after {:.1} s, of which {:.1} s without a sign of life (idle limit {}, total limit {})",
            waited.as_secs_f64(),
            silent.as_secs_f64(),
            show(self.idle),
            show(self.total)
        )
    }

    /// Runs `work` until it ends, its time is up, or the call is cancelled. In the last two cases the work is told to
    /// stop and has [`STOP_WITHIN`] to do so.
    pub(crate) async fn watch(
        self,
        call: &Call,
        work: impl Future<Output = Result<Outcome, Error>>,
    ) -> Result<Outcome, Error> {
        if let Some(total) = self.total {
            call.ends_by(call.started + total);
        }
        let mut work = pin!(work);
        // A call whose limits are off still has a timer, a day long, so that there is one path.
        let far = || Instant::now() + Duration::from_secs(86_400);
        let mut alarm = pin!(sleep_until(self.next(call).unwrap_or_else(far)));
        loop {
            tokio::select! {
                biased;
                answer = &mut work => return if call.is_cancelled() { answer.map_err(|_| Error::Cancelled) } else { answer },
                () = call.cancelled() => {
                    let _ = timeout(STOP_WITHIN, work).await;
                    return Err(Error::Cancelled);
                }
                () = &mut alarm => {
                    let next = self.next(call).unwrap_or_else(far);
                    if next > Instant::now() {
                        alarm.as_mut().reset(next);
                        continue;
                    }
                    let what = self.sentence(call);
                    call.cancel();
                    // What the back end says of its end explains the silence: the command, its last words.
                    let seen = timeout(STOP_WITHIN, work).await;
                    let cause = seen.ok().and_then(Result::err).and_then(|error| error.cause().cloned());
                    return Err(Error::DeadlineExceeded(Cause { what, ..cause.unwrap_or_default() }.into()));
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use toolbus_model::{CallSeed, Caller, Event, EventKind, Raw, Revision, Trace};

    fn call() -> std::sync::Arc<Call> {
        Call::begin(
            CallSeed {
                caller: Caller::local(),
                revision: Revision::V2026_07_28,
                door: "test",
                capabilities: Raw::of(&()),
                client: None,
                log_level: None,
                progress_token: None,
                trace: Trace::default(),
            },
            tokio_util::sync::CancellationToken::new(),
        )
        .0
    }

    async fn stops_when_cancelled(call: &Call) -> Result<Outcome, Error> {
        call.cancelled().await;
        let cause = Cause {
            command: Some("python slow.py".into()),
            ..Cause::new("stopped")
        };
        Err(Error::OutcomeUnknown(cause.into()))
    }

    #[tokio::test(start_paused = true)]
    async fn silence_ends_a_call_and_names_both_limits() {
        let (limits, call, started) = (Deadlines::default(), call(), Instant::now());
        let error = limits
            .watch(&call, stops_when_cancelled(&call))
            .await
            .expect_err("too slow");
        assert_eq!(started.elapsed(), Duration::from_secs(120));
        assert_eq!(
            error.to_string(),
            "Deadline exceeded: no result after 120.0 s, of which 120.0 s without a sign of life \
             (idle limit 2m, total limit 30m); command: python slow.py"
        );
    }

    fn seconds(limits: Deadlines) -> (Option<f64>, Option<f64>) {
        let show = |limit: Option<Duration>| limit.map(|limit| limit.as_secs_f64());
        (show(limits.idle), show(limits.total))
    }

    #[test]
    fn a_tool_sets_the_limits_that_nobody_configured() {
        let own = |meta: &str| {
            let text = format!(r#"{{"name":"train","_meta":{meta}}}"#);
            OwnWord::of(&Object::parse(text.into()).expect("an object"))
        };
        let limits = |idle, total, meta| {
            let unset = Unset { idle, total };
            seconds(Deadlines::default().or_own(unset, own(meta)))
        };
        let both = r#"{"toolbus/idleTimeout": 600, "toolbus/totalTimeout": 7200.5}"#;
        assert_eq!(limits(true, true, both), (Some(600.0), Some(7200.5)));
        assert_eq!(limits(false, false, both), (Some(120.0), Some(1800.0)));
        assert_eq!(limits(true, false, both), (Some(600.0), Some(1800.0)));
        let short = r#"{"toolbus/totalTimeout": 5}"#;
        assert_eq!(limits(true, true, short), (Some(5.0), Some(5.0)), "clamped");
        for nothing in [
            r#"{"toolbus/totalTimeout": 0}"#,
            r#"{"toolbus/totalTimeout": -3}"#,
            r#"{"toolbus/totalTimeout": "1h"}"#,
            "{}",
            "[]",
        ] {
            assert_eq!(limits(true, true, nothing), (Some(120.0), Some(1800.0)));
        }
        let long = r#"{"toolbus/totalTimeout": 1e300}"#;
        assert_eq!(
            limits(true, true, long).1,
            Some(86_400.0),
            "only the operator turns it off"
        );
    }

    #[test]
    fn the_shorter_of_two_limits_counts() {
        let total = |own: Option<u64>, limit: Option<u64>| {
            let (own, limit) = (own.map(Duration::from_secs), limit.map(Duration::from_secs));
            let limits = Deadlines {
                idle: None,
                total: own,
            };
            limits.within(limit).total.map(|total| total.as_secs())
        };
        assert_eq!(
            (total(Some(9), Some(3)), total(Some(3), Some(9))),
            (Some(3), Some(3))
        );
        assert_eq!(
            (total(None, Some(3)), total(Some(3), None)),
            (Some(3), Some(3))
        );
        assert_eq!(total(None, None), None);
    }

    #[tokio::test(start_paused = true)]
    async fn signs_of_life_move_the_idle_limit_but_not_the_total_one() {
        let (limits, call, started) = (Deadlines::default(), call(), Instant::now());
        let work = async {
            loop {
                tokio::time::sleep(Duration::from_secs(100)).await;
                call.line().tell(Event {
                    kind: EventKind::Progress,
                    params: Object::empty(),
                });
            }
        };
        let error = limits.watch(&call, work).await.expect_err("too slow");
        assert!(matches!(error, Error::DeadlineExceeded(_)));
        assert_eq!(
            started.elapsed(),
            Duration::from_secs(30 * 60) + STOP_WITHIN
        );
    }

    #[tokio::test(start_paused = true)]
    async fn a_cancelled_call_waits_for_its_work_to_stop() {
        let (call, limits) = (
            call(),
            Deadlines {
                idle: None,
                total: None,
            },
        );
        call.cancel();
        assert_eq!(
            limits.watch(&call, stops_when_cancelled(&call)).await,
            Err(Error::Cancelled)
        );
    }
}
