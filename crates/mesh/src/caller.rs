//! The gateway's side of the mesh: one back end for each server that workers have registered.
//!
//! All calls share one inbox ([`Switchboard`]). A call's way is told in `remote`, `course` and `answer`; which servers
//! there are, and who serves them, is followed by [`crate::catalog`].

mod answer;
mod assertion;
mod attempts;
mod course;
mod gather;
mod holder;
mod link;
mod listen;
mod pins;
mod reasons;
mod remote;
mod request;
mod roster;
mod switchboard;

use std::collections::HashMap;
use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::{Notify, broadcast, watch};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use toolbus_model::CallId;

use crate::bus::{Bus, BusError, Denied, Message};
use crate::catalog::Watch;
use crate::frame::{Control, Frame, Start, header};
use crate::subject::{self, Subjects};
pub use assertion::SigningKey;
use link::LinkState;
pub use remote::Remote;
pub use roster::{Member, Roster};
use switchboard::Switchboard;

/// How long a tool stays listed after its last worker left, so that a rolling restart does not change the lists.
pub const GRACE: Duration = Duration::from_secs(30);

/// The largest result that is fetched from the object store, where nothing is configured, in bytes.
pub const LARGEST_OBJECT: usize = 256 * 1024 * 1024;

/// Replies that wait for the reader of all calls. It only ever hands them on.
const REPLIES: usize = 65_536;

/// How a worker is chosen.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Routing {
    /// Of two workers by chance the one with fewer calls.
    #[default]
    Load,
    /// By the server, from the queue group.
    Queue,
}

/// How a gateway uses the mesh.
#[derive(Debug)]
pub struct Settings {
    /// How a worker is chosen.
    pub routing: Routing,
    /// How single tools start, by `server.tool`, whatever their annotations say.
    pub starts: HashMap<String, Start>,
    /// How long tools stay listed after their last worker left.
    pub grace: Duration,
    /// The largest result that is fetched from the object store, in bytes.
    pub largest_object: usize,
    /// Signs who calls. Without it the assertion is not signed.
    pub signing_key: Option<SigningKey>,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            routing: Routing::Load,
            starts: HashMap::new(),
            grace: GRACE,
            largest_object: LARGEST_OBJECT,
            signing_key: None,
        }
    }
}

/// The servers that were found on the mesh.
#[derive(Debug, Clone, Default)]
pub struct Found {
    /// They, in the order of their names.
    pub servers: Vec<Arc<Remote>>,
    /// The catalog was read once.
    pub is_settled: bool,
    /// Why it cannot be read at the moment.
    pub problem: Option<String>,
}

/// What all servers of the mesh share.
pub(crate) struct Core {
    pub(crate) bus: Arc<dyn Bus>,
    pub(crate) subjects: Subjects,
    pub(crate) settings: Settings,
    board: Switchboard,
    link: LinkState,
    /// Rung when somebody turned out not to be there.
    pub(crate) noticed: Notify,
    tasks: TaskTracker,
    closing: CancellationToken,
}

impl fmt::Debug for Core {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "the mesh on {}", self.bus.describe())
    }
}

/// The mesh, for a gateway.
#[derive(Debug)]
pub struct Mesh {
    core: Arc<Core>,
    found: watch::Receiver<Arc<Found>>,
}

impl Mesh {
    /// Takes part in a mesh. The servers follow as they are found.
    pub async fn open(
        bus: Arc<dyn Bus>,
        subjects: Subjects,
        settings: Settings,
    ) -> Result<Self, BusError> {
        let core = Arc::new(Core {
            board: Switchboard::new(bus.inbox()),
            link: LinkState::new(&bus.link()),
            bus,
            subjects,
            settings,
            noticed: Notify::new(),
            tasks: TaskTracker::new(),
            closing: CancellationToken::new(),
        });
        let denied = core.bus.denied();
        let inbox = core.board.pattern();
        let replies = core.bus.subscribe(&inbox, None, REPLIES).await?;
        let (reading, closing) = (Arc::clone(&core), core.closing.clone());
        let reading = async move {
            let stray = |message: &Message| reading.stop_stray(message);
            reading.board.read(replies, stray).await;
        };
        core.tasks.spawn(closing.run_until_cancelled_owned(reading));
        core.tasks.spawn(hear_denials(Arc::clone(&core), denied));
        core.tasks.spawn(follow_link(Arc::clone(&core)));
        let (sender, found) = watch::channel(Arc::default());
        let watching = Watch::new(Arc::clone(&core), sender).follow();
        let closing = core.closing.clone();
        core.tasks
            .spawn(closing.run_until_cancelled_owned(watching));
        Ok(Self { core, found })
    }

    /// The servers that are found, now and at each change.
    pub fn found(&self) -> watch::Receiver<Arc<Found>> {
        self.found.clone()
    }

    /// What carries the calls.
    pub fn bus(&self) -> &Arc<dyn Bus> {
        &self.core.bus
    }

    /// Where everything is.
    pub fn subjects(&self) -> &Subjects {
        &self.core.subjects
    }

    /// How it is, for a person.
    pub fn describe(&self) -> String {
        let problem = self.found.borrow().problem.clone();
        let problem = self.core.link.problem().or(problem);
        let bus = self.core.bus.describe();
        match problem {
            Some(problem) => format!("{bus}: {problem}"),
            None => bus,
        }
    }

    /// Ends the following of the mesh. Calls have to be over.
    pub async fn close(&self) {
        self.core.closing.cancel();
        self.core.tasks.close();
        self.core.tasks.wait().await;
    }
}

impl Core {
    /// A worker is at a call that nobody waits for any more. Either the word to stop it was lost, or nobody knew yet to
    /// whom it had to be said; the next sign of life brings the next word.
    fn stop_stray(&self, message: &Message) {
        let headers = &message.headers;
        let frame = headers.get(header::FRAME).and_then(Frame::parse);
        if !matches!(frame, Some(Frame::Ack | Frame::Claim | Frame::KeepAlive)) {
            return;
        }
        let call = headers.get(header::CALL).and_then(CallId::parse);
        let attempt = headers.get(header::ATTEMPT).map_or(Ok(1), str::parse);
        let Some(((call, worker), attempt)) =
            call.zip(headers.get(header::WORKER)).zip(attempt.ok())
        else {
            return;
        };
        let subject = self.subjects.control(worker);
        if subject::check(&subject, false).is_ok() {
            let _ = self.bus.send(Message {
                subject,
                headers: Control::Cancel.headers(Some((call, attempt))),
                ..Message::default()
            });
        }
    }
}

async fn hear_denials(core: Arc<Core>, mut denied: broadcast::Receiver<Denied>) {
    let hearing = async {
        loop {
            match denied.recv().await {
                Ok(denied) if denied.is_publish => core.board.deny(&denied),
                Ok(denied) => {
                    tracing::error!(subject = %denied.subject, "the server of the mesh does not permit to subscribe");
                    if denied.subject == core.board.pattern() {
                        core.link.is_deaf(&denied.subject);
                    }
                }
                Err(broadcast::error::RecvError::Lagged(_)) => {}
                Err(broadcast::error::RecvError::Closed) => return,
            }
        }
    };
    core.closing.run_until_cancelled(hearing).await;
}

async fn follow_link(core: Arc<Core>) {
    let mut link = core.bus.link();
    let following = async {
        loop {
            core.link.is(&link.borrow_and_update());
            if link.changed().await.is_err() {
                return;
            }
        }
    };
    core.closing.run_until_cancelled(following).await;
}
