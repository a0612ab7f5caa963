//! `toolbus stdio`, or any other program that speaks lines.

use std::io::{BufRead, BufReader, Write};
use std::process::{Child, ChildStdin, Command, Stdio};
use std::sync::mpsc::SyncSender;
use std::thread;

use super::{Arrival, Origin, said};

/// A program and its stdin.
pub struct Stdin {
    child: Child,
    input: Option<ChildStdin>,
}

impl Stdin {
    pub(super) fn start(
        mut command: Command,
        arrivals: SyncSender<Arrival>,
    ) -> Result<Self, String> {
        command.stdin(Stdio::piped()).stdout(Stdio::piped());
        let mut child = command.spawn().map_err(said)?;
        let (input, output) = (child.stdin.take(), child.stdout.take());
        thread::spawn(move || {
            let lines = output.map(|output| BufReader::new(output).lines());
            for line in lines.into_iter().flatten().map_while(Result::ok) {
                if arrivals
                    .send(Arrival::Message(Origin::Shared, line))
                    .is_err()
                {
                    return;
                }
            }
            let _ = arrivals.send(Arrival::Ended(Origin::Shared, None));
        });
        Ok(Self { child, input })
    }

    pub(super) fn line(&mut self, text: &str) -> Result<(), String> {
        let input = self.input.as_mut().ok_or("stdin is closed")?;
        // A line end may stand between the tokens of a message, but not where a line is a message.
        let line = text.replace(['\n', '\r'], " ");
        writeln!(input, "{line}").map_err(said)?;
        input.flush().map_err(said)
    }
}

impl Drop for Stdin {
    fn drop(&mut self) {
        // The end of its input ends the gateway, and what it started with it.
        self.input = None;
        let _ = self.child.wait();
    }
}
