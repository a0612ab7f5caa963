//! The warden's own side: a single small process per child, which starts it, watches it, and leaves nothing behind.

use std::collections::HashMap;
use std::ffi::OsString;
use std::io::{self, PipeReader, Read, Write};
use std::os::fd::{AsFd, RawFd};
use std::os::unix::net::UnixStream;
use std::os::unix::process::CommandExt;
use std::process::Command;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::process::{
    Pid, Signal, WaitOptions, getpid, kill_process, kill_process_group, set_child_subreaper, wait,
};

use super::raw;

/// How long a child may take to end by itself once it is asked to. With it, everything is gone within two seconds of
/// our end.
const GRACE: Duration = Duration::from_millis(700);

/// How long descendants are hunted before the warden gives up on those that cannot be killed (uninterruptible sleep).
const HUNT: Duration = Duration::from_secs(10);

/// Between two rounds of the hunt.
const ROUND: Duration = Duration::from_millis(10);

/// Runs a warden: `control` is the inherited socket's number, `command` the program and its arguments. Returns when the
/// child and all its descendants are gone.
pub fn run(control: RawFd, command: &[OsString]) -> io::Result<()> {
    let mut control = UnixStream::from(raw::adopt(control));
    raw::keep_descriptors_private()?;
    set_child_subreaper(Some(getpid()))?;
    let pid = match start(command) {
        Ok(pid) => pid,
        Err(error) => {
            writeln!(control, "failed {error}")?;
            return Ok(());
        }
    };
    writeln!(control, "started {}", pid.as_raw_nonzero())?;
    release_streams()?;
    let mut reaper = Reaper::start(pid)?;
    if !wait_for_end(&control, &mut reaper)? {
        end_gently(pid, &mut reaper)?;
    }
    hunt(&mut reaper)?;
    // We may be gone, which is why this was done.
    let _ = writeln!(control, "{}", reaper.verdict());
    Ok(())
}

fn start(command: &[OsString]) -> io::Result<Pid> {
    let (program, arguments) = command
        .split_first()
        .ok_or_else(|| io::Error::other("no command was given"))?;
    let mut command = Command::new(program);
    command.args(arguments).process_group(0);
    raw::die_with_parent(&mut command);
    let child = command.spawn()?;
    Pid::from_raw(i32::try_from(child.id()).unwrap_or(0))
        .ok_or_else(|| io::Error::other("the child has no pid"))
}

/// Lets go of the child's pipes, so that they close when the child closes them.
fn release_streams() -> io::Result<()> {
    let null = std::fs::OpenOptions::new()
        .read(true)
        .write(true)
        .open("/dev/null")?;
    rustix::stdio::dup2_stdin(&null)?;
    rustix::stdio::dup2_stdout(&null)?;
    rustix::stdio::dup2_stderr(&null)?;
    Ok(())
}

/// Reaps children in a thread of its own: `wait` wakes for each, so that nobody has to look round.
struct Reaper {
    /// One byte when the child has ended; closed when no descendant is left.
    news: PipeReader,
    verdict: Arc<Mutex<Option<String>>>,
}

impl Reaper {
    fn start(child: Pid) -> io::Result<Self> {
        let (news, mut writer) = io::pipe()?;
        let verdict = Arc::new(Mutex::new(None));
        let told = Arc::clone(&verdict);
        let reap = move || {
            while let Ok(Some((pid, status))) = wait(WaitOptions::empty()) {
                if pid == child {
                    let text = match (status.exit_status(), status.terminating_signal()) {
                        (Some(code), _) => format!("exit {code}"),
                        (None, signal) => format!("signal {}", signal.unwrap_or(0)),
                    };
                    *told.lock().unwrap_or_else(PoisonError::into_inner) = Some(text);
                    let _ = writer.write_all(b"x");
                }
            }
        };
        std::thread::Builder::new()
            .stack_size(64 * 1024)
            .spawn(reap)?;
        Ok(Self { news, verdict })
    }

    fn verdict(&self) -> String {
        self.verdict
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .clone()
            .unwrap_or_else(|| "lost".to_owned())
    }

    /// Waits for news: `Some(true)` when nobody is left, `Some(false)` when the child has ended, `None` for nothing.
    fn news(&mut self, within: Duration) -> io::Result<Option<bool>> {
        let within = Timespec::try_from(within).map_err(io::Error::other)?;
        let mut fds = [PollFd::new(&self.news, PollFlags::IN)];
        if poll_again(&mut fds, Some(&within))? == 0 {
            return Ok(None);
        }
        Ok(Some(self.news.read(&mut [0])? == 0))
    }
}

/// Waits until the child ends (true) or is to be ended (false).
fn wait_for_end(control: &UnixStream, reaper: &mut Reaper) -> io::Result<bool> {
    let mut fds = [
        PollFd::new(&reaper.news, PollFlags::IN),
        PollFd::from_borrowed_fd(control.as_fd(), PollFlags::IN),
    ];
    poll_again(&mut fds, None)?;
    let ended = !fds[0].revents().is_empty();
    if ended {
        reaper.news.read_exact(&mut [0])?;
    }
    Ok(ended)
}

fn end_gently(child: Pid, reaper: &mut Reaper) -> io::Result<()> {
    let _ = kill_process_group(child, Signal::TERM);
    let until = Instant::now() + GRACE;
    while let Some(left) = until.checked_duration_since(Instant::now()) {
        if reaper.news(left)?.is_some() {
            break;
        }
    }
    Ok(())
}

/// Kills descendants until none is left. Those whose parents die become our own children, so none can slip away.
fn hunt(reaper: &mut Reaper) -> io::Result<()> {
    let until = Instant::now() + HUNT;
    while Instant::now() < until {
        for pid in descendants()? {
            let _ = kill_process(pid, Signal::KILL);
        }
        if reaper.news(ROUND)? == Some(true) {
            return Ok(());
        }
    }
    Ok(())
}

/// Every process that descends from this one.
fn descendants() -> io::Result<Vec<Pid>> {
    let mut children: HashMap<i32, Vec<i32>> = HashMap::new();
    for entry in std::fs::read_dir("/proc")?.flatten() {
        let Some(pid) = entry
            .file_name()
            .to_str()
            .and_then(|name| name.parse().ok())
        else {
            continue;
        };
        // One that has just ended is none of ours any more.
        let Ok(stat) = std::fs::read_to_string(entry.path().join("stat")) else {
            continue;
        };
        // `pid (name) state ppid ...`, where the name may hold anything.
        let parent = stat
            .rsplit_once(") ")
            .and_then(|(_, rest)| rest.split(' ').nth(1)?.parse().ok());
        children.entry(parent.unwrap_or(0)).or_default().push(pid);
    }
    let mut found = Vec::new();
    let mut next = vec![getpid().as_raw_nonzero().get()];
    while let Some(parent) = next.pop() {
        let own = children.remove(&parent).unwrap_or_default();
        found.extend(own.iter().copied().filter_map(Pid::from_raw));
        next.extend(own);
    }
    Ok(found)
}

fn poll_again(fds: &mut [PollFd<'_>], within: Option<&Timespec>) -> io::Result<usize> {
    loop {
        match poll(fds, within) {
            Err(rustix::io::Errno::INTR) => {}
            other => return other.map_err(io::Error::from),
        }
    }
}
