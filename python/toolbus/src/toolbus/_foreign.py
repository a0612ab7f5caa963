"""Servers of other packages: FastMCP 4, `MCPServer` of mcp 2.x, `FastMCP` of mcp 1.x. They speak for themselves."""

import asyncio
from contextlib import AbstractAsyncContextManager, nullcontext
from typing import Any

from toolbus._wire import TextLines

# Class and package by which they are known. They are not imported: none of them has to be installed.
_KNOWN = (("FastMCP", "fastmcp."), ("MCPServer", "mcp.server."), ("FastMCP", "mcp.server."), ("Server", "mcp.server."))


def is_server(value: object) -> bool:
    """Whether this is a server of one of the packages."""
    classes = type(value).__mro__
    return any(known.__name__ == name and known.__module__.startswith(package) for known in classes for name, package in _KNOWN)


def name_of(server: Any) -> str:
    """What it calls itself."""
    return str(server.name)


async def serve(server: Any, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """Has it serve one connection, until that ends."""
    from mcp.server.stdio import stdio_server

    low = next((getattr(server, name) for name in ("_lowlevel_server", "_mcp_server") if hasattr(server, name)), server)
    lines: Any = TextLines(reader, writer)
    try:
        async with _life(server), stdio_server(lines, lines) as (incoming, outgoing):
            await low.run(incoming, outgoing, low.create_initialization_options())
    finally:
        writer.close()


def _life(server: Any) -> AbstractAsyncContextManager[Any]:
    # Of FastMCP 4 the lifespan is not the low-level server's: its connections share one.
    manager = getattr(server, "_lifespan_manager", None)
    return manager() if manager is not None else nullcontext()
