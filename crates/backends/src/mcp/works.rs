//! Tasks that processes work at: as long as one is asked after, its process does not end, and what is asked goes there.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::time::Instant;
use toolbus_model::{Method, Object, Outcome, Request};

use super::link::{Connection, Link};

/// Tasks of one server that are known here. Of more than that it is not known which process they are in: where processes
/// do not end, that is all the same.
const MAX_TASKS: usize = 10_000;

/// The longest time for which a task keeps its process, also where the server names none.
const KEPT_WITHIN: Duration = Duration::from_secs(24 * 60 * 60);

/// How long what became of a task can still be asked for. A client whose answer was lost on the way asks again soon.
const ASKED_AGAIN_WITHIN: Duration = Duration::from_secs(60);

/// The tasks of one server, by its own ids.
#[derive(Debug, Default)]
pub(super) struct Works(Mutex<HashMap<String, Work>>);

#[derive(Debug)]
struct Work {
    connection: Arc<Connection>,
    until: Instant,
}

impl Works {
    /// Notes what an outcome tells of a task.
    pub(super) fn note(&self, request: &Request, outcome: &Outcome, connection: &Arc<Connection>) {
        if !matches!(connection.link, Link::Stdio(_) | Link::Unix(_)) {
            return;
        }
        match outcome {
            Outcome::Task(task) => self.begin(task, connection),
            Outcome::Complete(task) if is_about_task(request) => self.go_on(request, task),
            Outcome::Complete(_) | Outcome::InputRequired(_) | Outcome::Extended(_) => {}
        }
    }

    fn begin(&self, task: &Object, connection: &Arc<Connection>) {
        let ttl = task.raw("ttlMs").and_then(|ttl| ttl.read::<u64>().ok());
        let kept = ttl.map_or(KEPT_WITHIN, Duration::from_millis);
        let mut works = self.works();
        if let Some(id) = task.str("taskId").filter(|_| works.len() < MAX_TASKS) {
            let work = Work {
                connection: Arc::clone(connection),
                until: Instant::now() + kept.min(KEPT_WITHIN),
            };
            works.insert(id.into_owned(), work);
        }
    }

    /// A task that has ended needs its process only for who asks again.
    fn go_on(&self, request: &Request, task: &Object) {
        let status = task.str("status").unwrap_or_default();
        if !matches!(&*status, "completed" | "failed" | "cancelled") {
            return;
        }
        let soon = Instant::now() + ASKED_AGAIN_WITHIN;
        let id = request.params.str("taskId").unwrap_or_default();
        if let Some(work) = self.works().get_mut(&*id) {
            work.until = work.until.min(soon);
        }
    }

    /// Where the task is that a request is about.
    pub(super) fn place(&self, request: &Request) -> Option<Arc<Connection>> {
        let id = request.params.str("taskId");
        self.place_of(&id.filter(|_| is_about_task(request))?)
    }

    /// Where a task is.
    pub(super) fn place_of(&self, id: &str) -> Option<Arc<Connection>> {
        let works = self.works();
        let connection = &works.get(id)?.connection;
        connection.link.is_alive().then(|| Arc::clone(connection))
    }

    /// Forgets what nobody asks after any more.
    pub(super) fn sweep(&self) {
        let now = Instant::now();
        self.works()
            .retain(|_, work| work.until > now && work.connection.link.is_alive());
    }

    pub(super) fn is_empty(&self) -> bool {
        self.works().is_empty()
    }

    /// This process works at one.
    pub(super) fn are_at(&self, connection: &Arc<Connection>) -> bool {
        let works = self.works();
        works
            .values()
            .any(|work| Arc::ptr_eq(&work.connection, connection))
    }

    pub(super) fn clear(&self) {
        self.works().clear();
    }

    fn works(&self) -> MutexGuard<'_, HashMap<String, Work>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn is_about_task(request: &Request) -> bool {
    matches!(&request.method, Method::Other(name) if name.starts_with("tasks/"))
}
