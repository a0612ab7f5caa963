//! The faults: one table of tools, each of which lets its caller down in its own way.

use std::fs::File;
use std::io;
use std::process::{Command, Stdio};
use std::thread::{sleep, spawn};
use std::time::Duration;

use serde_json::{Value, json};

use super::wire::{self, line, text_result};

/// A line that is no JSON, as a library that prints would write it.
const GARBAGE: &str = "Loading model weights... 42% [=====>      ]";
/// Longer than any sensible limit of a line.
const LONG_LINE: usize = 64 * 1024 * 1024;
/// Of stderr: more than a pipe holds, so that a client that does not read it stops the server.
const MEBIBYTE: usize = 1024 * 1024;
const CHANGED: &str = r#"{"jsonrpc":"2.0","method":"notifications/tools/list_changed"}"#;
/// Lives long enough to be found by a test and not for ever.
const GRANDCHILD_SECONDS: &str = "600";

/// One call of a tool.
pub(super) struct Call {
    pub(super) id: Value,
    pub(super) arguments: Value,
    pub(super) progress_token: Option<Value>,
    /// Calls received by this process so far, this one included.
    pub(super) number: u64,
    /// Requests for the list of tools so far.
    pub(super) lists: u64,
}

impl Call {
    fn answer(&self, text: &str) -> io::Result<After> {
        line(&text_result(&self.id, text))?;
        Ok(After::GoOn)
    }

    fn number(&self, key: &str, default: u64) -> u64 {
        self.arguments[key].as_u64().unwrap_or(default)
    }

    fn pause(&self) -> Duration {
        Duration::from_millis(self.number("ms", 100))
    }
}

/// What the server does next.
pub(super) enum After {
    GoOn,
    /// The process ends with this code.
    Exit(u8),
}

/// One tool.
pub(super) struct Fault {
    pub(super) name: &'static str,
    pub(super) about: &'static str,
    /// JSON text.
    pub(super) input: &'static str,
    /// Runs on the thread that reads stdin: what takes time moves to a thread of its own, so that other calls go on.
    pub(super) act: fn(Call) -> io::Result<After>,
}

const NOTHING: &str = r#"{"type":"object"}"#;
const MILLISECONDS: &str = r#"{"type":"object","properties":{"ms":{"type":"integer"}}}"#;

/// Every fault, and two tools that work.
pub(super) const FAULTS: &[Fault] = &[
    Fault {
        name: "ok",
        about: "Answers ok",
        input: NOTHING,
        act: |call| call.answer("ok"),
    },
    Fault {
        name: "count",
        about: "Answers how many calls this process has received, this one included",
        input: NOTHING,
        act: |call| call.answer(&call.number.to_string()),
    },
    Fault {
        name: "exit",
        about: "Complains on stderr and ends the process with a code, without an answer",
        input: r#"{"type":"object","properties":{"code":{"type":"integer","minimum":0,"maximum":255}}}"#,
        act: exit,
    },
    Fault {
        name: "answer_then_exit",
        about: "Answers, and ends the process with code 0 right after",
        input: NOTHING,
        act: |call| call.answer("goodbye").map(|_| After::Exit(0)),
    },
    Fault {
        name: "abort",
        about: "Dies by SIGABRT",
        input: NOTHING,
        act: |_| std::process::abort(),
    },
    Fault {
        name: "hang",
        about: "Never answers",
        input: NOTHING,
        act: |_| Ok(After::GoOn),
    },
    Fault {
        name: "late",
        about: "Answers after some milliseconds; other calls go on meanwhile",
        input: MILLISECONDS,
        act: |call| {
            apart(move || {
                sleep(call.pause());
                call.answer("late").map(drop)
            })
        },
    },
    Fault {
        name: "garbage",
        about: "Prints three lines that are no JSON and never answers",
        input: NOTHING,
        act: |_| {
            for _ in 0..3 {
                line(GARBAGE)?;
            }
            Ok(After::GoOn)
        },
    },
    Fault {
        name: "garbage_then_answer",
        about: "Prints a line that is no JSON, then answers",
        input: NOTHING,
        act: |call| {
            line(GARBAGE)?;
            call.answer("ok")
        },
    },
    Fault {
        name: "flood",
        about: "Prints lines that are no JSON for ever, as fast as it can",
        input: NOTHING,
        act: |_| {
            apart(|| {
                loop {
                    line(GARBAGE)?;
                }
            })
        },
    },
    Fault {
        name: "long_line",
        about: "Prints 64 MiB without the end of a line, and never answers",
        input: NOTHING,
        act: |_| apart(|| wire::endless_line(LONG_LINE)),
    },
    Fault {
        name: "twice",
        about: "Answers the same request twice",
        input: NOTHING,
        act: |call| {
            call.answer("first")?;
            call.answer("second")
        },
    },
    Fault {
        name: "wrong_id",
        about: "Answers a request that nobody made",
        input: NOTHING,
        act: |_| {
            line(&text_result(&json!("an id of nobody"), "for whom?"))?;
            Ok(After::GoOn)
        },
    },
    Fault {
        name: "close_stdout",
        about: "Closes stdout, keeps running, and never answers anything again",
        input: NOTHING,
        act: close_stdout,
    },
    Fault {
        name: "stderr_flood",
        about: "Writes 1 MiB, or so many, to stderr, then answers",
        input: r#"{"type":"object","properties":{"mebibytes":{"type":"integer"}}}"#,
        act: |call| {
            apart(move || {
                for _ in 0..call.number("mebibytes", 1) {
                    wire::stderr(MEBIBYTE)?;
                }
                call.answer("ok").map(drop)
            })
        },
    },
    Fault {
        name: "change_flood",
        about: "Says so many times that its list of tools has changed, then answers",
        input: r#"{"type":"object","properties":{"times":{"type":"integer"}}}"#,
        act: |call| {
            apart(move || {
                for _ in 0..call.number("times", 1) {
                    line(CHANGED)?;
                }
                call.answer("ok").map(drop)
            })
        },
    },
    Fault {
        name: "lists",
        about: "Answers how often this process was asked for its tools",
        input: NOTHING,
        act: |call| call.answer(&call.lists.to_string()),
    },
    Fault {
        name: "die_apart",
        about: "Starts a process that holds stdout, and ends without an answer",
        input: r#"{"type":"object","properties":{"pidfile":{"type":"string"}},"required":["pidfile"]}"#,
        act: |mut call| {
            call.arguments["keep_stdout"] = true.into();
            start_away(&call)?;
            wire::complain("about to die: somebody else holds stdout")?;
            Ok(After::Exit(4))
        },
    },
    Fault {
        name: "fork_away",
        about: "Starts a process in a session of its own that writes its id to a file, then answers; it may keep stdout open",
        input: concat!(
            r#"{"type":"object","properties":{"pidfile":{"type":"string"},"keep_stdout":{"type":"boolean"}},"#,
            r#""required":["pidfile"]}"#,
        ),
        act: fork_away,
    },
    Fault {
        name: "progress",
        about: "Reports progress a number of times, some milliseconds apart, then answers",
        input: r#"{"type":"object","properties":{"steps":{"type":"integer"},"ms":{"type":"integer"}}}"#,
        act: |call| apart(move || progress(&call)),
    },
];

/// Does the work on a thread that nobody waits for: it ends with the process, and its failure means that nobody reads.
fn apart(work: impl FnOnce() -> io::Result<()> + Send + 'static) -> io::Result<After> {
    spawn(work);
    Ok(After::GoOn)
}

fn exit(call: Call) -> io::Result<After> {
    wire::complain("about to die: something went wrong")?;
    wire::complain("about to die: this is the last line")?;
    Ok(After::Exit(
        u8::try_from(call.number("code", 1)).unwrap_or(1),
    ))
}

/// To the reader of a pipe it is all the same whether its other end was closed or now leads elsewhere;
/// the standard library would not take a closed stdout well.
fn close_stdout(_: Call) -> io::Result<After> {
    rustix::stdio::dup2_stdout(File::options().write(true).open("/dev/null")?)?;
    Ok(After::GoOn)
}

fn fork_away(call: Call) -> io::Result<After> {
    start_away(&call)?;
    call.answer("ok")
}

/// Starts a process in a session of its own.
fn start_away(call: &Call) -> io::Result<()> {
    let pidfile = call.arguments["pidfile"].as_str();
    let pidfile = pidfile.ok_or_else(|| io::Error::other("pidfile is missing"))?;
    // Renamed into place, so that whoever sees the file sees all of it.
    let script = r#"echo $$ > "$1.new" && mv "$1.new" "$1"; exec sleep "$2""#;
    let keeps_stdout = call.arguments["keep_stdout"] == true;
    Command::new("setsid")
        .args(["sh", "-c", script, "sh", pidfile, GRANDCHILD_SECONDS])
        .stdin(Stdio::null())
        .stdout(if keeps_stdout {
            Stdio::inherit()
        } else {
            Stdio::null()
        })
        .stderr(Stdio::null())
        .spawn()?;
    Ok(())
}

fn progress(call: &Call) -> io::Result<()> {
    let steps = call.number("steps", 3);
    for step in 1..=steps {
        sleep(call.pause());
        if let Some(token) = &call.progress_token {
            let params = json!({ "progressToken": token, "progress": step, "total": steps });
            line(
                &json!({ "jsonrpc": "2.0", "method": "notifications/progress", "params": params })
                    .to_string(),
            )?;
        }
    }
    call.answer("done").map(drop)
}
