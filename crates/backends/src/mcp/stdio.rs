//! A server as a child process: one message per line on its stdin and stdout.

use std::sync::Arc;
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncReadExt};
use tokio::time::timeout;
use tokio_util::task::TaskTracker;
use toolbus_model::{Cause, Error};

use super::line_link::{CLOSE_WITHIN, LineLink};
use super::news::News;
use crate::process::{Child, Command, Ended, Streams, Tail};

/// How long the last words of an ended child are waited for.
const LAST_WORDS: Duration = Duration::from_millis(300);

/// Starts a server.
pub(super) async fn start(
    command: &Command,
    news: &Arc<News>,
    tasks: &TaskTracker,
) -> Result<Arc<LineLink>, Error> {
    let shown = command.shown();
    let failed = |error: std::io::Error| {
        let cause = Cause {
            command: Some(Arc::clone(&shown)),
            remedy: Some("check the command, its PATH and its working folder".to_owned()),
            ..Cause::new(format!("the server could not be started: {error}"))
        };
        Error::Unavailable(cause.into())
    };
    let (child, streams) = command.start().await.map_err(failed)?;
    let Streams {
        stdin,
        stdout,
        stderr,
        unread,
    } = streams;
    let (link, letters) = LineLink::new(shown, "the process is still running", news);
    let writer = Arc::clone(&link);
    tasks.spawn(async move { writer.write_all(stdin, letters).await });
    let words = tasks.spawn(listen(stderr, link.stderr.clone(), link.address()));
    let run = Arc::clone(&link);
    tasks.spawn(async move {
        let (what, ended) = read_all(&run, child, stdout).await;
        let _ = timeout(LAST_WORDS, words).await;
        run.bury(what, &ended.to_string(), unread.bytes());
    });
    Ok(link)
}

/// Reads until the child ends or has to be ended; says why, and how it ended.
async fn read_all(
    link: &LineLink,
    mut child: Child,
    stdout: impl AsyncRead + Unpin,
) -> (String, Ended) {
    if let Some(what) = link.read_all(stdout).await {
        return (what, child.end().await);
    }
    match timeout(CLOSE_WITHIN, child.ended()).await {
        Ok(ended) => ("the server process ended".to_owned(), ended),
        Err(_) => (
            "the server closed its stdout and was ended for it".to_owned(),
            child.end().await,
        ),
    }
}

async fn listen(mut stderr: impl AsyncRead + Unpin, tail: Tail, command: Arc<str>) {
    let mut buffer = vec![0; 4096];
    while let Ok(count @ 1..) = stderr.read(&mut buffer).await {
        tail.push(&buffer[..count]);
        tracing::debug!(command = &*command, stderr = %String::from_utf8_lossy(&buffer[..count]).trim_end());
    }
}
