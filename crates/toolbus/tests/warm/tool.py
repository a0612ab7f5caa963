"""The tools of the tests of interpreters that are kept ready: `tool.py NAME`, as a script of its own each time."""

import json
import os
import sys
import time

import heavy

tool, given = sys.argv[1], json.load(sys.stdin)


def forks():
    for _ in range(200):
        if os.fork() == 0:
            time.sleep(600)
    time.sleep(600)


def leaves():
    if os.fork() == 0:
        os.setsid()
        if os.fork() == 0:
            time.sleep(600)
        os._exit(0)
    return os.getpid()


def tells():
    for done in 1, 2:
        os.write(3, json.dumps({"progress": done, "total": 2}).encode() + b"\n")
    return "told"


def fails():
    raise ValueError("not this one")


def prints():
    print("no JSON")
    sys.exit()


def says():
    print(json.dumps({"success": False, "error": "as the contract has it"}))
    sys.exit(1)


def hangs():
    print("hangs", file=sys.stderr, flush=True)
    open(f"{os.path.dirname(heavy.__file__)}/hangs.{time.monotonic_ns()}", "w").close()
    time.sleep(600)


TOOLS = {
    "who": lambda: {"process": os.getpid(), "imported_by": heavy.process, "version": heavy.version, "folder": os.getcwd()},
    "echo": lambda: given,
    "text": lambda: "Grüße, 世界 🎈",
    "large": lambda: "x" * (5 << 20),
    "flood": lambda: "x" * (9 << 20),
    "memory": lambda: len(bytearray(400 << 20)),
    "dies": lambda: os.kill(os.getpid(), 11),
    "leaves_at_once": lambda: os._exit(9),
    "exits": lambda: sys.exit("because"),
    "fails": fails,
    "prints": prints,
    "says": says,
    "tells": tells,
    "forks": forks,
    "leaves": leaves,
    "hangs": hangs,
    "lingers": hangs,
    "slow": lambda: time.sleep(0.1) or "slow",
}

print(json.dumps(TOOLS[tool]()))
