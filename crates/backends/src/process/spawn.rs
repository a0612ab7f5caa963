//! Our side of a warden: start a child, learn how it ended, have it ended.

use std::ffi::OsString;
use std::fmt;
use std::io::{self, PipeReader};
use std::os::fd::{AsRawFd, OwnedFd};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::sync::Arc;
use std::time::Duration;

use tokio::io::{AsyncBufReadExt, AsyncReadExt, BufReader, Lines};
use tokio::net::UnixStream;
use tokio::net::unix::pipe::{Receiver, Sender};
use tokio::process::{ChildStderr, ChildStdout};
use tokio_util::task::TaskTracker;

use super::limits::{Confined, Exceeded};
use super::raw;
use super::tail::Tail;

/// This same binary, also when its file was replaced or removed since.
const OURSELVES: &str = "/proc/self/exe";

/// How long a warden may take to say that its child has started.
const START_WITHIN: Duration = Duration::from_secs(10);

/// What of our environment a child gets; everything else is configured or absent.
const PASSED_ON: [&str; 12] = [
    "PATH",
    "HOME",
    "USER",
    "LOGNAME",
    "SHELL",
    "TERM",
    "LANG",
    "LC_ALL",
    "LC_CTYPE",
    "TMPDIR",
    "TZ",
    "XDG_RUNTIME_DIR",
];

/// A command to run as a child.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Command {
    /// The program and its arguments.
    pub line: Vec<String>,
    /// Variables set on top of the clean environment.
    pub env: Vec<(String, String)>,
    /// The working folder; ours without.
    pub cwd: Option<PathBuf>,
}

impl fmt::Display for Command {
    /// As a person would type it; the environment, which may hold secrets, is left out.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (n, word) in self.line.iter().enumerate() {
            let gap = if n == 0 { "" } else { " " };
            let plain = |c: char| c.is_ascii_alphanumeric() || "-_./=:@,+%".contains(c);
            if !word.is_empty() && word.chars().all(plain) {
                write!(f, "{gap}{word}")?;
            } else {
                write!(f, "{gap}'{}'", word.replace('\'', r"'\''"))?;
            }
        }
        Ok(())
    }
}

/// How a child ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Ended {
    /// By itself, with this status.
    Exit(i32),
    /// By this signal.
    Signal(i32),
    /// By its warden, for this limit.
    Exceeded(Exceeded),
    /// Its warden is gone without a word.
    Lost,
}

impl Ended {
    /// Reads the last word of a warden, or of a slot of interpreters.
    pub(crate) fn parse(verdict: &str) -> Self {
        let number = |text: &str| text.trim().parse().ok();
        match verdict.split_once(' ') {
            Some(("exit", code)) => number(code).map_or(Self::Lost, Self::Exit),
            Some(("signal", signal)) => number(signal).map_or(Self::Lost, Self::Signal),
            Some(("exceeded", limit)) => {
                Exceeded::parse(limit.trim()).map_or(Self::Lost, Self::Exceeded)
            }
            _ => Self::Lost,
        }
    }
}

impl fmt::Display for Ended {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Exit(code) => write!(f, "exit status {code}"),
            Self::Signal(signal) => write!(f, "killed by signal {signal}"),
            Self::Exceeded(limit) => write!(f, "ended for its limit of {limit}"),
            Self::Lost => f.write_str("ended in an unknown way"),
        }
    }
}

/// A running child. Dropping it ends it and everything it started.
#[derive(Debug)]
pub struct Child {
    news: Lines<BufReader<UnixStream>>,
    warden: tokio::process::Child,
    /// Those that read what it writes, where nobody else does.
    tasks: TaskTracker,
}

/// The pipes to a child.
#[derive(Debug)]
pub(crate) struct Streams {
    pub(crate) stdin: Sender,
    pub(crate) stdout: ChildStdout,
    pub(crate) stderr: ChildStderr,
    /// What the child has not read of its stdin.
    pub(crate) unread: Unread,
}

/// Our own hold on the read end of a child's stdin. Nothing is ever read through it; it tells, once the child and all
/// its descendants are gone, how much of what was written nobody has read.
#[derive(Debug)]
pub(crate) struct Unread(PipeReader);

impl Unread {
    /// Bytes that were written and not read.
    pub(crate) fn bytes(&self) -> u64 {
        // Without an answer everything counts as read, which claims nothing.
        rustix::io::ioctl_fionread(&self.0).unwrap_or(0)
    }
}

impl Command {
    /// Starts the command under a warden.
    pub(crate) async fn start(&self) -> io::Result<(Child, Streams)> {
        let (ours, theirs) = std::os::unix::net::UnixStream::pair()?;
        let mut command = self.wardened(&theirs, &[]);
        raw::inherit(&mut command, &theirs);
        self.begin(command, ours, theirs).await
    }

    /// [`Command::start`] within limits, and with a channel beside its stdout: whatever it writes to descriptor 3.
    pub(crate) async fn start_confined(
        &self,
        confined: &Confined,
    ) -> io::Result<(Child, Streams, Receiver)> {
        let (ours, theirs) = std::os::unix::net::UnixStream::pair()?;
        let (side, its_side) = io::pipe()?;
        let mut orders = vec![OsString::from(format!("side={}", its_side.as_raw_fd()))];
        for (name, value) in confined.limits.named() {
            orders.extend(value.map(|value| OsString::from(format!("{name}={value}"))));
        }
        if let Some(folder) = &confined.folder {
            let mut order = OsString::from("folder=");
            order.push(folder);
            orders.push(order);
        }
        let mut command = self.wardened(&theirs, &orders);
        raw::inherit(&mut command, &theirs);
        raw::inherit(&mut command, &its_side);
        let side = Receiver::from_owned_fd(OwnedFd::from(side))?;
        let begun = self.begin(command, ours, theirs).await;
        drop(its_side);
        let (child, streams) = begun?;
        Ok((child, streams, side))
    }

    /// The warden that starts the command.
    fn wardened(
        &self,
        control: &std::os::unix::net::UnixStream,
        orders: &[OsString],
    ) -> std::process::Command {
        let mut command = std::process::Command::new(OURSELVES);
        command
            .arg0("toolbus-warden")
            .arg("warden")
            .arg(control.as_raw_fd().to_string())
            .args(orders)
            .arg("--")
            .args(&self.line);
        command.env_clear().envs(self.environment());
        if let Some(cwd) = &self.cwd {
            command.current_dir(cwd);
        }
        // A group of its own: a Ctrl-C at our terminal is ours to handle.
        command.process_group(0);
        command
    }

    /// Starts a warden, and waits for its word that the command runs.
    async fn begin(
        &self,
        mut command: std::process::Command,
        ours: std::os::unix::net::UnixStream,
        theirs: std::os::unix::net::UnixStream,
    ) -> io::Result<(Child, Streams)> {
        let (unread, stdin) = io::pipe()?;
        command.stdin(unread.try_clone()?);
        let stdin = Sender::from_owned_fd(OwnedFd::from(stdin))?;
        let (child, stdout, stderr) = self.begin_on(command, ours, theirs).await?;
        let streams = Streams {
            stdin,
            stdout,
            stderr,
            unread: Unread(unread),
        };
        Ok((child, streams))
    }

    /// Starts a warden whose stdin is set, and waits for its word that the command runs.
    async fn begin_on(
        &self,
        mut command: std::process::Command,
        ours: std::os::unix::net::UnixStream,
        theirs: std::os::unix::net::UnixStream,
    ) -> io::Result<(Child, ChildStdout, ChildStderr)> {
        ours.set_nonblocking(true)?;
        command.stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut warden = tokio::process::Command::from(command)
            .spawn()
            .map_err(|error| self.explain(error))?;
        drop(theirs);
        let lost = || io::Error::other("a warden without pipes");
        let stdout = warden.stdout.take().ok_or_else(lost)?;
        let stderr = warden.stderr.take().ok_or_else(lost)?;
        let mut news = BufReader::new(UnixStream::from_std(ours)?).lines();
        let first = tokio::time::timeout(START_WITHIN, news.next_line()).await;
        match first.map_err(|_| io::Error::other("its warden did not start in time"))?? {
            Some(line) if line.starts_with("started ") => {
                let tasks = TaskTracker::new();
                let child = Child {
                    news,
                    warden,
                    tasks,
                };
                Ok((child, stdout, stderr))
            }
            Some(line) => Err(io::Error::other(
                line.trim_start_matches("failed ").to_owned(),
            )),
            None => Err(io::Error::other("its warden ended at once")),
        }
    }

    /// Starts the command under a warden for what it does by itself: its stdin is at its end, its stdout goes nowhere, and
    /// its last words on stderr are kept.
    pub async fn start_alone(&self) -> io::Result<(Child, Tail)> {
        let (child, streams) = self.start().await?;
        let tail = child.listen(streams.stdout, streams.stderr);
        Ok((child, tail))
    }

    /// Starts the command under a warden for what it does for us over a socket, which is its stdin: its stdout goes
    /// nowhere, and its last words on stderr are kept. The folder is removed when nothing of it is left.
    pub(crate) async fn start_serving(
        &self,
        folder: &Path,
    ) -> io::Result<(Child, Tail, std::os::unix::net::UnixStream)> {
        let (ours, theirs) = std::os::unix::net::UnixStream::pair()?;
        let (socket, its_socket) = std::os::unix::net::UnixStream::pair()?;
        let mut order = OsString::from("folder=");
        order.push(folder);
        let mut command = self.wardened(&theirs, &[order]);
        command.stdin(OwnedFd::from(its_socket));
        raw::inherit(&mut command, &theirs);
        let (child, stdout, stderr) = self.begin_on(command, ours, theirs).await?;
        let tail = child.listen(stdout, stderr);
        Ok((child, tail, socket))
    }

    /// All of a child's environment.
    pub(crate) fn environment(&self) -> Vec<(OsString, OsString)> {
        let passed = PASSED_ON
            .iter()
            .filter_map(|name| Some((OsString::from(name), std::env::var_os(name)?)));
        let own = self
            .env
            .iter()
            .map(|(name, value)| (name.into(), value.into()));
        passed.chain(own).collect()
    }

    /// Has the command run in a folder of its own, where it also puts what it keeps for a while.
    pub(crate) fn in_own_folder(&mut self, folder: &Path) {
        let shown = folder.to_string_lossy().into_owned();
        self.env.push(("TMPDIR".to_owned(), shown));
        self.cwd = Some(folder.to_owned());
    }

    /// Says what a failure to start means.
    pub(crate) fn explain(&self, error: io::Error) -> io::Error {
        match (&self.cwd, error.kind()) {
            (Some(cwd), io::ErrorKind::NotFound) if !cwd.is_dir() => io::Error::other(format!(
                "the working folder {} does not exist",
                cwd.display()
            )),
            _ => error,
        }
    }

    /// The command as shown in errors.
    pub(crate) fn shown(&self) -> Arc<str> {
        self.to_string().into()
    }
}

impl Child {
    /// Waits until the child and everything it started is gone.
    pub async fn ended(&mut self) -> Ended {
        let verdict = self
            .news
            .next_line()
            .await
            .ok()
            .flatten()
            .unwrap_or_default();
        // The warden ends right after its last word; without this it would stay a zombie until the runtime looks.
        let _ = self.warden.wait().await;
        Ended::parse(&verdict)
    }

    /// Reads what the child writes, until it ends: the end of its stderr is kept.
    fn listen(&self, mut stdout: ChildStdout, mut stderr: ChildStderr) -> Tail {
        let tail = Tail::default();
        let kept = tail.clone();
        let listen = async move {
            let mut sink = tokio::io::sink();
            let copy = tokio::io::copy(&mut stdout, &mut sink);
            let hear = async {
                let mut buffer = [0; 4096];
                while let Ok(count @ 1..) = stderr.read(&mut buffer).await {
                    kept.push(&buffer[..count]);
                }
            };
            tokio::join!(copy, hear)
        };
        self.tasks.spawn(listen);
        tail
    }

    /// Has the child and everything it started ended, and waits for it.
    pub async fn end(mut self) -> Ended {
        use tokio::io::AsyncWriteExt as _;
        let _ = self.news.get_mut().get_mut().write_all(b"end\n").await;
        self.ended().await
    }
}
