"""One object over whatever a file, a module or a folder serves, so that the same module behaves the same everywhere.

The contract:

- `Kernel.open(TARGET)` loads `FILE`, `FILE:OBJECT`, a module name or a folder, and raises `LoadError` or what the file
  raised. `load(TARGET)` is its first half, which needs no event loop: `Kernel.of(load(TARGET))` is the second.
- A kernel belongs to the event loop in which it was made. From other threads use `asyncio.run_coroutine_threadsafe`, or
  what `direct` gives for the tools that need no loop.
- `call` answers with the result of `tools/call` as MCP has it. Whatever a tool raises, `SystemExit` included, is a result
  with `isError: true`. `RpcError` is raised for what MCP has errors for: an unknown tool (-32602), a caller that cannot be
  asked (-32021), too many calls (-32603).
- A tool that asks its caller ends the call with `resultType: "input_required"`, `inputRequests` and `requestState`. The next
  call with the same name and arguments, that `request_state` and `input_responses` goes on with it, in this process only.
- `on_event` is called in the loop's thread with `{"progress": n, "total": m, "message": "..."}`, `{"heartbeat": True}` and
  `{"log": {params of notifications/message}}`, and must not wait. Log lines come from the level on that `_meta` asks for.
- Cancel the task that awaits `call`, and the function is cancelled: a coroutine at once, a function in a thread where it
  looks at its `Context`. A thread that never looks is given up, and another one takes its place, up to a bound.
"""

from collections.abc import Callable, Sequence
from typing import Any, Self

from toolbus import _foreign, _load
from toolbus._errors import RpcError, shown
from toolbus._inside import Event, Inside, OnEvent, Part
from toolbus._json import loads
from toolbus._load import LoadError
from toolbus._worker import Worker

__all__ = ["Event", "Kernel", "LoadError", "Loaded", "OnEvent", "RpcError", "load"]

# Which list holds what is meant by a request, and the member that names it.
_LISTS = {"tools/call": "tools/list", "prompts/get": "prompts/list"}

# The one in which lists are merged.
_CAPABILITIES = ("tools", "resources", "prompts", "completions", "logging")


class Loaded:
    """What a target serves, before anything of it runs."""

    def __init__(self, name: str, servers: Sequence[Any], problems: Sequence[str] = ()) -> None:
        self.name, self.servers, self.problems = name, list(servers), list(problems)


def load(target: str) -> Loaded:
    """Loads a target: imports its files in this thread."""
    servers, problems = _load.load_all(target)
    name = servers[0].name if len(servers) == 1 else target
    return Loaded(str(name), servers, problems)


class Kernel:
    """The servers of a target, as one."""

    def __init__(self, name: str, parts: list[Part], problems: list[str]) -> None:
        self.name, self.problems = name, problems
        self._parts = parts
        self._holders: dict[tuple[str, str], Part] = {}

    @classmethod
    async def open(cls, target: str) -> Self:
        """Loads a target and makes it ready. Its files are imported in the loop's thread, which waits meanwhile."""
        return await cls.of(load(target))

    @classmethod
    async def of(cls, loaded: Loaded) -> Self:
        """Makes ready what was loaded."""
        parts = [await _part(server) for server in loaded.servers]
        return cls(loaded.name, parts, loaded.problems)

    def capabilities(self) -> dict[str, Any]:
        """As MCP has them: of all parts together."""
        found: dict[str, Any] = {}
        for part in self._parts:
            for name, more in part.capabilities().items():
                if name in _CAPABILITIES:
                    found[name] = found.get(name, {}) | (more or {})
        return found

    # Lists.

    async def tools(self) -> list[dict[str, Any]]:
        """Definitions as MCP has them."""
        return await self._all("tools/list", "name")

    async def resources(self) -> list[dict[str, Any]]:
        """Resources as MCP has them."""
        return await self._all("resources/list", "uri")

    async def templates(self) -> list[dict[str, Any]]:
        """Resource templates as MCP has them."""
        return await self._all("resources/templates/list", "uriTemplate")

    async def prompts(self) -> list[dict[str, Any]]:
        """Prompts as MCP has them."""
        return await self._all("prompts/list", "name")

    async def _all(self, method: str, key: str) -> list[dict[str, Any]]:
        found: dict[str, dict[str, Any]] = {}
        for part in self._parts:
            for entry in await part.listing(method):
                # The first of a name has it, as everywhere.
                if entry[key] not in found:
                    found[entry[key]] = entry
                    self._holders[(method, entry[key])] = part
        return list(found.values())

    # Requests.

    async def call(
        self,
        name: str,
        arguments: dict[str, Any] | None = None,
        on_event: OnEvent | None = None,
        *,
        meta: dict[str, Any] | None = None,
        input_responses: dict[str, Any] | None = None,
        request_state: str | None = None,
    ) -> dict[str, Any]:
        """Runs a tool; see the contract above. `meta` is the request's `_meta`."""
        given = {"meta": meta, "input_responses": input_responses, "request_state": request_state}
        result: dict[str, Any] = loads(await self.call_json(name, arguments, on_event, **given))  # type: ignore[arg-type]
        return result

    async def call_json(
        self,
        name: str,
        arguments: dict[str, Any] | None = None,
        on_event: OnEvent | None = None,
        *,
        meta: dict[str, Any] | None = None,
        input_responses: dict[str, Any] | None = None,
        request_state: str | None = None,
    ) -> bytes:
        """The same; the result is JSON, as it was written."""
        params: dict[str, Any] = {"name": name, "arguments": arguments or {}, "_meta": meta or {}}
        params |= _brought(input_responses, request_state)
        return await (await self._holder("tools/call", name)).request("tools/call", params, on_event)

    def direct(self, name: str) -> Callable[[dict[str, Any]], bytes] | None:
        """For a tool that is a plain function and knows nothing of its call: runs it in the thread that calls this.

        Arguments are checked and the result is written as by `call_json`; nothing is raised.
        """
        for part in self._parts:
            if isinstance(part, Inside) and part.has(name):
                return part.direct(name)
        return None

    async def read(self, uri: str, meta: dict[str, Any] | None = None) -> dict[str, Any]:
        """The result of `resources/read`; raises `RpcError` where no part has the resource."""
        refusal = RpcError(-32602, f"Resource not found: {uri}", {"uri": uri})
        for part in self._parts:
            if "resources" in part.capabilities():
                try:
                    result: dict[str, Any] = loads(await part.request("resources/read", {"uri": uri, "_meta": meta or {}}, None))
                    return result
                except RpcError as error:
                    refusal = error
        raise refusal

    async def get(
        self,
        name: str,
        arguments: dict[str, str] | None = None,
        meta: dict[str, Any] | None = None,
        *,
        input_responses: dict[str, Any] | None = None,
        request_state: str | None = None,
    ) -> dict[str, Any]:
        """The result of `prompts/get`, which may ask as a call does."""
        params: dict[str, Any] = {"name": name, "arguments": arguments or {}, "_meta": meta or {}}
        params |= _brought(input_responses, request_state)
        result: dict[str, Any] = loads(await (await self._holder("prompts/get", name)).request("prompts/get", params, None))
        return result

    async def complete(self, params: dict[str, Any]) -> dict[str, Any]:
        """The result of `completion/complete`: the first part that knows the reference answers."""
        refusal = RpcError(-32601, "nothing here completes arguments")
        for part in self._parts:
            if "completions" in part.capabilities():
                try:
                    result: dict[str, Any] = loads(await part.request("completion/complete", params, None))
                    return result
                except RpcError as error:
                    refusal = error
        raise refusal

    async def _holder(self, method: str, name: str) -> Part:
        for part in self._parts:
            if method == "tools/call" and isinstance(part, Inside) and part.has(name):
                return part
        key = (_LISTS[method], name)
        if key not in self._holders:
            await self._all(_LISTS[method], "name")
        if key not in self._holders:
            raise RpcError(-32602, f"unknown {method.partition('/')[0].removesuffix('s')} {shown(name)}")
        return self._holders[key]

    # Its state.

    def lost(self) -> int:
        """Functions that go on though nobody waits for them, and that nothing can end but the end of the process."""
        return sum(part.lost() for part in self._parts)

    async def close(self) -> None:
        """Ends what it holds. Functions in threads go on until they end."""
        for part in self._parts:
            await part.close()


def _brought(input_responses: dict[str, Any] | None, request_state: str | None) -> dict[str, Any]:
    # A server may ask without giving a state.
    brought: dict[str, Any] = {"requestState": request_state} if request_state is not None else {}
    return brought | ({"inputResponses": input_responses} if input_responses else {})


async def _part(server: Any) -> Part:
    if isinstance(server, Worker):
        return Inside(server)
    if _foreign.is_server(server):
        from toolbus._guest import Guest

        return await Guest.of(server)
    raise LoadError(f"{type(server).__name__} is no server")
