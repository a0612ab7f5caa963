"""Two commands as a script: JSON on stdin, or behind --args; JSON on stdout. It needs nothing but Python."""

import json
import os
import sys
import time

PRICES = {"tea": 2.4, "coffee": 3.1, "bread": 1.9}


def price(article: str) -> object:
    """What an article costs."""
    if article not in PRICES:
        raise LookupError(f"no article {article!r}; there are {', '.join(PRICES)}")
    return {"article": article, "price": PRICES[article]}


def count(to: int) -> object:
    """Counts slowly; each step is a line on descriptor 3."""
    for step in range(1, to + 1):
        os.write(3, json.dumps({"progress": step, "total": to}).encode() + b"\n")
        time.sleep(0.2)
    return {"counted": to}


def main(command: str, rest: list[str]) -> int:
    """Runs a command; a failure is said on stdout and stderr, and ends with 1."""
    arguments = json.loads(rest[1]) if rest[:1] == ["--args"] else json.load(sys.stdin)
    try:
        print(json.dumps({"price": price, "count": count}[command](**arguments)))
    except Exception as error:
        print(f"{type(error).__name__}: {error}", file=sys.stderr)
        print(json.dumps({"success": False, "error": str(error)}))
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1], sys.argv[2:]))
