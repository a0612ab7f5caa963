"""A small HTTP/1.1 server for JSON over loopback and Unix sockets: keep-alive, bounds on everything, streams of lines.

It knows what a runner needs and no more: no TLS, no files, no websockets. Whoever closes a connection cancels its request.
"""

import asyncio
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from http import HTTPStatus
from typing import Any

from toolbus._errors import explain
from toolbus._json import dumps

# A head with all its fields: what common servers take.
MAX_HEAD = 16 * 1024

# One body, as with messages on other ways; and those of all requests together, so that many cannot exhaust the memory.
MAX_BODY = 64 * 1024 * 1024
MAX_BODIES = 256 * 1024 * 1024

# Connections at once. A gateway keeps some tens.
MAX_CONNECTIONS = 512

# What a client may send ahead of the answer to its last request.
_MAX_AHEAD = 64 * 1024

# Seconds for the rest of a request that has begun, for a next request, and until a client that reads nothing is given up.
_REST = 30.0
_IDLE = 75.0
_UNREAD = 120.0

# Bytes that wait for a slow reader before lines that are advice are left out.
_MAX_WAITING = 1024 * 1024

JSON = "application/json"
LINES = "application/x-ndjson"


class Refused(Exception):
    """A request that is answered with this status."""

    def __init__(self, status: int, why: str, fields: Mapping[str, str] | None = None) -> None:
        super().__init__(why)
        self.status, self.fields = status, dict(fields or {})


@dataclass(slots=True)
class Request:
    """A request with its body."""

    method: str
    path: str
    fields: dict[str, str]
    connection: "Connection"
    body: bytes = b""

    def accepts(self, kind: str) -> bool:
        """Whether the client has named this type."""
        return kind in self.fields.get("accept", "").lower()


@dataclass(slots=True)
class Answer:
    """A whole answer."""

    status: int
    body: bytes
    kind: str = JSON
    fields: dict[str, str] = field(default_factory=dict)


def refusal(refused: Refused) -> Answer:
    """A refusal as JSON."""
    return Answer(refused.status, dumps({"error": {"message": str(refused)}}), fields=refused.fields)


Handle = Callable[[Request], Awaitable[Answer | None]]


class Room:
    """What all connections of a server share."""

    def __init__(self, handle: Handle) -> None:
        self.handle, self.bodies = handle, 0
        self.connections: set[Connection] = set()

    def close(self) -> None:
        """Ends all connections."""
        for connection in list(self.connections):
            connection.abort()


class Connection(asyncio.Protocol):
    """A connection, one request after the other."""

    def __init__(self, room: Room) -> None:
        self._room, self._loop = room, asyncio.get_running_loop()
        self._transport: Any = None
        self._buffer = bytearray()
        self._request: Request | None = None
        # Bytes of the body that are to come, and those that were reserved for it.
        self._missing = self._reserved = 0
        self._task: asyncio.Task[None] | None = None
        self._timer: asyncio.TimerHandle | None = None
        self._keep = True
        self._streams = False

    # The transport's side.

    def connection_made(self, transport: Any) -> None:
        """Lets it in, if there is room."""
        self._transport = transport
        transport.set_write_buffer_limits(high=_MAX_WAITING)
        if len(self._room.connections) >= MAX_CONNECTIONS:
            self._keep = False
            self._write(refusal(Refused(503, f"there are {MAX_CONNECTIONS} connections; try again later", {"Retry-After": "1"})))
            return transport.close()  # type: ignore[no-any-return]
        self._room.connections.add(self)
        self._arm(_IDLE)

    def connection_lost(self, error: Exception | None) -> None:
        """Nobody waits for what runs."""
        self._room.connections.discard(self)
        self._disarm()
        self._free()
        if self._task is not None:
            self._task.cancel()

    def eof_received(self) -> bool:
        """A client that says no more has gone."""
        return False

    def data_received(self, data: bytes) -> None:
        """Takes what comes."""
        self._buffer += data
        if self._task is not None:
            if len(self._buffer) > _MAX_AHEAD:
                self.abort()
            return
        self._advance()

    def pause_writing(self) -> None:
        """The client does not read."""
        self._arm(_UNREAD)

    def resume_writing(self) -> None:
        """It reads again."""
        self._disarm()

    def abort(self) -> None:
        """Ends it at once."""
        if self._transport is not None:
            self._transport.abort()

    def _arm(self, within: float) -> None:
        self._disarm()
        self._timer = self._loop.call_later(within, self.abort)

    def _disarm(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    # Reading.

    def _advance(self) -> None:
        try:
            if self._request is None and not self._head():
                return
            if self._request is not None and len(self._buffer) >= self._missing:
                self._begin(self._request)
        except Refused as refused:
            self._keep = False
            self._write(refusal(refused))
            self._transport.close()

    def _head(self) -> bool:
        end = self._buffer.find(b"\r\n\r\n", 0, MAX_HEAD)
        if end < 0:
            if len(self._buffer) >= MAX_HEAD:
                raise Refused(431, f"a head has at most {MAX_HEAD} bytes")
            if self._buffer:
                self._arm(_REST)
            return False
        request = _read_head(bytes(self._buffer[:end]).decode("latin-1"), self)
        del self._buffer[: end + 4]
        self._missing = _length(request.fields)
        if self._missing and self._room.bodies + self._missing > MAX_BODIES:
            raise Refused(503, "the bodies of requests take too much memory; try again later", {"Retry-After": "1"})
        self._reserved = self._missing
        self._room.bodies += self._reserved
        self._request, self._keep = request, request.fields.get("connection", "").lower() != "close"
        if self._missing > len(self._buffer) and request.fields.get("expect", "").lower() == "100-continue":
            self._transport.write(b"HTTP/1.1 100 Continue\r\n\r\n")
        self._arm(_REST)
        return True

    def _begin(self, request: Request) -> None:
        request.body = bytes(self._buffer[: self._missing])
        del self._buffer[: self._missing]
        self._disarm()
        self._request, self._missing, self._streams = None, 0, False
        self._task = self._loop.create_task(self._serve(request))

    async def _serve(self, request: Request) -> None:
        try:
            answer = await self._room.handle(request)
        except Refused as refused:
            answer = refusal(refused)
        except asyncio.CancelledError:
            return
        except Exception as error:
            answer = refusal(Refused(500, explain(error)))
        self._task = None
        self._free()
        if self._transport.is_closing():
            return
        if answer is not None:
            self._write(answer)
        if not self._keep:
            return self._transport.close()  # type: ignore[no-any-return]
        self._arm(_IDLE)
        if self._buffer:
            self._advance()

    def _free(self) -> None:
        self._room.bodies -= self._reserved
        self._reserved = 0

    # Writing.

    def _write(self, answer: Answer) -> None:
        if self._streams:
            # The head is out; only the connection's end can say that something went wrong.
            return self.abort()
        fields = {"Content-Type": answer.kind, "Content-Length": str(len(answer.body))} | answer.fields
        if not self._keep:
            fields["Connection"] = "close"
        self._transport.write(_head_of(answer.status, fields) + (answer.body if answer.status != 304 else b""))

    def line(self, line: bytes, is_advice: bool = True) -> None:
        """Sends a line of a streamed answer, and its head before the first one."""
        if self._transport.is_closing() or (is_advice and self._transport.get_write_buffer_size() > _MAX_WAITING):
            return
        head = b""
        if not self._streams:
            self._streams = True
            kept = {} if self._keep else {"Connection": "close"}
            head = _head_of(200, {"Content-Type": LINES, "Transfer-Encoding": "chunked", "Cache-Control": "no-store"} | kept)
        self._transport.write(b"".join((head, b"%x\r\n" % (len(line) + 1), line, b"\n\r\n")))

    def end(self) -> None:
        """Ends a streamed answer."""
        if self._streams and not self._transport.is_closing():
            self._transport.write(b"0\r\n\r\n")

    @property
    def streams(self) -> bool:
        """Whether a streamed answer has begun."""
        return self._streams


def _head_of(status: int, fields: dict[str, str]) -> bytes:
    lines = [f"HTTP/1.1 {status} {HTTPStatus(status).phrase}", *(f"{name}: {value}" for name, value in fields.items())]
    return ("\r\n".join(lines) + "\r\n\r\n").encode("latin-1")


def _read_head(head: str, connection: Connection) -> Request:
    first, *rest = head.split("\r\n")
    words = first.split(" ")
    if len(words) != 3 or words[2] not in ("HTTP/1.1", "HTTP/1.0"):
        raise Refused(400, "the first line of a request is: METHOD PATH HTTP/1.1")
    fields: dict[str, str] = {}
    for line in rest:
        name, colon, value = line.partition(":")
        if not colon or not name or name != name.strip():
            raise Refused(400, "a field of the head is no NAME: VALUE")
        name = name.lower()
        if name in fields and name in ("content-length", "host", "transfer-encoding"):
            raise Refused(400, f"the field {name} stands twice")
        fields[name] = value.strip()
    if words[2] == "HTTP/1.0":
        fields["connection"] = "close"
    return Request(words[0], words[1].partition("?")[0], fields, connection)


def _length(fields: dict[str, str]) -> int:
    if "transfer-encoding" in fields:
        raise Refused(411, "send the body with a Content-Length")
    text = fields.get("content-length", "0")
    if not text.isascii() or not text.isdigit():
        raise Refused(400, "Content-Length is no number")
    if len(text) > 12 or int(text) > MAX_BODY:
        raise Refused(413, f"a body has at most {MAX_BODY} bytes")
    return int(text)
