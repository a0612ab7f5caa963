//! The faulty server as a program.

use std::io::Write as _;
use std::process::ExitCode;

use toolbus_testkit::faulty::{Flags, USAGE, run};

fn main() -> ExitCode {
    match Flags::read(std::env::args().skip(1)) {
        Some(flags) => run(flags),
        None => {
            let _ = writeln!(std::io::stderr(), "{USAGE}");
            ExitCode::from(2)
        }
    }
}
