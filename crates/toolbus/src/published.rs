//! The audit on the mesh: each record of the file is also appended to a stream, where it outlives this machine.
//!
//! The file is the spool. How far it was sent stands beside it, so that nothing is left out while the mesh is away, and
//! each record has its call's id, by which the stream knows what it has already.

use std::fs::{self, File};
use std::io::{self, BufRead, BufReader, Seek, SeekFrom};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use serde::Deserialize;
use tokio::sync::watch;
use tokio::time::sleep;
use toolbus_mesh::bus::{Bus, BusError, Headers, Message};
use toolbus_mesh::subject::{Subjects, Work};
use toolbus_model::{Method, ServerName};

use crate::house::Standing;

/// How often the file is looked at.
const LOOK_EVERY: Duration = Duration::from_secs(1);

/// How long to wait after the stream could not be reached.
const RETRY: Duration = Duration::from_secs(5);

/// The most records that are read at once.
const BATCH: usize = 1_000;

/// By this header a stream drops what it has already (NATS, "Message Deduplication").
const MESSAGE_ID: &str = "Nats-Msg-Id";

/// Sends the records of a file to a stream.
struct Published {
    file: PathBuf,
    place: PathBuf,
    bus: Arc<dyn Bus>,
    subjects: Subjects,
}

/// What is read of a line.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Line<'a> {
    event: &'a str,
    call_id: &'a str,
    #[serde(default)]
    method: String,
    server: Option<String>,
    name: Option<String>,
    #[serde(default)]
    outcome: String,
}

/// Sends the records of a file on, as soon as there is a mesh and for as long as this is polled.
pub(crate) async fn follow(file: PathBuf, mut mesh: watch::Receiver<Standing>) {
    let Ok(Standing::In(mesh)) = mesh
        .wait_for(|standing| matches!(standing, Standing::In(_)))
        .await
        .map(|standing| standing.clone())
    else {
        return;
    };
    let published = Published::new(&file, Arc::clone(mesh.bus()), mesh.subjects().clone());
    let mut has_told = false;
    loop {
        match published.send_on().await {
            Ok(0) => sleep(LOOK_EVERY).await,
            Ok(_) => has_told = false,
            Err(error) => {
                if !std::mem::replace(&mut has_told, true) {
                    tracing::warn!("the audit cannot be sent to the mesh for now: {error}");
                }
                sleep(RETRY).await;
            }
        }
    }
}

impl Published {
    fn new(file: &Path, bus: Arc<dyn Bus>, subjects: Subjects) -> Self {
        let mut place = file.as_os_str().to_owned();
        place.push(".sent");
        Self {
            file: file.to_owned(),
            place: place.into(),
            bus,
            subjects,
        }
    }

    /// Sends the next lines. Answers how many were read.
    async fn send_on(&self) -> Result<usize, BusError> {
        let from = self.sent();
        let (lines, length) = self.lines(from).map_err(|error| self.trouble(&error))?;
        if length < from {
            // Another file is in its place.
            self.keep(0)?;
        }
        if lines.is_empty() {
            return Ok(0);
        }
        let (count, mut end) = (lines.len(), from);
        let (stream, subjects) = (self.subjects.bucket("AUDIT"), self.subjects.audit_all());
        for line in lines {
            end += line.len() as u64;
            if let Some(message) = self.message(&line) {
                let sent = self.bus.append(&stream, &subjects, message);
                if let Err(error) = sent.await {
                    self.keep(end - line.len() as u64)?;
                    return Err(error);
                }
            }
        }
        self.keep(end)?;
        Ok(count)
    }

    fn sent(&self) -> u64 {
        let text = fs::read_to_string(&self.place).unwrap_or_default();
        text.trim().parse().unwrap_or_default()
    }

    fn keep(&self, sent: u64) -> Result<(), BusError> {
        fs::write(&self.place, sent.to_string()).map_err(|error| self.trouble(&error))
    }

    fn trouble(&self, error: &io::Error) -> BusError {
        BusError(format!("{}: {error}", self.file.display()))
    }

    /// Whole lines from a place on, with their ends, and the length of the file.
    fn lines(&self, from: u64) -> io::Result<(Vec<String>, u64)> {
        let mut file = File::open(&self.file)?;
        let length = file.metadata()?.len();
        file.seek(SeekFrom::Start(from))?;
        let mut reader = BufReader::new(file);
        let mut lines = Vec::new();
        while lines.len() < BATCH {
            let mut line = String::new();
            if reader.read_line(&mut line)? == 0 || !line.ends_with('\n') {
                break;
            }
            lines.push(line);
        }
        Ok((lines, length))
    }

    /// The message of a record. Opening lines are none.
    fn message(&self, line: &str) -> Option<Message> {
        let read: Line<'_> = serde_json::from_str(line).ok()?;
        if read.event != "call" {
            return None;
        }
        let server = ServerName::from_foreign(read.server.as_deref().unwrap_or("_"));
        let method = Method::parse(&read.method);
        let work = Work::of(&server, &method, read.name.as_deref());
        let outcome = match read.outcome.as_str() {
            "ok" | "input_required" | "task" | "extended" => "ok",
            "outcome_unknown" => "unknown",
            _ => "err",
        };
        let mut headers = Headers::default();
        headers.put(MESSAGE_ID, read.call_id.to_owned());
        Some(Message {
            subject: self.subjects.audit(&work, outcome),
            headers,
            payload: line.trim_end().to_owned().into(),
            ..Message::default()
        })
    }
}

#[cfg(test)]
mod tests {
    use std::io::Write as _;

    use toolbus_mesh::bus::local::LocalBus;
    use toolbus_mesh::subject::NO_TENANT;

    use super::*;

    fn record(id: &str, outcome: &str) -> String {
        format!(
            r#"{{"event":"call","callId":"{id}","method":"tools/call","server":"math","name":"add","outcome":"{outcome}"}}"#
        )
    }

    #[tokio::test]
    async fn each_record_is_sent_once_and_goes_on_where_it_was() {
        let folder = tempfile::tempdir().expect("a folder");
        let file = folder.path().join("audit.jsonl");
        let bus = LocalBus::new();
        let mut all = bus
            .subscribe("toolbus.v1.audit.>", None, 16)
            .await
            .expect("heard");
        let subjects = Subjects::new("toolbus", NO_TENANT).expect("fits");
        let published = || Published::new(&file, bus.clone(), subjects.clone());
        let opening = r#"{"event":"open","callId":"1","method":"tools/call"}"#;
        let half = r#"{"event":"call","#;
        let lines = [
            opening,
            &record("1", "ok"),
            &record("2", "outcome_unknown"),
            half,
        ];
        std::fs::write(&file, lines.join("\n")).expect("written");
        assert_eq!(published().send_on().await, Ok(3));
        let (first, second) = (
            all.next().await.expect("one"),
            all.next().await.expect("two"),
        );
        assert_eq!(first.subject, "toolbus.v1.audit._.math=2Eadd.ok");
        assert_eq!(first.headers.get(MESSAGE_ID), Some("1"));
        assert_eq!(first.payload, record("1", "ok"));
        assert_eq!(second.subject, "toolbus.v1.audit._.math=2Eadd.unknown");
        // As after a restart.
        assert_eq!(published().send_on().await, Ok(0));
        let mut again = File::options().append(true).open(&file).expect("opened");
        let rest = record("3", "tool_error").replace(half, "");
        writeln!(again, "{rest}").expect("written");
        assert_eq!(published().send_on().await, Ok(1));
        let third = all.next().await.expect("three");
        assert_eq!(third.subject, "toolbus.v1.audit._.math=2Eadd.err");
        assert_eq!(third.payload, record("3", "tool_error"));
        // A file in its place begins anew.
        std::fs::write(&file, record("4", "ok") + "\n").expect("written");
        assert_eq!(published().send_on().await, Ok(0));
        assert_eq!(published().send_on().await, Ok(1));
    }
}
