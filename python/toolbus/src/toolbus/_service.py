"""What a runner answers: which path means what, and how a call becomes an answer."""

import hashlib
import hmac
import time
from collections.abc import Awaitable, Callable
from ipaddress import ip_address
from typing import Any

from toolbus import _http
from toolbus._errors import RpcError
from toolbus._http import Answer, Refused, Request
from toolbus._json import dumps, loads
from toolbus._kernel import Kernel
from toolbus._session import CAPABILITIES

# Calls at once. A gateway in front admits 256 of one server.
MAX_CALLS = 512

# Whoever is refused for lack of room may come again after this many seconds.
_AGAIN = {"Retry-After": "1"}

Params = dict[str, Any]


class Service:
    """A runner's answers. It says that it is ready once it has its kernel."""

    def __init__(self, version: str, token: str | None, is_local: bool) -> None:
        self.kernel: Kernel | None = None
        self.is_stopping = False
        self.calls = 0
        # As they were listed last, and the sign by which a change is known.
        self._lists: dict[str, tuple[bytes, str]] = {}
        self._version, self._token, self._is_local = version, token, is_local
        self._began = time.monotonic()
        self._gets: dict[str, Callable[[Request], Awaitable[Answer]]] = {
            "/health": self._health,
            "/tools": self._tools,
            "/resources": self._resources,
            "/prompts": self._prompts,
            "/api/v1/auth/status": self._auth,
        }
        self._posts: dict[str, Callable[[Kernel, Request, Params], Awaitable[Answer | None]]] = {
            "/run_tool": self._run_tool,
            "/resources/read": self._read,
            "/prompts/get": self._get,
            "/completion/complete": self._complete,
        }

    async def handle(self, request: Request) -> Answer | None:
        """Answers a request."""
        self._guard(request)
        if request.path in self._gets:
            if request.method != "GET":
                raise Refused(405, f"{request.path} is for GET", {"Allow": "GET"})
            return await self._gets[request.path](request)
        if request.path not in self._posts:
            known = ", ".join((*self._posts, *self._gets))
            raise Refused(404, f"there is no {request.path}; there are {known}")
        if request.method != "POST":
            raise Refused(405, f"{request.path} is for POST", {"Allow": "POST"})
        try:
            return await self._posts[request.path](self._ready(), request, _params(request))
        except RpcError as error:
            return _error(error)

    def _guard(self, request: Request) -> None:
        """A page in a browser must not reach a runner that listens for its own machine."""
        if self._is_local and not _is_local(request.fields.get("host", "localhost")):
            raise Refused(403, f"the Host {request.fields['host']!r} is none of this machine's names")
        origin = request.fields.get("origin")
        if origin is not None and not _is_local(origin.partition("://")[2]):
            raise Refused(403, f"pages of {origin} may not call this runner")
        if self._token is not None and request.path not in ("/health", "/api/v1/auth/status") and not self._is_known(request):
            raise Refused(401, "this runner wants `Authorization: Bearer` with its token", {"WWW-Authenticate": "Bearer"})

    def _is_known(self, request: Request) -> bool:
        given = request.fields.get("authorization", "")
        return self._token is None or hmac.compare_digest(given.encode(), f"Bearer {self._token}".encode())

    def _ready(self) -> Kernel:
        if self.is_stopping:
            raise Refused(503, "this runner is stopping", _AGAIN)
        if self.kernel is None:
            raise Refused(503, "this runner is still loading its tools", _AGAIN)
        return self.kernel

    # What it has.

    async def _health(self, _: Request) -> Answer:
        kernel, lost = self.kernel, self.kernel.lost() if self.kernel is not None else 0
        is_ready = kernel is not None and not self.is_stopping
        status = "stopping" if self.is_stopping else "initializing" if kernel is None else "degraded" if lost else "ok"
        said: dict[str, Any] = {"status": status, "ready": is_ready, "initializing": kernel is None, "version": self._version}
        said |= {"uptime_seconds": round(time.monotonic() - self._began, 1), "calls": self.calls, "lost": lost}
        if kernel is not None:
            said |= {"name": kernel.name, "capabilities": kernel.capabilities(), "problems": kernel.problems}
            # Changes with any of the lists, so that who polls this need not read them.
            said["lists"] = "-".join([(await self._list(kernel, name))[1] for name in _LISTS])
        return Answer(200 if is_ready else 503, dumps(said))

    async def _tools(self, request: Request) -> Answer:
        return await self._listed(request, "tools")

    async def _resources(self, request: Request) -> Answer:
        return await self._listed(request, "resources")

    async def _prompts(self, request: Request) -> Answer:
        return await self._listed(request, "prompts")

    async def _listed(self, request: Request, name: str) -> Answer:
        body, sign = await self._list(self._ready(), name)
        tag = {"ETag": f'"{sign}"'}
        if request.fields.get("if-none-match") == tag["ETag"]:
            return Answer(304, b"", fields=tag)
        return Answer(200, body, fields=tag)

    async def _list(self, kernel: Kernel, name: str) -> tuple[bytes, str]:
        if name == "tools":
            found: Params = {"tools": await kernel.tools()}
        elif name == "prompts":
            found = {"prompts": await kernel.prompts()}
        else:
            found = {"resources": await kernel.resources(), "resourceTemplates": await kernel.templates()}
        body = dumps(found)
        kept = self._lists.get(name)
        if kept is None or kept[0] != body:
            kept = self._lists[name] = body, hashlib.sha256(body).hexdigest()[:12]
        return kept

    async def _auth(self, request: Request) -> Answer:
        scheme = "none" if self._token is None else "bearer"
        said = {"authenticated": self._is_known(request), "required": self._token is not None, "scheme": scheme}
        return Answer(200, dumps(said))

    # What it does.

    async def _read(self, kernel: Kernel, _: Request, params: Params) -> Answer:
        return Answer(200, dumps(await kernel.read(_text(params, "uri"), _meta(params))))

    async def _get(self, kernel: Kernel, _: Request, params: Params) -> Answer:
        name, arguments, answers = _text(params, "name"), _object(params, "arguments"), _object(params, "inputResponses")
        brought: Params = {"input_responses": answers, "request_state": _state(params)}
        return Answer(200, dumps(await kernel.get(name, arguments, _meta(params), **brought)))

    async def _complete(self, kernel: Kernel, _: Request, params: Params) -> Answer:
        return Answer(200, dumps(await kernel.complete(params)))

    async def _run_tool(self, kernel: Kernel, request: Request, params: Params) -> Answer | None:
        name, arguments, meta = _tool(params), _object(params, "arguments"), _meta(params)
        state = _state(params)
        if self.calls >= MAX_CALLS:
            raise Refused(503, f"{MAX_CALLS} calls are under way; try again later", _AGAIN)
        self.calls += 1
        try:
            if request.accepts(_http.LINES):
                return await _streamed(kernel, request, name, arguments, meta, state, _object(params, "inputResponses"))
            # An answer of this form has no place for a question.
            unasked = {key: value for key, value in meta.items() if key != CAPABILITIES}
            try:
                result = await kernel.call_json(name, arguments, meta=unasked)
            except RpcError as error:
                if error.code != -32021:
                    raise
                result = dumps({"content": [{"type": "text", "text": str(error)}], "isError": True})
            return Answer(200, plain(result))
        finally:
            self.calls -= 1


_LISTS = ("tools", "resources", "prompts")


async def _streamed(
    kernel: Kernel, request: Request, name: str, arguments: Params, meta: Params, state: str | None, answers: Params
) -> Answer | None:
    connection = request.connection

    def tell(event: dict[str, Any]) -> None:
        connection.line(dumps(event))

    try:
        result = await kernel.call_json(name, arguments, tell, meta=meta, request_state=state, input_responses=answers)
    except RpcError as error:
        if not connection.streams:
            return _error(error)
        connection.line(dumps({"error": _said(error)}), is_advice=False)
    else:
        last = b'{"result":' + result + b"}"
        if not connection.streams:
            return Answer(200, last + b"\n", _http.LINES)
        connection.line(last, is_advice=False)
    connection.end()
    return None


def plain(result: bytes) -> bytes:
    """A result as `omni.mcp.tool_result.v1` has it: `content`, which is text, and `isError`, and nothing else."""
    found = loads(result)
    blocks = found.get("content") or []
    shown = [block if _is_plain(block) else {"type": "text", "text": _shown(block)} for block in blocks]
    return dumps({"content": shown or [{"type": "text", "text": ""}], "isError": bool(found.get("isError"))})


def _is_plain(block: dict[str, Any]) -> bool:
    return block.keys() == {"type", "text"} and block["type"] == "text"


def _shown(block: dict[str, Any]) -> str:
    text = block.get("text") if block.get("type") == "text" else None
    return text if isinstance(text, str) else dumps(block).decode()


def _params(request: Request) -> Params:
    kind = request.fields.get("content-type", "").partition(";")[0].strip().lower()
    if kind != _http.JSON:
        raise Refused(415, f"send Content-Type: {_http.JSON}")
    try:
        params = loads(request.body)
    except (ValueError, RecursionError):
        raise Refused(400, "the body is no JSON") from None
    if not isinstance(params, dict):
        raise Refused(400, "the body is a JSON object")
    return params


def _tool(params: Params) -> str:
    name, command = params.get("name"), params.get("command")
    if name is not None and command is not None and name != command:
        raise Refused(400, "name and command say different things; one of them is enough")
    found = command if name is None else name
    if not isinstance(found, str) or not found:
        raise Refused(400, 'a call is {"name": "...", "arguments": {...}}; instead of name, command is understood')
    return found


def _text(params: Params, name: str) -> str:
    value = params.get(name)
    if not isinstance(value, str) or not value:
        raise Refused(400, f"{name} is missing, or no text")
    return value


def _object(params: Params, name: str) -> Params:
    value = params.get(name)
    if value is not None and not isinstance(value, dict):
        raise Refused(400, f"{name} is an object")
    return value or {}


def _state(params: Params) -> str | None:
    state = params.get("requestState")
    if state is not None and not isinstance(state, str):
        raise Refused(400, "requestState is text")
    return state


def _meta(params: Params) -> Params:
    return _object(params, "_meta")


def _said(error: RpcError) -> dict[str, Any]:
    return {"code": error.code, "message": error.message} | ({"data": error.data} if error.data is not None else {})


def _error(error: RpcError) -> Answer:
    said = error.message.lower()
    is_unknown = error.code == -32002 or error.code == -32602 and ("unknown" in said or "not found" in said)
    status = 404 if is_unknown else 503 if said.startswith("busy") else 500 if error.code == -32603 else 400
    return Answer(status, dumps({"error": _said(error)}), fields=_AGAIN if status == 503 else {})


def _is_local(host: str) -> bool:
    name = host.rpartition("]")[0].lstrip("[") if host.startswith("[") else host.partition(":")[0]
    if name in ("localhost", ""):
        return True
    try:
        return ip_address(name).is_loopback
    except ValueError:
        return False
