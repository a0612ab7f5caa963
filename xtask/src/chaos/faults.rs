//! Does what the plan says, and remembers when what was broken.

use std::time::Duration;

use anyhow::Result;
use rustix::process::Signal;

use super::callers::Shared;
use super::mesh::Mesh;
use super::plan::{Fault, Kind};

/// After a worker or the broker is back, until it counts as if nothing had been: gateways hear of it at their own pace.
const SETTLE: Duration = Duration::from_secs(2);

/// When a fault could be felt. Times count from the beginning of the run.
#[derive(Clone, Debug)]
pub(super) struct Window {
    pub(super) kind: Kind,
    pub(super) from: Duration,
    pub(super) until: Duration,
}

impl Window {
    /// It could be felt at some time between these two.
    pub(super) fn overlaps(&self, begun: Duration, ended: Duration) -> bool {
        begun <= self.until && ended >= self.from
    }
}

/// Does one fault, and waits until everything it hit serves again.
pub(super) async fn inflict(mesh: &Mesh<'_>, fault: &Fault, shared: &Shared) -> Result<Window> {
    tokio::time::sleep(fault.pause).await;
    let from = shared.epoch.elapsed();
    match fault.kind {
        Kind::KillWorker => end_worker(mesh, fault, Signal::KILL).await?,
        Kind::DrainWorker => end_worker(mesh, fault, Signal::TERM).await?,
        Kind::StopWorker => {
            mesh.signal(fault.worker, Signal::STOP).await?;
            tokio::time::sleep(fault.gone).await;
            mesh.signal(fault.worker, Signal::CONT).await?;
            mesh.serves(fault.worker).await?;
        }
        Kind::KillBroker => {
            let mut broker = mesh.broker.lock().await;
            broker.kill().await?;
            tokio::time::sleep(fault.gone).await;
            broker.again().await?;
            for worker in 0..mesh.workers() {
                mesh.serves(worker).await?;
            }
        }
    }
    // What a drained worker leaves behind must not be felt even at once.
    if fault.kind != Kind::DrainWorker {
        tokio::time::sleep(SETTLE).await;
    }
    Ok(Window {
        kind: fault.kind,
        from,
        until: shared.epoch.elapsed(),
    })
}

async fn end_worker(mesh: &Mesh<'_>, fault: &Fault, signal: Signal) -> Result<()> {
    mesh.signal(fault.worker, signal).await?;
    mesh.ended(fault.worker).await?;
    tokio::time::sleep(fault.gone).await;
    mesh.start_worker(fault.worker).await?;
    mesh.serves(fault.worker).await
}
