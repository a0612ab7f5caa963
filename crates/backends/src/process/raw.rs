//! The one unsafe corner: what can only be done between `fork` and `exec`, and taking over a descriptor by number.
#![allow(unsafe_code)]

use std::io;
use std::os::fd::{AsRawFd, BorrowedFd, FromRawFd, OwnedFd, RawFd};
use std::os::unix::process::CommandExt;
use std::process::Command;

use rustix::io::{DupFlags, FdFlags, dup3, fcntl_dupfd_cloexec, fcntl_setfd};
use rustix::process::{Resource, Rlimit, Signal, set_parent_process_death_signal, setrlimit};

/// Where what is taken over stays out of the way of the numbers that children know.
const OUT_OF_THE_WAY: RawFd = 10;

/// Lets the program that `command` starts inherit `fd` under its number.
pub(super) fn inherit(command: &mut Command, fd: &impl AsRawFd) {
    let number = fd.as_raw_fd();
    let keep_open = move || {
        // SAFETY: the caller holds `fd` open over the spawn, and a forked child has all its parent's descriptors.
        let fd = unsafe { BorrowedFd::borrow_raw(number) };
        fcntl_setfd(fd, FdFlags::empty()).map_err(io::Error::from)
    };
    // SAFETY: one system call, which neither allocates nor takes locks: allowed between fork and exec.
    unsafe { command.pre_exec(keep_open) };
}

/// Keeps whatever we inherited from our own parents from the programs that we start.
pub(super) fn keep_descriptors_private() -> io::Result<()> {
    for entry in std::fs::read_dir("/proc/self/fd")?.flatten() {
        let Some(number) = entry
            .file_name()
            .to_str()
            .and_then(|name| name.parse().ok())
        else {
            continue;
        };
        if number > 2 {
            // SAFETY: only borrowed for one system call, for which a number that is closed by now is just an error.
            let fd = unsafe { BorrowedFd::borrow_raw(number) };
            let _ = fcntl_setfd(fd, FdFlags::CLOEXEC);
        }
    }
    Ok(())
}

/// Has the program that `command` starts killed when the thread that starts it ends.
pub(super) fn die_with_parent(command: &mut Command) {
    let bind = || set_parent_process_death_signal(Some(Signal::KILL)).map_err(io::Error::from);
    // SAFETY: as above.
    unsafe { command.pre_exec(bind) };
}

/// Holds the program that `command` starts, and each that it starts in turn, to these limits.
pub(super) fn limit(command: &mut Command, limits: Vec<(Resource, Rlimit)>) {
    let set = move || {
        for (what, limit) in &limits {
            setrlimit(*what, *limit)?;
        }
        Ok(())
    };
    // SAFETY: as above; nothing is allocated, for a limit is two numbers.
    unsafe { command.pre_exec(set) };
}

/// Takes over a descriptor as [`adopt`] does, under the number 3. Until it is dropped nothing else gets this number, so
/// that nothing of ours is hit when a child has it there.
pub(super) fn adopt_as_third(number: RawFd) -> io::Result<OwnedFd> {
    let fd = adopt(number);
    if number == 3 {
        return Ok(fd);
    }
    // SAFETY: whatever has this number is nobody's: the warden moves its own socket away before it calls this.
    let mut third = unsafe { OwnedFd::from_raw_fd(3) };
    match dup3(&fd, &mut third, DupFlags::CLOEXEC) {
        Ok(()) => Ok(third),
        Err(error) => {
            std::mem::forget(third);
            Err(error.into())
        }
    }
}

/// Takes over a descriptor as [`adopt`] does, under a number that no child knows.
pub(super) fn adopt_aside(number: RawFd) -> io::Result<OwnedFd> {
    Ok(fcntl_dupfd_cloexec(adopt(number), OUT_OF_THE_WAY)?)
}

/// Takes over a descriptor that our parent left open for us, as told on the command line.
fn adopt(number: RawFd) -> OwnedFd {
    // SAFETY: only the warden calls this, once each, at its start, with the numbers that `inherit` kept open for it.
    unsafe { OwnedFd::from_raw_fd(number) }
}
