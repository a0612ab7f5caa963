"""One connection to a server of another package within the process: as its client, in the revision that it speaks."""

import asyncio
from collections.abc import AsyncIterator
from typing import Any

from toolbus import _foreign
from toolbus._errors import RpcError, explain
from toolbus._inside import OnEvent, event_of
from toolbus._json import dumps, loads
from toolbus._session import CAPABILITIES, LEGACY, LEVEL, MODERN, VERSION

# Seconds for a server to say what it has. Its lifespan runs before.
_OPENING = 60.0

_CLIENT = {"name": "toolbus", "version": "0"}


class Talk:
    """A connection, which does one request at a time. Of the server it is the text file that its package reads and writes."""

    def __init__(self, asks: bool) -> None:
        self.asks, self.is_modern, self.is_over = asks, True, False
        self.capabilities: dict[str, Any] = {}
        # What the server has asked of the caller, and has no answer to yet.
        self.questions: dict[str, Any] = {}
        # Under which ids it did.
        self._asking: dict[str, Any] = {}
        self._lines: asyncio.Queue[str | None] = asyncio.Queue()
        self._ids = 0
        self._waiter: asyncio.Future[dict[str, Any]] | None = None
        self._asked = asyncio.Event()
        self._on_event: OnEvent | None = None
        self._level: str | None = None
        self._task: asyncio.Task[None] | None = None

    @classmethod
    async def open(cls, server: Any, asks: bool) -> "Talk":
        """Connects, and learns what the server speaks."""
        talk = cls(asks)
        talk._task = asyncio.get_running_loop().create_task(talk._attend(server))
        try:
            async with asyncio.timeout(_OPENING):
                await talk._greet()
        except BaseException as error:
            talk.cancel()
            if isinstance(error, TimeoutError):
                raise RpcError(-32603, f"{_foreign.name_of(server)} said nothing within {_OPENING:g} s") from None
            raise
        return talk

    async def _attend(self, server: Any) -> None:
        why = "its server ended"
        try:
            await _foreign.attend(server, self)
        except asyncio.CancelledError:
            why = "it was ended"
        except BaseException as error:
            why = explain(error)
        finally:
            self.is_over = True
            if self._waiter is not None and not self._waiter.done():
                self._waiter.set_exception(RpcError(-32603, f"the call was lost: {why}"))

    async def _greet(self) -> None:
        try:
            found = await self._only("server/discover", {"_meta": self._meta({})})
        except RpcError:
            if self.is_over:
                raise
            self.is_modern = False
            told: dict[str, Any] = {"elicitation": {}} if self.asks else {}
            found = await self._only("initialize", {"protocolVersion": LEGACY[-1], "capabilities": told, "clientInfo": _CLIENT})
            self._send({"method": "notifications/initialized"})
        self.capabilities = found.get("capabilities") or {}

    async def _only(self, method: str, params: dict[str, Any]) -> dict[str, Any]:
        self._request(method, params)
        assert self._waiter is not None
        return await self._waiter

    def _meta(self, given: dict[str, Any]) -> dict[str, Any]:
        if not self.is_modern:
            return {name: value for name, value in given.items() if not name.startswith("io.modelcontextprotocol/")}
        own = {VERSION: MODERN, "io.modelcontextprotocol/clientInfo": _CLIENT}
        return {CAPABILITIES: {}} | own | {name: value for name, value in given.items() if name != VERSION}

    # The caller's side.

    def begin(self, method: str, params: dict[str, Any], on_event: OnEvent | None) -> None:
        """Begins a request."""
        given = params.get("_meta") or {}
        level = given.get(LEVEL) if on_event is not None else None
        if not self.is_modern and isinstance(level, str) and level != self._level and "logging" in self.capabilities:
            self._level = level
            self._send({"id": f"level-{self._ids}", "method": "logging/setLevel", "params": {"level": level}})
        self._on_event = on_event if level or on_event is None else _without_logs(on_event)
        meta = self._meta(given) | ({"progressToken": self._ids + 1} if on_event is not None else {})
        self._request(method, params | {"_meta": meta})

    def _request(self, method: str, params: dict[str, Any]) -> None:
        self._ids += 1
        self._waiter = asyncio.get_running_loop().create_future()
        self._asked.clear()
        if self.is_over:
            self._waiter.set_exception(RpcError(-32603, "the call was not begun: its server ended"))
            return
        self._send({"id": self._ids, "method": method, "params": params})

    async def result(self) -> dict[str, Any] | None:
        """The result; nothing where the server asks first."""
        assert self._waiter is not None
        asked = asyncio.ensure_future(self._asked.wait())
        try:
            await asyncio.wait((self._waiter, asked), return_when=asyncio.FIRST_COMPLETED)
        finally:
            asked.cancel()
        if not self._waiter.done():
            return None
        result = self._waiter.result()
        result.pop("resultType", None) if result.get("resultType") == "complete" else None
        return result

    def answer(self, answers: dict[str, Any], on_event: OnEvent | None) -> None:
        """Answers what was asked; what is still open is asked again."""
        self._on_event = on_event
        for key in list(self.questions):
            if isinstance(answers.get(key), dict):
                del self.questions[key]
                self._send({"id": self._asking.pop(key), "result": answers[key]})
        self._asked.clear()
        if self.questions:
            self._asked.set()

    def cancel(self) -> None:
        """Nobody waits for it any more; the connection is of no further use."""
        self._on_event = None
        if self._waiter is not None and not self._waiter.done():
            self._send({"method": "notifications/cancelled", "params": {"requestId": self._ids}})
            self._waiter.cancel()
        self._lines.put_nowait(None)

    async def ended(self, within: float | None) -> bool:
        """Waits for the server to leave it; a coroutine that does not is cancelled."""
        if self._task is None:
            return True
        if within is not None:
            await asyncio.wait((self._task,), timeout=within / 2)
            self._task.cancel()
        await asyncio.wait((self._task,), timeout=within and within / 2)
        return self._task.done()

    # The server's side.

    async def __aiter__(self) -> AsyncIterator[str]:
        while (line := await self._lines.get()) is not None:
            yield line

    async def write(self, text: str) -> None:
        """What the server says."""
        for line in text.split("\n"):
            if line:
                self._hear(loads(line.encode()))

    async def flush(self) -> None:
        """Nothing is kept back."""

    def _send(self, message: dict[str, Any]) -> None:
        self._lines.put_nowait(dumps({"jsonrpc": "2.0"} | message).decode() + "\n")

    def _hear(self, message: dict[str, Any]) -> None:
        if "method" not in message:
            return self._answered(message)
        if "id" not in message:
            event = event_of(message)
            if event is not None and self._on_event is not None:
                self._on_event(event)
        elif message["method"] == "elicitation/create" and self.asks:
            key = f"q{len(self._asking) + 1}"
            self._asking[key] = message["id"]
            self.questions[key] = {"method": message["method"], "params": message.get("params") or {}}
            self._asked.set()
        elif message["method"] == "ping":
            self._send({"id": message["id"], "result": {}})
        else:
            error = {"code": -32601, "message": f"the caller cannot be asked for {message['method']}"}
            self._send({"id": message["id"], "error": error})

    def _answered(self, message: dict[str, Any]) -> None:
        if message.get("id") != self._ids or self._waiter is None or self._waiter.done():
            return
        if "result" in message:
            self._waiter.set_result(message["result"])
        else:
            said = message.get("error") or {}
            self._waiter.set_exception(RpcError(said.get("code", -32603), said.get("message", "no reason given"), said.get("data")))


def _without_logs(on_event: OnEvent) -> OnEvent:
    def told(event: dict[str, Any]) -> None:
        if "log" not in event:
            on_event(event)

    return told
