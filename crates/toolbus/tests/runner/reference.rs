//! The reference runner as a process of the test's.

use super::*;

/// A worker's tools.
pub(crate) const TOOLS: &str = r#"
import asyncio, os, time
from toolbus import Context, ToolError, Worker

worker = Worker("tools")


@worker.tool(read_only=True)
def add(a: int, b: int) -> int:
    "Adds."
    return a + b


@worker.tool()
def large(size: int) -> str:
    "Is large."
    return "x" * size


@worker.tool()
def fail() -> str:
    "Fails."
    raise ToolError("as it should")


@worker.tool()
def die() -> str:
    "Ends the process."
    os._exit(3)


@worker.tool()
async def count(ctx: Context, n: int) -> str:
    "Counts."
    for i in range(n):
        ctx.report_progress(i + 1, n, "on it")
        ctx.info("a line")
        await asyncio.sleep(0.01)
    return "counted"


@worker.tool()
async def beat(ctx: Context, times: int, pause: float) -> str:
    "Says that it lives."
    for _ in range(times):
        await asyncio.sleep(pause)
        ctx.heartbeat()
    return "alive"


@worker.tool()
async def sure(ctx: Context) -> str:
    "Asks."
    answer = await ctx.elicit("Sure?", bool)
    return f"{answer.action} {answer.data}"


@worker.tool()
async def wait(at: str) -> str:
    "Waits until it is cancelled, and says so in a file."
    open(at + ".begun", "w").close()
    try:
        await asyncio.sleep(3600)
    finally:
        open(at, "w").close()
    return "never"
"#;

/// A server of another package, with more than tools.
pub(crate) const SERVER: &str = r#"
from mcp.server.mcpserver import MCPServer
from mcp.types import Completion

mcp = MCPServer("other")


@mcp.tool()
def add(a: int, b: int) -> int:
    "Adds."
    return a + b


@mcp.resource("test://text")
def text() -> str:
    return "a text"


@mcp.resource("test://of/{name}")
def of(name: str) -> str:
    return f"of {name}"


@mcp.prompt()
def greet(name: str) -> str:
    "Greets."
    return f"Greet {name}"


@mcp.completion()
async def complete(ref, argument, context):
    return Completion(values=["Ann", "Abe"])
"#;

/// How a runner is reached.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Over {
    Tcp,
    Unix,
}

/// A reference runner, which ends with the test.
pub(crate) struct Reference {
    child: Owned,
    folder: TempDir,
    address: String,
    over: Over,
}

/// The Python of the test environment; a word where it is not there.
pub(crate) fn python() -> Option<PathBuf> {
    let python = workspace(".venv/bin/python");
    if python.exists() {
        return Some(python);
    }
    let _ = writeln!(std::io::stderr(), "skipped: no Python environment");
    None
}

/// Where the package is, for a section of the configuration.
pub(crate) fn env() -> String {
    let path = workspace("python/toolbus/src");
    format!("env = {{ PYTHONPATH = {} }}\n", json!(path))
}

impl Reference {
    pub(crate) fn start(python: &Path, source: &str, over: Over) -> Self {
        Self::start_with(python, source, over, None)
    }

    pub(crate) fn start_with(python: &Path, source: &str, over: Over, token: Option<&str>) -> Self {
        let folder = tempfile::tempdir().expect("a folder");
        let (child, address) = launch(python, source, folder.path(), over, token);
        Self {
            child,
            folder,
            address,
            over,
        }
    }

    /// The section of a server at this runner.
    pub(crate) fn section(&self, name: &str) -> String {
        match self.over {
            Over::Tcp => format!("[servers.{name}.runner]\nurl = \"{}\"\n", self.address),
            Over::Unix => {
                let path = json!(self.path("r.sock"));
                format!("[servers.{name}.runner]\nsocket = {path}\n")
            }
        }
    }

    pub(crate) fn gateway(&self) -> Gateway {
        Gateway::start(&self.section("py"))
    }

    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    pub(crate) fn kill(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }

    /// Starts another one in its place.
    pub(crate) fn again(&mut self, python: &Path, source: &str) {
        let (child, address) = launch(python, source, self.folder.path(), self.over, None);
        (self.child, self.address) = (child, address);
    }
}

fn launch(
    python: &Path,
    source: &str,
    folder: &Path,
    over: Over,
    token: Option<&str>,
) -> (Owned, String) {
    let file = folder.join("tools.py");
    std::fs::write(&file, source).expect("written");
    let mut command = Command::new(python);
    command.args(["-m", "toolbus.runner"]).arg(&file);
    match over {
        Over::Tcp => command.args(["--port", "0"]),
        Over::Unix => command.arg("--socket").arg(folder.join("r.sock")),
    };
    command.env("PYTHONPATH", workspace("python/toolbus/src"));
    command.env_remove("TOOLBUS_RUNNER_SOCKET");
    if let Some(token) = token {
        command.env("TOOLBUS_RUNNER_TOKEN", token);
    }
    let log = std::fs::File::create(folder.join("log")).expect("a log");
    command
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(log);
    let mut child = command.spawn().expect("the runner starts");
    let mut line = String::new();
    let stdout = child.stdout.take().expect("a pipe");
    BufReader::new(stdout).read_line(&mut line).expect("a line");
    let address = line.trim().strip_prefix("listening on ");
    let address = address.unwrap_or_else(|| panic!("no address but {line:?}"));
    (Owned(child), address.to_owned())
}
