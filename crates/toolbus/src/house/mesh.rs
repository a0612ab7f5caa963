//! The gateway's place on the mesh: joined in the background, while the gateway serves already.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::watch;
use tokio::time::{sleep, timeout};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use toolbus_gateway::Expecting;
use toolbus_mesh::bus::Bus;
use toolbus_mesh::caller::{Mesh, Settings};
use toolbus_mesh::subject::Subjects;
use toolbus_model::BoxFuture;

use super::guests::Guests;
use crate::broker::{self, Purpose};
use crate::config::Config;

/// How long the first lists wait for the mesh. One that is up is there in a few milliseconds.
const EXPECTED_WITHIN: Duration = Duration::from_secs(3);

/// How long the last calls may take to leave.
const CLOSE_WITHIN: Duration = Duration::from_secs(2);

/// What a gateway needs to take part.
pub(super) struct Joined {
    pub(super) bus: Arc<dyn Bus>,
    pub(super) subjects: Subjects,
    pub(super) settings: Settings,
}

/// The mesh being opened.
pub(super) type Opening = BoxFuture<'static, Result<Joined, String>>;

/// What opens the mesh of a configuration, where it wants one. What is wrong with its keys is found at once.
pub(super) fn opening(config: &Config, purpose: Purpose) -> Result<Option<Opening>, String> {
    let mesh = config.mesh.clone();
    if !broker::is_wanted(&mesh) {
        return Ok(None);
    }
    let (subjects, settings) = (mesh.subjects()?, mesh.calls()?);
    Ok(Some(Box::pin(async move {
        let (bus, _) = broker::open(&mesh, purpose).await?;
        Ok(Joined {
            bus,
            subjects,
            settings,
        })
    })))
}

/// How it stands with the mesh.
#[derive(Debug, Clone, Default)]
pub(crate) enum Standing {
    /// There is none.
    #[default]
    None,
    /// It is being joined.
    Joining,
    /// The gateway takes part.
    In(Arc<Mesh>),
    /// It cannot be joined, and why.
    Out(String),
}

/// The gateway's place on the mesh.
pub(super) struct Place {
    standing: watch::Sender<Standing>,
    tasks: TaskTracker,
    closing: CancellationToken,
}

impl Place {
    pub(super) fn new() -> Self {
        Self {
            standing: watch::Sender::default(),
            tasks: TaskTracker::new(),
            closing: CancellationToken::new(),
        }
    }

    pub(super) fn standing(&self) -> watch::Receiver<Standing> {
        self.standing.subscribe()
    }

    /// Joins in the background, and follows what is found from then on.
    pub(super) fn join(&self, opening: Opening, guests: Arc<Guests>, expecting: Expecting) {
        self.standing.send_replace(Standing::Joining);
        let (standing, closing) = (self.standing.clone(), self.closing.clone());
        self.tasks.spawn(async move {
            let joining = take_part(opening, standing, guests, expecting);
            closing.run_until_cancelled(joining).await;
        });
    }

    /// Runs something for as long as the gateway takes part.
    pub(super) fn accompany(&self, work: impl Future<Output = ()> + Send + 'static) {
        let closing = self.closing.clone();
        self.tasks.spawn(async move {
            closing.run_until_cancelled(work).await;
        });
    }

    /// Leaves the mesh, once all calls are over.
    pub(super) async fn leave(&self) {
        self.closing.cancel();
        self.tasks.close();
        self.tasks.wait().await;
        if let Standing::In(mesh) = self.standing.send_replace(Standing::None) {
            let closing = async {
                mesh.close().await;
                mesh.bus().close().await;
            };
            let _ = timeout(CLOSE_WITHIN, closing).await;
        }
    }
}

async fn take_part(
    opening: Opening,
    standing: watch::Sender<Standing>,
    guests: Arc<Guests>,
    expecting: Expecting,
) {
    let mut expecting = Some(expecting);
    let joining = open(opening, &standing);
    tokio::pin!(joining);
    let mesh = loop {
        tokio::select! {
            mesh = &mut joining => break mesh,
            () = sleep(EXPECTED_WITHIN), if expecting.is_some() => drop(expecting.take()),
        }
    };
    let Some(mesh) = mesh else { return };
    let mut found = mesh.found();
    let first = found.wait_for(|found| found.is_settled || found.problem.is_some());
    let _ = timeout(EXPECTED_WITHIN, first).await;
    loop {
        let now = found.borrow_and_update().clone();
        guests.meet(&now);
        drop(expecting.take());
        if found.changed().await.is_err() {
            return;
        }
    }
}

async fn open(opening: Opening, standing: &watch::Sender<Standing>) -> Option<Arc<Mesh>> {
    let joined = match opening.await {
        Ok(joined) => Mesh::open(joined.bus, joined.subjects, joined.settings)
            .await
            .map_err(|error| error.to_string()),
        Err(error) => Err(error),
    };
    match joined {
        Ok(mesh) => {
            let mesh = Arc::new(mesh);
            standing.send_replace(Standing::In(Arc::clone(&mesh)));
            Some(mesh)
        }
        Err(error) => {
            tracing::warn!(
                "the mesh cannot be joined; what is configured is served all the same: {error}"
            );
            standing.send_replace(Standing::Out(error));
            None
        }
    }
}
