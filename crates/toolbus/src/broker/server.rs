//! One run of nats-server, as a child of ours.

use std::fs::{self, OpenOptions};
use std::io::Write as _;
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};
use std::time::Duration;

use serde::Deserialize;
use tokio::net::TcpStream;
use tokio::time::{Instant, sleep};
use toolbus_backends::process::{Child, Command, Tail};

/// How long it may take to say where it listens. It takes some ten milliseconds; more where it reads much from its store.
const LISTENS_WITHIN: Duration = Duration::from_secs(15);

/// How long one that was kept before may take to end.
const GONE_WITHIN: Duration = Duration::from_secs(5);

/// How often it is looked whether something has come to be.
const LOOK: Duration = Duration::from_millis(3);

/// A nats-server that runs.
pub(super) struct Server {
    pub(super) child: Child,
    pub(super) last_words: Tail,
    pub(super) port: u16,
}

/// What the server writes about where it listens.
#[derive(Deserialize)]
struct Ports {
    nats: Vec<String>,
}

impl Server {
    /// Starts it, on a port of its choice where none is given, and waits until it listens.
    pub(super) async fn start(
        binary: &Path,
        folder: &Path,
        token: &str,
        port: Option<u16>,
    ) -> Result<Self, String> {
        let config = write_config(folder, token, port)?;
        let command = Command {
            line: vec![
                binary.display().to_string(),
                "-c".into(),
                config.display().to_string(),
            ],
            ..Command::default()
        };
        forget_ports(folder);
        let started = command.start_alone().await;
        let (mut child, last_words) =
            started.map_err(|error| format!("{} cannot be started: {error}", binary.display()))?;
        tokio::select! {
            port = listens(folder) => Ok(Self { child, last_words, port: port? }),
            ended = child.ended() => Err(format!("nats-server: {ended}{}", said(&last_words))),
        }
    }
}

/// Its last words, as part of a sentence.
pub(super) fn said(tail: &Tail) -> String {
    let text = tail.text().unwrap_or_default();
    let last = text
        .lines()
        .rfind(|line| line.contains("[FTL]") || line.contains("[ERR]"));
    let last = last.or(text.lines().next_back());
    last.map_or_else(String::new, |line| format!("; it said: {line}"))
}

/// Waits until nothing listens at a port any more. False where something else keeps on listening there.
pub(super) async fn is_free(port: u16) -> bool {
    let until = Instant::now() + GONE_WITHIN;
    while TcpStream::connect(("127.0.0.1", port)).await.is_ok() {
        if Instant::now() > until {
            return false;
        }
        sleep(Duration::from_millis(50)).await;
    }
    true
}

fn write_config(folder: &Path, token: &str, port: Option<u16>) -> Result<PathBuf, String> {
    let path = folder.join("nats.conf");
    let port = port.map_or_else(|| "-1".to_owned(), |port| port.to_string());
    // JSON's strings are strings of this format as well. The limits: what the buckets and streams of one mesh reserve, and
    // as much again.
    let quoted = |text: &str| serde_json::Value::from(text).to_string();
    let place = quoted(&folder.display().to_string());
    let text = format!(
        "# Written by toolbus at each start.\n\
         server_name: toolbus\n\
         listen: \"127.0.0.1:{port}\"\n\
         ports_file_dir: {place}\n\
         authorization {{ token: {} }}\n\
         jetstream {{ store_dir: {place}, max_memory_store: 64M, max_file_store: 4G }}\n",
        quoted(token)
    );
    let write = || {
        let mut options = OpenOptions::new();
        let options = options.write(true).create(true).truncate(true).mode(0o600);
        options.open(&path)?.write_all(text.as_bytes())
    };
    write().map_err(|error| format!("{} cannot be written: {error}", path.display()))?;
    Ok(path)
}

fn ports_files(folder: &Path) -> impl Iterator<Item = PathBuf> {
    let entries = fs::read_dir(folder).into_iter().flatten().flatten();
    let paths = entries.map(|entry| entry.path());
    paths.filter(|path| {
        path.extension()
            .is_some_and(|extension| extension == "ports")
    })
}

/// One that was killed leaves its file behind.
fn forget_ports(folder: &Path) {
    for path in ports_files(folder) {
        let _ = fs::remove_file(path);
    }
}

async fn listens(folder: &Path) -> Result<u16, String> {
    let until = Instant::now() + LISTENS_WITHIN;
    while Instant::now() < until {
        if let Some(port) = ports_files(folder).find_map(|path| read_port(&path)) {
            return Ok(port);
        }
        sleep(LOOK).await;
    }
    Err(format!(
        "nats-server does not listen after {} s",
        LISTENS_WITHIN.as_secs()
    ))
}

fn read_port(path: &Path) -> Option<u16> {
    let ports: Ports = serde_json::from_slice(&fs::read(path).ok()?).ok()?;
    ports.nats.first()?.rsplit(':').next()?.parse().ok()
}
