//! Interpreters that are kept ready: a call is forked from one that has imported its modules, and does not cost a start.
//!
//! ```text
//! toolbus ── warden ── python -m toolbus.warm (has imported) ── slots (a call at a time) ── a process per call
//!    └──────────── a socket per slot, on which the pipes of each call go over ──────┘
//! ```
//! What such an interpreter cannot run as a new one would, and all calls while none is ready, have a process of their own.

mod keep;
mod line;
mod running;
mod server;
mod setup;
mod wire;

use std::io;
use std::sync::Arc;

use tokio_util::sync::{CancellationToken, DropGuard};

use toolbus_model::{BoxFuture, Call, Error};

use super::cold::execute;
use super::process::Streams;
use super::run::{Order, Ran, Runs};
use super::spec::{RunSpec, Tool};
use crate::process::Command;
use keep::Kept;
use line::Invocation;
pub(super) use running::Running;
use running::{NotBegun, Request};
use setup::Setup;
pub use setup::{Mode, Recycle, Settings};

/// How often a call is tried to begin at the server that runs. One that fails is about to be replaced.
const ATTEMPTS: usize = 2;

/// Interpreters that are kept ready for the tools of a place.
#[derive(Debug)]
pub(super) struct Warm {
    kept: Arc<Kept>,
    ended: CancellationToken,
    _held: DropGuard,
}

impl Runs for Warm {
    fn run<'a>(&'a self, order: Order, call: &'a Call) -> BoxFuture<'a, Result<Ran, Error>> {
        Box::pin(async move {
            let line = Some(call.line());
            execute(
                Some(self),
                &order.tool.run,
                &order.arguments,
                line,
                call.cancelled(),
            )
            .await
        })
    }

    fn renew(&self, _tools: &[Arc<Tool>]) {
        // Each run reads its script anew, and whoever imports a module also follows its file.
    }

    fn stop(&self) -> BoxFuture<'_, ()> {
        Box::pin(async {
            self.ended.cancel();
            self.kept.current.store(None);
            self.kept.tasks.close();
            self.kept.tasks.wait().await;
        })
    }
}

impl Warm {
    /// Begins to keep them. Must be called within a runtime.
    pub(super) fn begin(name: &str, settings: Settings, place: &super::Settings) -> Self {
        let setup = Setup::new(name, settings, place);
        let kept = Arc::new(Kept::new(setup));
        let ended = CancellationToken::new();
        let keep = Arc::clone(&kept).keep();
        kept.tasks
            .spawn(ended.clone().run_until_cancelled_owned(keep));
        Self {
            kept,
            _held: ended.clone().drop_guard(),
            ended,
        }
    }

    /// Begins a call. None where it needs a process of its own.
    pub(super) async fn start(
        &self,
        command: &Command,
        spec: &RunSpec,
    ) -> io::Result<Option<(Running, Streams)>> {
        let python = &self.kept.setup.settings.python;
        let Some(invocation) = Invocation::parse(python, &command.line) else {
            return Ok(None);
        };
        for _ in 0..ATTEMPTS {
            let Some(server) = self.kept.server() else {
                return Ok(None);
            };
            let mut command = command.clone();
            let folder = command.cwd.is_none().then(|| server.call_folder());
            if let Some(folder) = &folder {
                server::make(folder)?;
                command.in_own_folder(folder);
            }
            let env = command.environment();
            if !self.kept.setup.suits(&env) {
                return Ok(None);
            }
            let cwd = command.cwd.clone().unwrap_or_default();
            let limits = &spec.limits.process;
            let Some(request) = Request::new(&invocation, &env, &cwd, limits, folder.as_deref())
            else {
                return Ok(None);
            };
            match Running::begin(server, &request).await {
                Ok(begun) => return Ok(Some(begun)),
                Err(NotBegun::Failed(error)) => return Err(command.explain(error)),
                Err(NotBegun::Elsewhere(error)) => {
                    let server = &*self.kept.setup.name;
                    tracing::debug!(server, %error, "a call did not begin at an interpreter that was kept ready");
                }
            }
        }
        Ok(None)
    }
}
