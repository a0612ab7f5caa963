//! Keeps a nats-server running, or follows the one that another process of this user keeps.

use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tokio::time::{Instant, sleep};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use toolbus_gateway::Key;
use toolbus_mesh::bus::nats::{Credentials, NatsBus};

use super::meeting::{Found, Meeting, Right};
use super::server::{Server, is_free, said};

/// How often one that follows looks whether the other is gone, or moved.
const LOOK: Duration = Duration::from_millis(500);

/// The first wait before the server is started again, and the longest.
const WAITS: [Duration; 2] = [Duration::from_millis(100), Duration::from_secs(10)];

/// One that ran so long has not failed to start.
const RAN: Duration = Duration::from_secs(30);

/// After so many starts in vain the port is given up: something else may have it.
const STUBBORN: u32 = 3;

/// What keeps the server, or follows.
pub(super) struct Keeper {
    tasks: TaskTracker,
    stop: CancellationToken,
    standing: Arc<Mutex<Standing>>,
}

/// How it stands.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Standing {
    /// Another process keeps it.
    Followed,
    /// It is kept here.
    Kept,
    /// It cannot be kept, and why.
    Failed(String),
}

/// What the task works with.
struct Work {
    bus: Arc<NatsBus>,
    meeting: Meeting,
    stop: CancellationToken,
    standing: Arc<Mutex<Standing>>,
}

impl Keeper {
    /// Begins. Without a binary it only follows.
    pub(super) fn start(bus: Arc<NatsBus>, meeting: Meeting, binary: Option<PathBuf>) -> Self {
        let keeper = Self {
            tasks: TaskTracker::new(),
            stop: CancellationToken::new(),
            standing: Arc::new(Mutex::new(Standing::Followed)),
        };
        let work = Work {
            bus,
            meeting,
            stop: keeper.stop.clone(),
            standing: Arc::clone(&keeper.standing),
        };
        keeper
            .tasks
            .spawn(async move { work.run(binary.as_deref()).await });
        keeper
    }

    pub(super) fn standing(&self) -> Standing {
        let standing = self.standing.lock();
        standing.unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Ends the server, where it is kept here.
    pub(super) async fn end(&self) {
        self.stop.cancel();
        self.tasks.close();
        self.tasks.wait().await;
    }
}

impl Drop for Keeper {
    fn drop(&mut self) {
        self.stop.cancel();
    }
}

impl Work {
    fn stands(&self, standing: Standing) {
        *self.standing.lock().unwrap_or_else(PoisonError::into_inner) = standing;
    }

    fn fails(&self, why: String) {
        tracing::warn!("mesh: {why}");
        self.stands(Standing::Failed(why));
    }

    async fn run(&self, binary: Option<&Path>) {
        let mut known = None;
        loop {
            let right = match binary.map(|_| self.meeting.try_keep()) {
                Some(Ok(right)) => right,
                Some(Err(why)) => {
                    self.fails(why);
                    None
                }
                None => None,
            };
            if let (Some(right), Some(binary)) = (right, binary) {
                return self.keep(binary, right).await;
            }
            let found = self.meeting.found();
            if found != known {
                known.clone_from(&found);
                self.point(found.as_ref());
            }
            tokio::select! {
                () = self.stop.cancelled() => return,
                () = sleep(LOOK) => {}
            }
        }
    }

    fn point(&self, found: Option<&Found>) {
        let Some(Found { url, token }) = found else {
            return;
        };
        if let Err(error) = self
            .bus
            .point(std::slice::from_ref(url), Credentials::Token(token.clone()))
        {
            self.fails(error.to_string());
        }
    }

    /// Keeps the server running, for as long as nobody says otherwise.
    async fn keep(&self, binary: &Path, _right: Right) {
        let (mut wait, mut in_vain) = (WAITS[0], 0);
        loop {
            let began = Instant::now();
            let once = tokio::select! {
                () = self.stop.cancelled() => return,
                server = self.start(binary, in_vain >= STUBBORN) => server,
            };
            let why = match once {
                Ok(server) => match self.serve(server).await {
                    Some(why) => why,
                    None => return,
                },
                Err(why) => why,
            };
            self.fails(why);
            if began.elapsed() > RAN {
                (wait, in_vain) = (WAITS[0], 0);
            }
            in_vain += 1;
            tokio::select! {
                () = self.stop.cancelled() => return,
                () = sleep(wait) => {}
            }
            wait = (wait * 2).min(WAITS[1]);
        }
    }

    /// Starts the server where it was before, so that those who are connected find it again.
    async fn start(&self, binary: &Path, is_anywhere: bool) -> Result<Server, String> {
        let before = self.meeting.found();
        let port = before
            .as_ref()
            .and_then(|found| found.url.rsplit(':').next()?.parse().ok());
        // Whoever kept it before may still be ending it, and two must not use one store.
        let is_free = match port {
            Some(port) => is_free(port).await,
            None => false,
        };
        let port = port.filter(|_| is_free && !is_anywhere);
        let token = match before {
            Some(found) => found.token,
            None => random()?,
        };
        let server = Server::start(binary, &self.meeting.server_folder()?, &token, port).await?;
        let found = Found {
            url: format!("nats://127.0.0.1:{}", server.port),
            token,
        };
        self.meeting.tell(&found)?;
        self.point(Some(&found));
        self.stands(Standing::Kept);
        Ok(server)
    }

    /// Watches over the server; says why it ended, unless it was to end.
    async fn serve(&self, mut server: Server) -> Option<String> {
        tokio::select! {
            ended = server.child.ended() => {
                Some(format!("nats-server: {ended}{}; it is started again", said(&server.last_words)))
            }
            () = self.stop.cancelled() => {
                server.child.end().await;
                None
            }
        }
    }
}

fn random() -> Result<String, String> {
    let bytes = Key::generate()?;
    Ok(bytes.iter().map(|byte| format!("{byte:02x}")).collect())
}
