//! HTTP/1.1 as the peers read it: one exchange a connection, its body as it comes, and the events in it.

use std::io::{self, BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::time::Duration;

/// Longest silence on any answer: longer than the gateway's own pause between two comments on a stream.
const SILENCE: Duration = Duration::from_secs(30);

/// The head of an answer, and what follows it.
pub struct Reply {
    pub status: u16,
    headers: Vec<(String, String)>,
    body: BufReader<Body>,
}

/// Sends a request and reads the head of the answer. The stream can be cloned beforehand, to hang up.
pub fn exchange(mut stream: TcpStream, request: &[u8]) -> io::Result<Reply> {
    stream.write_all(request)?;
    let mut stream = BufReader::new(stream);
    let status = line(&mut stream)?;
    let status = status.split(' ').nth(1).and_then(|code| code.parse().ok());
    let status = status.ok_or_else(|| io::Error::other("no status line"))?;
    let mut headers = Vec::new();
    loop {
        let line = line(&mut stream)?;
        let Some((name, value)) = line.split_once(':') else {
            break;
        };
        headers.push((name.to_ascii_lowercase(), value.trim().to_owned()));
    }
    let find = |name: &str| {
        let found = headers.iter().find(|(known, _)| known == name);
        found.map(|(_, value)| value.as_str())
    };
    let left = match find("transfer-encoding") {
        Some("chunked") => Left::Chunked(0),
        _ => Left::Bytes(
            find("content-length")
                .map_or(Ok(0), str::parse)
                .map_err(io::Error::other)?,
        ),
    };
    Ok(Reply {
        status,
        headers,
        body: BufReader::new(Body { stream, left }),
    })
}

/// A connection that does not wait for ever.
pub fn connect(address: SocketAddr) -> io::Result<TcpStream> {
    let stream = TcpStream::connect(address)?;
    stream.set_read_timeout(Some(SILENCE))?;
    stream.set_nodelay(true)?;
    Ok(stream)
}

/// The bytes of a request on a connection of its own.
pub fn request(method: &str, path: &str, headers: &[(&str, &str)], body: &[u8]) -> Vec<u8> {
    let mut head = format!("{method} {path} HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\n");
    for (name, value) in headers {
        head.push_str(&format!("{name}: {value}\r\n"));
    }
    if method == "POST" {
        head.push_str(&format!("content-length: {}\r\n", body.len()));
    }
    let mut bytes = format!("{head}\r\n").into_bytes();
    bytes.extend_from_slice(body);
    bytes
}

impl Reply {
    pub fn header(&self, name: &str) -> Option<&str> {
        let found = self.headers.iter().find(|(known, _)| known == name);
        found.map(|(_, value)| value.as_str())
    }

    /// Answers with events, rather than with one object.
    pub fn is_stream(&self) -> bool {
        self.header("content-type") == Some("text/event-stream")
    }

    /// The whole body.
    pub fn body(mut self) -> io::Result<Vec<u8>> {
        let mut body = Vec::new();
        self.body.read_to_end(&mut body)?;
        Ok(body)
    }

    /// The next event; `None` at the end of the stream.
    pub fn event(&mut self) -> io::Result<Option<Event>> {
        let mut event = Event::default();
        let mut lines = 0;
        loop {
            let mut line = Vec::new();
            if self.body.read_until(b'\n', &mut line)? == 0 {
                return Ok(None);
            }
            let line = String::from_utf8(line).map_err(io::Error::other)?;
            let line = line.trim_end_matches(['\r', '\n']);
            match line.split_once(':') {
                None if line.is_empty() && lines == 0 => {}
                None if line.is_empty() => return Ok(Some(event)),
                None => return Err(io::Error::other(format!("the line {line:?} in a stream"))),
                // A comment, which keeps the connection open.
                Some(("", _)) => {}
                Some((field, value)) => {
                    lines += 1;
                    event.take(field, value.strip_prefix(' ').unwrap_or(value))?;
                }
            }
        }
    }
}

/// One event of a stream.
#[derive(Debug, Default)]
pub struct Event {
    pub id: Option<String>,
    pub name: Option<String>,
    pub retry: Option<u64>,
    pub data: Option<String>,
}

impl Event {
    fn take(&mut self, field: &str, value: &str) -> io::Result<()> {
        match field {
            "id" => self.id = Some(value.to_owned()),
            "event" => self.name = Some(value.to_owned()),
            "retry" => self.retry = Some(value.parse().map_err(io::Error::other)?),
            "data" => match &mut self.data {
                Some(data) => {
                    data.push('\n');
                    data.push_str(value);
                }
                None => self.data = Some(value.to_owned()),
            },
            _ => return Err(io::Error::other(format!("the field {field:?} in a stream"))),
        }
        Ok(())
    }
}

/// What is still to come of a body.
enum Left {
    /// So many bytes.
    Bytes(usize),
    /// So many bytes of this chunk, then further ones.
    Chunked(usize),
    Nothing,
}

struct Body {
    stream: BufReader<TcpStream>,
    left: Left,
}

impl Read for Body {
    fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
        if let Left::Chunked(0) = self.left {
            self.left = self.next_chunk()?;
        }
        let (Left::Bytes(left) | Left::Chunked(left)) = &mut self.left else {
            return Ok(0);
        };
        let wanted = into.len().min(*left);
        let read = self.stream.read(&mut into[..wanted])?;
        if read == 0 && wanted > 0 {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        *left -= read;
        if matches!(self.left, Left::Chunked(0)) {
            line(&mut self.stream)?;
        }
        Ok(read)
    }
}

impl Body {
    fn next_chunk(&mut self) -> io::Result<Left> {
        let size = line(&mut self.stream)?;
        match usize::from_str_radix(size.trim(), 16).map_err(io::Error::other)? {
            0 => Ok(Left::Nothing),
            size => Ok(Left::Chunked(size)),
        }
    }
}

fn line(stream: &mut impl BufRead) -> io::Result<String> {
    let mut line = String::new();
    if stream.read_line(&mut line)? == 0 {
        return Err(io::ErrorKind::UnexpectedEof.into());
    }
    Ok(line.trim_end().to_owned())
}
