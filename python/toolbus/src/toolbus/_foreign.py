"""Servers of other packages: FastMCP 4, `MCPServer` of mcp 2.x, `FastMCP` of mcp 1.x. They speak for themselves."""

import asyncio
import functools
from collections.abc import Awaitable, Callable
from contextlib import AbstractAsyncContextManager, nullcontext
from typing import Any

from toolbus._errors import explain
from toolbus._wire import TextLines

# Class and package by which they are known. They are not imported: none of them has to be installed.
_KNOWN = (("FastMCP", "fastmcp."), ("MCPServer", "mcp.server."), ("FastMCP", "mcp.server."), ("Server", "mcp.server."))

_CONTAINED = "__toolbus_contained__"


def is_server(value: object) -> bool:
    """Whether this is a server of one of the packages."""
    classes = type(value).__mro__
    return any(known.__name__ == name and known.__module__.startswith(package) for known in classes for name, package in _KNOWN)


def name_of(server: Any) -> str:
    """What it calls itself."""
    return str(server.name)


async def serve(server: Any, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """Has it serve one connection, until that ends."""
    try:
        await attend(server, TextLines(reader, writer))
    finally:
        writer.close()


async def attend(server: Any, lines: Any) -> None:
    """Has it serve whatever is read and written like an asynchronous text file, until that ends."""
    from mcp.server.stdio import stdio_server

    low = _low(server)
    async with _life(server), stdio_server(lines, lines) as (incoming, outgoing):
        await low.run(incoming, outgoing, low.create_initialization_options())


def contain(server: Any) -> None:
    """Sees to it that a tool can end its call only, and that a function never keeps the loop; once or again."""
    low = _low(server)
    handlers = getattr(low, "request_handlers", None)
    if isinstance(handlers, dict):
        return _contain_1(server, handlers)
    entry = low.get_request_handler("tools/call") if hasattr(low, "get_request_handler") else None
    if entry is not None and not hasattr(entry.handler, _CONTAINED):
        low.add_request_handler("tools/call", entry.params_type, _contained(entry.handler, lambda result: result))


def _contain_1(server: Any, handlers: dict[Any, Any]) -> None:
    from mcp import types

    handler: Any = handlers.get(types.CallToolRequest)
    if handler is not None and not hasattr(handler, _CONTAINED):
        handlers[types.CallToolRequest] = _contained(handler, getattr(types, "ServerResult", lambda result: result))
    # This package runs functions where it reads messages; one that waits would hold up everything.
    for tool in getattr(getattr(server, "_tool_manager", None), "_tools", {}).values():
        if not tool.is_async:
            tool.fn, tool.is_async = _in_thread(tool.fn), True


def _contained(handler: Callable[..., Awaitable[Any]], wrap: Callable[[Any], Any]) -> Callable[..., Awaitable[Any]]:
    @functools.wraps(handler)
    async def contained(*positions: Any, **named: Any) -> Any:
        from mcp import types

        try:
            return await handler(*positions, **named)
        except (Exception, asyncio.CancelledError):
            raise
        except BaseException as error:
            # Below, it would end the loop, and everybody's calls.
            said = {"content": [{"type": "text", "text": explain(_inner(error))}], "isError": True}
            return wrap(types.CallToolResult.model_validate(said))

    setattr(contained, _CONTAINED, True)
    return contained


def _inner(error: BaseException) -> BaseException:
    while isinstance(error, BaseExceptionGroup) and error.exceptions:
        error = error.exceptions[0]
    return error


def _in_thread(fn: Callable[..., Any]) -> Callable[..., Awaitable[Any]]:
    from anyio import to_thread

    @functools.wraps(fn)
    async def threaded(*positions: Any, **named: Any) -> Any:
        return await to_thread.run_sync(functools.partial(fn, *positions, **named))

    return threaded


def _low(server: Any) -> Any:
    return next((getattr(server, name) for name in ("_lowlevel_server", "_mcp_server") if hasattr(server, name)), server)


def _life(server: Any) -> AbstractAsyncContextManager[Any]:
    # Of FastMCP 4 the lifespan is not the low-level server's: its connections share one.
    manager = getattr(server, "_lifespan_manager", None)
    return manager() if manager is not None else nullcontext()
