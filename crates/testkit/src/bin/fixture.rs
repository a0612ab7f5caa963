//! The conformance fixture as a program: `fixture http` or `fixture stdio`.

use std::io::Write as _;
use std::num::NonZeroUsize;
use std::path::Path;
use std::process::ExitCode;

use tokio::signal::unix::{SignalKind, signal};
use toolbus_testkit::fixture::{Era, Fixture, Options, Running, Verbatim, serve_stdio};

const USAGE: &str =
    "usage: fixture http [--port N] [--era both|modern|legacy|oldest] [--page-size N] [--verbatim FILE] [--cancellations FILE]
       fixture stdio [--era both|modern|legacy|oldest] [--page-size N] [--verbatim FILE] [--cancellations FILE]";

enum Mode {
    Http { port: u16 },
    Stdio,
}

#[tokio::main]
async fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let Some((mode, options)) = read_arguments(&arguments) else {
        return complain(USAGE);
    };
    match run(mode, options).await {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => complain(&format!("fixture: {error}")),
    }
}

async fn run(mode: Mode, options: Options) -> std::io::Result<()> {
    match mode {
        Mode::Stdio => serve_stdio(Fixture::new(options)).await,
        Mode::Http { port } => {
            let running = Running::start(options, port).await?;
            let mut stdout = std::io::stdout();
            writeln!(stdout, "{}", running.url())?;
            stdout.flush()?;
            asked_to_stop().await?;
            running.stop().await;
            Ok(())
        }
    }
}

/// Waits for SIGTERM or SIGINT.
async fn asked_to_stop() -> std::io::Result<()> {
    let mut terminate = signal(SignalKind::terminate())?;
    tokio::select! {
        _ = terminate.recv() => Ok(()),
        interrupted = tokio::signal::ctrl_c() => interrupted,
    }
}

fn read_arguments(arguments: &[String]) -> Option<(Mode, Options)> {
    let (mode, rest) = arguments.split_first()?;
    let mut mode = match mode.as_str() {
        "http" => Mode::Http { port: 0 },
        "stdio" => Mode::Stdio,
        _ => return None,
    };
    let mut options = Options::default();
    let mut rest = rest.iter();
    while let Some(flag) = rest.next() {
        let value = rest.next()?;
        match (flag.as_str(), &mut mode) {
            ("--port", Mode::Http { port }) => *port = value.parse().ok()?,
            ("--page-size", _) => options.page_size = Some(value.parse::<NonZeroUsize>().ok()?),
            ("--era", _) => options.era = read_era(value)?,
            ("--cancellations", _) => {
                options.cancellations = Some(Path::new(String::leak(value.clone())));
            }
            ("--verbatim", _) => options.verbatim = Some(read_verbatim(value)?),
            _ => return None,
        }
    }
    Some((mode, options))
}

/// Reads the file, which then lives as long as the program.
fn read_verbatim(path: &str) -> Option<&'static Verbatim> {
    match Verbatim::read(Path::new(path)) {
        Ok(verbatim) => Some(Box::leak(Box::new(verbatim))),
        Err(error) => {
            complain(&format!("fixture: {path}: {error}"));
            None
        }
    }
}

fn read_era(name: &str) -> Option<Era> {
    match name {
        "both" => Some(Era::Both),
        "modern" => Some(Era::Modern),
        "legacy" => Some(Era::Legacy),
        "oldest" => Some(Era::Oldest),
        _ => None,
    }
}

fn complain(message: &str) -> ExitCode {
    let _ = writeln!(std::io::stderr(), "{message}");
    ExitCode::from(2)
}
