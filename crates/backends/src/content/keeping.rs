//! Keeping up with the folders, for as long as somebody serves them.

use std::sync::Arc;
use std::time::Duration;

use tokio::time::{Instant, sleep};
use toolbus_model::{Call, Error};

use super::Inside;
use super::beneath::Stamp;
use super::state::State;
use super::survey::Surveyor;
use super::system;

/// How often the folders are looked at: within these, as looking takes long.
const LOOK_EVERY: (Duration, Duration) = (Duration::from_secs(1), Duration::from_secs(5));

/// Looking is to take no more than one part of the time in so many. What takes long may be the machine, which is busy, so
/// that a pause has a longest length as well.
const SHARE: u32 = 20;

impl Inside {
    /// Looks at the folders again and again.
    pub(super) async fn keep(self: Arc<Self>) {
        let mut surveyor = Surveyor::new(Arc::clone(&self.settings), Arc::clone(&self.spaces));
        let ended = self.ended.clone();
        let follow = async {
            loop {
                let begun = Instant::now();
                let before = self.state.borrow().clone();
                let look = move || {
                    let seen = surveyor.look(&before);
                    (surveyor, before, seen)
                };
                let Ok((back, before, (state, complaints))) =
                    tokio::task::spawn_blocking(look).await
                else {
                    // It panicked, or the runtime ends: what is known stays, and is not followed any more.
                    return tracing::error!(
                        server = self.name,
                        "its files cannot be followed any more"
                    );
                };
                surveyor = back;
                for complaint in complaints {
                    tracing::warn!(server = self.name, "{complaint}");
                }
                self.publish(&before, state);
                sleep((begun.elapsed() * SHARE).clamp(LOOK_EVERY.0, LOOK_EVERY.1)).await;
            }
        };
        ended.run_until_cancelled(follow).await;
    }

    fn publish(&self, before: &State, state: State) {
        let (is_first, state) = (!before.is_known, Arc::new(state));
        let changed = self
            .listeners
            .wanted()
            .into_iter()
            .filter(|uri| self.stamp(before, uri) != self.stamp(&state, uri));
        let changed: Vec<_> = changed.collect();
        self.state.send_if_modified(|known| {
            let tells = is_first || known.changes != state.changes;
            *known = Arc::clone(&state);
            tells
        });
        for uri in changed {
            self.listeners.deliver(&uri);
        }
    }

    /// How the file behind a URI looked, if there is one whose changes are seen.
    pub(super) fn stamp(&self, state: &State, uri: &str) -> Option<Stamp> {
        if self.settings.omni && uri == system::MEMORY {
            return state.memory;
        }
        let spaces = self.spaces.iter().zip(&state.files);
        let mut found = spaces.filter_map(|(space, files)| files.get(&space.files.path_of(uri)?));
        found.next().copied()
    }

    /// What there is, as soon as it was looked at once.
    pub(super) async fn known(&self, call: &Call) -> Result<Arc<State>, Error> {
        let mut states = self.state.subscribe();
        let known = tokio::select! {
            known = states.wait_for(|state| state.is_known) => known.ok().map(|state| Arc::clone(&state)),
            () = call.cancelled() => return Err(Error::Cancelled),
        };
        known.ok_or_else(|| Error::Internal("the files are not known".to_owned()))
    }
}
