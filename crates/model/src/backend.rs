//! The one trait: a place where an MCP server's work is done.

use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;

use tokio::sync::{mpsc, watch};

use crate::{Call, CallSeed, Error, Method, Object, Offer, Outcome};

/// A boxed future, so that the trait can be used as an object.
pub type BoxFuture<'a, T> = Pin<Box<dyn Future<Output = T> + Send + 'a>>;

/// One request, in the inner dialect: stateless, as 2026-07-28 has it.
#[derive(Debug, Clone)]
pub struct Request {
    /// What is asked for.
    pub method: Method,
    /// The tool's or prompt's name or the resource's URI, as the back end knows it.
    pub target: Option<Arc<str>>,
    /// All of `params`, `_meta` included, as the caller sent it.
    pub params: Object,
    /// `params._meta`, cut.
    pub meta: Object,
}

/// What somebody wants to be told of, one by one. Changes of whole lists are told by [`Backend::offer`].
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Filter {
    /// Resources, by the URIs that the back end knows.
    pub resources: Vec<Arc<str>>,
    /// Tasks, by the ids that the back end gave.
    pub tasks: Vec<Arc<str>>,
}

/// Something changed.
#[derive(Debug, Clone, PartialEq)]
pub enum Notice {
    /// A resource: its URI, and the notice's parameters as the back end sent them.
    Resource(Arc<str>, Object),
    /// A task: its id, and the notice's parameters as the back end sent them.
    Task(Arc<str>, Object),
}

/// Notices for as long as this is held.
#[derive(Debug)]
pub struct Listening {
    /// What of the filter the back end will tell.
    pub honoured: Filter,
    /// What it tells. Ends when the back end can tell no more, also because nobody read for too long.
    pub notices: mpsc::Receiver<Notice>,
}

/// A place where an MCP server's work is done. Both ends of a mesh are of this type: a worker serves one, a gateway
/// calls one.
pub trait Backend: Send + Sync {
    /// What it offers now. Each change wakes the receiver.
    fn offer(&self) -> watch::Receiver<Arc<Offer>>;

    /// Does one request. Must end soon after `call.cancelled()`, having told whoever does the work to stop.
    fn serve<'a>(
        &'a self,
        request: Request,
        call: &'a Call,
    ) -> BoxFuture<'a, Result<Outcome, Error>>;

    /// Tells of changes from the moment on in which the future is done. Who asks is in `seed`. A back end whose
    /// resources do not change, and which has no tasks, honours nothing.
    fn listen<'a>(
        &'a self,
        _filter: Filter,
        _seed: &'a CallSeed,
    ) -> BoxFuture<'a, Result<Listening, Error>> {
        let (_, notices) = mpsc::channel(1);
        let honoured = Filter::default();
        Box::pin(async { Ok(Listening { honoured, notices }) })
    }

    /// It holds what this request goes on with: a call that waits for its caller's answers, or a task.
    fn holds(&self, _request: &Request) -> bool {
        false
    }

    /// It is at a call, or holds what a later request may go on with.
    fn is_awaited(&self) -> bool {
        false
    }

    /// Ends whatever it holds: processes, connections, sessions. No request comes after it.
    fn stop(&self) -> BoxFuture<'_, ()>;
}
