//! Resources, prompts and completions from files: by themselves, or in front of another back end's.
//!
//! `survey` looks at the folders once a second, off the runtime's threads, and makes a `State` of what is there;
//! everything is answered from that, except a resource's content, which is read when it is asked for (`reading`).

use std::sync::Arc;

use tokio::sync::{Semaphore, watch};
use tokio_util::sync::{CancellationToken, DropGuard};
use tokio_util::task::TaskTracker;
use toolbus_model::{
    Backend, BoxFuture, Call, CallSeed, Error, Filter, Kind, Listening, Method, Object, Offer,
    Outcome, Request,
};

mod argument;
mod beneath;
mod completing;
mod files;
mod glob;
mod joined;
mod keeping;
mod listeners;
mod matter;
mod mime;
mod path;
mod placeholders;
mod prompt;
mod reading;
mod settings;
mod state;
mod survey;
mod system;

pub use files::Files;
pub use glob::Glob;
pub use settings::Settings;

use joined::Joined;
use listeners::Listeners;
use settings::Space;
use state::State;

/// Files that are read at once. A slow disk must not take all threads on which the process may block.
const READERS: usize = 8;

/// What serves files, and passes on what is not about them.
pub struct Content {
    inside: Arc<Inside>,
    inner: Option<Arc<dyn Backend>>,
    joined: Joined,
    _held: DropGuard,
}

/// What its tasks work with as well.
#[derive(Debug)]
struct Inside {
    name: String,
    settings: Arc<Settings>,
    spaces: Arc<[Space]>,
    state: watch::Sender<Arc<State>>,
    listeners: Listeners,
    readers: Arc<Semaphore>,
    ended: CancellationToken,
    tasks: TaskTracker,
}

impl Content {
    /// Serves files, and what `inner` has besides. Must be called within a runtime.
    pub fn around(name: &str, settings: Settings, inner: Option<Arc<dyn Backend>>) -> Arc<Self> {
        system::begun();
        let settings = Arc::new(settings);
        let ended = CancellationToken::new();
        let inside = Arc::new(Inside {
            name: name.to_owned(),
            spaces: settings.spaces().into(),
            settings,
            state: watch::Sender::default(),
            listeners: Listeners::default(),
            readers: Arc::new(Semaphore::new(READERS)),
            ended: ended.clone(),
            tasks: TaskTracker::new(),
        });
        inside.tasks.spawn(Arc::clone(&inside).keep());
        let joined = Joined::of(&inside, inner.as_ref().map(|inner| inner.offer()));
        Arc::new(Self {
            inside,
            inner,
            joined,
            _held: ended.drop_guard(),
        })
    }

    async fn answer(&self, request: Request, call: &Call) -> Result<Outcome, Error> {
        let state = self.inside.known(call).await?;
        let target = request.target.as_deref().unwrap_or_default();
        let own = match &request.method {
            Method::ResourcesRead if self.inside.is_ours(target) => Some(
                self.inside
                    .read(&state, target, &self.joined.now(), call)
                    .await?,
            ),
            Method::PromptsGet => match state.prompts.get(target) {
                Some(prompt) => Some(prompt.expand(&arguments(&request)?)?),
                None => None,
            },
            Method::Complete => self.inside.complete(&state, &request.params)?,
            _ => None,
        };
        match own {
            Some(result) => Ok(Outcome::Complete(result)),
            None => self.pass_on(request, call).await,
        }
    }

    /// What is not ours is the other back end's, if there is one that has such things.
    async fn pass_on(&self, request: Request, call: &Call) -> Result<Outcome, Error> {
        let kind = match &request.method {
            Method::ToolsCall => Some((Kind::Tool, "tools")),
            Method::ResourcesRead => Some((Kind::Resource, "resources")),
            Method::PromptsGet => Some((Kind::Prompt, "prompts")),
            _ => None,
        };
        let Some(inner) = &self.inner else {
            return Err(unknown(kind, &request));
        };
        let offer = inner.offer().borrow().clone();
        // A place that only runs tools knows no such method; whoever asks sees one server, which does.
        let lacks = |(_, member): (Kind, &str)| {
            offer
                .capabilities
                .as_ref()
                .is_some_and(|has| has.get(member).is_none())
        };
        if kind.is_some_and(lacks) {
            return Err(unknown(kind, &request));
        }
        inner.serve(request, call).await
    }
}

impl Backend for Content {
    fn offer(&self) -> watch::Receiver<Arc<Offer>> {
        self.joined.offer()
    }

    fn serve<'a>(
        &'a self,
        request: Request,
        call: &'a Call,
    ) -> BoxFuture<'a, Result<Outcome, Error>> {
        let is_about_files = matches!(
            request.method,
            Method::ResourcesRead | Method::PromptsGet | Method::Complete
        );
        match &self.inner {
            // A tool's call passes with nothing between.
            Some(inner) if !is_about_files => inner.serve(request, call),
            _ => Box::pin(self.answer(request, call)),
        }
    }

    fn listen<'a>(
        &'a self,
        filter: Filter,
        seed: &'a CallSeed,
    ) -> BoxFuture<'a, Result<Listening, Error>> {
        Box::pin(self.listen_to(filter, seed))
    }

    fn holds(&self, request: &Request) -> bool {
        self.inner
            .as_ref()
            .is_some_and(|inner| inner.holds(request))
    }

    fn is_awaited(&self) -> bool {
        self.inner.as_ref().is_some_and(|inner| inner.is_awaited())
    }

    fn stop(&self) -> BoxFuture<'_, ()> {
        Box::pin(async {
            self.inside.ended.cancel();
            self.inside.listeners.leave_all();
            if let Some(inner) = &self.inner {
                inner.stop().await;
            }
        })
    }
}

/// The error for what nobody here has.
fn unknown(kind: Option<(Kind, &str)>, request: &Request) -> Error {
    let name = request.target.as_deref().unwrap_or_default().to_owned();
    match kind {
        Some((kind, _)) => Error::Unknown { kind, name },
        None => Error::MethodNotFound(request.method.as_str().to_owned()),
    }
}

fn arguments(request: &Request) -> Result<Object, Error> {
    let wrong =
        || Error::InvalidParams("Invalid params: \"arguments\" must be an object".to_owned());
    match request.params.raw("arguments") {
        None => Ok(Object::empty()),
        Some(raw) => Object::from_raw(&raw).map_err(|_| wrong()),
    }
}

#[cfg(test)]
mod tests;
