//! The warden's own side: a single small process per child, which starts it, watches it, and leaves nothing behind.

use std::ffi::OsString;
use std::io::{self, PipeReader, Read, Write};
use std::os::fd::{AsFd, OwnedFd, RawFd};
use std::os::unix::net::UnixStream;
use std::os::unix::process::CommandExt;
use std::process::Command;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::process::{
    Pid, Signal, WaitOptions, getpid, kill_process, kill_process_group, set_child_subreaper, wait,
};

use super::census;
use super::limits::{Exceeded, Limits};
use super::orders::Orders;
use super::raw;

/// How long a child may take to end by itself once it is asked to. With it, everything is gone within two seconds of
/// our end.
const GRACE: Duration = Duration::from_millis(700);

/// How long descendants are hunted before the warden gives up on those that cannot be killed (uninterruptible sleep).
const HUNT: Duration = Duration::from_secs(10);

/// Between two rounds of the hunt.
const ROUND: Duration = Duration::from_millis(10);

/// Between two counts of what the child and all it started use.
const COUNT_EVERY: Duration = Duration::from_millis(50);

/// How soon after the child its last descendant is gone, where there was none.
const ALONE: Duration = Duration::from_millis(1);

/// Runs a warden: `control` is the inherited socket's number, `orders` are words such as `memory=1024`, `command` is the
/// program and its arguments. Returns when the child and all its descendants are gone.
pub fn run(control: RawFd, orders: &[OsString], command: &[OsString]) -> io::Result<()> {
    let mut control = UnixStream::from(raw::adopt_aside(control)?);
    let orders = Orders::parse(orders)?;
    let side = orders.side.map(raw::adopt_as_third).transpose()?;
    raw::keep_descriptors_private()?;
    set_child_subreaper(Some(getpid()))?;
    let pid = match start(command, side, &orders.limits) {
        Ok(pid) => pid,
        Err(error) => {
            orders.clear();
            writeln!(control, "failed {error}")?;
            return Ok(());
        }
    };
    // Where nobody hears it any more, the closed socket is seen below, and the child is ended.
    let _ = writeln!(control, "started {}", pid.as_raw_nonzero());
    let verdict = attend(pid, &control, &orders.limits);
    orders.clear();
    // We may be gone, which is why this was done.
    let _ = writeln!(control, "{}", verdict?);
    Ok(())
}

/// Watches over the child to its end, and to the end of all that it started; says how it ended.
fn attend(pid: Pid, control: &UnixStream, limits: &Limits) -> io::Result<String> {
    release_streams()?;
    let mut reaper = Reaper::start(pid)?;
    let over = wait_for_end(control, &mut reaper, limits)?;
    if over == Over::Asked {
        end_gently(pid, &mut reaper)?;
    }
    hunt(&mut reaper)?;
    Ok(match over {
        Over::Exceeded(limit) => format!("exceeded {limit}"),
        Over::Ended | Over::Asked => reaper.verdict(),
    })
}

/// Starts the child. What it has as descriptor 3 is closed here when this returns.
fn start(command: &[OsString], side: Option<OwnedFd>, limits: &Limits) -> io::Result<Pid> {
    let (program, arguments) = command
        .split_first()
        .ok_or_else(|| io::Error::other("no command was given"))?;
    let mut command = Command::new(program);
    command.args(arguments).process_group(0);
    if let Some(side) = &side {
        raw::inherit(&mut command, side);
    }
    raw::limit(&mut command, limits.of_kernel());
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

/// Why it is over.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Over {
    /// The child ended.
    Ended,
    /// It is to be ended: we were asked to, or nobody is there any more to ask.
    Asked,
    /// It is to be ended for a limit.
    Exceeded(Exceeded),
}

/// Waits until the child ends or is to be ended.
fn wait_for_end(control: &UnixStream, reaper: &mut Reaper, limits: &Limits) -> io::Result<Over> {
    let within = limits.are_counted().then_some(COUNT_EVERY);
    let within = within.map(Timespec::try_from).transpose();
    let within = within.map_err(io::Error::other)?;
    loop {
        let mut fds = [
            PollFd::new(&reaper.news, PollFlags::IN),
            PollFd::from_borrowed_fd(control.as_fd(), PollFlags::IN),
        ];
        let count = poll_again(&mut fds, within.as_ref())?;
        let (ended, asked) = (!fds[0].revents().is_empty(), !fds[1].revents().is_empty());
        if ended {
            reaper.news.read_exact(&mut [0])?;
            return Ok(Over::Ended);
        }
        if asked {
            return Ok(Over::Asked);
        }
        if count == 0
            && let Some(limit) = census::exceeded(limits)
        {
            return Ok(Over::Exceeded(limit));
        }
    }
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
    if reaper.news(ALONE)? == Some(true) {
        return Ok(());
    }
    let until = Instant::now() + HUNT;
    while Instant::now() < until {
        for pid in census::descendants()? {
            let _ = kill_process(pid, Signal::KILL);
        }
        if reaper.news(ROUND)? == Some(true) {
            return Ok(());
        }
    }
    Ok(())
}

fn poll_again(fds: &mut [PollFd<'_>], within: Option<&Timespec>) -> io::Result<usize> {
    loop {
        match poll(fds, within) {
            Err(rustix::io::Errno::INTR) => {}
            other => return other.map_err(io::Error::from),
        }
    }
}
