//! Connections to one HTTP server, kept between requests: with TLS or without, or to a Unix socket.

use std::future::Future;
use std::io;
use std::path::PathBuf;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::Bytes;
use http::{Request, Response, Uri};
use http_body_util::Full;
use hyper::body::Incoming;
use hyper::rt::{Read, ReadBufCursor, Write};
use hyper_rustls::{HttpsConnector, HttpsConnectorBuilder};
use hyper_util::client::legacy::connect::{Connected, Connection, HttpConnector};
use hyper_util::client::legacy::{Client, Error};
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use tokio::net::UnixStream;
use tower_service::Service;

/// How long an idle connection is kept. Common servers close theirs after five seconds; a request sent into that
/// moment would be lost with an unknown outcome.
const KEEP_IDLE: Duration = Duration::from_secs(4);

/// How long a connection may take to open.
const CONNECT_WITHIN: Duration = Duration::from_secs(10);

/// After how much silence a server's machine is asked whether it is still there, how often, and how many times in vain. A
/// stream on which nothing has to be said ends in any case within two minutes after the other side has vanished.
const STILL_THERE: (Duration, Duration, u32) =
    (Duration::from_secs(60), Duration::from_secs(15), 4);

/// A kind for each way, because reading the certificate store takes longer than many a first call.
#[derive(Debug)]
pub(crate) enum Pool {
    Plain(Client<HttpConnector, Full<Bytes>>),
    Tls(Client<HttpsConnector<HttpConnector>, Full<Bytes>>),
    Unix(Client<UnixConnector, Full<Bytes>>),
}

impl Pool {
    /// To the server of a URL. The error says what is wrong with this machine's certificates.
    pub(crate) fn to(url: &Uri) -> Result<Self, String> {
        let mut connector = HttpConnector::new();
        connector.enforce_http(false);
        connector.set_nodelay(true);
        connector.set_connect_timeout(Some(CONNECT_WITHIN));
        connector.set_keepalive(Some(STILL_THERE.0));
        connector.set_keepalive_interval(Some(STILL_THERE.1));
        connector.set_keepalive_retries(Some(STILL_THERE.2));
        if url.scheme_str() != Some("https") {
            return Ok(Self::Plain(builder().build(connector)));
        }
        let tls = HttpsConnectorBuilder::new()
            .with_native_roots()
            .map_err(|error| {
                format!("no certificates were found to verify https servers by: {error}")
            })?;
        let tls = tls.https_only().enable_http1().wrap_connector(connector);
        Ok(Self::Tls(builder().build(tls)))
    }

    /// To whoever listens at a Unix socket, whatever the URL of a request says.
    pub(crate) fn at(path: PathBuf) -> Self {
        Self::Unix(builder().build(UnixConnector(path.into())))
    }

    /// Sends a request; `error.is_connect()` tells that it was not sent.
    pub(crate) async fn send(
        &self,
        request: Request<Full<Bytes>>,
    ) -> Result<Response<Incoming>, Error> {
        match self {
            Self::Plain(client) => client.request(request).await,
            Self::Tls(client) => client.request(request).await,
            Self::Unix(client) => client.request(request).await,
        }
    }
}

fn builder() -> hyper_util::client::legacy::Builder {
    let mut builder = Client::builder(TokioExecutor::new());
    builder
        .pool_idle_timeout(KEEP_IDLE)
        .pool_timer(TokioTimer::new());
    builder
}

/// An error and all its sources in one line.
pub(crate) fn chain(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(error) = source {
        text = format!("{text}: {error}");
        source = error.source();
    }
    text
}

/// Connects to a Unix socket.
#[derive(Debug, Clone)]
pub(crate) struct UnixConnector(Arc<std::path::Path>);

impl Service<Uri> for UnixConnector {
    type Response = UnixIo;
    type Error = io::Error;
    type Future = Pin<Box<dyn Future<Output = io::Result<UnixIo>> + Send>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, _: Uri) -> Self::Future {
        let path = Arc::clone(&self.0);
        Box::pin(async move {
            let stream = UnixStream::connect(&path).await?;
            Ok(UnixIo(TokioIo::new(stream)))
        })
    }
}

/// A connection to a Unix socket.
#[derive(Debug)]
pub(crate) struct UnixIo(TokioIo<UnixStream>);

impl Connection for UnixIo {
    fn connected(&self) -> Connected {
        Connected::new()
    }
}

impl Read for UnixIo {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: ReadBufCursor<'_>,
    ) -> Poll<io::Result<()>> {
        Pin::new(&mut self.0).poll_read(context, buffer)
    }
}

impl Write for UnixIo {
    fn poll_write(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        data: &[u8],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.0).poll_write(context, data)
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.0).poll_flush(context)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.0).poll_shutdown(context)
    }

    fn is_write_vectored(&self) -> bool {
        self.0.is_write_vectored()
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        data: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.0).poll_write_vectored(context, data)
    }
}
