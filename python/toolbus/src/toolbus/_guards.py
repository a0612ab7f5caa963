"""What one process can contain of what the modules in it do: their output, and their ways to end it.

Each is refused with `SystemExit`, which no `except Exception` keeps, because code behind such a call does not expect to
run. A child process that was made by `fork` is free to do all of this. C code does not ask here.
"""

import faulthandler
import os
import signal
import sys
from collections.abc import Callable
from contextlib import suppress
from typing import Any, NoReturn


def set_up() -> None:
    """Once, before any module is imported."""
    _streams()
    _exits(os.getpid())
    with suppress(OSError, RuntimeError, ValueError):
        # A crash is not contained. But it should be known whose it was.
        faulthandler.enable()


def _streams() -> None:
    # Standard output may be what a client reads, and standard input what it writes.
    out: Any = open(2, "w", buffering=1, encoding="utf-8", errors="backslashreplace", closefd=False)
    sys.stdout = sys.stderr = out
    sys.stdin = open(os.devnull, encoding="utf-8")
    # These names are for those who look for the original ones.
    vars(sys).update(__stdout__=out, __stderr__=out, __stdin__=sys.stdin)


def _exits(process: int) -> None:
    def refuse(what: str) -> NoReturn:
        raise SystemExit(f"{what} would end the gateway that this runs in, and is refused")

    def refused(module: Any, name: str, is_ours: Callable[[tuple[Any, ...]], bool] = lambda _: True) -> None:
        real = getattr(module, name, None)
        if real is None:
            return

        def guard(*args: Any, **named: Any) -> Any:
            if os.getpid() == process and is_ours(args):
                refuse(f"{module.__name__}.{name}")
            return real(*args, **named)

        guard.__name__, guard.__doc__ = name, real.__doc__
        setattr(module, name, guard)

    for name in ("_exit", "abort", "execv", "execve"):
        refused(os, name)
    refused(os, "kill", lambda args: args[:1] in ((process,), (0,), (-1,)) and args[1:2] != (0,))
    refused(os, "killpg", lambda args: args[:1] in ((os.getpgrp(),), (0,)) and args[1:2] != (0,))
    refused(signal, "raise_signal")
