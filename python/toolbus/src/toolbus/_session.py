"""One connection of a client: reads its lines, knows its revision, writes what is for it."""

import asyncio
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from toolbus._calls import RANKS, Call, Id
from toolbus._content import failure
from toolbus._errors import RpcError, ToolError, shown
from toolbus._json import dumps, loads

if TYPE_CHECKING:
    from toolbus._engine import Engine

MODERN = "2026-07-28"
LEGACY = ("2024-11-05", "2025-03-26", "2025-06-18", "2025-11-25")

_PREFIX = "io.modelcontextprotocol/"
VERSION, CAPABILITIES, LEVEL = _PREFIX + "protocolVersion", _PREFIX + "clientCapabilities", _PREFIX + "logLevel"
SERVER = _PREFIX + "serverInfo"

# The largest message: more than any gateway lets through.
MAX_LINE = 64 * 1024 * 1024

# The largest result. A worker or gateway of Toolbus gives a server up that sends a line of 40 MiB.
MAX_RESULT = 38 * 1024 * 1024

# Seconds for what still runs when a client has closed its side. MCP wants servers to end promptly then.
_GRACE = 1.0

# Seconds after which a client that reads nothing of what it is sent is taken for gone. Until then it is not read from, so
# that its end would not be noticed otherwise. A process that is stopped for a look at it comes back sooner.
UNREAD_FOR = 120.0

# Bytes of notices that wait for one turn of the loop. They are advice, and a function that reports in a tight loop lets
# nobody else run.
_MAX_ADVICE = 1024 * 1024


@dataclass(slots=True)
class Terms:
    """What a request says of its caller."""

    meta: dict[str, Any]
    capabilities: dict[str, Any]
    token: str | int | None
    # The rank of the lowest level that is to be logged.
    level: int | None
    legacy: bool = False
    # A sign of life is said as such, and not as progress.
    beats: bool = False


class Session(asyncio.Protocol):
    """A connection, whatever carries it."""

    def __init__(self, engine: "Engine") -> None:
        self.engine = engine
        self.calls: dict[Id, Call] = {}
        self.over: asyncio.Future[None] = engine.loop.create_future()
        self._transport: Any = None
        self._source: Any = None
        self._pieces: list[bytes] = []
        self._held = 0
        self._skips = False
        self._closing: asyncio.Task[None] | None = None
        self._out: list[bytes] = []
        self._waiting = 0
        self._slow = False
        self._stuck: asyncio.TimerHandle | None = None
        # Set by `initialize`.
        self._legacy: dict[str, Any] | None = None
        self._level = RANKS["info"]
        self._asked: dict[Id, asyncio.Future[dict[str, Any]]] = {}
        self._asks = 0

    # The transport's side.

    def connection_made(self, transport: Any) -> None:
        """The transport that writes, and mostly also reads."""
        self._transport = transport
        if hasattr(transport, "pause_reading"):
            self._source = transport

    def reads_from(self, source: Any) -> None:
        """Another transport reads."""
        self._source = source

    def connection_lost(self, error: Exception | None) -> None:
        """The client is gone, and nobody waits for its calls."""
        for call in list(self.calls.values()):
            self.engine.drop(call)
        for future in self._asked.values():
            future.cancel()
        if not self.over.done():
            self.over.set_result(None)

    def eof_received(self) -> bool:
        """The client says no more. What runs may end, for a moment, and then the connection does."""
        self._closing = self.engine.loop.create_task(self._wind_up())
        return True

    async def _wind_up(self) -> None:
        until = self.engine.loop.time() + _GRACE
        while self.calls and self.engine.loop.time() < until:
            await asyncio.sleep(0.01)
        self._flush()
        self._transport.close()

    def pause_writing(self) -> None:
        """Who does not read is not read from either."""
        self._slow = True
        self._stuck = self.engine.loop.call_later(UNREAD_FOR, self._transport.abort)
        if self._source is not None:
            self._source.pause_reading()

    def resume_writing(self) -> None:
        """The client reads again."""
        self._slow = False
        if self._stuck is not None:
            self._stuck.cancel()
        if self._source is not None:
            self._source.resume_reading()

    def data_received(self, data: bytes) -> None:
        """Cuts what comes into lines."""
        *lines, rest = data.split(b"\n")
        for line in lines:
            if self._pieces:
                line = b"".join((*self._pieces, line))
                self._pieces = []
            self._held = 0
            if self._skips or len(line) > MAX_LINE:
                self._skips = False
                self._too_long()
            elif line and not line.isspace():
                self._take(line)
        self._held += len(rest)
        if self._held > MAX_LINE:
            self._pieces, self._skips = [], True
        elif rest and not self._skips:
            self._pieces.append(rest)

    def _too_long(self) -> None:
        self.fail(None, RpcError(-32600, f"a message has at most {MAX_LINE} bytes"))

    # What is sent.

    def send(self, line: bytes) -> None:
        """Sends a line, together with the others of this turn of the loop."""
        if not self._out:
            self.engine.loop.call_soon(self._flush)
        self._out.append(line)

    def _flush(self) -> None:
        lines, self._out, self._waiting = self._out, [], 0
        if self._transport is not None and not self.over.done():
            self._transport.write(b"".join(lines))

    def advise(self, line: bytes) -> None:
        """Sends a notice, unless the client does not keep up."""
        if not self._slow and self._waiting <= _MAX_ADVICE:
            self._waiting += len(line)
            self.send(line)

    def request(self, method: str, params: dict[str, Any], answer: "asyncio.Future[dict[str, Any]]") -> None:
        """Asks a client of an older revision."""
        self._asks += 1
        id = f"toolbus-{self._asks}"
        self._asked[id] = answer
        answer.add_done_callback(lambda _: self._asked.pop(id, None))
        self.send(dumps({"jsonrpc": "2.0", "id": id, "method": method, "params": params}) + b"\n")

    def reply(self, id: Id, result: bytes, legacy: bool) -> None:
        """Sends a result, whose members are JSON already."""
        if len(result) > MAX_RESULT:
            mib = MAX_RESULT // (1024 * 1024)
            result = failure(f"the result has {len(result)} bytes, and more than {mib} MiB do not get through: return less, or a link")
        tail = b"}}\n" if legacy else self.engine.tail
        self.send(b"".join((b'{"jsonrpc":"2.0","id":', dumps(id), b',"result":{', result, tail)))

    def fail(self, id: Id | None, error: RpcError) -> None:
        """Sends an error."""
        said: dict[str, Any] = {"code": error.code, "message": str(error)}
        said |= {"data": error.data} if error.data is not None else {}
        message = {"jsonrpc": "2.0"} | ({"id": id} if id is not None else {}) | {"error": said}
        self.send(dumps(message) + b"\n")

    # What is read.

    def _take(self, line: bytes) -> None:
        try:
            message = loads(line)
        except (ValueError, RecursionError):
            return self.fail(None, RpcError(-32700, "a line is no JSON"))
        if type(message) is not dict:
            return self.fail(None, RpcError(-32600, "a message is one JSON object; batches are not supported"))
        id, method, params = message.get("id"), message.get("method"), message.get("params")
        if type(method) is not str:
            return self._answered(id, message)
        params = {} if params is None else params
        if "id" not in message:
            return self._notified(method, params) if type(params) is dict else None
        if type(id) is not str and type(id) is not int:
            return self.fail(None, RpcError(-32600, "an id is a string or an integer"))
        try:
            if type(params) is not dict:
                raise RpcError(-32600, "params is an object")
            if id in self.calls:
                raise RpcError(-32600, f"the id {shown(id)} belongs to a request that is still under way")
            self.engine.serve(self, id, method, params)
        except RpcError as error:
            self.fail(id, error)

    def _notified(self, method: str, params: dict[str, Any]) -> None:
        if method == "notifications/cancelled":
            id = params.get("requestId")
            call = self.calls.get(id) if isinstance(id, (str, int)) else None
            if call is not None:
                self.engine.drop(call)

    def _answered(self, id: Any, message: dict[str, Any]) -> None:
        answer = self._asked.get(id) if isinstance(id, (str, int)) else None
        if answer is None:
            if "result" not in message and "error" not in message:
                self.fail(id if type(id) in (str, int) else None, RpcError(-32600, "a message has a method"))
        elif not answer.done():
            result = message.get("result")
            if isinstance(result, dict):
                answer.set_result(result)
            else:
                said = message.get("error")
                said = said.get("message") if isinstance(said, dict) else None
                answer.set_exception(ToolError(f"the client did not answer: {said or 'no reason given'}"))

    # The revision.

    def initialize(self, params: dict[str, Any]) -> str:
        """Begins a session of an older revision; answers with the revision."""
        asked, capabilities = params.get("protocolVersion"), params.get("capabilities")
        self._legacy = capabilities if isinstance(capabilities, dict) else {}
        return asked if asked in LEGACY else LEGACY[-1]

    def set_level(self, level: Any) -> None:
        """The session's log level, in older revisions."""
        self._level = _rank(level)

    def terms(self, method: str, params: dict[str, Any]) -> Terms:
        """What a request says of its caller; of older revisions, what the session knows."""
        meta = params.get("_meta", {})
        if type(meta) is not dict:
            raise RpcError(-32602, "_meta is an object")
        token = meta.get("progressToken")
        if type(token) is not str and type(token) is not int:
            token = None
        version = meta.get(VERSION)
        if version is None and (self._legacy is not None or method in ("initialize", "ping")):
            return Terms(meta, self._legacy or {}, token, self._level, True)
        if version != MODERN:
            raise _not_spoken(version)
        capabilities, level = meta.get(CAPABILITIES), meta.get(LEVEL)
        if type(capabilities) is not dict:
            raise RpcError(-32602, f"_meta lacks {CAPABILITIES!r}, an object")
        return Terms(meta, capabilities, token, None if level is None else _rank(level))


def _rank(level: Any) -> int:
    rank = RANKS.get(level) if isinstance(level, str) else None
    if rank is None:
        raise RpcError(-32602, f"unknown log level {shown(level)}; MCP has {', '.join(RANKS)}")
    return rank


def _not_spoken(version: object) -> RpcError:
    if version is None:
        return RpcError(-32602, f"_meta lacks {VERSION!r}; a client of an older revision sends initialize first")
    return RpcError(
        -32022, f"revision {shown(version)} is not supported; use {MODERN}", {"supported": [MODERN], "requested": version}
    )
