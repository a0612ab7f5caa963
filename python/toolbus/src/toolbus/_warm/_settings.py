"""How a warm server is set up: its command line."""

import argparse
import dataclasses
import math


@dataclasses.dataclass(frozen=True)
class Settings:
    """What the command line says."""

    modules: list[str]
    serve: str | None
    reuse: bool
    calls: float
    age: float
    resident: float


def parse(arguments: list[str]) -> Settings:
    """Reads the command line."""
    parser = argparse.ArgumentParser(
        prog="python -P -m toolbus.warm",
        description="Serves a gateway that runs scripts: standard input is a Unix socket of its own.",
    )
    parser.add_argument("modules", nargs="*", metavar="MODULE", help="a module to import once for all calls")
    parser.add_argument("--serve", help="a file or module whose tools are served, to load once as well")
    parser.add_argument("--reuse", action="store_true", help="run call after call in a process, not one call in each")
    parser.add_argument("--calls", type=float, default=math.inf, help="calls after which such a process is replaced")
    parser.add_argument("--age", type=float, default=math.inf, help="seconds after which it is replaced")
    parser.add_argument("--resident", type=float, default=math.inf, help="bytes in memory from which it is replaced")
    read = parser.parse_args(arguments)
    return Settings(read.modules, read.serve, read.reuse, read.calls, read.age, read.resident)
