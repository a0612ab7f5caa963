//! A process for each call, and nothing around it: what scripts are measured beside.

use std::process::Stdio;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use tokio::io::AsyncWriteExt as _;
use tokio::process::Command;
use tokio::time::timeout;

use super::load::{Load, Plan, run};
use super::serve::Failure;

/// How long one process may take.
const PATIENCE: Duration = Duration::from_secs(30);

/// What is run each time.
struct Shared {
    line: Vec<String>,
    stdin: Bytes,
    /// Must be in what it writes.
    wanted: String,
}

/// Starts this program, each caller once its last one has ended. It must end well, with this text on stdout.
pub async fn load(line: Vec<String>, stdin: Bytes, wanted: String, plan: Plan) -> Load {
    let shared = Arc::new(Shared {
        line,
        stdin,
        wanted,
    });
    run(plan, move || {
        let shared = Arc::clone(&shared);
        async move { timeout(PATIENCE, shared.run()).await? }
    })
    .await
}

impl Shared {
    async fn run(&self) -> Result<(), Failure> {
        let (program, words) = self.line.split_first().ok_or("no program")?;
        let mut child = Command::new(program)
            .args(words)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::inherit())
            .kill_on_drop(true)
            .spawn()?;
        if let Some(mut stdin) = child.stdin.take() {
            stdin.write_all(&self.stdin).await?;
        }
        let output = child.wait_with_output().await?;
        let text = String::from_utf8_lossy(&output.stdout);
        match output.status.success() && text.contains(&self.wanted) {
            true => Ok(()),
            false => Err(format!("{}: {text}", output.status).into()),
        }
    }
}
