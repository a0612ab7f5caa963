//! Keeps a server of interpreters: starts it, starts it again when it is gone, and replaces it when what it imported is old.

use std::sync::Arc;
use std::time::Duration;

use arc_swap::ArcSwapOption;
use tokio::time::{Instant, sleep};
use tokio_util::task::TaskTracker;

use super::server::{News, Server};
use super::setup::Setup;
use super::wire::Wire;

/// First and longest pause between attempts to start one. They go on for ever: meanwhile calls have processes of their own.
const BACKOFF: (Duration, Duration) = (Duration::from_millis(250), Duration::from_secs(10));

/// One that lasted this long was a good one: the next attempt starts without a pause.
const STEADY: Duration = Duration::from_secs(10);

/// What a keeper and those that run calls have in common.
#[derive(Debug)]
pub(super) struct Kept {
    pub(super) setup: Setup,
    /// The server that runs, if any does.
    pub(super) current: ArcSwapOption<Server>,
    /// What is under way beside calls.
    pub(super) tasks: TaskTracker,
}

/// Why another server is wanted.
enum Wanted {
    /// The current one is gone.
    InItsPlace,
    /// What the current one has imported is old.
    Newer(String),
}

impl Kept {
    pub(super) fn new(setup: Setup) -> Self {
        Self {
            setup,
            current: ArcSwapOption::empty(),
            tasks: TaskTracker::new(),
        }
    }

    /// The server that runs, if any does.
    pub(super) fn server(&self) -> Option<Arc<Server>> {
        self.current.load_full().filter(|server| !server.is_gone())
    }

    /// Keeps one for as long as the future is polled.
    pub(super) async fn keep(self: Arc<Self>) {
        let mut pause = BACKOFF.0;
        loop {
            let begun = Instant::now();
            if self.one().await || begun.elapsed() >= STEADY {
                pause = BACKOFF.0;
            }
            sleep(pause).await;
            pause = (pause * 2).min(BACKOFF.1);
        }
    }

    /// Starts one, and waits until another one is wanted: true where it serves on until that one is ready.
    async fn one(&self) -> bool {
        let name = &*self.setup.name;
        let (server, mut news) = match Server::start(&self.setup, &self.tasks).await {
            Ok(started) => started,
            Err(why) => {
                let instead = match self.server() {
                    Some(_) => "the old ones serve on",
                    None => "calls start a process each",
                };
                tracing::warn!(server = name, %why, "interpreters cannot be made ready: {instead}");
                return false;
            }
        };
        // The one before it stays for as long as it runs calls.
        self.current.store(Some(server));
        match wanted(&mut news).await {
            Wanted::InItsPlace => {
                self.current.store(None);
                tracing::warn!(server = name, "the interpreters that were ready are gone");
                false
            }
            Wanted::Newer(file) => {
                tracing::info!(server = name, file, "interpreters are made ready anew");
                true
            }
        }
    }
}

/// Waits until another server is wanted.
async fn wanted(news: &mut Wire) -> Wanted {
    loop {
        match news.receive().await {
            Ok(Some(News::Changed(file))) => return Wanted::Newer(file),
            Ok(Some(News::Ready(_) | News::Error(_))) => {}
            Ok(None) | Err(_) => return Wanted::InItsPlace,
        }
    }
}
