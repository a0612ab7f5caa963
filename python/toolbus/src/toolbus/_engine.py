"""MCP for functions: answers requests, runs tools, keeps what waits for people."""

import asyncio
import secrets
import sys
import threading
import traceback
from collections import deque
from collections.abc import Callable, Coroutine
from typing import TYPE_CHECKING, Any

from toolbus._calls import Call, Id
from toolbus._content import failure
from toolbus._context import Context
from toolbus._errors import Cancelled, ElicitationNotSupported, RpcError, ToolError, explain, shown
from toolbus._json import dumps
from toolbus._session import MODERN, SERVER, Session, Terms
from toolbus._threads import Threads
from toolbus._tool import Tool

if TYPE_CHECKING:
    from toolbus._worker import Worker

Ended = tuple[bytes, RpcError | None]

# Calls at once, waiting for a thread included. A worker or a gateway in front of this process admits fewer.
MAX_CALLS = 1024

# Calls that wait for a person, and for how long: as long as most clients give one.
MAX_PARKED = 256
PARKED_FOR = 300.0

# Notices from threads that wait for the loop.
_MAX_POSTED_ADVICE = 1024

# How long a list may be kept. It does not change while the process runs.
_TTL_MS = 60_000


class Engine:
    """The tools of a worker, for any number of connections. Everything but `post` belongs to the loop's thread."""

    def __init__(self, worker: "Worker") -> None:
        self.loop = asyncio.get_running_loop()
        self.tools: dict[str, Tool] = worker.tools
        self._thread = threading.get_ident()
        self._threads = Threads(worker.threads)
        # Set where signals are others' business: then what a tool raises is contained, whatever it is.
        self.contains_all = False
        self._under_way = 0
        self._parked: dict[str, Call] = {}
        self._posted: deque[Callable[[], None]] = deque()
        self._is_woken = False
        info = {"name": worker.name, "version": worker.version}
        said = {"instructions": worker.instructions} if worker.instructions else {}
        capabilities: dict[str, Any] = {"tools": {}, "logging": {}}
        self.tail = b',"resultType":"complete","_meta":' + dumps({SERVER: info}) + b"}}\n"
        fresh = b',"ttlMs":%d,"cacheScope":"public"' % _TTL_MS
        found = {"supportedVersions": [MODERN], "capabilities": capabilities} | said
        self._discovered = _inner(found) + fresh
        self._opened = {"capabilities": capabilities, "serverInfo": info} | said
        listed = _inner({"tools": [tool.definition for tool in self.tools.values()]})
        self._listed, self._listed_before = listed + fresh, listed

    @property
    def threads(self) -> Threads:
        """Where functions run that are no coroutines."""
        return self._threads

    def in_loop(self) -> bool:
        """Whether this is the loop's thread."""
        return threading.get_ident() == self._thread

    # Requests.

    def serve(self, session: Session, id: Id, method: str, params: dict[str, Any]) -> None:
        """Answers a request, or begins to."""
        terms = session.terms(method, params)
        if method == "tools/call":
            self._call(session, id, params, terms)
        elif method == "tools/list":
            if params.get("cursor") is not None:
                raise RpcError(-32602, "unknown cursor: all tools are on one page")
            session.reply(id, self._listed_before if terms.legacy else self._listed, terms.legacy)
        elif terms.legacy:
            session.reply(id, self._before(session, method, params), True)
        elif method == "server/discover":
            session.reply(id, self._discovered, False)
        else:
            raise _unknown(method)

    def _before(self, session: Session, method: str, params: dict[str, Any]) -> bytes:
        if method == "initialize":
            return _inner({"protocolVersion": session.initialize(params)} | self._opened)
        if method == "logging/setLevel":
            session.set_level(params.get("level"))
        elif method != "ping":
            raise _unknown(method)
        return b""

    def _call(self, session: Session, id: Id, params: dict[str, Any], terms: Terms) -> None:
        name, arguments, state = params.get("name"), params.get("arguments", {}), params.get("requestState")
        tool = self.tools.get(name) if type(name) is str else None
        if tool is None:
            raise RpcError(-32602, f"unknown tool {shown(name)}" if name is not None else "params lacks name")
        if type(arguments) is not dict:
            raise RpcError(-32602, "arguments is an object")
        if state is not None and not terms.legacy:
            return self._resume(session, id, params, terms)
        if self._under_way >= MAX_CALLS:
            raise RpcError(-32603, f"busy: {MAX_CALLS} calls are under way in this process; try again later")
        call = Call(self, session, id, tool, arguments, terms)
        session.calls[id] = call
        self._under_way += 1
        self._begin(call)

    # Running.

    def _begin(self, call: Call) -> None:
        context = Context(call) if call.tool.wants_context else None
        try:
            positions, named = call.tool.bind(call.arguments, context)
        except Exception as error:
            return self._end(call, *_answer(call, error))
        if call.tool.kind == "async":
            call.task = self._spawn(self._await(call, positions, named))
        elif call.tool.kind == "inline":
            self._end(call, *_run(call, positions, named))
        else:
            if call.tool.timeout is not None:
                call.limit = self.loop.call_later(call.tool.timeout, self._overdue, call)
            call.job = self._threads.run(lambda: self._in_thread(call, positions, named))

    if sys.version_info >= (3, 12):

        def _spawn(self, work: Coroutine[Any, Any, None]) -> "asyncio.Task[None]":
            # What ends without waiting ends here, and never meets the scheduler.
            return asyncio.Task(work, loop=self.loop, eager_start=True)
    else:

        def _spawn(self, work: Coroutine[Any, Any, None]) -> "asyncio.Task[None]":
            return self.loop.create_task(work)

    async def _await(self, call: Call, positions: list[Any], named: dict[str, Any]) -> None:
        call.is_begun = True
        ended: Ended = b"", None
        if not call.cancelled:
            try:
                ended = call.tool.encode(await self._result(call.tool, positions, named)), None
            except BaseException as error:
                if isinstance(error, (KeyboardInterrupt, GeneratorExit)) and not self.contains_all:
                    raise
                ended = _answer(call, error)
        self._end(call, *ended)

    async def _result(self, tool: Tool, positions: list[Any], named: dict[str, Any]) -> Any:
        if tool.timeout is None:
            return await tool.fn(*positions, **named)
        try:
            async with asyncio.timeout(tool.timeout) as limit:
                return await tool.fn(*positions, **named)
        except TimeoutError:
            if limit.expired():
                raise ToolError(_late(tool)) from None
            raise

    def _in_thread(self, call: Call, positions: list[Any], named: dict[str, Any]) -> None:
        ended: Ended = (b"", None) if call.cancelled else _run(call, positions, named)
        self.post(lambda: self._end(call, *ended))

    def _overdue(self, call: Call) -> None:
        """The thread goes on until the function looks; its caller need not wait for that."""
        late = failure(_late(call.tool))
        if call.state is not None:
            call.result = late
        elif not call.cancelled:
            self._send(call, late, None)
        call.cancelled = True
        self._give_up(call)

    def _end(self, call: Call, result: bytes, error: RpcError | None) -> None:
        if call.limit is not None:
            call.limit.cancel()
        if call.state is not None:
            # The caller comes back for it, or its time runs out.
            if not call.cancelled:
                call.result = result if error is None else failure(str(error))
            return
        self._leave(call)
        if not call.cancelled:
            self._send(call, result, error)

    def _leave(self, call: Call) -> None:
        if call.is_counted:
            call.is_counted = False
            self._under_way -= 1

    def _send(self, call: Call, result: bytes, error: RpcError | None) -> None:
        session = call.session
        if session is None or session.calls.pop(call.id, None) is None:
            return
        if error is not None:
            session.fail(call.id, error)
        else:
            session.reply(call.id, result, call.terms.legacy)

    def drop(self, call: Call) -> None:
        """Nobody waits for this call any more."""
        if call.session is not None:
            call.session.calls.pop(call.id, None)
        call.cancel()
        self._give_up(call)

    def _give_up(self, call: Call) -> None:
        # A function that never looks must not take the place of others for ever.
        if call.job is not None:
            self._threads.give_up(call.job)

    # From threads.

    def post(self, work: Callable[[], None], is_advice: bool = False) -> None:
        """Has this run in the loop, in the order in which it was posted. Safe from any thread."""
        if is_advice and len(self._posted) > _MAX_POSTED_ADVICE:
            return
        self._posted.append(work)
        if not self._is_woken:
            self._is_woken = True
            try:
                self.loop.call_soon_threadsafe(self._take_posted)
            except RuntimeError:
                # The loop is closed, and nobody is left to tell.
                self._posted.clear()

    def _take_posted(self) -> None:
        self._is_woken = False
        while self._posted:
            self._posted.popleft()()

    # Waiting for people.

    def park(self, call: Call) -> None:
        """Ends a request with the questions of its call; the call itself waits for the next request."""
        if call.state is not None or call.cancelled or not call.questions or call.session is None:
            return
        if len(self._parked) >= MAX_PARKED:
            return _refuse(call, ToolError(f"{MAX_PARKED} calls wait for answers in this process; try again later"))
        call.state = secrets.token_urlsafe(24)
        questions = {key: question for key, (_, question) in call.questions.items()}
        asks = {"resultType": "input_required", "inputRequests": questions, "requestState": call.state}
        call.session.calls.pop(call.id, None)
        call.session.send(dumps({"jsonrpc": "2.0", "id": call.id, "result": asks}) + b"\n")
        call.session = None
        self._leave(call)
        self._parked[call.state] = call
        call.timer = self.loop.call_later(PARKED_FOR, self._expire, call)

    def _expire(self, call: Call) -> None:
        self._parked.pop(call.state or "", None)
        call.timer = None
        call.cancel()

    def _resume(self, session: Session, id: Id, params: dict[str, Any], terms: Terms) -> None:
        state = params.get("requestState")
        call = self._parked.get(state) if isinstance(state, str) else None
        if call is None:
            raise RpcError(-32602, "unknown requestState: the call that it belongs to is over, or its process is gone")
        if call.tool.name != params["name"] or call.arguments != params.get("arguments", {}):
            raise RpcError(-32602, "the requestState belongs to a call with another name or other arguments")
        if self._under_way >= MAX_CALLS:
            raise RpcError(-32603, f"busy: {MAX_CALLS} calls are under way in this process; try again later")
        del self._parked[call.state or ""]
        if call.timer is not None:
            call.timer.cancel()
        call.session, call.id, call.terms, call.meta = session, id, terms, terms.meta
        call.state, call.timer, call.reported = None, None, float("-inf")
        session.calls[id] = call
        if call.result is not None:
            return self._send(call, call.result, None)
        call.is_counted = True
        self._under_way += 1
        self._deliver(call, params.get("inputResponses"))

    def _deliver(self, call: Call, answers: Any) -> None:
        answers = answers if isinstance(answers, dict) else {}
        for key in list(call.questions):
            answer = answers.get(key)
            if isinstance(answer, dict):
                future, _ = call.questions.pop(key)
                if not future.done():
                    future.set_result(answer)
        # What is still open is asked again.
        self.loop.call_soon(self.park, call)

    def close(self) -> None:
        """Ends what waits for people: the process is about to end."""
        for call in list(self._parked.values()):
            if call.timer is not None:
                call.timer.cancel()
            self._expire(call)


def _refuse(call: Call, error: ToolError) -> None:
    for future, _ in call.questions.values():
        if not future.done():
            future.set_exception(error)


def _inner(members: dict[str, Any]) -> bytes:
    return dumps(members)[1:-1]


def _unknown(method: str) -> RpcError:
    return RpcError(-32601, f"unknown method {shown(method)}")


def _late(tool: Tool) -> str:
    return f"{tool.name} did not end within {tool.timeout:g} s"


def _run(call: Call, positions: list[Any], named: dict[str, Any]) -> Ended:
    try:
        value = call.tool.fn(*positions, **named)
        if asyncio.iscoroutine(value):
            value.close()
            raise TypeError("the function returned a coroutine: make what is decorated an 'async def'")
        return call.tool.encode(value), None
    except BaseException as error:
        # In a thread of ours it cannot come from the keyboard.
        if isinstance(error, KeyboardInterrupt) and call.tool.kind == "inline" and not call.engine.contains_all:
            raise
        return _answer(call, error)


def _answer(call: Call, error: BaseException) -> Ended:
    """What the caller is told of an exception. The traceback is for whoever runs the worker."""
    if isinstance(error, ElicitationNotSupported):
        return b"", RpcError(-32021, str(error), {"requiredCapabilities": {"elicitation": {}}})
    if isinstance(error, ToolError):
        return failure(str(error)), None
    if call.cancelled and isinstance(error, (Cancelled, asyncio.CancelledError)):
        return b"", None
    if not isinstance(error, (Cancelled, asyncio.CancelledError)):
        print(f"toolbus: tool {call.tool.name!r} failed", file=sys.stderr)
        traceback.print_exception(error, file=sys.stderr)
    return failure(explain(error)), None
