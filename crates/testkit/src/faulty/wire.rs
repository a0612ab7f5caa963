//! What the server writes: proper messages, and everything that is none.

use std::io::{self, Write};

use serde_json::{Value, json};

/// Bytes per write of a long output, so that it needs no buffer of its own size.
const PIECE: usize = 64 * 1024;

/// Writes one line to stdout, whatever it says.
///
/// A failure means that nobody reads any more; the end of stdin, which comes with it, ends the process.
pub(super) fn line(text: &str) -> io::Result<()> {
    let mut out = io::stdout().lock();
    writeln!(out, "{text}")?;
    out.flush()
}

/// Writes this many bytes to stdout as the beginning of a line that does not end.
pub(super) fn endless_line(bytes: usize) -> io::Result<()> {
    let mut out = io::stdout().lock();
    repeat(&mut out, b'x', bytes)?;
    out.flush()
}

/// Writes this many bytes to stderr, in lines.
pub(super) fn stderr(bytes: usize) -> io::Result<()> {
    const LINE: usize = 1024;
    let mut err = io::stderr().lock();
    for _ in 0..bytes / LINE {
        repeat(&mut err, b'e', LINE - 1)?;
        err.write_all(b"\n")?;
    }
    err.flush()
}

/// Writes one line to stderr.
pub(super) fn complain(text: &str) -> io::Result<()> {
    writeln!(io::stderr(), "{text}")
}

fn repeat(out: &mut impl Write, byte: u8, mut bytes: usize) -> io::Result<()> {
    let piece = [byte; PIECE];
    while bytes > 0 {
        let length = bytes.min(PIECE);
        out.write_all(&piece[..length])?;
        bytes -= length;
    }
    Ok(())
}

/// The answer to a request.
pub(super) fn result(id: &Value, result: Value) -> String {
    json!({ "jsonrpc": "2.0", "id": id, "result": result }).to_string()
}

/// The answer to a tool call, with one text block.
pub(super) fn text_result(id: &Value, text: &str) -> String {
    result(id, json!({ "content": [{ "type": "text", "text": text }] }))
}

/// The refusal of a request.
pub(super) fn error(id: &Value, code: i64, message: &str) -> String {
    json!({ "jsonrpc": "2.0", "id": id, "error": { "code": code, "message": message } }).to_string()
}
