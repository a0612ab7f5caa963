//! What a client says to a NATS server, as bytes.

use std::io::Write as _;

use crate::bus::{Headers, Message};

/// A message on its way out.
pub(super) fn message(to: &mut Vec<u8>, message: &Message) {
    let Message {
        subject,
        reply,
        headers,
        payload,
        ..
    } = message;
    to.extend_from_slice(if headers.is_empty() {
        b"PUB "
    } else {
        b"HPUB "
    });
    to.extend_from_slice(subject.as_bytes());
    if let Some(reply) = reply {
        to.push(b' ');
        to.extend_from_slice(reply.as_bytes());
    }
    let size = headers.size();
    if size > 0 {
        number(to, size);
    }
    number(to, size + payload.len());
    to.extend_from_slice(b"\r\n");
    if size > 0 {
        write_headers(to, headers);
    }
    to.extend_from_slice(payload);
    to.extend_from_slice(b"\r\n");
}

fn write_headers(to: &mut Vec<u8>, headers: &Headers) {
    to.extend_from_slice(b"NATS/1.0\r\n");
    for (name, value) in headers.iter() {
        to.extend_from_slice(name.as_bytes());
        to.extend_from_slice(b": ");
        to.extend_from_slice(value.as_bytes());
        to.extend_from_slice(b"\r\n");
    }
    to.extend_from_slice(b"\r\n");
}

fn number(to: &mut Vec<u8>, number: usize) {
    // Writing to a Vec does not fail.
    let _ = write!(to, " {number}");
}

/// The interest in a subject.
pub(super) fn subscribe(to: &mut Vec<u8>, sid: u64, subject: &str, queue: Option<&str>) {
    let _ = match queue {
        Some(queue) => write!(to, "SUB {subject} {queue} {sid}\r\n"),
        None => write!(to, "SUB {subject} {sid}\r\n"),
    };
}

/// The end of an interest.
pub(super) fn unsubscribe(to: &mut Vec<u8>, sid: u64) {
    let _ = write!(to, "UNSUB {sid}\r\n");
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_message_is_written() {
        let mut bytes = Vec::new();
        let mut sent = Message {
            subject: "a.b".into(),
            payload: "hi".into(),
            ..Message::default()
        };
        message(&mut bytes, &sent);
        sent.reply = Some("r".into());
        sent.headers.put("A", "b");
        message(&mut bytes, &sent);
        let text = String::from_utf8(bytes).expect("text");
        assert_eq!(
            text,
            "PUB a.b 2\r\nhi\r\nHPUB a.b r 18 20\r\nNATS/1.0\r\nA: b\r\n\r\nhi\r\n"
        );
    }
}
