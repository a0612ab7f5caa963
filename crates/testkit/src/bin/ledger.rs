//! The ledger as a program: `ledger LOG` serves stdio and appends each execution's id to the file.

use std::io::{Error, Result};

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<()> {
    let log = std::env::args_os().nth(1);
    let log = log.ok_or_else(|| Error::other("usage: ledger LOG"))?;
    toolbus_testkit::ledger::serve(log.as_ref()).await
}
