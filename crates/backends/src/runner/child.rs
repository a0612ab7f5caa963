//! A runner that we start: a child under its warden, on a Unix socket in a folder of its own, started again when it ends.

use std::fs;
use std::os::unix::fs::DirBuilderExt as _;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use http::HeaderMap;
use tokio::time::Instant;

use super::Runner;
use super::way::Way;
use crate::process::{Command, Ended, Tail};

/// The variable in which a runner is told where to listen.
const SOCKET: &str = "TOOLBUS_RUNNER_SOCKET";

/// First and longest pause before a runner that has ended is started again.
const BACKOFF: (Duration, Duration) = (Duration::from_millis(250), Duration::from_secs(30));

/// One that ran this long ended for another reason than one that cannot start.
const STEADY: Duration = Duration::from_secs(10);

/// How the process is, for those who talk to it.
#[derive(Debug, Default)]
pub(super) struct Life(Mutex<State>);

#[derive(Debug, Default)]
struct State {
    has_answered: bool,
    ended: Option<String>,
    tail: Tail,
}

impl Life {
    fn state(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// It runs, or is about to, and has not answered yet.
    pub(super) fn is_starting(&self) -> bool {
        let state = self.state();
        !state.has_answered && state.ended.is_none()
    }

    pub(super) fn has_answered(&self) {
        self.state().has_answered = true;
    }

    /// How it ended, if it has.
    pub(super) fn ended(&self) -> Option<String> {
        self.state().ended.clone()
    }

    pub(super) fn last_words(&self) -> Option<String> {
        self.state().tail.text()
    }

    /// The words stay until the next one has some, or has answered.
    fn begins(&self, tail: Tail) {
        *self.state() = State {
            tail,
            ..State::default()
        };
    }

    fn ends(&self, ended: String) {
        self.state().ended = Some(ended);
    }
}

/// A runner that is to be started.
#[derive(Debug)]
pub(super) struct Starting {
    command: Command,
    folder: PathBuf,
    life: Arc<Life>,
}

impl Starting {
    pub(super) fn new(command: Command) -> Self {
        // A path of a socket has at most 107 bytes, and a temporary folder may be deep.
        let parent = std::env::temp_dir();
        let is_short = parent.as_os_str().len() < 60;
        let parent = if is_short {
            parent
        } else {
            PathBuf::from("/tmp")
        };
        let folder = parent.join(format!("toolbus-{}", uuid::Uuid::new_v4().simple()));
        let path = folder.join("r.sock").display().to_string();
        let mut command = command;
        command.env.push((SOCKET.to_owned(), path));
        Self {
            command,
            folder,
            life: Arc::default(),
        }
    }

    pub(super) fn way(&self, headers: HeaderMap) -> Way {
        let way = Way::at(self.folder.join("r.sock"), headers);
        way.of_child(self.command.shown(), Arc::clone(&self.life))
    }

    /// Runs it, again and again, until the server is stopped.
    pub(super) async fn keep(self, name: String, runner: Arc<Runner>) {
        if let Err(error) = fs::DirBuilder::new().mode(0o700).create(&self.folder) {
            let folder = self.folder.display();
            tracing::warn!(name, %folder, %error, "no folder for the runner's socket");
            return;
        }
        let mut failures = 0;
        while !runner.closing.is_cancelled() {
            let begun = Instant::now();
            self.once(&name, &runner).await;
            if begun.elapsed() >= STEADY {
                failures = 0;
            }
            let longer = 2_u32.saturating_pow(failures);
            let pause = BACKOFF.0.saturating_mul(longer).min(BACKOFF.1);
            failures = failures.saturating_add(1);
            let rest = tokio::time::sleep(pause);
            runner.closing.run_until_cancelled(rest).await;
        }
        let _ = fs::remove_dir_all(&self.folder);
    }

    async fn once(&self, name: &str, runner: &Runner) {
        let _ = fs::remove_file(self.folder.join("r.sock"));
        let started = self.command.start_alone().await;
        let (mut child, tail) = match started {
            Ok(started) => started,
            Err(error) => {
                self.life.begins(Tail::default());
                self.has_ended(name, runner, &format!("it cannot be started: {error}"));
                return;
            }
        };
        self.life.begins(tail);
        runner.look.notify_one();
        let ended = runner.closing.run_until_cancelled(child.ended()).await;
        match ended {
            Some(ended) => self.has_ended(name, runner, &Ended::to_string(&ended)),
            None => {
                child.end().await;
            }
        }
    }

    fn has_ended(&self, name: &str, runner: &Runner, how: &str) {
        let (command, stderr) = (&self.command, self.life.last_words());
        let stderr = stderr.unwrap_or_default();
        tracing::warn!(name, %command, how, stderr, "the runner has ended, and is started again");
        self.life.ends(how.to_owned());
        runner.look.notify_one();
    }
}
