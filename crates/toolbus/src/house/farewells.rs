//! Sessions that clients ended, told among the replicas of a gateway: an id that is good everywhere has to be bad
//! everywhere when it was given back.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use tokio::sync::broadcast::{self, error::RecvError};
use tokio::sync::watch;
use tokio::time::sleep;
use toolbus_doors::{HttpDoor, SESSION_LIFETIME};
use toolbus_mesh::bus::{Bucket, BucketSettings, BusError, Change};
use toolbus_mesh::caller::Mesh;
use toolbus_mesh::registry::bucket;

use super::Standing;

/// Ends of sessions that wait for a mesh that takes them. The oldest go first: their sessions end soonest.
const WAITING: usize = 10_000;

/// Pause before it is tried again.
const AGAIN: Duration = Duration::from_secs(2);

/// Tells and hears, once the gateway takes part in a mesh.
pub(super) async fn share(mut standing: watch::Receiver<Standing>, door: Arc<HttpDoor>) {
    let farewells = door.farewells();
    let joined = standing.wait_for(|standing| matches!(standing, Standing::In(_)));
    let mesh = match joined.await.as_deref() {
        Ok(Standing::In(mesh)) => Arc::clone(mesh),
        _ => return,
    };
    let mut sharing = Sharing {
        mesh,
        door,
        farewells,
        untold: VecDeque::new(),
    };
    loop {
        if let Err(error) = sharing.run().await {
            tracing::debug!(%error, "the ends of sessions are not shared at the moment");
        }
        sleep(AGAIN).await;
    }
}

struct Sharing {
    mesh: Arc<Mesh>,
    door: Arc<HttpDoor>,
    farewells: broadcast::Receiver<String>,
    /// Those that the mesh does not have yet.
    untold: VecDeque<String>,
}

impl Sharing {
    async fn run(&mut self) -> Result<(), BusError> {
        let subjects = self.mesh.subjects().clone();
        let settings = BucketSettings {
            max_age: Some(SESSION_LIFETIME),
            history: 1,
        };
        let bucket = self
            .mesh
            .bus()
            .bucket(&subjects.bucket(bucket::GONE), settings)
            .await?;
        let mut gone = bucket.watch(&subjects.key(&[">"])).await?;
        loop {
            self.tell(&*bucket).await?;
            tokio::select! {
                change = gone.recv() => match change {
                    Some(Change::Put(key, ..)) => {
                        self.door.end_session(key.rsplit('.').next().unwrap_or_default());
                    }
                    Some(Change::Gone(_) | Change::Current) => {}
                    None => return Ok(()),
                },
                farewell = self.farewells.recv() => match farewell {
                    Ok(tag) => self.remember(tag),
                    Err(RecvError::Lagged(_)) => {}
                    Err(RecvError::Closed) => std::future::pending().await,
                },
            }
        }
    }

    fn remember(&mut self, tag: String) {
        if self.untold.len() == WAITING {
            self.untold.pop_front();
        }
        self.untold.push_back(tag);
    }

    async fn tell(&mut self, bucket: &dyn Bucket) -> Result<(), BusError> {
        while let Some(tag) = self.untold.front() {
            let key = self.mesh.subjects().key(&[tag]);
            bucket.put(&key, Bytes::from_static(b"1")).await?;
            self.untold.pop_front();
        }
        Ok(())
    }
}
