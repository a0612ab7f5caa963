"""One call of a tool: who waits for it, what it may say meanwhile, and where it is parked while a person is asked."""

import asyncio
import concurrent.futures
from collections.abc import Coroutine
from typing import TYPE_CHECKING, Any, TypeVar

from toolbus._errors import Cancelled, ElicitationNotSupported, ToolError
from toolbus._json import dumps

if TYPE_CHECKING:
    from toolbus._engine import Engine
    from toolbus._session import Session, Terms
    from toolbus._threads import Job
    from toolbus._tool import Tool

T = TypeVar("T")

LEVELS = ("debug", "info", "notice", "warning", "error", "critical", "alert", "emergency")
RANKS = {level: rank for rank, level in enumerate(LEVELS)}

Id = str | int
Question = tuple["asyncio.Future[dict[str, Any]]", dict[str, Any]]


class Call:
    """A call, from its request to its result. But for what is said to be safe, it belongs to the loop's thread."""

    __slots__ = (
        "arguments", "asked", "cancelled", "engine", "id", "is_begun", "is_counted", "job", "limit", "meta", "questions", "reported", "result", "session", "state",
        "task", "terms", "timer", "tool",
    )

    def __init__(
        self, engine: "Engine", session: "Session", id: Id, tool: "Tool", arguments: dict[str, Any], terms: "Terms"
    ) -> None:
        self.engine, self.id, self.tool, self.arguments = engine, id, tool, arguments
        # The connection that waits for the result; none while the call is parked.
        self.session: Session | None = session
        self.terms = terms
        self.meta = terms.meta
        self.cancelled = False
        self.reported = float("-inf")
        self.is_begun = False
        # It takes one of the places for calls that are under way.
        self.is_counted = True
        # When a function in a thread is to have ended.
        self.limit: asyncio.TimerHandle | None = None
        self.task: asyncio.Task[None] | None = None
        # The same of a function in a thread.
        self.job: Job | None = None
        self.questions: dict[str, Question] = {}
        self.asked = 0
        # Under which requestState it is parked, until when, and its result where it ended meanwhile.
        self.state: str | None = None
        self.timer: asyncio.TimerHandle | None = None
        self.result: bytes | None = None

    def progress(self, done: float, total: float | None, message: str | None) -> None:
        """Safe from any thread."""
        if self.terms.token is None or not self.reported < done < float("inf"):
            return
        self.reported = done
        params: dict[str, Any] = {"progressToken": self.terms.token, "progress": done}
        params |= {"total": total} if total is not None else {}
        params |= {"message": message} if message is not None else {}
        self._tell("notifications/progress", params)

    def heartbeat(self) -> None:
        """Safe from any thread."""
        if self.terms.token is None:
            return
        if self.terms.beats:
            return self._tell("toolbus/heartbeat", {})
        # MCP has no other sign of life, and wants each report to go beyond the last one.
        done = 0.0 if self.reported == float("-inf") else self.reported + max(abs(self.reported), 1.0) * 1e-9
        self.progress(done, None, None)

    def log(self, level: str, data: Any, logger: str | None) -> None:
        """Safe from any thread."""
        if level not in RANKS:
            raise ValueError(f"log level {level!r}: use one of {', '.join(LEVELS)}")
        if self.terms.level is None or RANKS[level] < self.terms.level:
            return
        params: dict[str, Any] = {"level": level, "data": _writable(data)}
        params |= {"logger": logger} if logger else {}
        # MCP has no place in a log line for the call that it belongs to; all share one stream.
        params |= {} if self.terms.legacy else {"_meta": {"toolbus/request": self.id}}
        self._tell("notifications/message", params)

    def _tell(self, method: str, params: dict[str, Any]) -> None:
        line = dumps({"jsonrpc": "2.0", "method": method, "params": params}) + b"\n"
        if self.engine.in_loop():
            self.tell(line)
        else:
            self.engine.post(lambda: self.tell(line), is_advice=True)

    def tell(self, line: bytes) -> None:
        """Sends a notice, for as long as somebody waits for the result."""
        if self.session is not None and self.session.calls.get(self.id) is self:
            self.session.advise(line)

    async def ask(self, message: str, form: dict[str, Any]) -> dict[str, Any]:
        """Asks the person behind the caller; answers with the client's own words."""
        offered = self.terms.capabilities.get("elicitation")
        if not isinstance(offered, dict) or (offered.get("url") is not None and offered.get("form") is None):
            raise ElicitationNotSupported("the caller's client cannot be asked: it did not declare elicitation by form")
        answer: asyncio.Future[dict[str, Any]] = asyncio.get_running_loop().create_future()
        params = {"mode": "form", "message": message, "requestedSchema": form}
        if self.terms.legacy:
            if self.session is None:
                raise ToolError("the connection that could be asked is gone")
            del params["mode"]
            self.session.request("elicitation/create", params, answer)
            return await answer
        self.asked += 1
        key = f"q{self.asked}"
        self.questions[key] = (answer, {"method": "elicitation/create", "params": params})
        # What the tool asks at once goes out together.
        asyncio.get_running_loop().call_soon(self.engine.park, self)
        try:
            return await answer
        finally:
            self.questions.pop(key, None)

    def run(self, work: Coroutine[Any, Any, T]) -> T:
        """Waits for a coroutine in the loop, from another thread."""
        if self.engine.in_loop():
            work.close()
            raise RuntimeError("ctx.run is for functions in threads: use await here")
        future = asyncio.run_coroutine_threadsafe(work, self.engine.loop)
        while True:
            try:
                # Looks up now and then: whoever cancels the call does not know of this wait.
                return future.result(timeout=0.1)
            except concurrent.futures.TimeoutError:
                if future.done():
                    return future.result()
                if self.cancelled:
                    future.cancel()
                    raise Cancelled() from None
            except concurrent.futures.CancelledError:
                raise Cancelled() from None

    def cancel(self) -> None:
        """Nobody waits for it any more."""
        self.cancelled = True
        # A task that has not begun looks for itself: cancelled now, it would end without a word.
        if self.task is not None and self.is_begun:
            self.task.cancel()


def _writable(data: Any) -> Any:
    try:
        dumps(data)
    except (TypeError, ValueError):
        return str(data)
    return data
