//! A server of the configuration: a module, its tools, and how each is called.

use std::collections::HashMap;
use std::path::PathBuf;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use pyo3::prelude::*;
use tokio::sync::watch;
use toolbus_backends::tools::{Job, Tools};
use toolbus_model::{
    BoxFuture, Call, Cause, Error, Health, Item, Kind, Object, Offer, Outcome, Raw,
};

use crate::interpreter::Interpreter;
use crate::pool::Pool;

mod open;
mod patience;

/// Coroutines of one server at once: as many as the package admits itself.
const MOST_COROUTINES: usize = 1024;

/// When to come back to a server that is full: calls of Python take milliseconds.
const RETRY_AFTER: Duration = Duration::from_millis(250);

/// What a server is made of.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Settings {
    /// A module's name, or a Python file, or a folder; an object of it behind a colon.
    pub module: String,
    /// Folders in which modules are looked for, before those of the environment.
    pub path: Vec<PathBuf>,
    /// The virtual environment whose packages are used.
    pub venv: Option<PathBuf>,
    /// Functions that run at once.
    pub threads: usize,
    /// Calls that wait for a thread.
    pub queue: usize,
}

impl Settings {
    /// As many threads as Python's own pools have, and as long a queue as a gateway lets calls through.
    pub fn new(module: impl Into<String>) -> Self {
        let processors = std::thread::available_parallelism().map_or(1, usize::from);
        Self {
            module: module.into(),
            path: Vec::new(),
            venv: None,
            threads: 32.min(processors + 4),
            queue: 256,
        }
    }
}

/// A module inside this process.
#[derive(Debug)]
pub struct Embedded {
    server: Arc<Server>,
}

#[derive(Debug)]
struct Server {
    name: String,
    settings: Settings,
    offer: watch::Sender<Arc<Offer>>,
    module: OnceLock<Module>,
    pool: Arc<Pool>,
    coroutines: AtomicUsize,
}

/// A module that was imported.
#[derive(Debug)]
struct Module {
    interpreter: &'static Interpreter,
    /// Begins a call on the event loop.
    begin: Arc<Py<PyAny>>,
    tools: HashMap<Arc<str>, Way>,
}

/// How a tool is called.
#[derive(Debug, Clone)]
enum Way {
    /// A plain function: bytes to bytes, in a thread.
    Thread(Arc<Py<PyAny>>),
    /// A plain function that never waits.
    Inline(Arc<Py<PyAny>>),
    /// On the event loop.
    Loop,
}

impl Embedded {
    /// Begins to import the module, in a thread of its own. `name` is the server's.
    pub fn start(name: &str, settings: Settings) -> Self {
        let (threads, queue) = (settings.threads.max(1), settings.queue);
        let server = Arc::new(Server {
            name: name.to_owned(),
            pool: Pool::new(name, threads, queue),
            settings,
            offer: watch::Sender::new(Arc::default()),
            module: OnceLock::new(),
            coroutines: AtomicUsize::new(0),
        });
        open::begin(&server);
        Self { server }
    }
}

impl Tools for Embedded {
    fn offer(&self) -> watch::Receiver<Arc<Offer>> {
        self.server.offer.subscribe()
    }

    fn run<'a>(&'a self, job: Job, call: &'a Call) -> BoxFuture<'a, Result<Outcome, Error>> {
        Box::pin(self.server.run(job, call))
    }

    fn stop(&self) -> BoxFuture<'_, ()> {
        self.server.pool.close();
        Box::pin(std::future::ready(()))
    }
}

impl Server {
    async fn run(&self, job: Job, call: &Call) -> Result<Outcome, Error> {
        let module = match self.module.get() {
            Some(module) => module,
            None => self.opened(call).await?,
        };
        let unknown = || Error::Unknown {
            kind: Kind::Tool,
            name: job.tool.to_string(),
        };
        match module.tools.get(&job.tool).ok_or_else(unknown)? {
            Way::Inline(function) => match crate::pool::at_once(function, &job.arguments) {
                Some(written) => outcome(written.map_err(failed)?),
                None => self.in_thread(module, function, job, call).await,
            },
            Way::Thread(function) => self.in_thread(module, function, job, call).await,
            Way::Loop => self.in_loop(module, job, call).await,
        }
    }

    /// Waits for the import.
    async fn opened(&self, call: &Call) -> Result<&Module, Error> {
        let mut offer = self.offer.subscribe();
        tokio::select! {
            _ = offer.wait_for(|offer| offer.health != Health::Starting) => {}
            () = call.cancelled() => return Err(Error::Cancelled),
        }
        let missing = || match &offer.borrow().health {
            Health::Down(error) => error.clone(),
            _ => self.unavailable("the module is not imported"),
        };
        self.module.get().ok_or_else(missing)
    }

    fn unavailable(&self, what: impl Into<String>) -> Error {
        Error::Unavailable(self.cause(what).into())
    }

    fn cause(&self, what: impl Into<String>) -> Cause {
        Cause {
            command: Some(self.settings.module.as_str().into()),
            ..Cause::new(what)
        }
    }

    fn busy(&self, what: String) -> Error {
        Error::Busy {
            what: format!("embedded server {}: {what}", self.name),
            retry_after: RETRY_AFTER,
        }
    }

    /// A place among the coroutines, for as long as the guard is held.
    fn place(&self) -> Result<Place<'_>, Error> {
        if self.coroutines.fetch_add(1, Ordering::Relaxed) >= MOST_COROUTINES {
            self.coroutines.fetch_sub(1, Ordering::Relaxed);
            return Err(self.busy(format!("{MOST_COROUTINES} calls are on its event loop")));
        }
        Ok(Place(&self.coroutines))
    }
}

struct Place<'a>(&'a AtomicUsize);

impl Drop for Place<'_> {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}

/// A result as Python wrote it.
fn outcome(text: bytes::Bytes) -> Result<Outcome, Error> {
    let result = Object::parse(text)
        .map_err(|error| Error::Internal(format!("Python wrote a result that is {error}")))?;
    match result.str("resultType").as_deref() {
        Some("input_required") => Ok(Outcome::InputRequired(result)),
        _ => Ok(Outcome::Complete(result)),
    }
}

fn failed(why: String) -> Error {
    Error::Internal(format!("Python failed outside of the tool: {why}"))
}

/// An error of JSON-RPC, as Python wrote it.
fn refused(text: &[u8]) -> Error {
    #[derive(serde::Deserialize)]
    struct Written {
        code: i64,
        message: String,
    }
    let raw = Raw::checked(bytes::Bytes::copy_from_slice(text));
    match raw.read::<Written>() {
        Ok(Written { code, message }) => Error::Upstream {
            code,
            message,
            data: Object::from_raw(&raw)
                .ok()
                .and_then(|error| error.raw("data")),
        },
        Err(error) => Error::Internal(format!("Python wrote an error that is {error}")),
    }
}

fn item(name: Arc<str>, definition: bytes::Bytes) -> Result<Item, String> {
    let definition = Object::parse(definition);
    let definition = definition.map_err(|error| format!("the definition of {name} is {error}"))?;
    Ok(Item {
        key: name,
        definition,
    })
}
