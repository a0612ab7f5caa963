//! Writing to a person or a pipe. A reader that has gone away is no error of ours.

use std::io::{self, Write};

/// Writes text and a line end to stdout.
pub(crate) fn out(text: impl AsRef<str>) {
    write(io::stdout().lock(), text.as_ref());
}

/// Writes text and a line end to stderr.
pub(crate) fn err(text: impl AsRef<str>) {
    write(io::stderr().lock(), text.as_ref());
}

fn write(mut stream: impl Write, text: &str) {
    let line = if text.ends_with('\n') {
        text.to_owned()
    } else {
        format!("{text}\n")
    };
    let _ = stream
        .write_all(line.as_bytes())
        .and_then(|()| stream.flush());
}
