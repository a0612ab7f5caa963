//! As much of an HTTP/1.1 client as thousands of connections at once need: requests as bytes, whole answers, and events.

use std::net::SocketAddr;
use std::time::Duration;

use anyhow::{Context as _, Result, bail};
use serde_json::Value;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _, Interest};
use tokio::net::{TcpSocket, TcpStream};
use tokio::time::timeout;

/// No answer within this time is a hang.
pub(crate) const PATIENCE: Duration = Duration::from_secs(60);

/// The beginning of an answer.
#[derive(Debug)]
pub(crate) struct Head {
    pub(crate) status: u16,
    headers: String,
}

impl Head {
    /// The value of a header, its name in lower case.
    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        let lines = self.headers.lines().filter_map(|line| line.split_once(':'));
        let mut found = lines.filter(|(known, _)| known.eq_ignore_ascii_case(name));
        found.next().map(|(_, value)| value.trim())
    }
}

/// A whole answer.
pub(crate) struct Answer {
    pub(crate) head: Head,
    pub(crate) body: Vec<u8>,
}

impl Answer {
    /// The body as JSON; `null` where it is none.
    pub(crate) fn json(&self) -> Value {
        serde_json::from_slice(&self.body).unwrap_or_default()
    }

    /// The result; an error names what came instead.
    pub(crate) fn result(&self) -> Result<Value> {
        let mut json = self.json();
        if self.head.status == 200 && json["result"].is_object() {
            return Ok(json["result"].take());
        }
        let body: String = String::from_utf8_lossy(&self.body)
            .chars()
            .take(300)
            .collect();
        bail!("HTTP {}: {body}", self.head.status)
    }
}

/// One connection.
pub(crate) struct Connection {
    stream: TcpStream,
    /// Read and not used yet.
    buffer: Vec<u8>,
    /// Bytes of events that have lost their chunks.
    events: Vec<u8>,
}

impl Connection {
    /// Connects.
    pub(crate) async fn open(address: SocketAddr) -> Result<Self> {
        let stream = TcpStream::connect(address)
            .await
            .context("cannot connect")?;
        stream.set_nodelay(true)?;
        Ok(Self::over(stream))
    }

    /// Connects with the smallest buffer there is for what arrives: whoever sends is held up soon.
    pub(crate) async fn narrow(address: SocketAddr) -> Result<Self> {
        let socket = TcpSocket::new_v4()?;
        socket.set_recv_buffer_size(1)?;
        Ok(Self::over(
            socket.connect(address).await.context("cannot connect")?,
        ))
    }

    fn over(stream: TcpStream) -> Self {
        Self {
            stream,
            buffer: Vec::new(),
            events: Vec::new(),
        }
    }

    /// Sends bytes.
    pub(crate) async fn send(&mut self, bytes: &[u8]) -> Result<()> {
        timeout(PATIENCE, self.stream.write_all(bytes))
            .await
            .context("nobody reads")??;
        Ok(())
    }

    /// Sends a whole request and reads its whole answer.
    pub(crate) async fn exchange(&mut self, request: &[u8]) -> Result<Answer> {
        self.send(request).await?;
        let head = self.head().await?;
        let body = self.body(&head).await?;
        Ok(Answer { head, body })
    }

    /// Sends a request whose answer is a stream of events.
    pub(crate) async fn subscribe(&mut self, request: &[u8]) -> Result<()> {
        self.send(request).await?;
        let head = self.head().await?;
        let kind = head.header("content-type").unwrap_or_default();
        if head.status == 200 && kind.starts_with("text/event-stream") {
            return Ok(());
        }
        let body = self.body(&head).await?;
        bail!(
            "HTTP {}, no stream: {}",
            head.status,
            String::from_utf8_lossy(&body)
        )
    }

    /// The data of the next event that has any; `None` at the end of the stream.
    pub(crate) async fn event(&mut self) -> Result<Option<Value>> {
        loop {
            while let Some(end) = find(&self.events, b"\n\n") {
                let event: Vec<u8> = self.events.drain(..end + 2).collect();
                let text = String::from_utf8_lossy(&event);
                let data: String = text
                    .lines()
                    .filter_map(|line| line.strip_prefix("data:"))
                    .collect();
                if let Ok(data) = serde_json::from_str(&data) {
                    return Ok(Some(data));
                }
            }
            match self.chunk().await? {
                Some(chunk) => self
                    .events
                    .extend(chunk.iter().filter(|byte| **byte != b'\r')),
                None => return Ok(None),
            }
        }
    }

    /// Waits until something has arrived, without reading it.
    pub(crate) async fn arrived(&self) -> Result<()> {
        timeout(PATIENCE, self.stream.readable())
            .await
            .context("nothing came for a minute")??;
        Ok(())
    }

    /// Waits, without reading, until the other end has cut the connection off.
    pub(crate) async fn held(&mut self) {
        while !matches!(self.stream.ready(Interest::ERROR).await, Ok(ready) if ready.is_error()) {}
    }

    async fn head(&mut self) -> Result<Head> {
        let end = loop {
            if let Some(end) = find(&self.buffer, b"\r\n\r\n") {
                break end + 4;
            }
            self.more().await?;
        };
        let headers: Vec<u8> = self.buffer.drain(..end).collect();
        let headers = String::from_utf8(headers).context("a head that is no text")?;
        let status = headers.split(' ').nth(1).and_then(|code| code.parse().ok());
        let status = status.context("the answer does not begin with an HTTP status")?;
        Ok(Head { status, headers })
    }

    async fn body(&mut self, head: &Head) -> Result<Vec<u8>> {
        let mut body = Vec::new();
        if head.header("transfer-encoding") == Some("chunked") {
            while let Some(chunk) = self.chunk().await? {
                body.extend(chunk);
            }
            return Ok(body);
        }
        let length = head.header("content-length").unwrap_or("0").parse()?;
        self.take(length).await
    }

    async fn chunk(&mut self) -> Result<Option<Vec<u8>>> {
        let end = loop {
            if let Some(end) = find(&self.buffer, b"\r\n") {
                break end;
            }
            self.more().await?;
        };
        let size = String::from_utf8_lossy(&self.buffer[..end]).into_owned();
        let size = usize::from_str_radix(size.trim(), 16).context("not a chunk size")?;
        self.buffer.drain(..end + 2);
        let mut chunk = self.take(size + 2).await?;
        chunk.truncate(size);
        Ok(Some(chunk).filter(|chunk| !chunk.is_empty()))
    }

    async fn take(&mut self, length: usize) -> Result<Vec<u8>> {
        while self.buffer.len() < length {
            self.more().await?;
        }
        Ok(self.buffer.drain(..length).collect())
    }

    async fn more(&mut self) -> Result<()> {
        let read = timeout(PATIENCE, self.stream.read_buf(&mut self.buffer));
        match read.await.context("nothing came for a minute")?? {
            0 => bail!("the connection was closed"),
            _ => Ok(()),
        }
    }
}

fn find(bytes: &[u8], what: &[u8]) -> Option<usize> {
    bytes.windows(what.len()).position(|part| part == what)
}
