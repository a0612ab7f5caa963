//! The stdio door: one client, one message per line on stdin and stdout, both eras in one process.

use std::sync::Arc;
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::sync::mpsc;
use tokio_util::task::TaskTracker;
use toolbus_gateway::{Gateway, Scope};
use toolbus_model::{Caller, Error};
use toolbus_protocol::lines::{Lines, frame};

use crate::conversation::{Conversation, Party};
use crate::legacy::Legacy;

/// Longest line that is read, in bytes.
const MAX_LINE: usize = 10 * 1024 * 1024;

/// Messages waiting to be written. A client that does not read makes its own calls wait.
const OUTBOX: usize = 64;

/// How long calls in flight may take after the client has closed our stdin, and the last messages to be written.
const FINISH_WITHIN: Duration = Duration::from_secs(2);

/// Serves one client on a pair of streams until it closes its end.
pub async fn serve(
    gateway: Arc<Gateway>,
    mut input: impl AsyncRead + Unpin,
    output: impl AsyncWrite + Unpin + Send + 'static,
) -> Result<(), String> {
    let (outbox, messages) = mpsc::channel(OUTBOX);
    let tasks = TaskTracker::new();
    let writer = tasks.spawn(write_all(output, messages));
    let party = Party {
        caller: Caller::local(),
        scope: Scope::All,
        door: "stdio",
    };
    let legacy = Legacy::new(gateway.key().clone());
    let client = Conversation::begin(gateway, legacy, party, outbox);
    let mut lines = Lines::new(MAX_LINE);
    loop {
        loop {
            match lines.next_line() {
                Ok(None) => break,
                Ok(Some(line)) => client.take(&line).await,
                Err(_) => {
                    let error = Error::TooLarge {
                        what: "line",
                        limit: MAX_LINE,
                    };
                    client.refuse(None, &error).await;
                    // Where the next message would begin cannot be told any more.
                    return Err(error.to_string());
                }
            }
        }
        lines.buffer().reserve(16 * 1024);
        match input.read_buf(lines.buffer()).await {
            Ok(0) => break,
            Ok(_) => {}
            Err(error) => return Err(format!("stdin cannot be read: {error}")),
        }
    }
    client.finish(FINISH_WITHIN).await;
    drop(client);
    let _ = tokio::time::timeout(FINISH_WITHIN, writer).await;
    Ok(())
}

async fn write_all(mut output: impl AsyncWrite + Unpin, mut messages: mpsc::Receiver<Vec<u8>>) {
    while let Some(message) = messages.recv().await {
        let line = frame(message);
        // A client that does not read any more will close stdin as well.
        if output.write_all(&line).await.is_err() || output.flush().await.is_err() {
            return;
        }
    }
}
