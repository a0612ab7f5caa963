"""Calls of a worker's tools from within the process: an engine without a connection."""

import asyncio
from collections.abc import Callable
from typing import Any, Protocol

from toolbus import _executor
from toolbus._calls import RANKS, Call, Id
from toolbus._engine import Engine
from toolbus._content import failure
from toolbus._errors import RpcError, ToolError, explain
from toolbus._json import dumps, loads
from toolbus._session import CAPABILITIES, LEVEL, Terms
from toolbus._worker import Worker

Event = dict[str, Any]
OnEvent = Callable[[Event], None]


class Part(Protocol):
    """One server of a kernel."""

    name: str

    def capabilities(self) -> dict[str, Any]:
        """As MCP has them."""
        ...

    async def listing(self, method: str) -> list[dict[str, Any]]:
        """All entries of a list."""
        ...

    async def request(self, method: str, params: dict[str, Any], on_event: OnEvent | None) -> bytes:
        """Does a request; answers with its result, a JSON object. Cancelled, it cancels what it has begun."""
        ...

    def lost(self) -> int:
        """Functions that go on though nobody waits for them."""
        ...

    async def close(self) -> None:
        """Ends what it holds."""
        ...


class Inside:
    """The tools of a worker."""

    def __init__(self, worker: Worker) -> None:
        self.name, self.worker, self.engine = worker.name, worker, Engine(worker)
        self.engine.contains_all = True

    def capabilities(self) -> dict[str, Any]:
        """Tools, and log lines."""
        return {"tools": {}, "logging": {}}

    async def listing(self, method: str) -> list[dict[str, Any]]:
        """The tools."""
        if method != "tools/list":
            return []
        unlisted = isinstance(self.worker, _executor.Executor) and not self.worker.lists
        return [] if unlisted else [tool.definition for tool in self.worker.tools.values()]

    def has(self, name: str) -> bool:
        """Whether it has this tool."""
        return self.worker.knows(name) if isinstance(self.worker, _executor.Executor) else name in self.worker.tools

    async def request(self, method: str, params: dict[str, Any], on_event: OnEvent | None) -> bytes:
        """Runs a tool; it has nothing else."""
        if method != "tools/call":
            raise RpcError(-32601, f"{self.name} has tools only")
        turn = _Turn(self.engine, on_event)
        self.engine.serve(turn, 0, "tools/call", params)  # type: ignore[arg-type]
        if turn.ended is not None:
            return turn.ended
        turn.waiter = self.engine.loop.create_future()
        try:
            return await turn.waiter
        except asyncio.CancelledError:
            for call in list(turn.calls.values()):
                self.engine.drop(call)
            raise

    def direct(self, name: str) -> Callable[[dict[str, Any]], bytes] | None:
        """A function that runs the tool in the thread that calls it, where that is all that there is to it."""
        tool = self.worker.tools.get(name)
        if tool is None or tool.kind == "async" or tool.wants_context or tool.timeout is not None:
            return None
        bind, fn, encode = tool.bind, tool.fn, tool.encode

        def run(arguments: dict[str, Any]) -> bytes:
            try:
                positions, named = bind(arguments, None)
                value = fn(*positions, **named)
                if asyncio.iscoroutine(value):
                    value.close()
                    raise TypeError("the function returned a coroutine: make what is decorated an 'async def'")
                return b"{" + encode(value) + b"}"
            except BaseException as error:
                why = str(error) if isinstance(error, ToolError) else explain(error)
                return b"{" + failure(why) + b"}"

        return run

    def lost(self) -> int:
        """Threads that were given up."""
        return self.engine.threads.lost

    async def close(self) -> None:
        """Ends what waits for people."""
        self.engine.close()


class _Turn:
    """What a session is to the engine, for one request."""

    __slots__ = ("_engine", "_on_event", "calls", "ended", "waiter")

    def __init__(self, engine: Engine, on_event: OnEvent | None) -> None:
        self._engine, self._on_event = engine, on_event
        self.calls: dict[Id, Call] = {}
        self.ended: bytes | None = None
        self.waiter: asyncio.Future[bytes] | None = None

    def terms(self, method: str, params: dict[str, Any]) -> Terms:
        """What the request says of its caller."""
        meta = params.get("_meta") or {}
        capabilities, level = meta.get(CAPABILITIES), meta.get(LEVEL)
        if self._on_event is None:
            return Terms(meta, capabilities if isinstance(capabilities, dict) else {}, None, None)
        rank = RANKS.get(level) if isinstance(level, str) else None
        return Terms(meta, capabilities if isinstance(capabilities, dict) else {}, 0, rank, beats=True)

    def advise(self, line: bytes) -> None:
        """A notice."""
        event = event_of(loads(line))
        if self._on_event is not None and event is not None:
            self._on_event(event)

    def reply(self, id: Id, result: bytes, legacy: bool) -> None:
        """The result."""
        self._end(b"{" + result + b"}")

    def send(self, line: bytes) -> None:
        """A question to the caller, which is what ends the request."""
        self._end(dumps(loads(line)["result"]))

    def fail(self, id: Id, error: RpcError) -> None:
        """An error of the protocol."""
        if self.waiter is None:
            raise error
        if not self.waiter.done():
            self.waiter.set_exception(error)

    def _end(self, result: bytes) -> None:
        if self.waiter is None:
            self.ended = result
        elif not self.waiter.done():
            self.waiter.set_result(result)


def event_of(notice: dict[str, Any]) -> Event | None:
    """A notification of MCP, as runners and side channels say it."""
    method, params = notice.get("method"), notice.get("params") or {}
    if method == "toolbus/heartbeat":
        return {"heartbeat": True}
    if method == "notifications/progress":
        return {name: params[name] for name in ("progress", "total", "message") if params.get(name) is not None}
    if method == "notifications/message":
        return {"log": {name: value for name, value in params.items() if name != "_meta"}}
    return None
