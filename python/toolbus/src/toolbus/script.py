"""`python -m toolbus.script TARGET TOOL`: runs one tool, with its arguments as JSON on stdin and its result as JSON on stdout.

The result is the one of `tools/call` as MCP has it, failures of the tool included. `python -m toolbus.script TARGET --list`
says which tools there are. TARGET is a file, a folder or a module. Whatever a tool prints goes to stderr. Where descriptor 3
is a pipe, it gets a line of JSON for each report of progress, each log line and each heartbeat.
"""

import asyncio
import os
import signal
import stat
import sys
import traceback
from contextlib import suppress
from typing import Any

from toolbus import _kernel
from toolbus._errors import RpcError, explain
from toolbus._json import dumps, loads
from toolbus._session import LEVEL
from toolbus.host import take_streams

_USAGE = "usage: python -m toolbus.script FILE|FOLDER|MODULE TOOL|--list"

# The channel beside stdout.
_SIDE = 3

# Files that are told of one target.
_MAX_FILES = 1000

# MCP's error where a tool asks a caller that cannot be asked.
_CANNOT_ASK = -32021

_NO_QUESTIONS = (
    "This tool asks its caller for something. A script cannot: its process ends with its answer. "
    "Serve the tool by a runner, or embedded."
)


def main(arguments: list[str]) -> int:
    """Runs a tool; answers with the exit status."""
    if len(arguments) != 2 or arguments[0] in ("-h", "--help"):
        print(_USAGE, file=sys.stderr)
        return 0 if arguments[:1] in (["-h"], ["--help"]) else 2
    target, tool = arguments
    side = _side()
    source, sink = take_streams()
    try:
        loaded = _kernel.load(target)
        for problem in loaded.problems:
            print(f"toolbus: {problem}", file=sys.stderr)
        given = {} if tool == "--list" else _read(source)
        answer = asyncio.run(_answer(loaded, target, tool, given, side))
    except _kernel.LoadError as error:
        return _failed(sink, str(error))
    except (KeyboardInterrupt, asyncio.CancelledError):
        return 128 + signal.SIGTERM
    except BaseException as error:
        traceback.print_exception(error, file=sys.stderr)
        return _failed(sink, explain(error))
    _write(sink, answer + b"\n")
    return 0


def _failed(sink: int, why: str) -> int:
    """What is said where there is no result: as the contract of scripts has it."""
    print(f"toolbus: {why}", file=sys.stderr)
    _write(sink, dumps({"success": False, "error": why}) + b"\n")
    return 1


def _read(source: int) -> dict[str, Any]:
    with open(source, "rb") as stream:
        text = stream.read()
    given = loads(text) if text.strip() else {}
    if not isinstance(given, dict):
        raise _kernel.LoadError("stdin must hold one JSON object: the arguments")
    return given


async def _answer(loaded: _kernel.Loaded, target: str, tool: str, given: dict[str, Any], side: int | None) -> bytes:
    kernel = await _kernel.Kernel.of(loaded)
    if tool == "--list":
        return dumps({"tools": await kernel.tools(), "files": _files(target)})
    task = asyncio.ensure_future(_call(kernel, tool, given, side))
    # Asked to stop, a function has its `finally` blocks run.
    with suppress(NotImplementedError, ValueError, RuntimeError):
        asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, task.cancel)
    answer = await task
    await kernel.close()
    return answer


def _files(target: str) -> list[str]:
    """The files of all that was imported from the folder where the target lies; a change of one can change a tool."""
    path = target if os.path.exists(target) else target.rpartition(":")[0]
    if not os.path.exists(path):
        path = getattr(sys.modules.get(target.partition(".")[0]), "__file__", None) or ""
    path = os.path.realpath(path) if path else ""
    folder = os.path.join(path if os.path.isdir(path) else os.path.dirname(path), "") if path else None
    files = {os.path.realpath(file) for module in list(sys.modules.values()) if (file := getattr(module, "__file__", None))}
    return sorted(file for file in files if folder and file.startswith(folder))[:_MAX_FILES]


async def _call(kernel: _kernel.Kernel, tool: str, given: dict[str, Any], side: int | None) -> bytes:
    def tell(event: _kernel.Event) -> None:
        if side is not None:
            # Nobody may read it; it is advice.
            with suppress(OSError):
                _write(side, dumps(event) + b"\n")

    try:
        result = await kernel.call_json(tool, given, tell, meta={LEVEL: "debug"})
    except RpcError as error:
        return _refused(_NO_QUESTIONS if error.code == _CANNOT_ASK else str(error))
    if b'"input_required"' in result and loads(result).get("resultType") == "input_required":
        return _refused(_NO_QUESTIONS)
    return result


def _refused(why: str) -> bytes:
    return dumps({"content": [{"type": "text", "text": why}], "isError": True})


def _side() -> int | None:
    """The channel beside stdout, kept from the programs that a tool starts."""
    try:
        if not stat.S_ISFIFO(os.fstat(_SIDE).st_mode):
            return None
    except OSError:
        return None
    os.set_inheritable(_SIDE, False)
    return _SIDE


def _write(fd: int, data: bytes) -> None:
    rest = memoryview(data)
    while rest:
        rest = rest[os.write(fd, rest) :]


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
