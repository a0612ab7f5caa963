//! The accept loop of both bench servers, and the small rest that a command needs: a port, and its URL on stdout.

use std::error::Error;
use std::io::Write as _;
use std::net::Ipv4Addr;

use hyper::body::{Body, Incoming};
use hyper::server::conn::http1;
use hyper::service::HttpService;
use hyper_util::rt::TokioIo;
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinSet;

/// Any error, as a command reports it.
pub type Failure = Box<dyn Error + Send + Sync>;

/// Listens on loopback at this port, 0 for any free one, and says so on stdout: the first line is the URL.
pub async fn listen(port: u16) -> Result<TcpListener, Failure> {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, port))
        .await
        .map_err(|error| format!("cannot listen on 127.0.0.1:{port}: {error}"))?;
    let mut stdout = std::io::stdout();
    writeln!(stdout, "http://{}/mcp", listener.local_addr()?)?;
    stdout.flush()?;
    Ok(listener)
}

/// Answers every connection with this service until the process ends.
pub async fn serve<S, B>(listener: TcpListener, service: S) -> Result<(), Failure>
where
    S: HttpService<Incoming, ResBody = B, Future: Send> + Clone + Send + 'static,
    S::Error: Into<Failure>,
    B: Body<Data: Send> + Send + 'static,
    B::Error: Into<Failure>,
{
    let mut connections = JoinSet::new();
    loop {
        tokio::select! {
            accepted = listener.accept() => {
                let (stream, _) = accepted?;
                connections.spawn(converse(stream, service.clone()));
            }
            // Nothing to learn from an ended connection: this only keeps the set from growing.
            Some(_) = connections.join_next() => {}
        }
    }
}

async fn converse<S, B>(stream: TcpStream, service: S)
where
    S: HttpService<Incoming, ResBody = B>,
    S::Error: Into<Failure>,
    B: Body + 'static,
    B::Error: Into<Failure>,
{
    // Without it small answers wait for the client's delayed acknowledgement. Failing, it only costs time.
    let _ = stream.set_nodelay(true);
    // A load generator cuts its connections when it is done: not worth a word.
    let _ = http1::Builder::new()
        .serve_connection(TokioIo::new(stream), service)
        .await;
}
