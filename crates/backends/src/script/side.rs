//! The channel beside stdout: what a script writes to descriptor 3 while it works.

use bytes::Bytes;
use tokio::io::{AsyncRead, AsyncReadExt};
use toolbus_model::Line;
use toolbus_protocol::lines::Lines;

use crate::pulse::Pulse;

/// The longest line: a log line with all of a stack trace.
const LONGEST: usize = 256 * 1024;

/// Tells the call's line what the script says, until it has closed the channel. Lines that mean nothing are passed over:
/// they are advice.
pub(super) async fn follow(mut from: impl AsyncRead + Unpin, to: Option<&Line>) {
    let mut lines = Lines::new(LONGEST);
    while let Ok(1..) = from.read_buf(lines.buffer()).await {
        loop {
            match lines.next_line() {
                Ok(Some(line)) => {
                    if let Some(to) = to {
                        tell(line, to);
                    }
                }
                Ok(None) => break,
                Err(_) => {
                    tracing::debug!(
                        "a line of more than {LONGEST} bytes on descriptor 3: the rest is not read"
                    );
                    return drain(from).await;
                }
            }
        }
    }
}

/// Reads what is left, so that its writer is neither held up nor hit by SIGPIPE.
async fn drain(mut from: impl AsyncRead + Unpin) {
    let _ = tokio::io::copy(&mut from, &mut tokio::io::sink()).await;
}

fn tell(line: Bytes, to: &Line) {
    match Pulse::read(line) {
        Ok(Pulse::Sign(event)) => to.tell(event),
        Ok(Pulse::Result(_) | Pulse::Failed(_)) => {
            tracing::debug!("a result on descriptor 3 is passed over: it belongs on stdout");
        }
        Err(why) => tracing::debug!("descriptor 3: {why}"),
    }
}
