//! Callers of servers that keep state: which worker a caller's calls stay with.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use toolbus_model::{Caller, Cause, Error};

use super::{Core, reasons};
use crate::bus::{Bucket, BucketSettings, BusError};
use crate::catalog::peer::{Peer, Standing};
use crate::catalog::routes::Routes;
use crate::registry::bucket;
use crate::subject;

/// How long a caller is remembered that does not come back.
const REMEMBERED: Duration = Duration::from_secs(7 * 24 * 3600);

/// How often another gateway may be faster than we are.
const TRIES: u32 = 3;

/// The worker that keeps what a server knows of a caller. Without one yet, `choose` says which it is to be.
pub(super) async fn worker(
    core: &Core,
    server: &str,
    caller: &Caller,
    routes: &Routes,
    choose: impl Fn() -> Option<Arc<Peer>>,
) -> Result<Option<Arc<str>>, Error> {
    let bucket = open(core).await.map_err(unavailable)?;
    let key = key(core, server, caller);
    for _ in 0..TRIES {
        if let Some(pinned) = bucket.get(&key).await.map_err(unavailable)? {
            let id = String::from_utf8_lossy(&pinned).into_owned();
            let is_there = |peer: &&Arc<Peer>| peer.standing() != Standing::Gone;
            if routes.peer(&id).filter(is_there).is_some() {
                return Ok(Some(id.into()));
            }
            forget(core, server, caller, &id).await;
            return Err(reasons::unpinned(&id, server));
        }
        let Some(peer) = choose() else {
            return Ok(None);
        };
        let value = Bytes::copy_from_slice(peer.id.as_bytes());
        if bucket.create(&key, value).await.map_err(unavailable)? {
            return Ok(Some(Arc::clone(&peer.id)));
        }
    }
    Ok(None)
}

/// The worker is gone: the caller's next call begins anew. Only what still names this worker is taken away.
pub(super) async fn forget(core: &Core, server: &str, caller: &Caller, worker: &str) {
    let (Ok(bucket), key) = (open(core).await, key(core, server, caller)) else {
        return;
    };
    if let Ok(Some(pinned)) = bucket.get(&key).await
        && pinned == worker.as_bytes()
    {
        let _ = bucket.delete(&key).await;
    }
}

async fn open(core: &Core) -> Result<Arc<dyn Bucket>, BusError> {
    let settings = BucketSettings {
        max_age: Some(REMEMBERED),
        history: 1,
    };
    let name = core.subjects.bucket(bucket::PINS);
    core.bus.bucket(&name, settings).await
}

fn key(core: &Core, server: &str, caller: &Caller) -> String {
    core.subjects
        .key(&[server, &subject::token(caller.as_str())])
}

fn unavailable(error: BusError) -> Error {
    let what = format!(
        "it cannot be found out which worker keeps what the server knows of this caller: {error}"
    );
    Error::Unavailable(Cause::new(what).into())
}
