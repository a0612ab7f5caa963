//! The command line: what there is to say, and who does it.

mod call;
mod check;
mod doctor;
mod servers;
mod stdio;
mod streams;
mod tools;
mod up;
mod worker;
mod workers;

use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use clap::{Args, Parser, Subcommand, ValueEnum};
use tracing_subscriber::filter::LevelFilter;

use crate::config::{self, Config, Source};
use crate::say;

/// How a command ends when it does not end well.
#[derive(Debug)]
pub(crate) enum Failed {
    /// A tool reported its own failure, or the doctor found something: 1.
    Reported,
    /// The command or the configuration is wrong: 2.
    Usage(String),
    /// No outcome could be had: 3.
    NoOutcome(String),
}

const HELP: &str = "\
Examples:
  toolbus up                          serve MCP at http://127.0.0.1:7800/mcp
  toolbus up toolbus.toml             with the servers of a configuration
  toolbus up mcp.json                 with those of an MCP client's file
  toolbus tools mcp.json              what there is to call
  toolbus call mcp.json files.read path=README.md
  toolbus doctor mcp.json             what is wrong with which server
  toolbus worker math.py              serve the functions of a file on the mesh
  toolbus workers                     who serves on the mesh

Exit status: 0 done; 1 a tool reported a failure, or the doctor did; 2 wrong command or configuration; 3 no outcome.";

/// Runs MCP tools anywhere, behind one door.
#[derive(Debug, Parser)]
#[command(name = "toolbus", version, about, after_help = HELP, max_term_width = 100)]
struct CommandLine {
    #[command(subcommand)]
    command: Command,
    #[command(flatten)]
    logs: Logs,
}

#[derive(Debug, Args)]
struct Logs {
    /// The lowest level of log lines on stderr.
    #[arg(long, global = true, value_enum, help_heading = "Logs")]
    log_level: Option<LogLevel>,
    /// The form of log lines.
    #[arg(
        long,
        global = true,
        value_enum,
        default_value = "text",
        help_heading = "Logs"
    )]
    log_format: LogFormat,
}

#[derive(Debug, Clone, Copy, ValueEnum)]
enum LogLevel {
    Off,
    Error,
    Warn,
    Info,
    Debug,
    Trace,
}

#[derive(Debug, Clone, Copy, ValueEnum)]
enum LogFormat {
    Text,
    Json,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Serve all configured servers over HTTP until stopped.
    ///
    /// Prints the URL of the MCP endpoint on stdout once it accepts connections.
    Up(Given),
    /// Serve all configured servers to one client on stdin and stdout.
    Stdio(Given),
    /// Check a configuration without starting anything.
    Check(Given),
    /// Print the JSON Schema of the configuration file.
    Schema,
    /// List the tools of all servers.
    Tools(tools::Arguments),
    /// Call one tool and print its result.
    Call(call::Arguments),
    /// Start every server once and say what is wrong with which.
    Doctor(doctor::Arguments),
    /// Serve functions or MCP servers on the mesh until stopped.
    Worker(Box<worker::Arguments>),
    /// List, show or drain the workers of the mesh.
    Workers(workers::Arguments),
}

/// Where the configuration is.
#[derive(Debug, Args)]
struct Given {
    /// A toolbus.toml, an MCP client's JSON file, or a folder that holds one. Without it ./toolbus.toml, where there
    /// is one.
    #[arg(value_name = "FILE|FOLDER")]
    path: Option<PathBuf>,
}

impl Given {
    fn load(&self) -> Result<(Source, Config), Failed> {
        load(self.path.as_deref())
    }
}

fn load(path: Option<&Path>) -> Result<(Source, Config), Failed> {
    let source = config::find(path).map_err(|problem| Failed::Usage(problem.to_string()))?;
    let config = config::load(&source).map_err(|problem| Failed::Usage(problem.to_string()))?;
    Ok((source, config))
}

/// Reads the command line and does what it says.
pub(crate) fn run() -> ExitCode {
    let line = CommandLine::parse();
    // Commands for a person stay quiet unless asked; servers tell what they do.
    let serves = matches!(
        line.command,
        Command::Up(_) | Command::Stdio(_) | Command::Worker(_)
    );
    start_logs(
        &line.logs,
        if serves {
            LevelFilter::INFO
        } else {
            LevelFilter::OFF
        },
    );
    let done = match line.command {
        Command::Up(given) => given
            .load()
            .and_then(|(source, config)| within(up::run(source, config))),
        Command::Stdio(given) => given
            .load()
            .and_then(|(source, config)| within(stdio::run(source, config))),
        Command::Check(given) => given
            .load()
            .and_then(|(source, config)| check::run(&source, &config)),
        Command::Schema => {
            say::out(config::schema());
            Ok(())
        }
        Command::Tools(arguments) => within(tools::run(arguments)),
        Command::Call(arguments) => within(call::run(arguments)),
        Command::Doctor(arguments) => within(doctor::run(arguments)),
        Command::Worker(arguments) => within(worker::run(*arguments)),
        Command::Workers(arguments) => within(workers::run(arguments)),
    };
    let (code, message) = match done {
        Ok(()) => return ExitCode::SUCCESS,
        Err(Failed::Reported) => (1, None),
        Err(Failed::Usage(message)) => (2, Some(message)),
        Err(Failed::NoOutcome(message)) => (3, Some(message)),
    };
    if let Some(message) = message {
        say::err(format!("toolbus: {message}"));
    }
    ExitCode::from(code)
}

/// The warden of one child: `warden CONTROL [ORDER...] -- COMMAND...`.
pub(crate) fn warden(arguments: &[OsString]) -> ExitCode {
    let control = arguments
        .first()
        .and_then(|number| number.to_str()?.parse().ok());
    let end = arguments.iter().position(|word| word == "--");
    let (Some(control), Some(end @ 1..)) = (control, end) else {
        return ExitCode::from(2);
    };
    let (orders, command) = (&arguments[1..end], &arguments[end + 1..]);
    match toolbus_backends::process::warden::run(control, orders, command) {
        Ok(()) => ExitCode::SUCCESS,
        Err(_) => ExitCode::FAILURE,
    }
}

/// Runs a command's work on a runtime.
fn within(work: impl Future<Output = Result<(), Failed>>) -> Result<(), Failed> {
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build();
    let runtime = runtime
        .map_err(|error| Failed::NoOutcome(format!("no runtime could be started: {error}")))?;
    let done = runtime.block_on(work);
    // A thread that reads stdin cannot be stopped; it must not hold us.
    runtime.shutdown_background();
    done
}

fn start_logs(logs: &Logs, default: LevelFilter) {
    let level = match logs.log_level {
        None => default,
        Some(LogLevel::Off) => LevelFilter::OFF,
        Some(LogLevel::Error) => LevelFilter::ERROR,
        Some(LogLevel::Warn) => LevelFilter::WARN,
        Some(LogLevel::Info) => LevelFilter::INFO,
        Some(LogLevel::Debug) => LevelFilter::DEBUG,
        Some(LogLevel::Trace) => LevelFilter::TRACE,
    };
    let logs_to_stderr = tracing_subscriber::fmt()
        .with_writer(std::io::stderr)
        .with_max_level(level);
    match logs.log_format {
        LogFormat::Text => {
            let coloured = std::io::IsTerminal::is_terminal(&std::io::stderr());
            logs_to_stderr.with_ansi(coloured).with_target(false).init();
        }
        LogFormat::Json => logs_to_stderr.json().flatten_event(true).init(),
    }
}
