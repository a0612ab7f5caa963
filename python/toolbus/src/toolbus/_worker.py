"""A worker: a name, and the functions that it serves."""

import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar, overload

from toolbus import _run, _threads, _tool

F = TypeVar("F", bound=Callable[..., Any])


class Worker:
    """Functions that are served as tools, under one name.

    Args:
        name: The server's name in every catalog; the name of the file without.
        version: Of the tools, as callers see it.
        instructions: What a model should know of these tools together.
        threads: How many functions that are no coroutines run at once.
    """

    def __init__(
        self,
        name: str | None = None,
        *,
        version: str = "0",
        instructions: str | None = None,
        threads: int = _threads.DEFAULT,
    ) -> None:
        file = sys._getframe(1).f_globals.get("__file__")
        self.name = name or (Path(file).stem if file else "worker")
        if threads < 1:
            raise ValueError(f"threads is {threads}: at least one is needed")
        self.version, self.instructions, self.threads = version, instructions, threads
        self.tools: dict[str, _tool.Tool] = {}

    def __repr__(self) -> str:
        return f"Worker({self.name!r}, tools={list(self.tools)})"

    @overload
    def tool(self, name: F, /) -> F: ...

    @overload
    def tool(
        self,
        name: str | None = None,
        *,
        title: str | None = None,
        description: str | None = None,
        read_only: bool | None = None,
        destructive: bool | None = None,
        idempotent: bool | None = None,
        open_world: bool | None = None,
        timeout: float | None = None,
        inline: bool = False,
        meta: dict[str, Any] | None = None,
    ) -> Callable[[F], F]: ...

    def tool(
        self,
        name: str | F | None = None,
        *,
        title: str | None = None,
        description: str | None = None,
        read_only: bool | None = None,
        destructive: bool | None = None,
        idempotent: bool | None = None,
        open_world: bool | None = None,
        timeout: float | None = None,
        inline: bool = False,
        meta: dict[str, Any] | None = None,
    ) -> F | Callable[[F], F]:
        """Serves a function as a tool. The function stays what it is.

        Its schemas come from its type hints, its description and those of its parameters from its docstring.

        Args:
            name: The tool's name; the function's without.
            title: A name for people.
            description: Instead of the docstring's.
            read_only: It changes nothing. Such a tool may be run again where the fate of a call is unknown.
            destructive: It may destroy something.
            idempotent: To call it twice is as good as once. Such a tool may be run again, too.
            open_world: It deals with things outside, such as the web.
            timeout: Seconds after which a call fails. A coroutine is cancelled then; a function in a thread can look at
                `ctx.cancelled`.
            inline: Runs a function that is no coroutine where messages are read, not in a thread: faster, and right only
                for what never waits.
            meta: What a client may want to know of it in `_meta`.
        """
        hints = _tool.Hints(read_only, destructive, idempotent, open_world)

        def add(fn: F) -> F:
            named = name if isinstance(name, str) else None
            made = _tool.make(
                fn, name=named, title=title, description=description, hints=hints, timeout=timeout, inline=inline, meta=meta
            )
            if made.name in self.tools:
                raise ValueError(f"worker {self.name!r} has a tool {made.name!r} already (name=... gives another name)")
            self.tools[made.name] = made
            return fn

        return add if name is None or isinstance(name, str) else add(name)

    def run(self) -> None:
        """Serves the tools until the worker is stopped. What stands after the file on the command line goes to `toolbus worker`.

        In a file that `toolbus worker` or `python -m toolbus.host` runs, this only says that these are its tools.
        """
        _run.run(self, self.name)
