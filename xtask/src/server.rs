//! A server that a chore starts and always stops again: its URL is the first line that it writes.

use std::fs::{self, File};
use std::io::{BufRead as _, BufReader, Read as _};
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdout, Command, Stdio};
use std::sync::mpsc::{Receiver, sync_channel};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, anyhow, bail};
use rustix::process::{Pid, Signal, kill_process};

use crate::run::not_started;

/// How long a server may take to write its URL: a debug build on a busy machine needs a second or two.
const START: Duration = Duration::from_secs(20);

/// How long a server may take to end once it was asked to.
const STOP: Duration = Duration::from_secs(10);

/// A running server; it is killed when this is dropped.
pub(crate) struct Server {
    name: String,
    child: Child,
    url: String,
    log: PathBuf,
}

impl Server {
    /// Starts a server whose stderr goes to `{name}.log` in this folder, and waits for its URL.
    pub(crate) fn start(name: &str, command: &mut Command, folder: &Path) -> Result<Self> {
        let log = folder.join(format!("{name}.log"));
        let stderr =
            File::create(&log).with_context(|| format!("cannot write {}", log.display()))?;
        let mut child = command
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(stderr)
            .spawn()
            .map_err(|error| not_started(command, &error))?;
        let lines = child.stdout.take().map(first_line);
        let mut server = Self {
            name: name.to_owned(),
            child,
            url: String::new(),
            log,
        };
        let url = lines.and_then(|lines| lines.recv_timeout(START).ok());
        match url {
            Some(url) if url.starts_with("http://") => server.url = url,
            Some(line) => {
                return Err(server.failed(&format!("wrote {line:?} where its URL was due")));
            }
            None => {
                // What wrote nothing is mostly about to end: its status says more.
                server.ends_within(Duration::from_secs(1));
                return Err(server.failed("wrote no URL"));
            }
        }
        Ok(server)
    }

    /// The URL of its MCP endpoint.
    pub(crate) fn url(&self) -> &str {
        &self.url
    }

    /// The URL of another path on the same host and port.
    pub(crate) fn at(&self, path: &str) -> String {
        let host = self.url.split('/').nth(2).unwrap_or_default();
        format!("http://{host}{path}")
    }

    /// Its process id.
    pub(crate) fn pid(&self) -> u32 {
        self.child.id()
    }

    /// An error about this server, with the end of what it logged.
    pub(crate) fn failed(&mut self, what: &str) -> anyhow::Error {
        let log = fs::read_to_string(&self.log).unwrap_or_default();
        let lines: Vec<&str> = log.lines().collect();
        let tail = lines[lines.len().saturating_sub(20)..].join("\n");
        let state = match self.child.try_wait() {
            Ok(Some(status)) => format!("it ended with {status}"),
            _ => "it is running".to_owned(),
        };
        anyhow!("{} {what}; {state}; its log ends:\n{tail}", self.name)
    }

    /// Asks it to end and waits; one that does not is killed, which is an error.
    pub(crate) fn stop(mut self) -> Result<()> {
        self.ask_to_end();
        if !self.ends_within(STOP) {
            bail!(
                "{} did not end within {} s of SIGTERM",
                self.name,
                STOP.as_secs()
            );
        }
        Ok(())
    }

    fn ask_to_end(&self) {
        if let Some(pid) = i32::try_from(self.child.id()).ok().and_then(Pid::from_raw) {
            // It has ended by itself already: then there is nothing to ask.
            let _ = kill_process(pid, Signal::TERM);
        }
    }

    fn ends_within(&mut self, limit: Duration) -> bool {
        let begun = Instant::now();
        while begun.elapsed() < limit {
            if !matches!(self.child.try_wait(), Ok(None)) {
                return true;
            }
            thread::sleep(Duration::from_millis(10));
        }
        false
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        if matches!(self.child.try_wait(), Ok(None)) {
            self.ask_to_end();
            if !self.ends_within(STOP) {
                let _ = self.child.kill();
                let _ = self.child.wait();
            }
        }
    }
}

/// Reads on another thread, so that a server which says nothing can be given up, and one which goes on is not blocked.
fn first_line(stdout: ChildStdout) -> Receiver<String> {
    let (send, receive) = sync_channel(1);
    thread::spawn(move || {
        let mut stdout = BufReader::new(stdout);
        let mut line = String::new();
        if stdout.read_line(&mut line).is_ok_and(|length| length > 0) {
            let _ = send.send(line.trim_end().to_owned());
        }
        drop(send);
        let mut rest = [0; 4096];
        while stdout.read(&mut rest).is_ok_and(|length| length > 0) {}
    });
    receive
}
