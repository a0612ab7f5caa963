"""What a tool can raise, and what it can be told."""


# Characters of a value that a message shows.
_MAX_SHOWN = 80


class ToolError(Exception):
    """Ends a call with `isError: true` and this message, word for word."""


class ElicitationNotSupported(ToolError):
    """The caller's client cannot be asked. Where a tool does not catch it, the call ends with the error that MCP has for it."""


class Cancelled(BaseException):
    """The caller is gone. Raised by `Context.check_cancelled`; no `except Exception` of a tool keeps it."""


class RpcError(Exception):
    """Ends a request with a JSON-RPC error."""

    def __init__(self, code: int, message: str, data: object = None) -> None:
        super().__init__(message)
        self.code, self.message, self.data = code, message, data


def shown(value: object) -> str:
    """A value for a message, cut where it is long."""
    text = repr(value)
    return text if len(text) <= _MAX_SHOWN else text[:_MAX_SHOWN] + "..."


def explain(error: BaseException) -> str:
    """One line that names an exception, without a traceback."""
    text, name = str(error), type(error).__name__
    return f"{name}: {text}" if text else name
