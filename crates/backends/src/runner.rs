//! A long-lived tool runner behind HTTP: `POST /run_tool`, over TCP or a Unix socket.
//!
//! `learn` asks how it is and what it has, again and again; `calls` runs tools there and reads both forms of answers;
//! `way` is the HTTP underneath; `child` is a runner that we start ourselves.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use http::HeaderMap;
use tokio::sync::{Notify, watch};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use toolbus_model::{Backend, BoxFuture, Call, Error, Method, Offer, Outcome, Request};

use way::Way;

mod calls;
mod child;
mod learn;
mod way;

/// Where a runner is.
#[derive(Debug, Clone, PartialEq)]
pub enum Place {
    /// At this URL, to which the paths of a runner are appended.
    Url(http::Uri),
    /// At a Unix socket.
    Socket(std::path::PathBuf),
    /// In a process that we start, and start again. It is told its socket in `TOOLBUS_RUNNER_SOCKET`.
    Child(crate::process::Command),
}

/// A runner, and how to talk to it.
#[derive(Clone, PartialEq)]
pub struct Settings {
    /// Where it is.
    pub place: Place,
    /// Headers for every request, such as credentials.
    pub headers: HeaderMap,
}

/// A runner as a back end.
#[derive(Debug)]
pub struct Runner {
    way: Way,
    offer: watch::Sender<Arc<Offer>>,
    /// Rung when it is to be asked at once how it is.
    look: Notify,
    calls: AtomicUsize,
    tasks: TaskTracker,
    closing: CancellationToken,
}

impl Runner {
    /// A runner, which is asked at once what it has. Must be called within a runtime.
    pub fn start(name: &str, settings: Settings) -> Arc<Self> {
        let (tasks, closing) = (TaskTracker::new(), CancellationToken::new());
        let (way, child) = match settings.place {
            Place::Url(url) => (Way::to(&url, settings.headers), None),
            Place::Socket(path) => (Way::at(path, settings.headers), None),
            Place::Child(command) => {
                let child = child::Starting::new(command);
                (child.way(settings.headers), Some(child))
            }
        };
        let runner = Arc::new(Self {
            way,
            offer: watch::Sender::default(),
            look: Notify::new(),
            calls: AtomicUsize::new(0),
            tasks: tasks.clone(),
            closing: closing.clone(),
        });
        if let Some(child) = child {
            tasks.spawn(child.keep(name.to_owned(), Arc::clone(&runner)));
        }
        let learner = Arc::clone(&runner);
        tasks.spawn(closing.run_until_cancelled_owned(async move { learner.keep_asking().await }));
        runner
    }

    async fn do_request(&self, request: &Request, call: &Call) -> Result<Outcome, Error> {
        let answer = match request.method {
            Method::ToolsCall | Method::PromptsGet | Method::ResourcesRead | Method::Complete => {
                self.ask(request, call).await
            }
            _ => {
                let method = request.method.as_str().to_owned();
                return Err(Error::MethodNotFound(method));
            }
        };
        if matches!(
            answer,
            Err(Error::Unavailable(_) | Error::OutcomeUnknown(_))
        ) {
            self.look.notify_one();
        }
        answer
    }
}

impl Backend for Runner {
    fn offer(&self) -> watch::Receiver<Arc<Offer>> {
        self.offer.subscribe()
    }

    fn serve<'a>(
        &'a self,
        request: Request,
        call: &'a Call,
    ) -> BoxFuture<'a, Result<Outcome, Error>> {
        Box::pin(async move {
            self.calls.fetch_add(1, Ordering::Relaxed);
            // Whoever drops the future leaves a count behind that is too high by one: it only keeps a runner awake.
            let outcome = self.do_request(&request, call).await;
            self.calls.fetch_sub(1, Ordering::Relaxed);
            outcome
        })
    }

    fn is_awaited(&self) -> bool {
        self.calls.load(Ordering::Relaxed) > 0
    }

    fn stop(&self) -> BoxFuture<'_, ()> {
        Box::pin(async move {
            self.closing.cancel();
            self.tasks.close();
            self.tasks.wait().await;
        })
    }
}
