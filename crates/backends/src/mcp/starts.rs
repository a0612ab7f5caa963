//! How many child processes start at once.

use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::thread::available_parallelism;
use std::time::Duration;

use tokio::sync::Semaphore;
use tokio::time::timeout;

/// Fewest starts at once, however few processors there are: some of them wait for a disk or a network.
const AT_LEAST: usize = 4;

/// A start that takes longer than this waits for something else than a processor, such as a download. It goes on, but
/// others need not wait for it.
const KEEP_PLACE: Duration = Duration::from_secs(5);

/// Places for child processes that start. Starting one keeps a processor busy for a second or two with most runtimes: more
/// at once than there are processors would make each of them slower, and those that are waited for too.
#[derive(Debug, Clone)]
pub struct Starts(Arc<Semaphore>);

impl Default for Starts {
    /// As many as there are processors.
    fn default() -> Self {
        let processors = available_parallelism().map_or(AT_LEAST, usize::from);
        Self::of(processors.max(AT_LEAST))
    }
}

impl Starts {
    fn of(places: usize) -> Self {
        Self(Arc::new(Semaphore::new(places)))
    }

    /// Runs a start when there is a place for it; who came first is first.
    pub(super) async fn run<T>(&self, mut start: Pin<Box<impl Future<Output = T>>>) -> T {
        let place = self.0.acquire().await;
        if let Ok(done) = timeout(KEEP_PLACE, &mut start).await {
            return done;
        }
        drop(place);
        start.await
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::atomic::{AtomicUsize, Ordering};
    use tokio::task::JoinSet;
    use tokio::time::{Instant, sleep};

    /// The most of so many starts that were under way at once, and how long all took.
    async fn storm(starts: usize, each: Duration) -> (usize, Duration) {
        let (places, began) = (Starts::of(4), Instant::now());
        let (now, most) = (Arc::new(AtomicUsize::new(0)), Arc::new(AtomicUsize::new(0)));
        let mut all = JoinSet::new();
        for _ in 0..starts {
            let (places, now, most) = (places.clone(), Arc::clone(&now), Arc::clone(&most));
            all.spawn(async move {
                let start = async {
                    most.fetch_max(now.fetch_add(1, Ordering::SeqCst) + 1, Ordering::SeqCst);
                    sleep(each).await;
                    now.fetch_sub(1, Ordering::SeqCst);
                };
                places.run(Box::pin(start)).await;
            });
        }
        all.join_all().await;
        (most.load(Ordering::SeqCst), began.elapsed())
    }

    #[tokio::test(start_paused = true)]
    async fn no_more_start_at_once_than_there_are_places() {
        let (most, took) = storm(50, Duration::from_secs(2)).await;
        assert_eq!((most, took), (4, Duration::from_secs(26)));
    }

    #[tokio::test(start_paused = true)]
    async fn slow_starts_do_not_hold_others_up_for_long() {
        let (most, took) = storm(8, Duration::from_secs(60)).await;
        assert_eq!((most, took), (8, Duration::from_secs(65)));
    }
}
