"""The server behind the gateway in these tests, made with either of two Python packages, on stdio or HTTP.

    _server.py (fastmcp|mcp) (stdio|http) NAME [PORT]

On HTTP it listens on loopback, at a free port unless one is given, and prints its URL. The same tools everywhere: what
holds for one server must hold for all.
"""

import asyncio
import hashlib
import os
import random
import socket
import sys
import warnings
from pathlib import Path

from pydantic import BaseModel

ALPHABET = "aZ09 é漢字😀\\\"\n\t/\u2028<&'"


def long_text(size: int, seed: int) -> str:
    """Text of this many bytes, or up to three less, with much in it that JSON writes in more than one way."""
    pick = random.Random(seed)
    block = "".join(pick.choices(ALPHABET, k=4096)).encode()
    return (block * (size // len(block) + 1))[:size].decode(errors="ignore")


def digest(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()


class Weather(BaseModel):
    city: str
    celsius: float
    words: list[str]


def furnish(server, Context, ToolError, name: str) -> None:
    """Gives a server its tools, prompts and resources."""

    @server.tool()
    def add(a: int, b: int) -> int:
        """Add two integers."""
        return a + b

    @server.tool()
    def weather(city: str) -> Weather:
        """The weather that every city has."""
        return Weather(city=city, celsius=-0.5, words=["dry", "föhn"])

    @server.tool()
    async def count(steps: int, heard: str, ctx: Context) -> str:
        """Report each step; go on after the first one when the caller has written the file `heard`."""
        for step in range(1, steps + 1):
            await ctx.report_progress(step, steps, f"step {step}")
            deadline = asyncio.get_running_loop().time() + 10
            while not Path(heard).exists():
                if asyncio.get_running_loop().time() > deadline:
                    raise ToolError("nobody heard of step 1 while the tool was running")
                await asyncio.sleep(0.01)
            # Some clients drop progress that they read in one piece with the result.
            await asyncio.sleep(0.02)
        return f"counted to {steps}"

    @server.tool()
    async def log(words: str, ctx: Context) -> str:
        """Log a line at two levels."""
        await ctx.debug(f"debug {words}")
        await ctx.warning(f"warning {words}")
        return "logged"

    @server.tool()
    def fail(reason: str) -> str:
        """Fail."""
        raise ToolError(f"it failed: {reason}")

    @server.tool()
    async def wait(seconds: float) -> str:
        """Wait."""
        await asyncio.sleep(seconds)
        return "waited"

    @server.tool()
    def measure(text: str) -> dict[str, str]:
        """The SHA-256 of a text."""
        return {"sha256": digest(text)}

    @server.tool()
    def long(size: int, seed: int) -> str:
        """A long text."""
        return long_text(size, seed)

    @server.tool()
    def who() -> dict[str, str]:
        """Which server this is, and which process."""
        return {"name": name, "pid": str(os.getpid())}

    @server.prompt()
    def greet(person: str) -> str:
        """A greeting."""
        return f"Greet {person} from {name}."

    @server.resource(f"{name}://status", mime_type="text/plain")
    def status() -> str:
        """The state of things."""
        return f"{name} is well"

    @server.resource(f"{name}://bytes", mime_type="application/octet-stream")
    def raw() -> bytes:
        """Every byte there is."""
        return bytes(range(256))

    @server.resource(f"{name}://items/{{number}}")
    def item(number: str) -> str:
        """One of many."""
        return f"item {number} of {name}"


def with_fastmcp(name: str):
    from fastmcp import Context, FastMCP
    from fastmcp.exceptions import ToolError

    server = FastMCP(name, version="1")
    furnish(server, Context, ToolError, name)
    return server


def with_mcp(name: str):
    from mcp import MCPDeprecationWarning
    from mcp.server import MCPServer
    from mcp.server.mcpserver import Context
    from mcp.server.mcpserver.exceptions import ToolError

    # Log messages are deprecated since 2026-07-28, and must still be carried.
    warnings.simplefilter("ignore", MCPDeprecationWarning)
    server = MCPServer(name, version="1", log_level="WARNING")
    furnish(server, Context, ToolError, name)
    return server


def serve_http(app, port: int, path: str = "/mcp") -> None:
    import uvicorn

    listener = socket.create_server(("127.0.0.1", port))
    print(f"http://127.0.0.1:{listener.getsockname()[1]}{path}", flush=True)
    config = uvicorn.Config(app, log_level="warning", timeout_graceful_shutdown=1)
    asyncio.run(uvicorn.Server(config).serve(sockets=[listener]))


if __name__ == "__main__":
    package, transport, name, *port = sys.argv[1:]
    server = with_fastmcp(name) if package == "fastmcp" else with_mcp(name)
    if transport == "http":
        app = server.http_app() if package == "fastmcp" else server.streamable_http_app()
        serve_http(app, int(port[0]) if port else 0)
    elif package == "fastmcp":
        # The banner would look for a newer version on the network.
        server.run(transport="stdio", show_banner=False)
    else:
        server.run()
