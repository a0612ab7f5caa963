//! What a place of scripts is made of.

use std::path::PathBuf;
use std::time::Duration;

use toolbus_model::Object;

use super::spec::Limits;
use super::table;
use super::warm;

/// A place of scripts, as it is configured.
#[derive(Debug, Clone, PartialEq)]
pub struct Settings {
    /// The file that says which tools there are. Without one, only those that are declared.
    pub source: Option<Source>,
    /// Tools that are declared here, and what is different for single tools of the source.
    pub tools: Vec<Declared>,
    /// How every tool is run that says nothing else.
    pub base: Base,
    /// Processes at once. Further calls wait in the order in which they came.
    pub at_once: usize,
    /// Calls that wait for a process. Further ones are refused.
    pub waiting: usize,
    /// Interpreters that are kept ready for calls. Without them each call starts a process.
    pub warm: Option<warm::Settings>,
}

/// A file that says which tools there are.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Source {
    /// A command index or a skill index, told apart by what it holds.
    Index(PathBuf),
    /// A file or a module of Python, whose tools are asked of `python -m toolbus.script`.
    Python(Python),
}

/// Python that serves its own tools.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Python {
    /// The program.
    pub interpreter: PathBuf,
    /// A file, a folder, or a module's name.
    pub served: String,
}

/// How a tool is run.
#[derive(Debug, Clone, PartialEq)]
pub struct Base {
    /// The program and its arguments, with their placeholders. Python that serves its own tools needs none.
    pub run: Option<Vec<String>>,
    /// Variables on top of the clean environment.
    pub env: Vec<(String, String)>,
    /// The working folder. Without one each call gets a folder of its own.
    pub cwd: Option<PathBuf>,
    /// What a call may use.
    pub limits: Limits,
}

/// A tool in the configuration.
#[derive(Debug, Clone, PartialEq)]
pub struct Declared {
    /// Its name.
    pub name: String,
    /// Its definition as it is listed. Without one, the source has the tool, and only how it is run is told here.
    pub definition: Option<Definition>,
    /// The program and its arguments, in place of the common ones.
    pub run: Option<Vec<String>>,
    /// Variables, beside the common ones.
    pub env: Vec<(String, String)>,
    /// The working folder, in place of the common one.
    pub cwd: Option<PathBuf>,
    /// What a call may use, in place of the common limits.
    pub limits: Limits,
}

/// The definition of a tool.
#[derive(Debug, Clone, PartialEq)]
pub struct Definition {
    /// What it says of itself: everything that is listed but the name and the schemas.
    pub members: Object,
    /// What its arguments must be.
    pub input: Schema,
    /// What its results are.
    pub output: Option<Schema>,
}

/// A schema.
#[derive(Debug, Clone, PartialEq)]
pub enum Schema {
    /// As it stands in the configuration.
    Inline(Object),
    /// In a file of its own.
    File(PathBuf),
}

impl Settings {
    /// Nothing at all.
    pub fn empty() -> Self {
        Self {
            source: None,
            tools: Vec::new(),
            base: Base {
                run: None,
                env: Vec::new(),
                cwd: None,
                limits: Limits::default(),
            },
            at_once: 1,
            waiting: 0,
            warm: None,
        }
    }

    /// What is wrong with it, as far as can be known without reading a file.
    pub fn check(&self) -> Result<(), String> {
        table::check(self)
    }
}

/// Processes at once at most: each is an interpreter of some tens of MiB.
pub const MOST_AT_ONCE: usize = 16;

/// Calls that wait for a process: as many as a server takes at once (`max_in_flight`) and more.
pub const WAITING: usize = 1024;

/// Processes at once where nothing else is said: two for each processor, for most scripts wait for something.
pub fn at_once() -> usize {
    let processors = std::thread::available_parallelism().map_or(2, usize::from);
    (2 * processors).min(MOST_AT_ONCE)
}

impl Default for Limits {
    /// What a well-behaved script never meets.
    fn default() -> Self {
        Self {
            timeout: None,
            output: 32 * 1024 * 1024,
            process: crate::process::Limits {
                memory: Some(1024 * 1024 * 1024),
                address_space: None,
                cpu: Some(Duration::from_secs(600)),
                file_size: Some(1024 * 1024 * 1024),
                open_files: Some(1024),
                processes: Some(64),
            },
        }
    }
}
