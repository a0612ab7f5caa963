//! What a program that starts us reads and writes, out of reach of everything else in this process.

use std::fs::File;
use std::io;

use rustix::io::fcntl_dupfd_cloexec;
use rustix::stdio::{dup2_stdin, dup2_stdout, stderr, stdin, stdout};

/// Keeps standard input and output for the client. Whatever else reads finds an end, and what it writes goes to standard
/// error, so that no library, and no program that one starts, says a word to the client.
pub(super) fn take() -> io::Result<(File, File)> {
    // Above the three that every program takes for its own.
    let input = fcntl_dupfd_cloexec(stdin(), 3)?;
    let output = fcntl_dupfd_cloexec(stdout(), 3)?;
    dup2_stdin(File::open("/dev/null")?)?;
    dup2_stdout(stderr())?;
    Ok((input.into(), output.into()))
}

/// Ends standard output for whoever read from it what there was to say. What is written there from now on, by a library
/// or by Python inside this process, goes to standard error.
pub(super) fn end_output() -> io::Result<()> {
    Ok(dup2_stdout(stderr())?)
}
