"""What a tool that asks for it knows of its call."""

from collections.abc import Coroutine, Generator
from typing import TYPE_CHECKING, Any, TypeVar

from toolbus import _forms
from toolbus._errors import Cancelled

if TYPE_CHECKING:
    from toolbus._calls import Call

T = TypeVar("T")


class Done:
    """Something that is done already. It may be awaited, and need not."""

    __slots__ = ()

    def __await__(self) -> Generator[None, None, None]:
        return
        yield


_DONE = Done()


class Context:
    """A call, as its tool sees it: a parameter of this type is filled in, and is no argument of the tool.

    Everything but `elicit` can be used from any thread, and returns at once; `await` before it does no harm.
    """

    __slots__ = ("_call",)

    def __init__(self, call: "Call") -> None:
        self._call = call

    @property
    def cancelled(self) -> bool:
        """The caller is gone, or its time is up. A function in a thread has to look; a coroutine is cancelled by itself."""
        return self._call.cancelled

    def check_cancelled(self) -> None:
        """Raises `Cancelled` where the caller is gone."""
        if self._call.cancelled:
            raise Cancelled()

    @property
    def request_id(self) -> str | int:
        """The id of the request in MCP."""
        return self._call.id

    @property
    def meta(self) -> dict[str, Any]:
        """The `_meta` of the request: who calls, its trace, and what a client adds of its own."""
        return self._call.meta

    def report_progress(self, done: float, total: float | None = None, message: str | None = None) -> Done:
        """Tells the caller how far the work is. What does not go beyond the last report is not sent."""
        self._call.progress(done, total, message)
        return _DONE

    def heartbeat(self) -> Done:
        """Says that the work goes on: a call that says nothing for too long is given up, and this moves that limit."""
        self._call.heartbeat()
        return _DONE

    def log(self, level: str, data: Any, logger: str | None = None) -> Done:
        """Sends a log line to the caller: text, or anything that JSON can write. Most callers do not ask for any.

        Levels are those of syslog: debug, info, notice, warning, error, critical, alert, emergency.
        """
        self._call.log(level, data, logger)
        return _DONE

    def debug(self, data: Any) -> Done:
        """Sends a log line."""
        return self.log("debug", data)

    def info(self, data: Any) -> Done:
        """Sends a log line."""
        return self.log("info", data)

    def warning(self, data: Any) -> Done:
        """Sends a log line."""
        return self.log("warning", data)

    def error(self, data: Any) -> Done:
        """Sends a log line."""
        return self.log("error", data)

    async def elicit(self, message: str, schema: type[T]) -> "_forms.Elicited[T]":
        """Asks the person behind the caller, and waits for the answer.

        `schema` is a simple type (`bool`, `int`, `str`, a `Literal` or an `Enum`), or a pydantic model, dataclass or
        TypedDict with only such fields. Meanwhile the function stays where it is in this process; without an answer
        within five minutes it is cancelled. Raises `ElicitationNotSupported` where the caller cannot be asked.
        """
        return await _forms.elicit(self._call, message, schema)

    def run(self, work: Coroutine[Any, Any, T]) -> T:
        """Waits for a coroutine, from a function in a thread: `ctx.run(ctx.elicit("Sure?", bool))`."""
        return self._call.run(work)
