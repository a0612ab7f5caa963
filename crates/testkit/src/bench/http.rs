//! One HTTP/1.1 request again and again, over TCP or a Unix socket: as little work as a client can have.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _};
use tokio::net::{TcpStream, UnixStream};
use tokio::time::timeout;

use super::load::{Load, Plan, run};
use super::serve::Failure;

/// How long one request may take.
const PATIENCE: Duration = Duration::from_secs(30);

/// The most bytes of an answer: those that are measured have some hundreds.
const MOST: usize = 1024 * 1024;

/// What stands before the path of a Unix socket.
const UNIX: &str = "unix:";

trait Stream: AsyncRead + AsyncWrite + Unpin + Send {}

impl<S: AsyncRead + AsyncWrite + Unpin + Send> Stream for S {}

/// What all callers have in common.
struct Shared {
    address: String,
    request: Bytes,
    /// Must be in the answer.
    wanted: String,
    /// Connections that are kept, one for each caller.
    idle: Mutex<Vec<Box<dyn Stream>>>,
}

/// Sends this request to `HOST:PORT` or `unix:PATH`, each caller once its last answer is there. An answer has status 200 and
/// this text in it.
pub async fn load(address: String, request: Bytes, wanted: String, plan: Plan) -> Load {
    let shared = Arc::new(Shared {
        address,
        request,
        wanted,
        idle: Mutex::default(),
    });
    run(plan, move || {
        let shared = Arc::clone(&shared);
        async move { timeout(PATIENCE, shared.ask()).await? }
    })
    .await
}

impl Shared {
    async fn ask(&self) -> Result<(), Failure> {
        let kept = self
            .idle
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .pop();
        let mut stream = match kept {
            Some(stream) => stream,
            None => connect(&self.address).await?,
        };
        stream.write_all(&self.request).await?;
        let answer = read(&mut stream).await?;
        let text = String::from_utf8_lossy(&answer);
        if !text.starts_with("HTTP/1.1 200") || !text.contains(&self.wanted) {
            return Err(format!("not the answer: {text}").into());
        }
        self.idle
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .push(stream);
        Ok(())
    }
}

async fn connect(address: &str) -> Result<Box<dyn Stream>, Failure> {
    if let Some(path) = address.strip_prefix(UNIX) {
        return Ok(Box::new(UnixStream::connect(path).await?));
    }
    let stream = TcpStream::connect(address).await?;
    stream.set_nodelay(true)?;
    Ok(Box::new(stream))
}

/// A whole answer.
async fn read(stream: &mut Box<dyn Stream>) -> Result<BytesMut, Failure> {
    let mut answer = BytesMut::with_capacity(4096);
    while !is_whole(&answer)? {
        if answer.len() > MOST {
            return Err(format!("an answer of more than {MOST} bytes").into());
        }
        if stream.read_buf(&mut answer).await? == 0 {
            return Err("the connection was closed before the answer was whole".into());
        }
    }
    Ok(answer)
}

/// Whether all of an answer is there.
fn is_whole(answer: &[u8]) -> Result<bool, Failure> {
    let Some(head) = answer.windows(4).position(|four| four == b"\r\n\r\n") else {
        return Ok(false);
    };
    let (head, body) = (&answer[..head], &answer[head + 4..]);
    let head = std::str::from_utf8(head)?.to_ascii_lowercase();
    let field = |name: &str| {
        let fields = head.lines().filter_map(|line| line.split_once(':'));
        fields
            .filter(|(known, _)| *known == name)
            .map(|(_, value)| value.trim())
            .next()
    };
    if field("transfer-encoding") == Some("chunked") {
        return Ok(body.ends_with(b"0\r\n\r\n"));
    }
    let length: usize = field("content-length")
        .ok_or("an answer without a length")?
        .parse()?;
    Ok(body.len() >= length)
}

#[cfg(test)]
mod tests {
    use super::is_whole;

    #[test]
    fn sees_the_end_of_an_answer() {
        let whole = |answer: &[u8]| is_whole(answer).expect("an answer");
        assert!(!whole(b"HTTP/1.1 200 OK\r\nContent-Length: 3\r\n"));
        assert!(!whole(b"HTTP/1.1 200 OK\r\nContent-Length: 3\r\n\r\nab"));
        assert!(whole(b"HTTP/1.1 200 OK\r\nContent-Length: 3\r\n\r\nabc"));
        let chunked = b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n1\r\na\r\n";
        assert!(!whole(chunked));
        assert!(whole(&[&chunked[..], b"0\r\n\r\n"].concat()));
        assert!(is_whole(b"HTTP/1.1 200 OK\r\n\r\n").is_err());
    }
}
