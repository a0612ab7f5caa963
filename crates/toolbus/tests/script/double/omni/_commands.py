"""Commands of a made-up skill, and what both programs of the double do with them."""

import datetime
import json
import sys


def echo(**arguments: object) -> object:
    return {"arguments": arguments}


def when() -> object:
    return datetime.date(2026, 7, 28)


def fail(reason: str) -> object:
    raise ValueError(reason)


COMMANDS = {("demo", "echo"): echo, ("demo", "when"): when, ("demo", "fail"): fail}


def run(skill: str, command: str, arguments: dict[str, object]) -> int:
    """JSON on stdout and exit 0; a failure is said on stderr and stdout, and ends with 1."""
    try:
        if (skill, command) not in COMMANDS:
            raise LookupError(f"no command {skill}.{command}")
        value = COMMANDS[(skill, command)](**arguments)
    except Exception as error:
        print(f"{type(error).__name__}: {error}", file=sys.stderr)
        print(json.dumps({"success": False, "error": str(error)}))
        return 1
    try:
        print(json.dumps(value))
    except TypeError:
        print(json.dumps({"value": str(value), "_serialized": True}))
    return 0
