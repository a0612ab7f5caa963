//! As much of an HTTP/1.1 client as the chores need: one request, one whole answer, on a connection that is kept.

use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::TcpStream;
use std::time::Duration;

use anyhow::{Context as _, Result, bail};

/// No answer within this time is a failure of the server.
const PATIENCE: Duration = Duration::from_secs(30);

/// A whole answer.
#[derive(Debug)]
pub(crate) struct Answer {
    pub(crate) status: u16,
    headers: Vec<(String, String)>,
    pub(crate) body: Vec<u8>,
}

impl Answer {
    /// The value of a header, its name in lower case.
    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        let found = self.headers.iter().find(|(known, _)| known == name);
        found.map(|(_, value)| value.as_str())
    }

    /// Whether the body is JSON, by what its header says.
    pub(crate) fn is_json(&self) -> bool {
        self.header("content-type")
            .is_some_and(|kind| kind.starts_with("application/json"))
    }

    /// The body as text, for messages.
    pub(crate) fn text(&self) -> String {
        String::from_utf8_lossy(&self.body).into_owned()
    }
}

/// A kept connection to one server.
pub(crate) struct Connection(BufReader<TcpStream>);

impl Connection {
    /// Connects to the host and port of this URL.
    pub(crate) fn open(url: &str) -> Result<Self> {
        let (authority, _) = split(url)?;
        let stream =
            TcpStream::connect(authority).with_context(|| format!("cannot connect to {url}"))?;
        stream.set_nodelay(true)?;
        stream.set_read_timeout(Some(PATIENCE))?;
        Ok(Self(BufReader::new(stream)))
    }

    /// Sends a whole request, as bytes, and reads its answer.
    pub(crate) fn exchange(&mut self, request: &[u8]) -> Result<Answer> {
        self.0.get_mut().write_all(request)?;
        let status = self.line()?;
        let status = status.split(' ').nth(1).and_then(|code| code.parse().ok());
        let status = status.context("the answer does not begin with an HTTP status")?;
        let mut headers = Vec::new();
        loop {
            let line = self.line()?;
            if line.is_empty() {
                break;
            }
            let (name, value) = line.split_once(':').context("a header without a colon")?;
            headers.push((name.to_ascii_lowercase(), value.trim().to_owned()));
        }
        let mut answer = Answer {
            status,
            headers,
            body: Vec::new(),
        };
        answer.body = self.body(&answer)?;
        Ok(answer)
    }

    fn line(&mut self) -> Result<String> {
        let mut line = String::new();
        if self.0.read_line(&mut line).context("no answer")? == 0 {
            bail!("the server closed the connection");
        }
        Ok(line.trim_end().to_owned())
    }

    fn body(&mut self, answer: &Answer) -> Result<Vec<u8>> {
        if answer.header("transfer-encoding") == Some("chunked") {
            return self.chunks();
        }
        let length = answer.header("content-length").unwrap_or("0").parse()?;
        let mut body = vec![0; length];
        self.0
            .read_exact(&mut body)
            .context("the body ended early")?;
        Ok(body)
    }

    fn chunks(&mut self) -> Result<Vec<u8>> {
        let mut body = Vec::new();
        loop {
            let size = self.line()?;
            let size = u64::from_str_radix(size.trim(), 16).context("not a chunk size")?;
            self.0.by_ref().take(size).read_to_end(&mut body)?;
            self.line()?;
            if size == 0 {
                return Ok(body);
            }
        }
    }
}

/// A whole request as text.
pub(crate) fn request(
    method: &str,
    url: &str,
    headers: &[(&str, &str)],
    body: &str,
) -> Result<String> {
    let (authority, path) = split(url)?;
    let mut text = format!("{method} {path} HTTP/1.1\r\nHost: {authority}\r\n");
    for (name, value) in headers {
        text.extend([name, ": ", value, "\r\n"]);
    }
    text.push_str(&format!("Content-Length: {}\r\n\r\n{body}", body.len()));
    Ok(text)
}

/// One request without a body, on a connection of its own.
pub(crate) fn ask(method: &str, url: &str) -> Result<Answer> {
    Connection::open(url)?.exchange(request(method, url, &[], "")?.as_bytes())
}

fn split(url: &str) -> Result<(&str, &str)> {
    let rest = url
        .strip_prefix("http://")
        .with_context(|| format!("{url} is no http URL"))?;
    let slash = rest.find('/').unwrap_or(rest.len());
    let path = if slash == rest.len() {
        "/"
    } else {
        &rest[slash..]
    };
    Ok((&rest[..slash], path))
}
