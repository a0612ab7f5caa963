//! The HTTP door as a whole: whatever is asked, in whichever session, there is an answer in kind, and the gateway is not at
//! fault.

use std::io::{ErrorKind, Read as _, Write as _};
use std::net::{SocketAddr, TcpStream};
use std::time::Duration;

use serde::de::IgnoredAny;

use crate::json::Members;
use crate::rig::rig;

/// Longer than this is a hang: nothing here has to be waited for.
const PATIENCE: Duration = Duration::from_secs(5);

/// Where inputs name a session that is open.
const SESSION: &str = "@session";

const STATE_LOST: &str = "\"code\":-31006";

/// Headers that are ours: they say where a request ends, and that no other follows it.
const OURS: [&str; 6] = [
    "host",
    "connection",
    "content-length",
    "transfer-encoding",
    "expect",
    "upgrade",
];

const INITIALIZE: &str = concat!(
    "POST /mcp\nAccept: application/json, text/event-stream\nContent-Type: application/json\n\n",
    r#"{"jsonrpc":"2.0","id":1,"method":"initialize","params":{"protocolVersion":"2025-03-26","#,
    r#""capabilities":{"elicitation":{},"roots":{}},"clientInfo":{"name":"fuzz","version":"1"}}}"#,
);

pub(crate) fn check(data: &[u8]) {
    let text = String::from_utf8_lossy(data);
    let text = match text.contains(SESSION) {
        true => text.replace(SESSION, &session(rig().door)),
        false => text.into_owned(),
    };
    let (_, body) = text.split_once("\n\n").unwrap_or((&text, ""));
    let Some(answer) = ask(rig().door, &text) else {
        return;
    };
    // A stream may be kept by another replica: that is the one thing that is not the client's doing.
    let elsewhere = answer.status == 503 && answer.body.contains(STATE_LOST);
    assert!(
        elsewhere || (200..500).contains(&answer.status),
        "{answer:?}"
    );
    if answer.kind("application/json") {
        assert!(serde_json::from_str::<IgnoredAny>(&answer.body).is_ok());
        let echoed = id_of(&answer.body);
        assert!(
            echoed.is_none() || echoed == id_of(body),
            "{answer:?} to {text}"
        );
    }
    if answer.status == 202 || answer.status == 204 {
        assert_eq!(answer.body, "");
    }
}

fn id_of(message: &str) -> Option<&[u8]> {
    Members::of(message)?.get("id")
}

/// Opens a session of the one revision that has batches.
fn session(door: SocketAddr) -> String {
    let answer = ask(door, INITIALIZE).expect("a request");
    let id = answer.header("mcp-session-id");
    id.expect("a session").to_owned()
}

#[derive(Debug)]
struct Answer {
    status: u16,
    head: String,
    body: String,
}

impl Answer {
    fn header(&self, name: &str) -> Option<&str> {
        let mut lines = self.head.lines().filter_map(|line| line.split_once(": "));
        let found = lines.find(|(known, _)| known.eq_ignore_ascii_case(name));
        found.map(|(_, value)| value)
    }

    fn kind(&self, kind: &str) -> bool {
        self.header("content-type") == Some(kind)
    }
}

/// Sends a request: a line with method and path, headers, an empty line, and the body. `None` where that is not what
/// the text is.
fn ask(door: SocketAddr, text: &str) -> Option<Answer> {
    let (head, body) = text.split_once("\n\n").unwrap_or((text, ""));
    let mut lines = head.lines();
    let (method, path) = lines.next()?.split_once(' ')?;
    let is_token = |text: &str| !text.is_empty() && text.bytes().all(|b| b.is_ascii_graphic());
    if !is_token(method) || !is_token(path) {
        return None;
    }
    let mut request =
        format!("{method} {path} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n");
    for line in lines {
        let (name, value) = line.split_once(':')?;
        let is_ours = OURS
            .iter()
            .any(|ours| ours.eq_ignore_ascii_case(name.trim()));
        if is_ours || !is_token(name) || value.contains(|c: char| c.is_control()) {
            return None;
        }
        request.push_str(&format!("{line}\r\n"));
    }
    request.push_str(&format!("Content-Length: {}\r\n\r\n{body}", body.len()));
    let mut stream = TcpStream::connect(door).expect("connected");
    stream
        .set_read_timeout(Some(PATIENCE))
        .expect("a time limit");
    // Who refuses a head need not read what follows it.
    let _ = stream.write_all(request.as_bytes());
    Some(read(&mut stream))
}

fn read(stream: &mut TcpStream) -> Answer {
    let mut bytes = Vec::new();
    let mut buffer = [0; 16 * 1024];
    loop {
        let head = bytes.windows(4).position(|part| part == b"\r\n\r\n");
        if let Some(end) = head {
            let head = String::from_utf8_lossy(&bytes[..end]).into_owned();
            let status = head.split(' ').nth(1).and_then(|code| code.parse().ok());
            let answer = Answer {
                status: status.expect("a status"),
                head,
                body: String::new(),
            };
            // A stream may go on for ever; that it began is enough.
            if answer.kind("text/event-stream") {
                return answer;
            }
            let length = answer
                .header("content-length")
                .map(|text| text.parse::<usize>());
            let body = &bytes[end + 4..];
            if length.is_none_or(|length| body.len() >= length.expect("a length")) {
                let body = String::from_utf8_lossy(body).into_owned();
                return Answer { body, ..answer };
            }
        }
        match stream.read(&mut buffer) {
            Ok(count @ 1..) => bytes.extend_from_slice(&buffer[..count]),
            // The fuzzer's clock.
            Err(error) if error.kind() == ErrorKind::Interrupted => {}
            end => panic!("no whole answer: {end:?}, {}", bytes.escape_ascii()),
        }
    }
}
