//! What a NATS server and other processes of a mesh say: the wire, the headers of our frames, the tokens of names.

use bytes::Bytes;
use toolbus_mesh::bus::nats::overheard;
use toolbus_mesh::bus::{Headers, Message};
use toolbus_mesh::frame::{Ask, Control, Reply, header};
use toolbus_mesh::subject;

use crate::{byte, pattern, pieces};

/// Headers that the input can name by one byte.
const NAMES: [&str; 20] = [
    header::WIRE,
    header::CALL,
    header::ATTEMPT,
    header::START,
    header::START_WITHIN,
    header::DEADLINE,
    header::IDEMPOTENCY_KEY,
    header::CALLER,
    header::FRAME,
    header::DIGEST,
    header::OBJECT,
    header::WORKER,
    header::SEQ,
    header::CONTROL,
    header::ERROR,
    header::HOLDS,
    header::CREDIT,
    header::METHOD,
    header::NAME,
    header::TRACE_PARENT,
];

/// How the network cuts what a server says changes nothing, and what was understood came from what was sent.
pub(crate) fn wire(mut data: &[u8]) {
    let pattern = pattern(&mut data);
    let (whole, fault) = overheard(std::iter::once(data));
    let cut = overheard(pieces(data, pattern));
    assert_eq!(format!("{:?}", (&whole, &fault)), format!("{cut:?}"));
    let size: usize = whole.iter().map(|message| message.payload.len()).sum();
    assert!(size <= data.len(), "no more than was sent");
}

/// What was read of a frame's headers is what is written of it, and reads the same again.
pub(crate) fn frames(data: &[u8]) {
    let headers = headers(data);
    if let Ok(ask) = Ask::read(&headers) {
        let again = Ask::read(&ask.headers()).expect("what we write can be read");
        let third = Ask::read(&again.headers()).expect("what we write can be read");
        assert_eq!(again, third);
        assert_eq!((ask.call, &ask.method), (again.call, &again.method));
    }
    if let Ok((control, about)) = Control::read(&headers) {
        let again = Control::read(&control.headers(about));
        assert_eq!(again.expect("what we write can be read"), (control, about));
    }
    let read = |headers: Headers| {
        let payload = Bytes::copy_from_slice(data);
        Reply::read(Message {
            headers,
            payload,
            ..Message::default()
        })
    };
    if let Ok(reply) = read(headers) {
        let again = read(reply.headers()).expect("what we write can be read");
        assert_eq!(format!("{reply:?}"), format!("{again:?}"));
    }
}

/// A name has one token, and a token one name; a token is legal wherever one may stand.
pub(crate) fn tokens(data: &[u8]) {
    let Ok(text) = std::str::from_utf8(data) else {
        return;
    };
    let token = subject::token(text);
    assert_eq!(subject::check(&token, false), Ok(()));
    assert_eq!(subject::check_key(&token), Ok(()));
    let back = subject::name(&token).expect("our own token");
    assert!(back.is_none_or(|back| back == text));
    if let Ok(Some(name)) = subject::name(text) {
        assert_eq!(subject::token(&name), text);
    }
}

/// One header a line: a byte that names it, and its value.
fn headers(data: &[u8]) -> Headers {
    let mut headers = Headers::default();
    for mut line in data.split(|byte| *byte == b'\n').take(64) {
        let name = NAMES[usize::from(byte(&mut line)) % NAMES.len()];
        let value = String::from_utf8_lossy(line).replace('\r', " ");
        headers.put(name, value.trim().to_owned());
    }
    headers
}
