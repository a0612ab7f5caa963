//! Calls that are given up leave nothing behind. `TOOLBUS_LEAK_CALLS=1000000` makes as many as the reliability page tells.

#[path = "caller/scripted.rs"]
#[allow(dead_code, reason = "each test file uses its part")]
mod scripted;

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use scripted::{Gateway, Offers, Worker, request, seed, tool};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use toolbus_mesh::bus::local::Hub;
use toolbus_mesh::caller::Remote;
use toolbus_model::{Backend, Call, Error};

/// Calls at once.
const AT_ONCE: usize = 200;

/// What a process of this size varies by, whatever is done in it.
const NOISE: usize = 2 << 20;

/// The memory of this process, in bytes.
fn resident() -> usize {
    let text = std::fs::read_to_string("/proc/self/statm").expect("Linux");
    let pages = text.split(' ').nth(1).expect("a second number");
    pages.parse::<usize>().expect("a number") * 4096
}

/// One that is cancelled while it waits, or one that nobody ever answers.
async fn give_up(server: &Arc<Remote>, number: usize) {
    let (call, _end) = Call::begin(seed(), CancellationToken::new());
    let tool = if number.is_multiple_of(2) {
        "add"
    } else {
        "pay"
    };
    let work = server.serve(request(tool), &call);
    if number % 4 < 2 {
        let cancelling = async {
            tokio::task::yield_now().await;
            call.cancel();
        };
        let (answer, ()) = tokio::join!(work, cancelling);
        assert_eq!(answer, Err(Error::Cancelled));
    } else {
        let error = work.await.expect_err("nobody answers");
        assert!(
            matches!(error, Error::Unavailable(_) | Error::OutcomeUnknown(_)),
            "{error}"
        );
    }
}

#[tokio::test(start_paused = true)]
async fn calls_that_were_given_up_leave_nothing_behind() {
    let wanted = std::env::var("TOOLBUS_LEAK_CALLS").ok();
    let calls: usize = wanted
        .and_then(|count| count.parse().ok())
        .unwrap_or(40_000);
    let hub = Hub::new();
    let offers = Offers::of(&[tool("add", true), tool("pay", false)]);
    let _worker = Worker::start(&hub, "w1", &offers).await;
    let gateway = Gateway::open(&hub).await;
    let server = gateway.server("math", 1).await;
    let mut memory = Vec::new();
    for _ in 0..10 {
        let left = Arc::new(AtomicUsize::new(calls / 10));
        let tasks = TaskTracker::new();
        for _ in 0..AT_ONCE {
            let (server, left) = (Arc::clone(&server), Arc::clone(&left));
            tasks.spawn(async move {
                let take = |left: usize| left.checked_sub(1);
                while let Ok(number) = left.fetch_update(Ordering::Relaxed, Ordering::Relaxed, take)
                {
                    give_up(&server, number).await;
                }
            });
        }
        tasks.close();
        tasks.wait().await;
        memory.push(resident());
    }
    let (early, late) = (memory[1], memory[9]);
    assert!(
        late <= early + early / 20 + NOISE,
        "memory grew: {memory:?}"
    );
}
