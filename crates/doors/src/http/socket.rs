//! A connection that can be watched while it is served.
//!
//! hyper notices a client that goes away in mid-request, but not one that sent `Connection: close` (as nginx does
//! towards its upstreams by default): it has no more to read from it then. [`Socket::gone`] looks for itself. Nor does
//! it mind a client that does not read its answer, which stays in memory meanwhile: [`Served`] cuts it off.

use std::io::{self, IoSlice};
use std::net::IpAddr;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;
use tokio::time::{Sleep, sleep};

/// A TCP connection with more than one owner.
#[derive(Debug, Clone)]
pub(super) struct Socket(Arc<TcpStream>);

impl Socket {
    pub(super) fn new(stream: TcpStream) -> Self {
        Self(Arc::new(stream))
    }

    /// Who is at the other end.
    pub(super) fn peer(&self) -> Option<IpAddr> {
        self.0.peer_addr().ok().map(|peer| peer.ip())
    }

    /// Waits until the client has closed its end. Bytes that it still sends are left for the server to read.
    pub(super) async fn gone(&self) {
        match self.0.peek(&mut [0]).await {
            Ok(0) | Err(_) => {}
            // A request behind this one: whoever sends it has not gone.
            Ok(_) => std::future::pending().await,
        }
    }

    /// The connection to be served, to a client that takes some of what waits for it within this time.
    pub(super) fn served(&self, taken_within: Duration) -> Served {
        Served {
            stream: Arc::clone(&self.0),
            taken_within,
            stalled: None,
        }
    }
}

/// The connection as it is read and written.
#[derive(Debug)]
pub(super) struct Served {
    stream: Arc<TcpStream>,
    taken_within: Duration,
    /// Runs while the client takes nothing.
    stalled: Option<Pin<Box<Sleep>>>,
}

impl Served {
    fn poll_stalled(&mut self, context: &mut Context<'_>) -> Poll<io::Result<usize>> {
        let stalled = self
            .stalled
            .get_or_insert_with(|| Box::pin(sleep(self.taken_within)));
        ready!(stalled.as_mut().poll(context));
        // What the kernel holds for this client is thrown away too. Failing, it is kept for some minutes.
        let _ = self.stream.set_zero_linger();
        Poll::Ready(Err(io::ErrorKind::TimedOut.into()))
    }
}

impl AsyncRead for Served {
    fn poll_read(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        loop {
            ready!(self.stream.poll_read_ready(context))?;
            match self.stream.try_read_buf(buffer) {
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
                read => return Poll::Ready(read.map(drop)),
            }
        }
    }
}

impl AsyncWrite for Served {
    fn poll_write(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        self.poll_write_vectored(context, &[IoSlice::new(bytes)])
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        slices: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        loop {
            if self.stream.poll_write_ready(context)?.is_pending() {
                return self.poll_stalled(context);
            }
            match self.stream.try_write_vectored(slices) {
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
                written => {
                    self.stalled = None;
                    return Poll::Ready(written);
                }
            }
        }
    }

    fn is_write_vectored(&self) -> bool {
        true
    }

    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(
            rustix::net::shutdown(&*self.stream, rustix::net::Shutdown::Write)
                .map_err(io::Error::from),
        )
    }
}
