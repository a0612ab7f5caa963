"""Servers of other packages within the process: as many connections to one as calls run at once."""

import asyncio
import secrets
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any

from toolbus import _foreign
from toolbus._engine import PARKED_FOR
from toolbus._errors import RpcError
from toolbus._inside import OnEvent
from toolbus._json import dumps
from toolbus._session import CAPABILITIES
from toolbus._talk import Talk

# Connections at once, those of parked calls included. Each call has one to itself, so that what is said on it is the
# call's; whoever finds none free waits.
MAX_TALKS = 64

# Connections whose call was cancelled and goes on all the same.
MAX_LOST = 128

# Seconds in which a cancelled call is to end.
_GRACE = 5.0

# Threads of anyio for functions that are no coroutines, as that package has it; those that are lost are added.
_THREADS = 40

_LISTS = {
    "tools/list": ("tools", "tools"),
    "resources/list": ("resources", "resources"),
    "resources/templates/list": ("resources", "resourceTemplates"),
    "prompts/list": ("prompts", "prompts"),
}

# Pages of one list.
_MAX_PAGES = 1000


@dataclass
class _Parked:
    """A call that waits for a person."""

    talk: Talk
    asked: dict[str, Any]
    of: tuple[Any, Any]
    timer: asyncio.TimerHandle | None = field(default=None)


class Guest:
    """A server of another package."""

    def __init__(self, server: Any) -> None:
        self.name, self._server = _foreign.name_of(server), server
        self._idle: list[Talk] = []
        self._places = asyncio.Semaphore(MAX_TALKS)
        self._parked: dict[str, _Parked] = {}
        self._ending: set[asyncio.Task[None]] = set()
        self._lost = 0
        self._capabilities: dict[str, Any] = {}

    @classmethod
    async def of(cls, server: Any) -> "Guest":
        """Connects for the first time."""
        guest = cls(server)
        talk = await guest._open(False)
        guest._capabilities = talk.capabilities
        guest._idle.append(talk)
        return guest

    def capabilities(self) -> dict[str, Any]:
        """As it has stated them."""
        return self._capabilities

    def lost(self) -> int:
        """Cancelled calls that go on."""
        return self._lost

    async def listing(self, method: str) -> list[dict[str, Any]]:
        """All pages of a list; nothing where the server has no such list."""
        capability, member = _LISTS[method]
        found: list[dict[str, Any]] = []
        if capability not in self._capabilities:
            return found
        params: dict[str, Any] = {}
        for _ in range(_MAX_PAGES):
            page = await self._ask(method, params)
            found += page.get(member, [])
            if page.get("nextCursor") is None:
                break
            params = {"cursor": page["nextCursor"]}
        return found

    async def request(self, method: str, params: dict[str, Any], on_event: OnEvent | None) -> bytes:
        """Does a request on a connection of its own."""
        return dumps(await self._ask(method, params, on_event))

    async def _ask(self, method: str, params: dict[str, Any], on_event: OnEvent | None = None) -> dict[str, Any]:
        if self._lost >= MAX_LOST:
            raise RpcError(-32603, f"{self.name} has {MAX_LOST} calls that do not end; its process has to be started again")
        state = params.get("requestState")
        if isinstance(state, str) and state in self._parked:
            return await self._resume(state, params, on_event)
        talk = await self._free(params)
        if isinstance(state, str) and not talk.is_modern:
            self._done(talk)
            raise RpcError(-32602, "unknown requestState: the call that it belongs to is over, or its process is gone")
        talk.begin(method, params, on_event)
        return await self._follow(talk, params)

    async def _free(self, params: dict[str, Any]) -> Talk:
        asks = isinstance((params.get("_meta") or {}).get(CAPABILITIES, {}).get("elicitation"), dict)
        await self._places.acquire()
        for place, talk in enumerate(self._idle):
            if talk.is_modern or talk.asks == asks:
                return self._idle.pop(place)
        try:
            return await self._open(asks)
        except BaseException:
            self._places.release()
            raise

    async def _open(self, asks: bool) -> Talk:
        _foreign.contain(self._server)
        return await Talk.open(self._server, asks)

    async def _follow(self, talk: Talk, params: dict[str, Any]) -> dict[str, Any]:
        try:
            result = await talk.result()
        except asyncio.CancelledError:
            self._end(talk)
            raise
        except RpcError:
            self._done(talk)
            raise
        if result is None:
            return self._park(talk, params)
        self._done(talk)
        return result

    def _done(self, talk: Talk) -> None:
        self._places.release()
        if not talk.is_over:
            self._idle.append(talk)

    # Calls that nobody waits for.

    def _end(self, talk: Talk) -> None:
        self._places.release()
        task = asyncio.get_running_loop().create_task(self._wind_up(talk))
        self._ending.add(task)
        task.add_done_callback(self._ending.discard)

    async def _wind_up(self, talk: Talk) -> None:
        talk.cancel()
        if await talk.ended(_GRACE):
            return
        self._lost += 1
        self._widen()
        await talk.ended(None)
        self._lost -= 1
        self._widen()

    def _widen(self) -> None:
        with suppress(ImportError):
            from anyio import to_thread

            to_thread.current_default_thread_limiter().total_tokens = _THREADS + self._lost

    # Calls that wait for people, of older servers.

    def _park(self, talk: Talk, params: dict[str, Any]) -> dict[str, Any]:
        state, asked = secrets.token_urlsafe(24), talk.questions
        parked = _Parked(talk, asked, (params.get("name"), params.get("arguments")))
        parked.timer = asyncio.get_running_loop().call_later(PARKED_FOR, self._expire, state)
        self._parked[state] = parked
        return {"resultType": "input_required", "inputRequests": dict(asked), "requestState": state}

    def _expire(self, state: str) -> None:
        parked = self._parked.pop(state, None)
        if parked is not None:
            self._end(parked.talk)

    async def _resume(self, state: str, params: dict[str, Any], on_event: OnEvent | None) -> dict[str, Any]:
        parked = self._parked[state]
        if parked.of != (params.get("name"), params.get("arguments")):
            raise RpcError(-32602, "the requestState belongs to a call with another name or other arguments")
        del self._parked[state]
        if parked.timer is not None:
            parked.timer.cancel()
        answers = params.get("inputResponses")
        parked.talk.answer(answers if isinstance(answers, dict) else {}, on_event)
        return await self._follow(parked.talk, params)

    async def close(self) -> None:
        """Ends all connections, for a moment."""
        for state in list(self._parked):
            self._expire(state)
        for talk in self._idle:
            talk.cancel()
        for talk in self._idle:
            await talk.ended(1.0)
