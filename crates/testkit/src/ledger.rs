//! A stdio server that writes down each execution before it does its work: the witness of what ran how often.

mod message;

use std::collections::HashMap;
use std::fs::{File, OpenOptions};
use std::io::{self, Write as _};
use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tokio::io::{AsyncBufRead, AsyncBufReadExt as _, AsyncWrite, AsyncWriteExt as _};
use tokio::sync::{Semaphore, mpsc};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use message::{Asked, Work};

/// Answers that wait for a slow reader before calls have to wait too.
const LINES_QUEUED: usize = 256;

/// Calls at once: more than all callers of a run together, so that never this server is the limit.
const AT_ONCE: usize = 1024;

/// Calls that are at work, each with the way to stop it.
type Running = Arc<Mutex<HashMap<String, CancellationToken>>>;

/// Serves stdin and stdout until stdin ends, and appends the id of each execution to this file.
pub async fn serve(log: &Path) -> io::Result<()> {
    let log = OpenOptions::new().create(true).append(true).open(log)?;
    let input = tokio::io::BufReader::new(tokio::io::stdin());
    serve_lines(log, input, tokio::io::stdout()).await
}

/// The same on any pair of streams.
pub async fn serve_lines(
    log: File,
    mut input: impl AsyncBufRead + Unpin,
    output: impl AsyncWrite + Unpin + Send + 'static,
) -> io::Result<()> {
    let (lines, queue) = mpsc::channel(LINES_QUEUED);
    let (tasks, running) = (TaskTracker::new(), Running::default());
    let room = Arc::new(Semaphore::new(AT_ONCE));
    tasks.spawn(write_lines(queue, output));
    let mut line = Vec::new();
    while input.read_until(b'\n', &mut line).await? > 0 {
        match message::read(&line) {
            Some(Asked::Answer(answer)) => send(&lines, answer).await,
            Some(Asked::Cancel(id)) => {
                if let Some(token) = lock(&running).remove(&id) {
                    token.cancel();
                }
            }
            Some(Asked::Work(work)) => {
                let Ok(place) = Arc::clone(&room).acquire_owned().await else {
                    break;
                };
                write_down(&log, &work)?;
                let stop = CancellationToken::new();
                lock(&running).insert(work.id.clone(), stop.clone());
                let (lines, running) = (lines.clone(), Arc::clone(&running));
                tasks.spawn(async move {
                    let answer = do_work(&work, &stop).await;
                    lock(&running).remove(&work.id);
                    if let Some(answer) = answer {
                        send(&lines, answer).await;
                    }
                    drop(place);
                });
            }
            None => {}
        }
        line.clear();
    }
    drop(lines); // the writer ends with the last call
    tasks.close();
    tasks.wait().await;
    Ok(())
}

/// One write of one line, in the kernel before the work begins: what is killed right after it has still been seen.
fn write_down(mut log: &File, work: &Work) -> io::Result<()> {
    log.write_all(format!("{}\n", work.unique).as_bytes())
}

/// The answer; a cancelled request has none.
async fn do_work(work: &Work, stop: &CancellationToken) -> Option<String> {
    let stopped = !work.time.is_zero()
        && tokio::time::timeout(work.time, stop.cancelled())
            .await
            .is_ok();
    (!stopped).then(|| message::done(work))
}

async fn send(lines: &mpsc::Sender<String>, line: String) {
    // Only a closed output refuses it: the client is gone, and so is who wanted to know.
    let _ = lines.send(line).await;
}

async fn write_lines(mut queue: mpsc::Receiver<String>, mut output: impl AsyncWrite + Unpin) {
    while let Some(mut lines) = queue.recv().await {
        lines.push('\n');
        while let Ok(more) = queue.try_recv() {
            lines.push_str(&more);
            lines.push('\n');
        }
        if output.write_all(lines.as_bytes()).await.is_err() || output.flush().await.is_err() {
            return;
        }
    }
}

fn lock(running: &Running) -> std::sync::MutexGuard<'_, HashMap<String, CancellationToken>> {
    running.lock().unwrap_or_else(PoisonError::into_inner)
}

/// The longest that a call may ask for.
const LONGEST: Duration = Duration::from_secs(60);

#[cfg(test)]
mod tests;
