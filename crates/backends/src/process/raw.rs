//! The one unsafe corner: what can only be done between `fork` and `exec`, and taking over a descriptor by number.
#![allow(unsafe_code)]

use std::io;
use std::os::fd::{AsRawFd, BorrowedFd, FromRawFd, OwnedFd, RawFd};
use std::os::unix::process::CommandExt;
use std::process::Command;

use rustix::io::{FdFlags, fcntl_setfd};
use rustix::process::{Signal, set_parent_process_death_signal};

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

/// Takes over a descriptor that our parent left open for us, as told on the command line.
pub(super) fn adopt(number: RawFd) -> OwnedFd {
    // SAFETY: only the warden calls this, once, at its start, with the number that `inherit` kept open for it.
    unsafe { OwnedFd::from_raw_fd(number) }
}
