//! Follows the file of the configuration: what changes in it is put in place while calls go on.

use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::time::sleep;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use toolbus_doors::HttpDoor;

use crate::config::{self, Config, Problem, Source};
use crate::house::{self, Changes, House};

/// How often the file is looked at. Its text has to be the same in two looks, so that one half written is not taken.
const LOOK_EVERY: Duration = Duration::from_secs(1);

/// A file that was changed this recently can change again without another time of change.
const YOUNG: Duration = Duration::from_secs(3);

/// The task that follows the file.
pub(crate) struct Reload {
    tasks: TaskTracker,
    closing: CancellationToken,
}

/// What the task knows.
struct Follower {
    path: PathBuf,
    file: Seen,
    running: Config,
    house: Arc<House>,
    door: Option<Arc<HttpDoor>>,
}

/// What was seen of the file.
#[derive(Default)]
struct Seen {
    /// Its time of change, length and number when it was read last.
    mark: Option<(SystemTime, u64, u64)>,
    /// Its text that was judged last.
    judged: Option<Result<String, String>>,
    /// Another text, which was seen once.
    once: Option<Result<String, String>>,
}

impl Reload {
    /// Follows the file that `running` was read from. Without a door for HTTP callers play no part, and SIGHUP keeps its
    /// meaning: the terminal is gone.
    pub(crate) fn start(
        source: Source,
        running: Config,
        house: Arc<House>,
        door: Option<Arc<HttpDoor>>,
    ) -> Result<Self, String> {
        let hangup = door.as_ref().map(|_| signal(SignalKind::hangup()));
        let hangup = hangup
            .transpose()
            .map_err(|error| format!("signals cannot be received: {error}"))?;
        let (tasks, closing) = (TaskTracker::new(), CancellationToken::new());
        let until = closing.clone();
        tasks.spawn(async move {
            let following = async {
                match source {
                    // A pipe can be read once only.
                    Source::File(path) if path.is_file() => {
                        let follower = Follower {
                            path,
                            file: Seen::default(),
                            running,
                            house,
                            door,
                        };
                        follower.follow(hangup).await;
                    }
                    Source::File(_) | Source::Nothing => nothing_to_follow(hangup).await,
                }
            };
            until.run_until_cancelled(following).await;
        });
        Ok(Self { tasks, closing })
    }

    /// Nothing is changed any more after this.
    pub(crate) async fn stop(&self) {
        self.closing.cancel();
        self.tasks.close();
        self.tasks.wait().await;
    }
}

impl Follower {
    async fn follow(mut self, mut hangup: Option<Signal>) {
        loop {
            let is_asked = tokio::select! {
                () = sleep(LOOK_EVERY) => false,
                () = rung(&mut hangup) => true,
            };
            // Files may lie on a disk that is slow to answer.
            tokio::task::block_in_place(|| self.look(is_asked));
        }
    }

    fn look(&mut self, is_asked: bool) {
        let text = if is_asked {
            let text = self.file.read(&self.path);
            self.file.judged = Some(text.clone());
            Some(text)
        } else {
            self.file.changed(&self.path)
        };
        let Some(text) = text else { return };
        let done = text
            .map_err(Problem)
            .and_then(|text| config::parse(&self.path, &text))
            .and_then(|config| self.apply(config, is_asked));
        if let Err(problem) = done {
            tracing::error!(
                "the changed configuration is not used, the one before stays: {problem}"
            );
        }
    }

    /// `is_asked`: also when the file says the same, for what it refers to may have changed.
    fn apply(&mut self, mut config: Config, is_asked: bool) -> Result<(), Problem> {
        let wrong = |error| Problem(format!("{}: {error}", self.path.display()));
        let fixed = keep_fixed(&mut config, &self.running, self.door.is_some());
        config::check(&config).map_err(wrong)?;
        if self.door.is_none() {
            config.callers.clear();
        }
        if config == self.running && fixed.is_empty() && !is_asked {
            return Ok(());
        }
        let access = house::access(&config).map_err(wrong)?;
        let changes = self.house.apply(&config).map_err(wrong)?;
        if let Some(door) = &self.door {
            door.admit(access);
            door.serve_capabilities(self.house.capabilities(&config).map_err(wrong)?);
        }
        self.running = config;
        tell(&changes, &fixed);
        Ok(())
    }
}

impl Seen {
    /// The text, where it is another one than was judged last and stays so.
    fn changed(&mut self, path: &Path) -> Option<Result<String, String>> {
        let is_young =
            |(time, ..): (SystemTime, u64, u64)| time.elapsed().map_or(true, |age| age < YOUNG);
        let mark = mark(path);
        if mark.is_some() && mark == self.mark && !mark.is_some_and(is_young) && self.once.is_none()
        {
            return None;
        }
        let text = self.read(path);
        if Some(&text) == self.judged.as_ref() {
            self.once = None;
        } else if Some(&text) == self.once.as_ref() {
            self.once = None;
            self.judged = Some(text.clone());
            return Some(text);
        } else {
            self.once = Some(text);
        }
        None
    }

    fn read(&mut self, path: &Path) -> Result<String, String> {
        self.mark = mark(path);
        fs::read_to_string(path).map_err(|error| format!("{}: {error}", path.display()))
    }
}

fn mark(path: &Path) -> Option<(SystemTime, u64, u64)> {
    let file = fs::metadata(path).ok()?;
    Some((file.modified().ok()?, file.len(), file.ino()))
}

async fn rung(hangup: &mut Option<Signal>) {
    match hangup {
        Some(hangup) => drop(hangup.recv().await),
        None => std::future::pending().await,
    }
}

async fn nothing_to_follow(mut hangup: Option<Signal>) {
    loop {
        rung(&mut hangup).await;
        tracing::warn!("SIGHUP: there is no file of a configuration to read again");
    }
}

/// Puts back what is read at the start only, and says which keys of it have changed.
fn keep_fixed(config: &mut Config, running: &Config, is_http: bool) -> Vec<&'static str> {
    fn keep<T: PartialEq + Clone>(new: &mut T, old: &T) -> bool {
        let changed = new != old;
        new.clone_from(old);
        changed
    }
    let (new, old) = (&mut config.gateway, &running.gateway);
    let federation = keep(&mut config.federation, &running.federation);
    let fixed = [
        ("[federation]", is_http, federation),
        (
            "[gateway] listen",
            is_http,
            keep(&mut new.listen, &old.listen),
        ),
        (
            "[gateway] state_key",
            is_http,
            keep(&mut new.state_key, &old.state_key),
        ),
        (
            "[gateway] max_body_bytes",
            is_http,
            keep(&mut new.max_body_bytes, &old.max_body_bytes),
        ),
        (
            "[gateway] max_connections",
            is_http,
            keep(&mut new.max_connections, &old.max_connections),
        ),
        ("[mesh]", true, keep(&mut config.mesh, &running.mesh)),
        (
            "[audit] file",
            true,
            keep(&mut config.audit.file, &running.audit.file),
        ),
    ];
    let changed = fixed
        .into_iter()
        .filter(|(_, counts, changed)| *counts && *changed);
    changed.map(|(key, ..)| key).collect()
}

fn tell(changes: &Changes, fixed: &[&str]) {
    tracing::info!(
        added = changes.added.join(", "),
        restarted = changes.restarted.join(", "),
        adjusted = changes.adjusted.join(", "),
        removed = changes.removed.join(", "),
        "the changed configuration is in use"
    );
    if !fixed.is_empty() {
        tracing::warn!("a restart is needed for: {}", fixed.join(", "));
    }
}
