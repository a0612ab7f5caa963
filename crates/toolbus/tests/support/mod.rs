//! A running gateway for tests, and a plain HTTP client that sends exactly the bytes it is given.
#![allow(
    dead_code,
    unreachable_pub,
    reason = "each test file uses its own part"
)]

pub mod events;
pub mod listener;
pub mod mesh;
pub mod place;
pub mod script;
pub mod upstream;

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::OnceLock;
use std::time::{Duration, Instant};

use serde_json::{Value, json};
use tempfile::TempDir;

/// Nothing in these tests takes longer than this unless it hangs.
pub const PATIENCE: Duration = Duration::from_secs(30);

/// The program under test.
pub fn toolbus() -> &'static str {
    env!("CARGO_BIN_EXE_toolbus")
}

/// A program of the testkit, built where it is missing.
pub fn testkit(name: &str) -> String {
    static BUILT: OnceLock<()> = OnceLock::new();
    let path = Path::new(toolbus()).with_file_name(name);
    BUILT.get_or_init(|| {
        if !path.exists() {
            let cargo = std::env::var("CARGO").unwrap_or_else(|_| "cargo".to_owned());
            let built = Command::new(cargo)
                .args(["build", "--quiet", "-p", "toolbus-testkit", "--bins"])
                .status();
            assert!(
                built.is_ok_and(|status| status.success()),
                "the testkit can be built"
            );
        }
    });
    path.to_str().expect("a path of UTF-8").to_owned()
}

/// `toolbus up` with a configuration, in a folder of its own.
pub struct Gateway {
    pub child: Child,
    pub address: SocketAddr,
    pub folder: TempDir,
}

impl Gateway {
    /// Starts a gateway; `config` is what stands below `[gateway] listen = ...`.
    pub fn start(config: &str) -> Self {
        Self::start_with("", config)
    }

    /// [`Gateway::start`] with lines for the `[gateway]` section.
    pub fn start_with(gateway: &str, config: &str) -> Self {
        Self::run(&format!(
            "[gateway]\nlisten = \"127.0.0.1:0\"\n{gateway}\n{config}"
        ))
    }

    /// [`Gateway::start`] on all addresses of this machine.
    pub fn start_public(config: &str) -> Self {
        Self::run(&format!("[gateway]\nlisten = \"0.0.0.0:0\"\n{config}"))
    }

    fn run(config: &str) -> Self {
        let folder = tempfile::tempdir().expect("a folder");
        let file = folder.path().join("toolbus.toml");
        std::fs::write(&file, config).expect("written");
        Self::in_folder(folder)
    }

    /// Stops the gateway and starts another one with what the first has left behind.
    pub fn again(mut self) -> Self {
        assert_eq!(self.stop(), Some(0));
        let empty = tempfile::tempdir().expect("a folder");
        Self::in_folder(std::mem::replace(&mut self.folder, empty))
    }

    /// Writes the configuration anew, as most editors do: aside, and then in place.
    pub fn configure(&self, config: &str) {
        self.write(&format!("[gateway]\nlisten = \"127.0.0.1:0\"\n{config}"));
    }

    /// [`Gateway::configure`] with the whole text.
    pub fn write(&self, text: &str) {
        let file = self.folder.path().join("toolbus.toml");
        let aside = file.with_extension("new");
        std::fs::write(&aside, text).expect("written");
        std::fs::rename(aside, file).expect("in place");
    }

    fn in_folder(folder: TempDir) -> Self {
        let file = folder.path().join("toolbus.toml");
        let log = std::fs::File::create(folder.path().join("log")).expect("a log");
        let mut child = command(folder.path())
            .arg("up")
            .arg(&file)
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(log)
            .spawn()
            .expect("toolbus starts");
        let mut line = String::new();
        let stdout = child.stdout.take().expect("a pipe");
        BufReader::new(stdout).read_line(&mut line).expect("a line");
        let address = line
            .trim()
            .strip_prefix("http://")
            .and_then(|rest| rest.strip_suffix("/mcp"));
        let address = address
            .unwrap_or_else(|| panic!("no URL but {line:?}"))
            .parse()
            .expect("an address");
        let gateway = Self {
            child,
            address,
            folder,
        };
        wait_for("the servers have answered", || {
            gateway.get("/ready").status == 200
        });
        gateway
    }

    /// A configuration's section for a server of the testkit on stdio.
    pub fn server(name: &str, program: &str, arguments: &[&str]) -> String {
        let command: Vec<String> = std::iter::once(testkit(program))
            .chain(arguments.iter().map(|a| (*a).to_owned()))
            .collect();
        format!("[servers.{name}.stdio]\ncommand = {}\n", json!(command))
    }

    pub fn get(&self, path: &str) -> Answer {
        self.send(
            format!("GET {path} HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\n\r\n")
                .as_bytes(),
        )
    }

    /// Sends raw bytes and reads the answer to its end.
    pub fn send(&self, bytes: &[u8]) -> Answer {
        self.send_within(bytes, PATIENCE)
    }

    /// [`Gateway::send`] for an answer that may be silent for longer.
    pub fn send_within(&self, bytes: &[u8], patience: Duration) -> Answer {
        let mut stream = self.connect();
        stream.set_read_timeout(Some(patience)).expect("a timeout");
        stream.write_all(bytes).expect("sent");
        let mut text = Vec::new();
        let _ = stream.read_to_end(&mut text);
        Answer::parse(&text)
    }

    pub fn connect(&self) -> TcpStream {
        let stream = TcpStream::connect(self.address).expect("a connection");
        stream.set_read_timeout(Some(PATIENCE)).expect("a timeout");
        stream
    }

    /// A modern request with the headers that belong to it.
    pub fn modern(&self, path: &str, method: &str, params: Value) -> Answer {
        self.send(&modern_request(path, method, params))
    }

    /// Calls a tool in the modern era.
    pub fn call(&self, tool: &str, arguments: Value) -> Answer {
        self.modern(
            "/mcp",
            "tools/call",
            json!({"name": tool, "arguments": arguments}),
        )
    }

    /// The tools that are listed at a path.
    pub fn tools(&self, path: &str) -> Vec<String> {
        let answer = self.modern(path, "tools/list", json!({})).json();
        let tools = answer["result"]["tools"].as_array().cloned();
        let name = |tool: Value| tool["name"].as_str().unwrap_or_default().to_owned();
        tools.unwrap_or_default().into_iter().map(name).collect()
    }

    /// How many calls the process of a `faulty` server has received, this one included.
    pub fn count(&self, server: &str) -> u64 {
        let path = format!("/servers/{server}/mcp");
        let answer = self.modern(&path, "tools/call", json!({"name": "count"}));
        let text = answer.json()["result"]["content"][0]["text"].clone();
        let number = text.as_str().and_then(|text| text.parse().ok());
        number.unwrap_or_else(|| panic!("no count: {}", answer.text()))
    }

    /// The servers' processes whose command line has this in it.
    pub fn processes(&self, part: &str) -> usize {
        let line = |pid: &u32| std::fs::read(format!("/proc/{pid}/cmdline")).unwrap_or_default();
        descendants(self.child.id())
            .iter()
            .map(line)
            .map(|line| String::from_utf8_lossy(&line).replace('\0', " "))
            .filter(|line| line.contains(part) && !line.contains(" warden "))
            .count()
    }

    /// The state of a server, as `/ready` tells it.
    pub fn state(&self, server: &str) -> String {
        let state = self.get("/ready").json()["servers"][server].clone();
        state.as_str().unwrap_or_default().to_owned()
    }

    /// The lines of the audit that are records.
    pub fn records(&self) -> Vec<Value> {
        let path = self.folder.path().join("toolbus/audit.jsonl");
        let text = std::fs::read_to_string(path).unwrap_or_default();
        let lines = text
            .lines()
            .filter_map(|line| serde_json::from_str::<Value>(line).ok());
        lines.filter(|line| line["event"] == "call").collect()
    }

    pub fn log(&self) -> String {
        std::fs::read_to_string(self.folder.path().join("log")).unwrap_or_default()
    }

    /// Asks the gateway to stop and waits for it.
    pub fn stop(&mut self) -> Option<i32> {
        let pid = self.child.id().to_string();
        let _ = Command::new("kill").args(["-TERM", &pid]).status();
        wait_for("the gateway ends", || {
            self.child.try_wait().expect("a status").is_some()
        });
        self.child.wait().expect("a status").code()
    }
}

impl Drop for Gateway {
    fn drop(&mut self) {
        if std::thread::panicking() {
            // What the gateway said belongs to a failed test's output.
            let _ = writeln!(
                std::io::stderr(),
                "--- the gateway's log ---\n{}",
                self.log()
            );
        }
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// A process that ends with the test, also with a failed one.
pub struct Owned(pub Child);

impl std::ops::Deref for Owned {
    type Target = Child;

    fn deref(&self) -> &Child {
        &self.0
    }
}

impl std::ops::DerefMut for Owned {
    fn deref_mut(&mut self) -> &mut Child {
        &mut self.0
    }
}

impl Drop for Owned {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// `toolbus` with state of its own.
pub fn command(state: &Path) -> Command {
    let mut command = Command::new(toolbus());
    command
        .env("XDG_STATE_HOME", state)
        .env_remove("TOOLBUS_TOKEN");
    command
}

/// An HTTP answer.
#[derive(Debug, Clone)]
pub struct Answer {
    pub status: u16,
    pub headers: Vec<(String, String)>,
    pub body: Vec<u8>,
}

impl Answer {
    fn parse(bytes: &[u8]) -> Self {
        let Some(end) = bytes.windows(4).position(|window| window == b"\r\n\r\n") else {
            return Self {
                status: 0,
                headers: Vec::new(),
                body: bytes.to_vec(),
            };
        };
        let head = String::from_utf8_lossy(&bytes[..end]).into_owned();
        let mut lines = head.lines();
        let status = lines
            .next()
            .and_then(|line| line.split(' ').nth(1)?.parse().ok())
            .unwrap_or(0);
        let headers: Vec<(String, String)> = lines
            .filter_map(|line| line.split_once(':'))
            .map(|(name, value)| (name.to_ascii_lowercase(), value.trim().to_owned()))
            .collect();
        let body = &bytes[end + 4..];
        let chunked = headers
            .iter()
            .any(|(name, value)| name == "transfer-encoding" && value == "chunked");
        let body = if chunked {
            unchunk(body)
        } else {
            body.to_vec()
        };
        Self {
            status,
            headers,
            body,
        }
    }

    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers
            .iter()
            .find(|(known, _)| known == name)
            .map(|(_, value)| value.as_str())
    }

    pub fn text(&self) -> String {
        String::from_utf8_lossy(&self.body).into_owned()
    }

    /// The body as JSON; of an event stream the last message.
    pub fn json(&self) -> Value {
        self.messages().pop().unwrap_or(Value::Null)
    }

    /// All messages of the body.
    pub fn messages(&self) -> Vec<Value> {
        if self.header("content-type") != Some("text/event-stream") {
            return serde_json::from_slice(&self.body).into_iter().collect();
        }
        let text = self.text();
        let data = text.lines().filter_map(|line| line.strip_prefix("data: "));
        data.map(|data| serde_json::from_str(data).expect("JSON in an event"))
            .collect()
    }
}

fn unchunk(mut body: &[u8]) -> Vec<u8> {
    let mut out = Vec::new();
    while let Some(end) = body.windows(2).position(|window| window == b"\r\n") {
        let size =
            usize::from_str_radix(String::from_utf8_lossy(&body[..end]).trim(), 16).unwrap_or(0);
        let start = end + 2;
        if size == 0 || body.len() < start + size {
            break;
        }
        out.extend_from_slice(&body[start..start + size]);
        body = &body[(start + size + 2).min(body.len())..];
    }
    out
}

/// The `_meta` of a modern request.
pub fn meta() -> Value {
    json!({
        "io.modelcontextprotocol/protocolVersion": "2026-07-28",
        "io.modelcontextprotocol/clientCapabilities": {},
        "io.modelcontextprotocol/clientInfo": {"name": "test", "version": "1"},
    })
}

/// A modern request as bytes, with the headers that belong to it.
pub fn modern_request(path: &str, method: &str, mut params: Value) -> Vec<u8> {
    let mut meta = meta();
    if let (Some(meta), Some(given)) = (meta.as_object_mut(), params["_meta"].as_object()) {
        meta.extend(given.clone());
    }
    let name = params
        .get("name")
        .or(params.get("uri"))
        .and_then(Value::as_str)
        .map(str::to_owned);
    params["_meta"] = meta;
    let body = json!({"jsonrpc": "2.0", "id": 1, "method": method, "params": params}).to_string();
    let name = name
        .map(|name| format!("mcp-name: {name}\r\n"))
        .unwrap_or_default();
    post(
        path,
        &format!("mcp-protocol-version: 2026-07-28\r\nmcp-method: {method}\r\n{name}"),
        &body,
    )
}

/// A POST with the headers every client sends, and these.
pub fn post(path: &str, headers: &str, body: &str) -> Vec<u8> {
    format!(
        "POST {path} HTTP/1.1\r\nhost: localhost\r\ncontent-type: application/json\r\n\
         accept: application/json, text/event-stream\r\nconnection: close\r\n{headers}content-length: {}\r\n\r\n{body}",
        body.len()
    )
    .into_bytes()
}

/// A legacy session.
pub struct Session<'g> {
    gateway: &'g Gateway,
    pub id: String,
    revision: &'static str,
}

impl<'g> Session<'g> {
    pub fn open(gateway: &'g Gateway) -> Self {
        Self::open_as(gateway, "2025-11-25", json!({}))
    }

    /// A session of this revision, for a client with these capabilities.
    pub fn open_as(gateway: &'g Gateway, revision: &'static str, capabilities: Value) -> Self {
        let params = json!({
            "protocolVersion": revision, "capabilities": capabilities, "clientInfo": {"name": "test", "version": "1"},
        });
        let body = json!({"jsonrpc": "2.0", "id": 0, "method": "initialize", "params": params})
            .to_string();
        let answer = gateway.send(&post("/mcp", "", &body));
        assert_eq!(answer.status, 200, "{}", answer.text());
        let id = answer
            .header("mcp-session-id")
            .expect("a session id")
            .to_owned();
        let opened = &answer.json()["result"]["protocolVersion"];
        assert_eq!(opened, revision);
        Self {
            gateway,
            id,
            revision,
        }
    }

    pub fn headers(&self) -> String {
        format!(
            "mcp-session-id: {}\r\nmcp-protocol-version: {}\r\n",
            self.id, self.revision
        )
    }

    pub fn send(&self, body: &Value) -> Answer {
        self.gateway
            .send(&post("/mcp", &self.headers(), &body.to_string()))
    }

    pub fn ask(&self, method: &str, params: Value) -> Answer {
        self.send(&json!({"jsonrpc": "2.0", "id": 1, "method": method, "params": params}))
    }
}

/// Waits until something holds.
pub fn wait_for(what: &str, mut holds: impl FnMut() -> bool) {
    let until = Instant::now() + PATIENCE;
    while !holds() {
        assert!(Instant::now() < until, "in vain: {what}");
        std::thread::sleep(Duration::from_millis(10));
    }
}

/// A process of this id runs. A zombie does not, once all its threads are: until then one of them can still read.
pub fn is_running(pid: u32) -> bool {
    let threads = std::fs::read_dir(format!("/proc/{pid}/task"))
        .into_iter()
        .flatten()
        .flatten();
    threads
        .map(|thread| std::fs::read_to_string(thread.path().join("stat")).unwrap_or_default())
        .any(|stat| {
            let state = stat
                .rsplit_once(") ")
                .and_then(|(_, rest)| rest.chars().next());
            state.is_some_and(|state| state != 'Z' && state != 'X')
        })
}

/// The processes that descend from one.
pub fn descendants(pid: u32) -> Vec<u32> {
    let mut found = vec![pid];
    let mut at = 0;
    while at < found.len() {
        let tasks = std::fs::read_dir(format!("/proc/{}/task", found[at]))
            .into_iter()
            .flatten()
            .flatten();
        for task in tasks {
            let children =
                std::fs::read_to_string(task.path().join("children")).unwrap_or_default();
            found.extend(
                children
                    .split_whitespace()
                    .filter_map(|pid| pid.parse::<u32>().ok()),
            );
        }
        at += 1;
    }
    found.split_off(1)
}

/// A path as text.
pub fn text(path: &Path) -> String {
    path.to_str().expect("UTF-8").to_owned()
}

/// A path of the workspace.
pub fn workspace(path: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("../..")
        .join(path)
}
