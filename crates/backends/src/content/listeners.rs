//! Those who are told when a file changes.

use std::collections::{BTreeSet, HashSet};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use serde_json::json;
use tokio::sync::mpsc;
use tokio_util::task::TaskTracker;
use toolbus_model::{CallSeed, Error, Filter, Listening, Notice, Object};

use super::{Content, system};

/// Notices that wait for a listener. One that reads has none waiting; one that does not is let go.
const QUEUE: usize = 256;

/// Everybody who listens. Their number is bounded where they come in.
#[derive(Debug, Default)]
pub(super) struct Listeners(Mutex<Vec<Listener>>);

#[derive(Debug)]
struct Listener {
    uris: HashSet<Arc<str>>,
    notices: mpsc::Sender<Notice>,
}

impl Listeners {
    fn join(&self, uris: &[Arc<str>]) -> mpsc::Receiver<Notice> {
        let (notices, receiver) = mpsc::channel(QUEUE);
        let uris = uris.iter().cloned().collect();
        self.table().push(Listener { uris, notices });
        receiver
    }

    /// Everything that is listened to.
    pub(super) fn wanted(&self) -> BTreeSet<Arc<str>> {
        let mut table = self.table();
        table.retain(|listener| !listener.notices.is_closed());
        table
            .iter()
            .flat_map(|listener| listener.uris.iter().cloned())
            .collect()
    }

    /// Tells of a change. Who has not read what was told before is let go, and may listen again.
    pub(super) fn deliver(&self, uri: &Arc<str>) {
        let params = Object::of(&json!({ "uri": &**uri }));
        let notice = Notice::Resource(Arc::clone(uri), params);
        self.table().retain(|listener| {
            !listener.uris.contains(uri) || listener.notices.try_send(notice.clone()).is_ok()
        });
    }

    pub(super) fn leave_all(&self) {
        self.table().clear();
    }

    fn table(&self) -> MutexGuard<'_, Vec<Listener>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Content {
    /// Tells of changes of files, and passes on what the other back end tells.
    pub(super) async fn listen_to(
        &self,
        filter: Filter,
        seed: &CallSeed,
    ) -> Result<Listening, Error> {
        let state = Arc::clone(&self.inside.state.borrow());
        let is_file = |uri: &Arc<str>| {
            let is_memory = self.inside.settings.memory.is_some() && **uri == *system::MEMORY;
            (is_memory && self.inside.settings.omni) || self.inside.stamp(&state, uri).is_some()
        };
        let is_ours = |uri: &Arc<str>| self.inside.is_ours(uri);
        let (ours, others): (Vec<_>, Vec<_>) = filter.resources.into_iter().partition(is_ours);
        let ours: Vec<_> = ours.into_iter().filter(is_file).collect();
        let others = Filter {
            resources: others,
            tasks: filter.tasks,
        };
        let theirs = match &self.inner {
            Some(inner) if others != Filter::default() => Some(inner.listen(others, seed).await?),
            _ => None,
        };
        let theirs = theirs.filter(|theirs| theirs.honoured != Filter::default());
        let notices = match ours.is_empty() {
            true => None,
            false => Some(self.inside.listeners.join(&ours)),
        };
        Ok(self.both(ours, notices, theirs))
    }

    /// What two tell, told by one. It ends with the first of them, because what the other tells is not all any more.
    fn both(
        &self,
        ours: Vec<Arc<str>>,
        notices: Option<mpsc::Receiver<Notice>>,
        theirs: Option<Listening>,
    ) -> Listening {
        let (notices, theirs) = match (notices, theirs) {
            (Some(notices), Some(theirs)) => (notices, theirs),
            (_, Some(theirs)) => return theirs,
            (notices, None) => {
                let honoured = Filter {
                    resources: ours,
                    tasks: Vec::new(),
                };
                let notices = notices.unwrap_or_else(|| mpsc::channel(1).1);
                return Listening { honoured, notices };
            }
        };
        let mut honoured = theirs.honoured;
        honoured.resources.extend(ours);
        let (out, together) = mpsc::channel(QUEUE);
        tell(&self.inside.tasks, out, [notices, theirs.notices]);
        Listening {
            honoured,
            notices: together,
        }
    }
}

fn tell(
    tasks: &TaskTracker,
    out: mpsc::Sender<Notice>,
    [mut one, mut other]: [mpsc::Receiver<Notice>; 2],
) {
    tasks.spawn(async move {
        loop {
            let notice = tokio::select! {
                notice = one.recv() => notice,
                notice = other.recv() => notice,
                () = out.closed() => None,
            };
            if notice.is_none_or(|notice| out.try_send(notice).is_err()) {
                return;
            }
        }
    });
}
