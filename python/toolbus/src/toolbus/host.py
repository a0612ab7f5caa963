"""`python -m toolbus.host FILE[:OBJECT]`: serves what a file has to any MCP client, on standard input and output.

`toolbus worker FILE` runs this. Whatever the file prints goes to standard error, so that it cannot garble what is said.
"""

import asyncio
import os
import sys
import traceback
from typing import Any

from toolbus import _foreign, _load, _wire
from toolbus._engine import Engine
from toolbus._session import Session

_USAGE = "usage: python -m toolbus.host FILE[:OBJECT]"


def main(arguments: list[str]) -> int:
    """Serves until standard input ends; answers with the exit status."""
    if len(arguments) != 1 or arguments[0] in ("-h", "--help"):
        print(_USAGE, file=sys.stderr)
        return 0 if arguments[:1] in (["-h"], ["--help"]) else 2
    source, sink = take_streams()
    try:
        target = _load.load(arguments[0])
    except _load.LoadError as error:
        print(f"toolbus: {error}", file=sys.stderr)
        return 2
    except BaseException as error:
        print(f"toolbus: {arguments[0]} cannot be loaded", file=sys.stderr)
        traceback.print_exception(error, file=sys.stderr)
        return 2
    try:
        asyncio.run(_serve(target, source, sink))
    except KeyboardInterrupt:
        return 130
    except OSError as error:
        print(f"toolbus: {error}", file=sys.stderr)
        return 1
    return 0


def take_streams() -> tuple[int, int]:
    """Keeps standard input and output for the protocol; others find an empty input, and an output that is stderr."""
    source, sink = os.dup(0), os.dup(1)
    nothing = os.open(os.devnull, os.O_RDONLY)
    os.dup2(nothing, 0)
    os.close(nothing)
    os.dup2(2, 1)
    return source, sink


async def _serve(target: Any, source: int, sink: int) -> None:
    if _foreign.is_server(target):
        return await _foreign.serve(target, *await _wire.streams(source, sink))
    engine = Engine(target)
    await _wire.serve_pipes(Session(engine), source, sink)
    engine.close()


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
