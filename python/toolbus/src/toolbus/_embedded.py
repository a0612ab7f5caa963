"""Inside the process of a gateway: what it calls to import modules, and to have their tools run.

All of this is called from Rust (`crates/embedded`). Plain functions get and give bytes, in the gateway's own threads;
everything else runs on one event loop, in the kernel that runs it everywhere else, too.
"""

import asyncio
import os
import sys
import threading
from collections.abc import Callable
from contextlib import suppress
from typing import Any

from toolbus import _guards
from toolbus._errors import Cancelled, RpcError, explain
from toolbus._json import dumps, loads
from toolbus._kernel import Kernel, Loaded, load
from toolbus._tool import Tool
from toolbus._worker import Worker

# What an answer holds, as `crates/embedded/src/calls.rs` has it.
_RESULT, _ERROR, _CANCELLED = 0, 1, 2

# For the tools of a server to be listed: one of another package may start something first.
_LIST_WITHIN = 60.0

# name, definition, whether it never waits, and the function where it is a plain one.
Told = tuple[str, bytes, bool, Callable[[bytes], bytes] | None]

Letter = tuple[Callable[[str, bytes, int, bool], None] | None, str, bytes, int, bool]


class _Host:
    """What the gateway can be asked and told: of a call by its number, from any thread."""

    tell: Callable[[int, bool, bytes], None]
    params: Callable[[int], bytes]
    done: Callable[[int, int, bytes], None]


_host = _Host()
_loop: asyncio.AbstractEventLoop | None = None
_is_running = threading.Event()
_tasks: "dict[int, asyncio.Task[None]]" = {}


def start(host: dict[str, Any]) -> None:
    """Once, before any module is imported."""
    vars(_host).update(host)
    _guards.set_up()


def interrupt(thread: int) -> None:
    """Raises in a thread what no `except Exception` of a tool keeps."""
    import ctypes

    ctypes.pythonapi.PyThreadState_SetAsyncExc(ctypes.c_ulong(thread), ctypes.py_object(Cancelled))


# Modules.


class Served:
    """A module, with its tools."""

    def __init__(self, loaded: Loaded) -> None:
        self._loaded = loaded
        # Of each event loop its own: a kernel belongs to one.
        self._kernels: dict[asyncio.AbstractEventLoop, asyncio.Future[Kernel]] = {}
        self._knowing: set[str] = set()
        self.tools: list[Told] = []

    async def learn(self) -> None:
        """Learns which tools there are."""
        kernel = await self._kernel()
        for definition in await kernel.tools():
            name = definition["name"]
            run, tool = kernel.direct(name), _tool(self._loaded, name)
            if tool is None or tool.wants_context:
                self._knowing.add(name)
            is_inline = tool is not None and tool.kind == "inline"
            self.tools.append((name, dumps(definition), is_inline, None if run is None else _plain(run)))

    def begin(self, tool: str, arguments: bytes, id: int, is_retry: bool) -> None:
        """Begins a call, in the loop."""
        task = asyncio.get_running_loop().create_task(self._run(tool, arguments, id, is_retry))
        _tasks[id] = task

    async def _run(self, tool: str, arguments: bytes, id: int, is_retry: bool) -> None:
        kind, text = _CANCELLED, b""
        try:
            kind, text = _RESULT, await self._call(tool, arguments, id, is_retry)
        except RpcError as error:
            said = {"code": error.code, "message": str(error)}
            kind, text = _ERROR, dumps(said | ({"data": error.data} if error.data is not None else {}))
        except asyncio.CancelledError:
            pass
        except BaseException as error:
            kind, text = _ERROR, dumps({"code": -32603, "message": explain(error)})
        finally:
            _tasks.pop(id, None)
            _host.done(id, kind, text)

    async def _call(self, tool: str, arguments: bytes, id: int, is_retry: bool) -> bytes:
        kernel = await self._kernel()
        if tool not in self._knowing:
            return await kernel.call_json(tool, loads(arguments))
        params = loads(_host.params(id))
        meta = params.get("_meta")
        retry: dict[str, Any] = {}
        if is_retry:
            retry = {"request_state": params["requestState"], "input_responses": params.get("inputResponses")}
        return await kernel.call_json(tool, loads(arguments), lambda event: _tell(id, event), meta=meta, **retry)

    async def _kernel(self) -> Kernel:
        loop = asyncio.get_running_loop()
        if loop not in self._kernels:
            self._kernels[loop] = loop.create_task(Kernel.of(self._loaded))
        return await asyncio.shield(self._kernels[loop])


def open_module(module: str, threads: int) -> Served:
    """Imports a module in this thread, and learns which tools it has."""
    loaded = load(module)
    for server in loaded.servers:
        if isinstance(server, Worker):
            # For functions that know of their call. Plain ones run in threads of the gateway's.
            server.threads = threads
    for problem in loaded.problems:
        print(f"toolbus: {problem}", file=sys.stderr)
    served = Served(loaded)
    _is_running.wait(_LIST_WITHIN)
    if _loop is None:
        raise RuntimeError("the event loop did not start")
    asyncio.run_coroutine_threadsafe(served.learn(), _loop).result(_LIST_WITHIN)
    return served


def _tool(loaded: Loaded, name: str) -> Tool | None:
    for server in loaded.servers:
        if isinstance(server, Worker) and name in server.tools:
            return server.tools[name]
    return None


def _plain(run: Callable[[dict[str, Any]], bytes]) -> Callable[[bytes], bytes]:
    return lambda arguments: run(loads(arguments))


def _tell(id: int, event: dict[str, Any]) -> None:
    if "log" in event:
        _host.tell(id, True, dumps(event["log"]))
    else:
        _host.tell(id, False, b"{}" if "heartbeat" in event else dumps(event))


# The event loop.


def run_loop(bell: int, take: Callable[[], list[Letter]]) -> None:
    """Runs an event loop in this thread until another one takes its place; `bell` is a descriptor to wait at."""
    global _loop
    loop = asyncio.new_event_loop()

    def woken() -> None:
        with suppress(BlockingIOError):
            os.read(bell, 8)
        for begin, tool, arguments, id, is_retry in take():
            if begin is not None:
                begin(tool, arguments, id, is_retry)
            elif id in _tasks:
                _tasks[id].cancel()

    loop.add_reader(bell, woken)
    asyncio.set_event_loop(loop)
    _loop = loop
    _is_running.set()
    while _loop is loop:
        try:
            loop.run_forever()
        except BaseException as error:
            # What a coroutine raises ends no loop, nor does what was to end the coroutine that blocked it.
            print(f"toolbus: {explain(error)} in the event loop", file=sys.stderr)
