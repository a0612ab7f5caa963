//! A server over HTTP that does what a test says, byte by byte.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::{Arc, Mutex};
use std::time::Instant;

use serde_json::{Value, json};

use super::Gateway;

/// A request as it came.
#[derive(Debug, Clone)]
pub struct Asked {
    pub at: Instant,
    pub method: String,
    pub path: String,
    pub headers: Vec<(String, String)>,
    /// The body as JSON; null where there is none.
    pub body: Value,
}

impl Asked {
    pub fn header(&self, name: &str) -> Option<&str> {
        let found = self.headers.iter().find(|(known, _)| known == name);
        found.map(|(_, value)| value.as_str())
    }

    /// The JSON-RPC method.
    pub fn rpc(&self) -> &str {
        self.body["method"].as_str().unwrap_or_default()
    }

    /// It belongs to the session that serves everybody, or opens it. Others are opened beside it, for clients that can be
    /// asked.
    pub fn is_base(&self) -> bool {
        match self.rpc() {
            "initialize" => self.body["params"]["capabilities"] == json!({}),
            _ => self.header("mcp-session-id") == Some(BASE),
        }
    }

    pub fn id(&self) -> &Value {
        &self.body["id"]
    }
}

/// A server of which each connection carries one request.
pub struct Script {
    address: SocketAddr,
    asked: Arc<Mutex<Vec<Asked>>>,
}

impl Script {
    /// Answers each request with `answer`, which may keep the connection open for as long as it likes.
    pub fn start(answer: impl Fn(&Asked, &mut TcpStream) + Send + Sync + 'static) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
        let address = listener.local_addr().expect("an address");
        let asked: Arc<Mutex<Vec<Asked>>> = Arc::default();
        let (noted, answer) = (Arc::clone(&asked), Arc::new(answer));
        std::thread::spawn(move || {
            for stream in listener.incoming().map_while(Result::ok) {
                let (noted, answer) = (Arc::clone(&noted), Arc::clone(&answer));
                std::thread::spawn(move || {
                    let mut stream = stream;
                    if let Some(request) = read(&stream) {
                        noted.lock().expect("no panic").push(request.clone());
                        answer(&request, &mut stream);
                    }
                });
            }
        });
        Self { address, asked }
    }

    pub fn url(&self) -> String {
        format!("http://{}", self.address)
    }

    pub fn gateway(&self) -> Gateway {
        let url = self.url();
        Gateway::start(&format!("[servers.fx.http]\nurl = \"{url}/mcp\"\n"))
    }

    /// The requests so far.
    pub fn asked(&self) -> Vec<Asked> {
        self.asked.lock().expect("no panic").clone()
    }
}

fn read(stream: &TcpStream) -> Option<Asked> {
    let mut reader = BufReader::new(stream);
    let mut line = String::new();
    reader.read_line(&mut line).ok()?;
    let mut words = line.split_whitespace();
    let (method, path) = (words.next()?.to_owned(), words.next()?.to_owned());
    let mut headers = Vec::new();
    loop {
        let mut line = String::new();
        reader.read_line(&mut line).ok()?;
        let Some((name, value)) = line.trim().split_once(':') else {
            break;
        };
        headers.push((name.to_ascii_lowercase(), value.trim().to_owned()));
    }
    let length = headers.iter().find(|(name, _)| name == "content-length");
    let length = length
        .and_then(|(_, length)| length.parse().ok())
        .unwrap_or(0);
    let mut body = vec![0; length];
    reader.read_exact(&mut body).ok()?;
    Some(Asked {
        at: Instant::now(),
        method,
        path,
        headers,
        body: serde_json::from_slice(&body).unwrap_or(Value::Null),
    })
}

/// Sends a whole answer.
pub fn answer(stream: &mut TcpStream, status: &str, headers: &str, body: &str) {
    let length = body.len();
    let head = format!(
        "HTTP/1.1 {status}\r\nconnection: close\r\ncontent-length: {length}\r\n{headers}\r\n"
    );
    let _ = stream.write_all(format!("{head}{body}").as_bytes());
}

/// Sends a result as JSON.
pub fn result(stream: &mut TcpStream, asked: &Asked, result: Value) {
    let body = json!({"jsonrpc": "2.0", "id": asked.id(), "result": result}).to_string();
    answer(
        stream,
        "200 OK",
        "content-type: application/json\r\n",
        &body,
    );
}

/// Begins an event stream, whose end is told from a loss: it is sent in chunks.
pub fn begin_events(stream: &mut TcpStream) {
    let head = "HTTP/1.1 200 OK\r\nconnection: close\r\ncontent-type: text/event-stream\r\n\
                transfer-encoding: chunked\r\n\r\n";
    let _ = stream.write_all(head.as_bytes());
}

/// Sends text on an event stream; false where nobody reads it any more.
pub fn send(stream: &mut TcpStream, text: &str) -> bool {
    let chunk = format!("{:x}\r\n{text}\r\n", text.len());
    stream.write_all(chunk.as_bytes()).is_ok()
}

/// Sends a message as an event.
pub fn event(stream: &mut TcpStream, message: &Value) -> bool {
    send(stream, &format!("event: message\ndata: {message}\n\n"))
}

/// Ends an event stream as it should end.
pub fn end_events(stream: &mut TcpStream) {
    let _ = stream.write_all(b"0\r\n\r\n");
}

/// The session that serves everybody.
const BASE: &str = "base";

/// Answers what every older server is asked: false where it was something else.
pub fn older(asked: &Asked, stream: &mut TcpStream, capabilities: Value) -> bool {
    match (asked.method.as_str(), asked.rpc()) {
        ("POST", "initialize") => {
            let body = json!({"jsonrpc": "2.0", "id": asked.id(), "result": {
                "protocolVersion": "2025-11-25", "capabilities": capabilities,
                "serverInfo": {"name": "script", "version": "1"},
            }});
            let session = if asked.is_base() { BASE } else { "own" };
            let headers =
                format!("content-type: application/json\r\nmcp-session-id: {session}\r\n");
            answer(stream, "200 OK", &headers, &body.to_string());
        }
        ("POST", "server/discover") => {
            answer(stream, "400 Bad Request", "", "what?");
        }
        ("POST", "tools/list") => {
            let tool = json!({"name": "work", "inputSchema": {"type": "object"}});
            result(stream, asked, json!({ "tools": [tool] }));
        }
        ("POST", "resources/list") => {
            let all = ["x:a", "x:b"].map(|uri| json!({"name": uri, "uri": uri}));
            result(stream, asked, json!({ "resources": all }));
        }
        ("POST", "resources/templates/list") => {
            result(stream, asked, json!({"resourceTemplates": []}));
        }
        ("POST", method) if method.starts_with("notifications/") => {
            answer(stream, "202 Accepted", "", "");
        }
        ("DELETE", _) => answer(stream, "200 OK", "", ""),
        _ => return false,
    }
    true
}
