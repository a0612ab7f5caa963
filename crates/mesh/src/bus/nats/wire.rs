//! What a NATS server says, read from bytes: the client protocol of NATS 2.x.

use bytes::{Buf, Bytes, BytesMut};
use serde::Deserialize;

use super::known;
use crate::bus::{Headers, Message};

/// The longest line, in bytes: an INFO of a large cluster lists all its addresses.
const LONGEST_LINE: usize = 256 * 1024;

/// The largest message that any server can be set up for, in bytes.
const LARGEST: usize = 64 * 1024 * 1024;

/// A body up to here is copied out of what was read, so that it does not hold on to all of it, in bytes.
const COPIED: usize = 2048;

/// The header under which a message's status is found, such as `404 Message Not Found`. No header on the wire can have
/// this name.
pub(super) const STATUS: &str = ":status";

/// What a server says.
#[derive(Debug)]
pub(super) enum Said {
    Info(Box<Info>),
    Message(u64, Message),
    Ping,
    Pong,
    Ok,
    Error(String),
}

/// What a server says of itself.
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize)]
#[serde(default)]
pub(super) struct Info {
    pub(super) version: String,
    pub(super) max_payload: usize,
    pub(super) nonce: String,
    pub(super) tls_required: bool,
    pub(super) headers: bool,
    pub(super) connect_urls: Vec<String>,
    pub(super) jetstream: bool,
}

/// Takes the next thing that a server said off the front of what was read; none where more must be read first.
pub(super) fn next(read: &mut BytesMut) -> Result<Option<Said>, String> {
    let Some(end) = memchr::memchr(b'\n', read) else {
        return check_line(read.len()).map(|()| None);
    };
    check_line(end)?;
    let line = read[..end].strip_suffix(b"\r").unwrap_or(&read[..end]);
    let line = std::str::from_utf8(line).map_err(|_| "a line is no text".to_owned())?;
    let (verb, rest) = line.split_once(' ').unwrap_or((line, ""));
    let said = match verb {
        "MSG" | "HMSG" => {
            let head = Head::parse(verb, rest).ok_or_else(|| format!("unreadable: {line:?}"))?;
            return message(read, end + 1, head);
        }
        "PING" => Said::Ping,
        "PONG" => Said::Pong,
        "+OK" => Said::Ok,
        "-ERR" => Said::Error(rest.trim().trim_matches('\'').to_owned()),
        "INFO" => {
            let info = serde_json::from_str(rest);
            Said::Info(Box::new(info.map_err(|error| format!("INFO: {error}"))?))
        }
        _ => {
            let shown: String = line.chars().take(40).collect();
            return Err(format!("not what a NATS server says: {shown:?}"));
        }
    };
    read.advance(end + 1);
    Ok(Some(said))
}

fn check_line(length: usize) -> Result<(), String> {
    if length > LONGEST_LINE {
        return Err(format!("a line is longer than {LONGEST_LINE} bytes"));
    }
    Ok(())
}

/// A message's first line.
struct Head {
    sid: u64,
    subject: String,
    reply: Option<String>,
    headers: usize,
    total: usize,
}

impl Head {
    fn parse(verb: &str, rest: &str) -> Option<Self> {
        let mut words = [""; 5];
        let mut count = 0;
        for word in rest.split_ascii_whitespace() {
            *words.get_mut(count)? = word;
            count += 1;
        }
        let sizes = if verb == "HMSG" { 2 } else { 1 };
        let reply = match count.checked_sub(2 + sizes)? {
            0 => None,
            1 => Some(words[2].to_owned()),
            _ => return None,
        };
        let total = words[count - 1].parse().ok()?;
        let headers = if sizes == 2 {
            words[count - 2].parse().ok()?
        } else {
            0
        };
        (headers <= total && total <= LARGEST).then_some(Self {
            sid: words[1].parse().ok()?,
            subject: words[0].to_owned(),
            reply,
            headers,
            total,
        })
    }
}

fn message(read: &mut BytesMut, start: usize, head: Head) -> Result<Option<Said>, String> {
    let whole = start + head.total + "\r\n".len();
    if read.len() < whole {
        read.reserve(whole - read.len());
        return Ok(None);
    }
    read.advance(start);
    let headers = headers(&read[..head.headers])?;
    read.advance(head.headers);
    let length = head.total - head.headers;
    let payload = if length <= COPIED {
        let copy = Bytes::copy_from_slice(&read[..length]);
        read.advance(length);
        copy
    } else {
        read.split_to(length).freeze()
    };
    read.advance("\r\n".len());
    let message = Message {
        subject: head.subject,
        reply: head.reply,
        no_responders: length == 0
            && headers
                .get(STATUS)
                .is_some_and(|status| status.starts_with("503")),
        headers,
        payload,
    };
    Ok(Some(Said::Message(head.sid, message)))
}

fn headers(bytes: &[u8]) -> Result<Headers, String> {
    let mut headers = Headers::default();
    if bytes.is_empty() {
        return Ok(headers);
    }
    // Another client may send anything as a value.
    let text = String::from_utf8_lossy(bytes);
    let mut lines = text.split("\r\n");
    let first = lines.next().and_then(|line| line.strip_prefix("NATS/1.0"));
    let status = first.ok_or("headers of an unknown version")?.trim();
    if !status.is_empty() {
        headers.push(STATUS.into(), status.to_owned().into());
    }
    for line in lines.filter(|line| !line.is_empty()) {
        let (name, value) = line
            .split_once(':')
            .ok_or_else(|| format!("header {line:?} has no value"))?;
        headers.push(known::name(name), known::value(value.trim()));
    }
    Ok(headers)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &str) -> Vec<Said> {
        let (mut all, mut given) = (Vec::new(), BytesMut::new());
        // Byte for byte: where a reading ends is arbitrary.
        for byte in text.bytes() {
            given.extend_from_slice(&[byte]);
            while let Some(said) = next(&mut given).expect("readable") {
                all.push(said);
            }
        }
        assert!(given.is_empty());
        all
    }

    fn messages(text: &str) -> Vec<(u64, Message)> {
        let only = |said| match said {
            Said::Message(sid, message) => (sid, message),
            other => panic!("{other:?}"),
        };
        read(text).into_iter().map(only).collect()
    }

    #[test]
    fn messages_are_read() {
        let read = messages(
            "MSG a.b 9 2\r\nhi\r\nMSG a 1 _I.x 0\r\n\r\nHMSG a 2 r 29 31\r\nNATS/1.0\r\nToolbus-Wire: 1\r\n\r\nhi\r\n",
        );
        let seen: Vec<_> = (read.iter())
            .map(|(sid, message)| {
                (
                    *sid,
                    message.subject.as_str(),
                    message.reply.as_deref(),
                    &message.payload[..],
                )
            })
            .collect();
        assert_eq!(
            seen,
            [
                (9, "a.b", None, &b"hi"[..]),
                (1, "a", Some("_I.x"), &b""[..]),
                (2, "a", Some("r"), &b"hi"[..]),
            ]
        );
        assert_eq!(read[2].1.headers.get("Toolbus-Wire"), Some("1"));
    }

    #[test]
    fn a_status_is_read() {
        let read = messages(
            "HMSG _I.x 1 16 16\r\nNATS/1.0 503\r\n\r\n\r\nHMSG a 2 19 19\r\nNATS/1.0 404 No\r\n\r\n\r\n",
        );
        assert!(read[0].1.no_responders && !read[1].1.no_responders);
        assert_eq!(read[1].1.headers.get(STATUS), Some("404 No"));
    }

    #[test]
    fn the_rest_is_read() {
        let said = read(
            "INFO {\"version\":\"2.15.1\",\"max_payload\":5,\"x\":1} \r\nPING\r\nPONG\r\n+OK\r\n-ERR 'No'\r\n",
        );
        assert!(
            matches!(&said[0], Said::Info(info) if info.version == "2.15.1" && info.max_payload == 5)
        );
        assert!(matches!(said[1..4], [Said::Ping, Said::Pong, Said::Ok]));
        assert!(matches!(&said[4], Said::Error(text) if text == "No"));
    }

    #[test]
    fn anything_else_is_refused() {
        for text in [
            "HTTP/1.1 400 Bad Request\r\n",
            "MSG a x 2\r\nhi\r\n",
            "MSG a 1\r\n",
            "MSG a 1 99999999999\r\n",
            "HMSG a 1 9 2\r\nhi\r\n",
            "HMSG a 1 2 2\r\nhi\r\n",
            "INFO nothing\r\n",
        ] {
            assert!(next(&mut text.into()).is_err(), "{text}");
        }
        assert!(next(&mut BytesMut::from(&vec![b'x'; LONGEST_LINE + 1][..])).is_err());
    }
}
