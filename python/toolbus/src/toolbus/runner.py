"""`python -m toolbus.runner TARGET`: serves a file, a module or a folder over HTTP, on a port or a Unix socket.

`POST /run_tool` with `{"name", "arguments"}` runs a tool. `GET /tools`, `/resources`, `/prompts` and `/health` say what there
is and how it is. The tools are loaded in the main thread, while `/health` says `initializing`; calls are answered in another.
"""

import argparse
import asyncio
import os
import signal
import socket
import stat
import sys
import threading
import traceback
from contextlib import suppress
from ipaddress import ip_address
from pathlib import Path
from typing import Any

from toolbus import _http, _kernel
from toolbus._service import Service

# The variable with the token that callers have to show.
TOKEN = "TOOLBUS_RUNNER_TOKEN"

# The variable with the socket at which it listens where nothing else is said, set by a gateway that starts it.
SOCKET = "TOOLBUS_RUNNER_SOCKET"

# Seconds for calls under way when the runner is to stop.
_GRACE = 5.0

_BACKLOG = 128


def main(arguments: list[str]) -> int:
    """Serves until the process is told to end; answers with the exit status."""
    given = _parser().parse_args(arguments)
    if given.socket is None and given.port is None and os.environ.get(SOCKET):
        given.socket = Path(os.environ[SOCKET])
    try:
        listener, shown, is_local = _bound(given)
    except OSError as error:
        print(f"toolbus: {error}", file=sys.stderr)
        return 2
    from toolbus import __version__

    runner = _Runner(Service(__version__, os.environ.get(TOKEN) or None, is_local), listener)
    stop = threading.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: stop.set())
    runner.start()
    print(f"listening on {shown}", flush=True)
    status = _load(runner, given.target)
    if status == 0:
        stop.wait()
    is_clean = runner.stop(_GRACE if status == 0 else 0.0)
    if given.socket:
        with suppress(OSError):
            os.unlink(given.socket)
    sys.stdout.flush()
    sys.stderr.flush()
    if not is_clean:
        # Threads that never end would keep the process.
        os._exit(status)
    return status


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m toolbus.runner", description="Serves Python tools over HTTP.")
    parser.add_argument("target", help="a file, FILE:OBJECT, a module, or a folder (also one with assets/skills/*/scripts)")
    parser.add_argument("--host", default="127.0.0.1", help=f"where to listen; others than loopback need {TOKEN}")
    parser.add_argument("--port", type=int, help="8000 without; 0 takes a free one")
    parser.add_argument("--socket", type=Path, help="a Unix socket instead of a port; only this user can connect")
    return parser


def _bound(given: argparse.Namespace) -> tuple[socket.socket, str, bool]:
    if given.socket is not None:
        return _unix(given.socket), f"unix:{given.socket}", True
    is_local = _is_loopback(given.host)
    if not is_local and not os.environ.get(TOKEN):
        raise OSError(f"{given.host} can be reached from other machines: set {TOKEN}, which callers then have to show")
    family = socket.AF_INET6 if ":" in given.host else socket.AF_INET
    listener = socket.create_server((given.host, 8000 if given.port is None else given.port), family=family, backlog=_BACKLOG)
    host = f"[{given.host}]" if ":" in given.host else given.host
    return listener, f"http://{host}:{listener.getsockname()[1]}", is_local


def _is_loopback(host: str) -> bool:
    try:
        return ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


def _unix(path: Path) -> socket.socket:
    with suppress(FileNotFoundError):
        if not stat.S_ISSOCK(path.stat().st_mode):
            raise OSError(f"{path} is there already, and is no socket")
        with socket.socket(socket.AF_UNIX) as knock, suppress(ConnectionRefusedError):
            knock.connect(str(path))
            raise OSError(f"somebody listens at {path} already")
        # What a runner left that was killed.
        path.unlink()
    listener = socket.socket(socket.AF_UNIX)
    before = os.umask(0o177)
    try:
        listener.bind(str(path))
    except OSError as error:
        raise OSError(f"{path}: {error}") from None
    finally:
        os.umask(before)
    listener.listen(_BACKLOG)
    return listener


def _load(runner: "_Runner", target: str) -> int:
    try:
        runner.ready(_kernel.load(target))
    except _kernel.LoadError as error:
        print(f"toolbus: {error}", file=sys.stderr)
        return 2
    except BaseException as error:
        print(f"toolbus: {target} cannot be loaded", file=sys.stderr)
        traceback.print_exception(error, file=sys.stderr)
        return 2
    return 0


class _Runner:
    """The thread in which requests are answered."""

    def __init__(self, service: Service, listener: socket.socket) -> None:
        self._service, self._listener = service, listener
        self._loop = asyncio.new_event_loop()
        self._room = _http.Room(service.handle)
        self._server: asyncio.AbstractServer | None = None
        self._is_over = False
        self._thread = threading.Thread(target=self._run, name="toolbus-runner", daemon=True)

    def start(self) -> None:
        """Begins to answer."""
        self._thread.start()

    def _run(self) -> None:
        asyncio.set_event_loop(self._loop)
        self._loop.create_task(self._listen())
        while not self._is_over:
            try:
                self._loop.run_forever()
            except BaseException as error:
                # A task of a tool that raised SystemExit, say. Everybody else's calls go on.
                traceback.print_exception(error, file=sys.stderr)

    async def _listen(self) -> None:
        def connection() -> _http.Connection:
            return _http.Connection(self._room)

        if self._listener.family == socket.AF_UNIX:
            self._server = await self._loop.create_unix_server(connection, sock=self._listener)
        else:
            self._server = await self._loop.create_server(connection, sock=self._listener)

    def ready(self, loaded: _kernel.Loaded) -> None:
        """Serves what was loaded."""
        for problem in loaded.problems:
            print(f"toolbus: {problem}", file=sys.stderr)

        async def begin() -> None:
            self._service.kernel = await _kernel.Kernel.of(loaded)

        self._do(begin())

    def stop(self, grace: float) -> bool:
        """Answers no more, after a moment for what runs; says whether all threads have ended."""
        is_clean = self._do(self._wind_up(grace))
        self._is_over = True
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join(1.0)
        return bool(is_clean)

    async def _wind_up(self, grace: float) -> bool:
        service = self._service
        service.is_stopping = True
        if self._server is not None:
            self._server.close()
        until = self._loop.time() + grace
        while service.calls and self._loop.time() < until:
            await asyncio.sleep(0.02)
        is_clean = service.calls == 0
        self._room.close()
        if service.kernel is not None:
            is_clean &= service.kernel.lost() == 0
            await service.kernel.close()
        return is_clean

    def _do(self, work: Any) -> Any:
        return asyncio.run_coroutine_threadsafe(work, self._loop).result()


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
