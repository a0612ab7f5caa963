//! Both ends of the mesh without doors and processes around them: what the mesh itself costs.

use std::sync::Arc;
use std::time::Duration;

use serde_json::json;
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;
use toolbus_mesh::bus::Bus;
use toolbus_mesh::bus::nats::{NatsBus, Settings as Reached};
use toolbus_mesh::caller::{Mesh, Routing, Settings};
use toolbus_mesh::subject::{NO_TENANT, Subjects};
use toolbus_mesh::worker::{self, ServerOptions, Worker};
use toolbus_model::{
    Backend, Call, CallSeed, Caller, Health, Method, Object, Request, Revision, ServerName, Trace,
};

use super::backends::Echo;
use super::load::{Load, Plan, run};
use super::serve::Failure;

/// How long workers may take to be found.
const FOUND: Duration = Duration::from_secs(30);

/// Serves the echo as `name` until the process ends.
pub async fn work(url: &str, name: &str, delay: Duration) -> Result<(), Failure> {
    let served = (
        server(name)?,
        Arc::new(Echo::new(delay)) as Arc<dyn Backend>,
    );
    let worker = begin(url, vec![served]).await?;
    worker.closed().await;
    Ok(())
}

/// Many workers in this process, each with a connection of its own and one of the servers; together they have so many
/// tools. Until the process ends.
pub async fn crowd(url: &str, workers: usize, servers: usize, tools: usize) -> Result<(), Failure> {
    let mut all = Vec::with_capacity(workers);
    for number in 0..workers {
        let name = format!("crowd{:03}", number % servers);
        let backend = Arc::new(Echo::crowd(&name, tools / servers));
        all.push(begin(url, vec![(server(&name)?, backend)]).await?);
    }
    say("ready");
    for worker in all {
        worker.closed().await;
    }
    Ok(())
}

async fn begin(url: &str, servers: Vec<(ServerName, Arc<dyn Backend>)>) -> Result<Worker, Failure> {
    let given = servers.into_iter();
    let given = given.map(|(name, backend)| (name, backend, ServerOptions::default()));
    let settings = worker::Settings {
        capacity: 1024,
        ..worker::Settings::default()
    };
    let started = Worker::start(connect(url).await?, subjects()?, given.collect(), settings);
    Ok(started.await?)
}

/// How calls are made.
#[derive(Debug, Clone)]
pub struct Ask {
    /// Of this server.
    pub server: String,
    /// This tool.
    pub tool: String,
    /// As long as this, in bytes.
    pub size: usize,
    /// By the queue group instead of by load.
    pub queue: bool,
    /// Once so many workers are known.
    pub workers: usize,
}

/// Calls the echo through the gateway's side of the mesh, as planned.
pub async fn load(url: &str, ask: &Ask, plan: Plan) -> Result<Load, Failure> {
    let routing = if ask.queue {
        Routing::Queue
    } else {
        Routing::Load
    };
    let settings = Settings {
        routing,
        ..Settings::default()
    };
    let mesh = Mesh::open(connect(url).await?, subjects()?, settings).await?;
    let backend = find(&mesh, ask).await?;
    let request = request(&ask.tool, ask.size)?;
    let call = move || call(Arc::clone(&backend), request.clone());
    Ok(run(plan, call).await)
}

async fn find(mesh: &Mesh, ask: &Ask) -> Result<Arc<dyn Backend>, Failure> {
    let mut found = mesh.found();
    let looking = async {
        loop {
            let remote = {
                let found = found.borrow_and_update();
                let mut servers = found.servers.iter();
                servers
                    .find(|remote| remote.name.as_str() == ask.server)
                    .cloned()
            };
            if let Some(remote) = remote
                && remote.workers().len() >= ask.workers
                && remote.offer().borrow().health == Health::Up
            {
                return remote;
            }
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    };
    let looking = tokio::time::timeout(FOUND, looking).await;
    let remote =
        looking.map_err(|_| format!("{} workers of {} were not found", ask.workers, ask.server))?;
    Ok(remote)
}

fn seed() -> CallSeed {
    CallSeed {
        caller: Caller::local(),
        revision: Revision::V2026_07_28,
        door: "bench",
        capabilities: Object::empty().to_raw(),
        client: None,
        log_level: None,
        progress_token: None,
        trace: Trace::default(),
    }
}

async fn call(backend: Arc<dyn Backend>, request: Request) -> Result<(), Failure> {
    let (call, _end) = Call::begin(seed(), CancellationToken::new());
    let outcome = backend.serve(request, &call).await;
    match outcome {
        Ok(outcome) if outcome.object().get("content").is_some() => Ok(()),
        Ok(outcome) => Err(format!("another result: {outcome:?}").into()),
        Err(error) => Err(format!("{error:?}").into()),
    }
}

/// Calls at once that are given up.
const GIVEN_UP: usize = 64;

/// Makes calls that nobody waits for: every second one is cancelled after a moment, and every second one has no more time
/// then. After each tenth of them a line is printed.
pub async fn leak(url: &str, server: &str, calls: usize) -> Result<(), Failure> {
    let mesh = Mesh::open(connect(url).await?, subjects()?, Settings::default()).await?;
    let ask = Ask {
        server: server.to_owned(),
        tool: String::new(),
        size: 0,
        queue: false,
        workers: 1,
    };
    let backend = find(&mesh, &ask).await?;
    let requests = [request("echo", 200)?, request("echo_once", 200)?];
    for tenth in 1..=10 {
        let mut callers = JoinSet::new();
        for caller in 0..GIVEN_UP {
            let (backend, requests) = (Arc::clone(&backend), requests.clone());
            let count = calls / 10 / GIVEN_UP;
            callers.spawn(async move {
                for number in 0..count {
                    let which = number + caller;
                    let request = requests[which % 2].clone();
                    give_up(&*backend, request, which / 2).await?;
                }
                Ok::<_, Failure>(())
            });
        }
        while let Some(ended) = callers.join_next().await {
            ended??;
        }
        say(&format!("{tenth}"));
    }
    // Whoever reads the last line looks at this process then.
    tokio::time::sleep(Duration::from_secs(1)).await;
    Ok(())
}

async fn give_up(backend: &dyn Backend, request: Request, number: usize) -> Result<(), Failure> {
    let cancel = CancellationToken::new();
    let (call, _end) = Call::begin(seed(), cancel.clone());
    let moment = Duration::from_millis((number % 4) as u64);
    if number.is_multiple_of(2) {
        call.ends_by(tokio::time::Instant::now() + moment);
    }
    let giving_up = async {
        tokio::time::sleep(moment).await;
        cancel.cancel();
        std::future::pending::<()>().await;
    };
    let outcome = tokio::select! {
        outcome = backend.serve(request, &call) => outcome,
        () = giving_up => return Ok(()),
    };
    match outcome {
        Err(
            toolbus_model::Error::Cancelled
            | toolbus_model::Error::DeadlineExceeded(_)
            | toolbus_model::Error::Unavailable(_)
            | toolbus_model::Error::OutcomeUnknown(_),
        ) => Ok(()),
        // Nobody who gives up waits for the worker, so that it may have too much to do.
        Err(toolbus_model::Error::Busy { retry_after, .. }) => {
            tokio::time::sleep(retry_after).await;
            Ok(())
        }
        other => Err(format!("a call that was given up ended with {other:?}").into()),
    }
}

fn request(tool: &str, size: usize) -> Result<Request, Failure> {
    let params = json!({
        "name": tool,
        "arguments": {"message": "m".repeat(size)},
        "_meta": {
            "io.modelcontextprotocol/protocolVersion": "2026-07-28",
            "io.modelcontextprotocol/clientCapabilities": {},
        },
    });
    let params = Object::of(&params);
    let meta = params.object("_meta").ok_or("no _meta")?;
    Ok(Request {
        method: Method::ToolsCall,
        target: Some(tool.into()),
        meta: meta.map_err(|error| error.to_string())?,
        params,
    })
}

async fn connect(url: &str) -> Result<Arc<dyn Bus>, Failure> {
    let settings = Reached {
        servers: vec![url.to_owned()],
        name: "bench".into(),
        ..Reached::default()
    };
    Ok(NatsBus::connect(settings).await?)
}

fn subjects() -> Result<Subjects, Failure> {
    Ok(Subjects::new("toolbus", NO_TENANT)?)
}

fn server(name: &str) -> Result<ServerName, Failure> {
    Ok(ServerName::parse(name)?)
}

/// One line for whoever started this.
fn say(line: &str) {
    use std::io::Write as _;
    let _ = writeln!(std::io::stdout(), "{line}");
    let _ = std::io::stdout().flush();
}
