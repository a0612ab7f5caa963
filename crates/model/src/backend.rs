//! The one trait: a place where an MCP server's work is done.

use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;

use tokio::sync::watch;

use crate::{Call, Error, Method, Object, Offer, Outcome};

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

    /// Ends whatever it holds: processes, connections, sessions. No request comes after it.
    fn stop(&self) -> BoxFuture<'_, ()>;
}
