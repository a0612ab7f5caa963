"""Calls per second of one process with tools, over its Unix socket: `python bench.py [--calls N] [--in-flight N]`.

Plays the part of `toolbus worker`: this file starts a file with tools, which starts this file again in the place of the worker.
"""

import argparse
import json
import os
import socket
import stat
import subprocess
import sys
import tempfile
import time
from pathlib import Path

TOOLS = '''
from toolbus import Worker

worker = Worker("bench")

@worker.tool(read_only=True)
async def coroutine(text: str) -> str:
    return text

@worker.tool(inline=True)
def inline(text: str) -> str:
    return text

@worker.tool()
def thread(text: str) -> str:
    return text

@worker.tool()
async def structured(text: str) -> dict[str, str]:
    return {"text": text}

worker.run()
'''

# With the rest of the request some 200 bytes of arguments.
TEXT = "x" * 200


def call(number: int, tool: str) -> bytes:
    """A request as the worker writes it."""
    meta = {
        "io.modelcontextprotocol/protocolVersion": "2026-07-28",
        "io.modelcontextprotocol/clientCapabilities": {},
        "io.modelcontextprotocol/clientInfo": {"name": "bench", "version": "1"},
        "progressToken": number,
    }
    params = {"name": tool, "arguments": {"text": TEXT}, "_meta": meta}
    return json.dumps({"jsonrpc": "2.0", "id": number, "method": "tools/call", "params": params}).encode() + b"\n"


def measure(path: str, tool: str, calls: int, in_flight: int) -> float:
    """Calls per second."""
    messages = [call(number, tool) for number in range(1, calls + 1)]
    with socket.socket(socket.AF_UNIX) as wire:
        wire.connect(path)
        begun, sent, answered = time.perf_counter(), min(in_flight, calls), 0
        wire.sendall(b"".join(messages[:sent]))
        while answered < calls:
            data = wire.recv(256 * 1024)
            if not data or b'"error"' in data or b'"isError"' in data:
                sys.exit(f"{tool}: {data[:300]!r}")
            count = data.count(b"\n")
            answered += count
            wire.sendall(b"".join(messages[sent : sent + count]))
            sent += count
        return calls / (time.perf_counter() - begun)


def main() -> None:
    """Starts the tools, or measures them."""
    if sys.argv[1:2] == ["worker"]:
        path = sys.argv[sys.argv.index("--socket") + 1]
        calls, in_flight = int(os.environ["BENCH_CALLS"]), int(os.environ["BENCH_IN_FLIGHT"])
        for tool in ("coroutine", "structured", "inline", "thread"):
            measure(path, tool, calls // 10, in_flight)
            rate = measure(path, tool, calls, in_flight)
            print(f"{tool:<12} {rate:>9,.0f} calls/s, {in_flight} in flight", flush=True)
        return
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--calls", type=int, default=40_000)
    parser.add_argument("--in-flight", type=int, default=64)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        tools, worker = Path(folder, "tools.py"), Path(folder, "toolbus")
        tools.write_text(TOOLS)
        worker.write_text(f'#!/bin/sh\nexec "{sys.executable}" "{Path(__file__).resolve()}" "$@"\n')
        worker.chmod(worker.stat().st_mode | stat.S_IXUSR)
        settings = {"TOOLBUS_BIN": str(worker), "BENCH_CALLS": str(options.calls), "BENCH_IN_FLIGHT": str(options.in_flight)}
        source = str(Path(__file__).parent / "src")
        subprocess.run([sys.executable, tools], env={**os.environ, "PYTHONPATH": source, **settings}, check=True)


main()
