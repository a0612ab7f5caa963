//! One call: from its dispatch to the frame that ends it.
//!
//! What must never happen is that a tool runs twice which may not. So in claim mode only one word to go is given, unless
//! the worker that got it proves that it did not begin; and what was given it and falls silent is an unknown outcome.

mod hear;
mod look;

use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use tokio::time::{Instant, sleep_until};
use toolbus_model::{Call, Error};

use super::attempts::Attempts;
use super::switchboard::Ticket;
use super::{Core, Remote, Routing, reasons};
use crate::bus::{Message, NotSent};
use crate::catalog::peer::{Peer, Standing};
use crate::catalog::routes::Routes;
use crate::frame::{Ask, Control, KEEP_ALIVE, MISSED, Reply, START_GRACE, Start};
use crate::subject::Work;

/// Pause before somebody is looked for again where nobody was there.
const REST: Duration = Duration::from_millis(25);

/// How long somebody is looked for where nobody was there.
const LOOK_FOR: Duration = Duration::from_millis(250);

/// Dispatches in a row that nobody gives a sign to.
const MOST_SILENT: u32 = 4;

/// Dispatches in all. Each worker that is busy takes one.
const MOST_ATTEMPTS: u32 = 64;

/// How long a cancelled call waits for its worker to stop: less than the gateway waits for it.
const STOP_WITHIN: Duration = Duration::from_secs(4);

/// When it is first asked whether the worker is there at all, of which nothing was heard; then after four times as long,
/// and so on. A request that reached a process in the moment of its death is lost without a word, and the server says
/// of the next message that nobody got it.
const KNOCK_AFTER: Duration = Duration::from_millis(25);

/// How often it is looked whether the connection is back.
const LOOK_AT_LINK: Duration = Duration::from_millis(100);

/// What is to be done.
pub(super) struct Job<'a> {
    pub(super) core: &'a Core,
    pub(super) remote: &'a Remote,
    pub(super) call: &'a Call,
    pub(super) work: Work<'a>,
    /// The tool and its version, where it is a tool that is listed.
    pub(super) tool: Option<(&'a str, Arc<str>)>,
    /// The one worker that can do it.
    pub(super) only: Option<Arc<str>>,
    pub(super) body: Bytes,
}

/// How a call ended: its last frame, and its whole body where it came in chunks.
#[derive(Debug)]
pub(super) struct Ended {
    pub(super) reply: Reply,
    pub(super) body: Bytes,
}

/// What a call waits for.
#[derive(Debug, Clone, Copy, PartialEq)]
enum Phase {
    /// For somebody to be there.
    Resting(Instant),
    /// For a sign of the last dispatch, which was made at this moment.
    Waiting(Instant),
    /// For the end. Signs of life count from this moment.
    Running(Instant),
    /// For the worker to have stopped.
    Stopping(Instant),
}

/// How far a call is.
struct Course<'a> {
    job: &'a Job<'a>,
    ask: Ask,
    ticket: &'a Ticket<'a>,
    attempts: Attempts,
    /// The last dispatch.
    number: u32,
    phase: Phase,
    /// When it is to be looked at again.
    due: Instant,
    /// When it is to be asked next whether the worker of the last dispatch is there.
    knock: Option<Instant>,
    /// The dispatch that was told to go.
    committed: Option<u32>,
    /// Workers that are not asked again.
    tried: Vec<Arc<str>>,
    /// What the last one said that did not take it.
    refused: Option<Error>,
    /// Since when nobody is there.
    alone_since: Option<Instant>,
    silent: u32,
}

/// Who is asked.
enum Pick {
    Peer(Arc<Peer>),
    /// Whoever the server gives it to.
    Anyone,
    Nobody,
}

impl Job<'_> {
    /// Has it done.
    pub(super) async fn run(&self, ask: Ask) -> Result<Ended, Error> {
        let ticket = self.core.board.open();
        let mut course = Course::new(self, ask, &ticket);
        course.dispatch()?;
        let mut alarm = pin!(sleep_until(course.due));
        loop {
            let is_stopping = matches!(course.phase, Phase::Stopping(_));
            let step = tokio::select! {
                biased;
                heard = ticket.next() => course.hear(heard),
                () = self.call.cancelled(), if !is_stopping => course.stop().map(|()| None),
                () = &mut alarm => course.look().map(|()| None),
            };
            match step {
                Ok(None) => {}
                Ok(Some(ended)) => {
                    course.leave(Some(ended.reply.attempt));
                    return Ok(ended);
                }
                Err(error) => {
                    course.leave(None);
                    return Err(error);
                }
            }
            if course.due != alarm.deadline() {
                alarm.as_mut().reset(course.due);
            }
        }
    }
}

impl<'a> Course<'a> {
    fn new(job: &'a Job<'a>, ask: Ask, ticket: &'a Ticket<'a>) -> Self {
        let now = Instant::now();
        Self {
            job,
            ask,
            ticket,
            attempts: Attempts::default(),
            number: 0,
            phase: Phase::Resting(now),
            due: now,
            knock: None,
            committed: None,
            tried: Vec::new(),
            refused: None,
            alone_since: None,
            silent: 0,
        }
    }

    fn is_direct(&self) -> bool {
        self.ask.start == Start::Direct
    }

    /// Asks somebody, or goes to rest where nobody is there.
    fn dispatch(&mut self) -> Result<(), Error> {
        if self.number >= MOST_ATTEMPTS {
            let silent = || reasons::silent(&self.job.work, self.number, None);
            return Err(self.refused.take().unwrap_or_else(silent));
        }
        let routes = self.job.remote.routes();
        match self.pick(&routes)? {
            Pick::Peer(peer) => self.send(Some(&peer)),
            Pick::Anyone => self.send(None),
            Pick::Nobody => self.rest(&routes),
        }
    }

    fn pick(&mut self, routes: &Routes) -> Result<Pick, Error> {
        if let Some(only) = &self.job.only {
            let refused = self.tried.contains(only).then(|| self.refused.take());
            if let Some(refused) = refused.flatten() {
                return Err(refused);
            }
            let peer = routes
                .peer(only)
                .filter(|peer| peer.standing() != Standing::Gone);
            return Ok(peer.map_or(Pick::Nobody, |peer| Pick::Peer(Arc::clone(peer))));
        }
        let by_queue = self.job.core.settings.routing == Routing::Queue && self.tried.is_empty();
        let tool = self
            .job
            .tool
            .as_ref()
            .map(|(tool, digest)| (*tool, &**digest));
        if !by_queue && let Some(peer) = routes.choose(tool, &self.tried) {
            return Ok(Pick::Peer(peer));
        }
        match self.refused.take() {
            Some(refused) => Err(refused),
            None => Ok(Pick::Anyone),
        }
    }

    fn send(&mut self, peer: Option<&Arc<Peer>>) -> Result<(), Error> {
        let (core, work) = (self.job.core, &self.job.work);
        self.number += 1;
        self.ask.attempt = self.number;
        let deadline = self.job.call.deadline();
        self.ask.deadline = deadline.map(|end| end.saturating_duration_since(Instant::now()));
        let subject = match peer {
            Some(peer) => core.subjects.instance(&peer.id, work),
            None => core.subjects.work(work),
        };
        self.ticket.publishes(&subject);
        self.attempts.begin(self.number, peer);
        let sent = core.bus.send(Message {
            subject,
            reply: Some(self.ticket.reply(self.number)),
            headers: self.ask.headers(),
            payload: self.job.body.clone(),
            no_responders: false,
        });
        let now = Instant::now();
        self.phase = Phase::Waiting(now);
        self.knock = peer.map(|_| now + KNOCK_AFTER);
        self.due = self
            .knock
            .unwrap_or(now + self.ask.start_within + START_GRACE);
        sent.map_err(|why| self.not_sent(&why))
    }

    fn not_sent(&self, why: &NotSent) -> Error {
        reasons::not_sent(why, self.job.core.link.problem())
    }

    /// Nobody is there: somebody may be in a moment.
    fn rest(&mut self, routes: &Routes) -> Result<(), Error> {
        let now = Instant::now();
        let since = *self.alone_since.get_or_insert(now);
        if now >= since + LOOK_FOR {
            return Err(match &self.job.only {
                Some(only) => reasons::lost(only, &self.job.work),
                None => reasons::nobody(&self.job.work, &routes.absence),
            });
        }
        self.phase = Phase::Resting(now);
        self.due = now + REST;
        Ok(())
    }

    /// Tells a worker something about one of the dispatches. What is not heard there costs work that nobody waits for,
    /// and nothing else.
    fn tell(&self, worker: &str, control: Control, attempt: u32) -> Result<(), NotSent> {
        let core = self.job.core;
        let subject = core.subjects.control(worker);
        let reply = match control {
            Control::Go => Some(self.ticket.go(attempt)),
            Control::Credit(0) => Some(self.ticket.knock(attempt)),
            Control::Cancel | Control::Credit(_) | Control::Drain => None,
        };
        if reply.is_some() {
            self.ticket.publishes(&subject);
        }
        core.bus.send(Message {
            subject,
            reply,
            headers: control.headers(Some((self.job.call.id, attempt))),
            ..Message::default()
        })
    }

    /// The caller does not wait any more.
    fn stop(&mut self) -> Result<(), Error> {
        let is_running = matches!(self.phase, Phase::Running(_));
        self.leave(None);
        if !is_running {
            return Err(Error::Cancelled);
        }
        let now = Instant::now();
        self.phase = Phase::Stopping(now);
        self.due = now + STOP_WITHIN;
        Ok(())
    }

    /// Tells the workers of all dispatches that nobody waits for them, but not the one that ended the call.
    fn leave(&mut self, ended: Option<u32>) {
        for (number, worker) in self.attempts.unwanted(ended) {
            let _ = self.tell(&worker, Control::Cancel, number);
        }
    }
}
