//! A place of scripts: its tools, its calls, and what happens when its files change.

use std::path::PathBuf;
use std::sync::Arc;

use arc_swap::ArcSwap;
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use toolbus_model::{BoxFuture, Call, Cause, Error, Health, Kind, Object, Offer, Outcome, Raw};

use super::cold::Cold;
use super::places::Places;
use super::run::{Order, Runs};
use super::settings::Settings;
use super::table::{Table, named_files};
use super::verdict;
use super::warm::Warm;
use crate::tools::{Job, Tools};
use crate::watch::Watch;

/// The revision in which results are written.
const REVISION: &str = "2026-07-28";

/// A place of scripts.
pub struct ScriptServer(Arc<Inner>);

struct Inner {
    name: String,
    settings: Arc<Settings>,
    runs: Box<dyn Runs>,
    places: Places,
    table: ArcSwap<Table>,
    offer: watch::Sender<Arc<Offer>>,
    tasks: TaskTracker,
    closing: CancellationToken,
}

impl std::fmt::Debug for ScriptServer {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("ScriptServer")
            .field("name", &self.0.name)
            .finish_non_exhaustive()
    }
}

impl ScriptServer {
    /// Reads its files, and follows them from now on. Must be called within a runtime.
    pub fn begin(name: &str, settings: Settings) -> Self {
        let inner = Arc::new(Inner {
            name: name.to_owned(),
            runs: runs(name, &settings),
            places: Places::new(settings.at_once, settings.waiting),
            table: ArcSwap::default(),
            offer: watch::Sender::new(Arc::new(before(name))),
            settings: Arc::new(settings),
            tasks: TaskTracker::new(),
            closing: CancellationToken::new(),
        });
        let keeper = Arc::clone(&inner);
        let until = inner.closing.clone();
        inner.tasks.spawn(async move {
            until.run_until_cancelled(keeper.keep()).await;
        });
        Self(inner)
    }
}

/// How processes are had.
fn runs(name: &str, settings: &Settings) -> Box<dyn Runs> {
    match &settings.warm {
        None => Box::new(Cold),
        Some(warm) => Box::new(Warm::begin(name, warm.clone(), settings)),
    }
}

/// What is offered before anything is read.
fn before(name: &str) -> Offer {
    let info = serde_json::json!({"name": name, "version": env!("CARGO_PKG_VERSION")});
    Offer {
        info: Some(Raw::of(&info)),
        revision: Some(REVISION),
        ..Offer::default()
    }
}

impl Tools for ScriptServer {
    fn offer(&self) -> watch::Receiver<Arc<Offer>> {
        self.0.offer.subscribe()
    }

    fn run<'a>(&'a self, job: Job, call: &'a Call) -> BoxFuture<'a, Result<Outcome, Error>> {
        Box::pin(self.0.run(job, call))
    }

    fn stop(&self) -> BoxFuture<'_, ()> {
        Box::pin(async {
            self.0.closing.cancel();
            self.0.tasks.close();
            self.0.tasks.wait().await;
            self.0.runs.stop().await;
        })
    }
}

impl Inner {
    async fn run(&self, job: Job, call: &Call) -> Result<Outcome, Error> {
        let tool = self.table.load().get(&job.tool).cloned();
        let tool = tool.ok_or_else(|| self.unknown(&job.tool))?;
        let _place = self.places.enter(call).await?;
        let limits = tool.run.limits;
        let order = Order {
            tool,
            arguments: job.arguments,
        };
        let ran = self.runs.run(order, call).await?;
        verdict::outcome(ran, &limits)
    }

    /// There is no such tool; or it is not known whether there is, because the files could never be read.
    fn unknown(&self, name: &str) -> Error {
        match &self.offer.borrow().health {
            Health::Down(error) => error.clone(),
            _ => Error::Unknown {
                kind: Kind::Tool,
                name: name.to_owned(),
            },
        }
    }

    /// Keeps the tools in line with the files.
    async fn keep(&self) {
        let mut watch = Watch::new(named_files(&self.settings));
        loop {
            match Table::read(&self.settings).await {
                Ok(table) => self.take(table),
                Err(why) => self.refuse(&why),
            }
            watch.follow(self.followed());
            let changed = watch.changed().await;
            tracing::debug!(server = self.name, ?changed, "files have changed");
        }
    }

    fn followed(&self) -> Vec<PathBuf> {
        let mut files = named_files(&self.settings);
        files.extend_from_slice(self.table.load().files());
        files.sort_unstable();
        files.dedup();
        files
    }

    /// Serves these tools from now on.
    fn take(&self, table: Table) {
        let items = table.items();
        let table = Arc::new(table);
        self.table.store(Arc::clone(&table));
        self.runs.renew(table.tools());
        let is_settled = self.offer.borrow().capabilities.is_some();
        self.offer.send_if_modified(|offer| {
            if is_settled
                && offer.tools == items
                && offer.health == Health::Up
                && offer.trouble.is_none()
            {
                return false;
            }
            let new = Arc::make_mut(offer);
            new.changes.tools += u64::from(is_settled && new.tools != items);
            new.tools = items;
            new.capabilities = Some(capabilities());
            new.health = Health::Up;
            new.trouble = None;
            true
        });
        let count = table.tools().len();
        tracing::info!(server = self.name, tools = count, "the tools were read");
    }

    /// Goes on with the tools of before, where there are any, and says so.
    fn refuse(&self, why: &str) {
        let is_settled = self.offer.borrow().capabilities.is_some();
        if is_settled {
            tracing::error!(
                server = self.name,
                "what changed is not used, the tools of before stay: {why}"
            );
        } else {
            tracing::error!(server = self.name, "the tools cannot be read: {why}");
        }
        self.offer.send_modify(|offer| {
            let new = Arc::make_mut(offer);
            if is_settled {
                let told = format!("what changed is not used, the tools of before stay: {why}");
                new.trouble = Some(told.into());
            } else {
                let cause = Cause {
                    remedy: Some("correct it; it is read again when it changes".to_owned()),
                    ..Cause::new(why)
                };
                new.health = Health::Down(Error::Unavailable(cause.into()));
            }
        });
    }
}

fn capabilities() -> Object {
    Object::of(&serde_json::json!({"tools": {"listChanged": true}}))
}
