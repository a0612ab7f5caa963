"""A file that runs itself: listens at a Unix socket of its own, and starts the `toolbus worker` that calls it there."""

import asyncio
import multiprocessing
import os
import shutil
import signal
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any, NoReturn

from toolbus import _foreign

# Set while a file is loaded by the host: what it would serve is noted here instead.
_registered: list[Any] | None = None

# A path of a socket has at most this many bytes (unix(7)).
_MAX_PATH = 107

# Connections at once. The worker opens one, and further ones for callers that an older server tells apart.
_BACKLOG = 64


@contextmanager
def registering() -> Iterator[list[Any]]:
    """Has `run` and `serve` note what they are given, and return."""
    global _registered
    _registered, before = [], _registered
    try:
        yield _registered
    finally:
        _registered = before


def serve(server: Any, name: str | None = None) -> None:
    """Serves an existing server until the worker is stopped: a FastMCP 4 object, an `MCPServer` or `FastMCP` of mcp.

    Its prompts, resources and questions are served, too. What stands after the file on the command line goes to
    `toolbus worker`. In a file that `toolbus worker` or `python -m toolbus.host` runs, this only says what is served.

    Args:
        server: The object.
        name: Its name in every catalog; the one that it has without.
    """
    from toolbus._worker import Worker

    if isinstance(server, Worker):
        return run(server, name or server.name)
    if not _foreign.is_server(server):
        raise TypeError(f"toolbus.serve takes a FastMCP or MCPServer object, and not {type(server).__name__}")
    run(server, name or _foreign.name_of(server))


def run(target: Any, name: str) -> None:
    """Serves until the worker ends, and ends the process where it did not end well."""
    if _registered is not None:
        _registered.append(target)
        return
    if multiprocessing.current_process().name != "MainProcess":
        # A process that a tool started imports its file, and does not serve it once more. Its parent is not known yet.
        return
    with suppress(RuntimeError):
        asyncio.get_running_loop()
        raise SystemExit("toolbus: an event loop runs here already, as in a notebook: put the tools into a file and run that")
    status = asyncio.run(_run(target, name, sys.argv[1:]))
    if status:
        sys.exit(status)


async def _run(target: Any, name: str, arguments: list[str]) -> int:
    binary = _binary()
    with _folder() as folder:
        path = folder / "worker.sock"
        server = await _listen(target, path)
        is_named = any(word.partition("=")[0] == "--name" for word in arguments)
        named = [] if is_named else ["--name", name]
        command = [binary, "worker", "--socket", str(path), *named, *arguments]
        try:
            # In a group of its own: what a terminal sends to all is passed on once, by us.
            worker = await asyncio.create_subprocess_exec(*command, stdin=subprocess.DEVNULL, process_group=0)
        except OSError as error:
            _stop(f"{binary} cannot be started: {error}")
        _pass_on_signals(worker)
        status = await worker.wait()
        server.close()
        return _explained(status, worker.pid)


def _pass_on_signals(worker: asyncio.subprocess.Process) -> None:
    def pass_on(number: signal.Signals) -> None:
        with suppress(ProcessLookupError):
            worker.send_signal(number)

    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
        # In another thread than the first, signals are others' business.
        with suppress(ValueError, RuntimeError):
            loop.add_signal_handler(number, pass_on, number)


def _explained(status: int, pid: int) -> int:
    if status < 0:
        print(f"toolbus: the worker (process {pid}) was killed by signal {-status}; nothing is served any more", file=sys.stderr)
        return 1
    if status > 0:
        print(f"toolbus: the worker (process {pid}) ended with status {status}; nothing is served any more", file=sys.stderr)
    return status


async def _listen(target: Any, path: Path) -> asyncio.Server:
    loop = asyncio.get_running_loop()
    if _foreign.is_server(target):

        async def serve_one(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            await _foreign.serve(target, reader, writer)

        from toolbus._session import MAX_LINE

        return await asyncio.start_unix_server(serve_one, path, limit=MAX_LINE, backlog=_BACKLOG)
    from toolbus._engine import Engine
    from toolbus._session import Session

    engine = Engine(target)
    return await loop.create_unix_server(lambda: Session(engine), path, backlog=_BACKLOG)


@contextmanager
def _folder() -> Iterator[Path]:
    """A new folder that only this user can enter."""
    made = None
    for parent in (None, "/tmp"):
        with suppress(OSError):
            made = Path(tempfile.mkdtemp(prefix="toolbus-", dir=parent))
            if len(os.fsencode(made)) + len("/worker.sock") <= _MAX_PATH:
                break
            made.rmdir()
            made = None
    if made is None:
        _stop(f"no folder for a socket: {tempfile.gettempdir()} and /tmp cannot be written, or their paths are too long")
    try:
        yield made
    finally:
        shutil.rmtree(made, ignore_errors=True)


def _binary() -> str:
    """The program that speaks to the mesh: as `TOOLBUS_BIN` says, beside this package, or on the PATH."""
    given = os.environ.get("TOOLBUS_BIN")
    if given:
        found = shutil.which(given)
        return found or _stop(f"TOOLBUS_BIN is {given!r}, which is no program")
    beside = [Path(__file__).parent / "bin" / "toolbus", Path(sys.executable).parent / "toolbus"]
    for path in beside:
        if os.access(path, os.X_OK) and path.is_file():
            return str(path)
    return shutil.which("toolbus") or _stop(
        "the program `toolbus` is not found: install it (`cargo install --path crates/toolbus` in the repository), or say "
        "where it is with TOOLBUS_BIN=/path/to/toolbus"
    )


def _stop(why: str) -> NoReturn:
    sys.exit(f"toolbus: {why}")
