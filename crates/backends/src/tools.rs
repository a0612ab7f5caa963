//! Back ends that only run tools: a smaller trait, and what makes a whole back end of it.

use std::sync::Arc;

use tokio::sync::watch;
use toolbus_model::{
    Backend, BoxFuture, Call, Error, Method, Object, Offer, Outcome, Raw, Request,
};

/// One run of a tool.
#[derive(Debug, Clone)]
pub struct Job {
    /// The tool's name, as the place itself knows it.
    pub tool: Arc<str>,
    /// The arguments: a JSON object, as the caller sent it.
    pub arguments: Object,
    /// All of the request, for what a place carries beyond arguments (`inputResponses`, `requestState`, `_meta`).
    pub request: Request,
}

/// A place where tools are run, and nothing else is done.
pub trait Tools: Send + Sync {
    /// The tools it has now, and how it is. Each change wakes the receiver.
    fn offer(&self) -> watch::Receiver<Arc<Offer>>;

    /// Runs a tool. Must end soon after `call.cancelled()`, when nothing of the work runs any more.
    fn run<'a>(&'a self, job: Job, call: &'a Call) -> BoxFuture<'a, Result<Outcome, Error>>;

    /// Ends whatever it holds. Nothing is run after it.
    fn stop(&self) -> BoxFuture<'_, ()>;
}

/// A whole back end of a place that runs tools.
#[derive(Debug)]
pub struct ToolServer<T>(pub T);

impl<T: Tools> Backend for ToolServer<T> {
    fn offer(&self) -> watch::Receiver<Arc<Offer>> {
        self.0.offer()
    }

    fn serve<'a>(
        &'a self,
        request: Request,
        call: &'a Call,
    ) -> BoxFuture<'a, Result<Outcome, Error>> {
        Box::pin(async move { self.0.run(job(request)?, call).await })
    }

    fn stop(&self) -> BoxFuture<'_, ()> {
        self.0.stop()
    }
}

/// The run that a request asks for.
fn job(request: Request) -> Result<Job, Error> {
    if request.method != Method::ToolsCall {
        let method = request.method.as_str().to_owned();
        return Err(Error::MethodNotFound(method));
    }
    let wrong = |why: &str| Error::InvalidParams(format!("Invalid params: {why}"));
    let tool = request.target.clone();
    let tool = tool.ok_or_else(|| wrong("\"name\" must be a string"))?;
    let arguments = match request.params.raw("arguments") {
        None => Object::empty(),
        Some(raw) => object(&raw).ok_or_else(|| wrong("\"arguments\" must be an object"))?,
    };
    Ok(Job {
        tool,
        arguments,
        request,
    })
}

fn object(raw: &Raw) -> Option<Object> {
    Object::from_raw(raw).ok()
}
