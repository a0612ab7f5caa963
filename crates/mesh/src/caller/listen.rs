//! Listening to what changes at a server's workers: one long direct request at each of them, opened also at those that
//! come later. What they tell is put together.

use std::collections::HashSet;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use bytes::Bytes;
use futures_util::future::join_all;
use serde_json::json;
use tokio::sync::{mpsc, oneshot, watch};
use tokio::time::{Instant, interval, sleep_until, timeout};
use tokio_util::sync::CancellationToken;
use toolbus_model::{
    CallId, CallSeed, Error, Filter, Listening, Method, Notice, Object, Request, ServerName,
};
use toolbus_protocol::{Envelope, Message as Said};

use super::switchboard::{Heard, Ticket};
use super::{Core, Remote, assertion, holder, request};
use crate::bus::Message;
use crate::catalog::peer::{Peer, Standing};
use crate::frame::{Ask, Control, Frame, KEEP_ALIVE, MISSED, Reply, START_WITHIN, Start};
use crate::subject::Work;

/// Notices that wait for the gateway, as many as it has waiting for a listener.
const QUEUE: usize = 256;

/// How long a worker may take to say what it will tell.
const ACKNOWLEDGE_WITHIN: Duration = Duration::from_secs(10);

/// How often a worker is asked again that would not tell.
const ASK_AGAIN: Duration = Duration::from_secs(5);

const METHOD: &str = "subscriptions/listen";

/// One listener.
struct Ears {
    core: Arc<Core>,
    server: ServerName,
    filter: Filter,
    seed: CallSeed,
    out: mpsc::Sender<Notice>,
    /// Workers at which a request is under way.
    open: Mutex<HashSet<Arc<str>>>,
    /// A worker is gone that told of tasks, of which nobody else can tell.
    over: CancellationToken,
}

/// What of a filter one worker is asked for.
#[derive(Default)]
struct Part {
    uris: Vec<Arc<str>>,
    /// By the worker's own ids.
    tasks: Vec<Arc<str>>,
}

pub(super) async fn listen(
    remote: &Remote,
    filter: Filter,
    seed: &CallSeed,
) -> Result<Listening, Error> {
    let (out, notices) = mpsc::channel(QUEUE);
    let ears = Arc::new(Ears {
        core: Arc::clone(&remote.core),
        server: remote.name.clone(),
        filter,
        seed: seed.clone(),
        out,
        open: Mutex::default(),
        over: remote.core.closing.child_token(),
    });
    let renewed = remote.renewed.subscribe();
    let asked = ears.open_all(remote);
    let told = join_all(
        asked
            .into_iter()
            .map(|told| timeout(ACKNOWLEDGE_WITHIN, told)),
    )
    .await;
    let mut honoured = Filter::default();
    for filter in told.into_iter().flatten().flatten() {
        let new = |known: &[Arc<str>], more: Vec<Arc<str>>| -> Vec<Arc<str>> {
            more.into_iter()
                .filter(|name| !known.contains(name))
                .collect()
        };
        let more = new(&honoured.resources, filter.resources);
        honoured.resources.extend(more);
        let more = new(&honoured.tasks, filter.tasks);
        honoured.tasks.extend(more);
    }
    if honoured == Filter::default() {
        ears.over.cancel();
    } else if let Some(remote) = remote.myself.upgrade() {
        let keeping = Arc::clone(&ears).keep(remote, renewed);
        ears.core.tasks.spawn(keeping);
    }
    Ok(Listening { honoured, notices })
}

impl Ears {
    /// Asks every worker that is there and was not asked yet. Answers what each will tell.
    fn open_all(self: &Arc<Self>, remote: &Remote) -> Vec<oneshot::Receiver<Filter>> {
        let routes = remote.routes();
        let peers = routes.groups.iter().flat_map(|(_, peers)| peers);
        let there = peers.filter(|peer| peer.standing() < Standing::Suspect);
        there.filter_map(|peer| self.open(peer)).collect()
    }

    fn open(self: &Arc<Self>, peer: &Arc<Peer>) -> Option<oneshot::Receiver<Filter>> {
        let part = self.part(&peer.id)?;
        let mut open = self.open.lock().unwrap_or_else(PoisonError::into_inner);
        if !open.insert(Arc::clone(&peer.id)) {
            return None;
        }
        let (told, honoured) = oneshot::channel();
        let (ears, worker) = (Arc::clone(self), Arc::clone(&peer.id));
        self.core.tasks.spawn(async move {
            let over = ears.over.clone();
            let hearing = ears.hear(&worker, &part, told);
            over.run_until_cancelled(hearing).await;
            if !part.tasks.is_empty() {
                ears.over.cancel();
            }
            let mut open = ears.open.lock().unwrap_or_else(PoisonError::into_inner);
            open.remove(&worker);
        });
        Some(honoured)
    }

    /// What this worker is asked for: everybody for resources, and each for its own tasks.
    fn part(&self, worker: &str) -> Option<Part> {
        let own = |id: &Arc<str>| {
            let (holder, own) = holder::split(id)?;
            (holder.is_empty() || holder == worker).then(|| own.into())
        };
        let part = Part {
            uris: self.filter.resources.clone(),
            tasks: self.filter.tasks.iter().filter_map(own).collect(),
        };
        (!part.uris.is_empty() || !part.tasks.is_empty()).then_some(part)
    }

    /// Listens at workers that come.
    async fn keep(self: Arc<Self>, remote: Arc<Remote>, mut renewed: watch::Receiver<u64>) {
        let mut again = interval(ASK_AGAIN);
        loop {
            tokio::select! {
                () = self.over.cancelled() => return,
                () = self.out.closed() => return self.over.cancel(),
                changed = renewed.changed() => if changed.is_err() { return },
                _ = again.tick() => {}
            }
            drop(self.open_all(&remote));
        }
    }

    /// One worker's notices, until no more come.
    async fn hear(&self, worker: &str, part: &Part, told: oneshot::Sender<Filter>) {
        let (ticket, call) = (self.core.board.open(), CallId::new());
        if !self.ask(worker, part, call, &ticket) {
            return;
        }
        let (mut told, mut since) = (Some(told), Instant::now());
        loop {
            let sign = ticket.last_sign().map_or(since, |sign| sign.max(since));
            let heard = tokio::select! {
                heard = ticket.next() => heard,
                () = self.out.closed() => break,
                () = sleep_until(sign + KEEP_ALIVE * MISSED) => {
                    // Without a connection nobody gives a sign.
                    since = self.core.link.since().unwrap_or_else(Instant::now).max(since);
                    let sign = ticket.last_sign().map_or(since, |sign| sign.max(since));
                    if sign.elapsed() < KEEP_ALIVE * MISSED { continue } else { break }
                }
            };
            let Heard::Frame(message) = heard else { return };
            match Reply::read(message) {
                Ok(reply) if reply.frame.is_terminal() => return,
                Ok(reply) if reply.frame == Frame::Msg => {
                    if !self.take(worker, part, &reply.body, &mut told) {
                        break;
                    }
                }
                Ok(_) => {}
                Err(_) => break,
            }
        }
        let _ = self.core.bus.send(Message {
            subject: self.core.subjects.control(worker),
            headers: Control::Cancel.headers(Some((call, 1))),
            ..Message::default()
        });
    }

    fn ask(&self, worker: &str, part: &Part, call: CallId, ticket: &Ticket<'_>) -> bool {
        let params = json!({"notifications": {
            "resourceSubscriptions": part.uris.iter().map(|uri| &**uri).collect::<Vec<_>>(),
            "taskIds": part.tasks.iter().map(|id| &**id).collect::<Vec<_>>(),
        }});
        let request = Request {
            method: Method::parse(METHOD),
            target: None,
            params: Object::of(&params),
            meta: Object::empty(),
        };
        let (core, key) = (&self.core, self.core.settings.signing_key.as_ref());
        let caller = assertion::of(key, &self.seed.caller, call, core.subjects.tenant(), None);
        let ask = Ask {
            call,
            attempt: 1,
            start: Start::Direct,
            start_within: START_WITHIN,
            deadline: None,
            idempotency_key: None,
            caller: Some(caller),
            digest: None,
            object: None,
            method: METHOD.to_owned(),
            name: None,
            trace: self.seed.trace.clone(),
        };
        let work = Work::of(&self.server, &request.method, None);
        let sent = core.bus.send(Message {
            subject: core.subjects.instance(worker, &work),
            reply: Some(ticket.reply(1)),
            headers: ask.headers(),
            payload: Bytes::from(request::body(&request, call, &self.seed)),
            no_responders: false,
        });
        sent.is_ok()
    }

    /// Takes what a worker says; false when there is nobody to tell any more.
    fn take(
        &self,
        worker: &str,
        part: &Part,
        body: &Bytes,
        told: &mut Option<oneshot::Sender<Filter>>,
    ) -> bool {
        let Ok(Said::Call(said)) = Said::parse(body) else {
            return true;
        };
        match said.method.as_str() {
            "notifications/subscriptions/acknowledged" => {
                if let Some(told) = told.take() {
                    let _ = told.send(self.honoured(worker, part, &said));
                }
                true
            }
            _ => match self.notice(worker, said) {
                // Who does not read that many is let go, as the gateway does.
                Some(notice) => self
                    .out
                    .try_send(notice)
                    .inspect_err(|_| self.over.cancel())
                    .is_ok(),
                None => true,
            },
        }
    }

    fn honoured(&self, worker: &str, part: &Part, said: &Envelope) -> Filter {
        let granted = said.params.object("notifications").and_then(Result::ok);
        let names = |member: &str, asked: &[Arc<str>]| -> Vec<Arc<str>> {
            let named = granted.as_ref().and_then(|granted| granted.raw(member));
            let named: Option<Vec<String>> = named.and_then(|named| named.read().ok());
            let named = named.unwrap_or_default();
            let is_named = |name: &&Arc<str>| named.iter().any(|named| **named == ***name);
            asked.iter().filter(is_named).cloned().collect()
        };
        let tasks = names("taskIds", &part.tasks);
        Filter {
            resources: names("resourceSubscriptions", &part.uris),
            tasks: tasks
                .iter()
                .filter_map(|own| self.known_as(worker, own))
                .collect(),
        }
    }

    /// The id by which the gateway knows a worker's task.
    fn known_as(&self, worker: &str, own: &str) -> Option<Arc<str>> {
        let names = [holder::joined(worker, own), holder::joined("", own)];
        let mut known = self.filter.tasks.iter();
        known
            .find(|id| names.iter().any(|name| **name == ***id))
            .cloned()
    }

    fn notice(&self, worker: &str, said: Envelope) -> Option<Notice> {
        if said.method == "notifications/resources/updated" {
            let uri = said.params.str("uri")?.into();
            return Some(Notice::Resource(uri, said.params));
        }
        let own = said.params.str("taskId")?;
        let id = self.known_as(worker, &own)?;
        let params = holder::with(&said.params, "taskId", &id);
        Some(Notice::Task(id, params))
    }
}
