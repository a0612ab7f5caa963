"""Arguments and results of 2 MiB arrive intact, through both doors, at servers on stdio and on HTTP and back.

What is larger than the gateway takes is refused.
"""

import time
from pathlib import Path

from _server import digest, long_text
from _support import MODES, Checks, Gateway, http_server, python_http, python_server, run, stdio_door
from mcp import Client, MCPError

SIZE = 2 * 1024 * 1024

# Over the largest request body, which is 10 MiB where nothing is configured.
TOO_LARGE = 11 * 1024 * 1024

PREFIXES = {"fast": "", "plain": "plain_", "web": "web_"}

# Made again by the server from its seed, so that a result is compared with what was never sent.
TEXTS = {seed: long_text(SIZE, seed) for seed in (1, 2)}


async def all_of_it(checks: Checks, client: Client, where: str) -> None:
    for name, prefix in PREFIXES.items():
        begun = time.monotonic()
        result = await client.call_tool(prefix + "measure", {"text": TEXTS[1]})
        seen = result.structured_content
        checks.equal(f"{where}, {name}: an argument of 2 MiB", seen, {"sha256": digest(TEXTS[1])})
        result = await client.call_tool(prefix + "long", {"size": SIZE, "seed": 2})
        whole = result.structured_content["result"] == TEXTS[2] and result.content[0].text == TEXTS[2]
        checks.that(f"{where}, {name}: a result of 2 MiB, as structured content and as text", whole, result)
        small = await client.call_tool(prefix + "add", {"a": 1, "b": 2})
        checks.equal(f"{where}, {name}: and a small call after it", small.structured_content, {"result": 3})
        print(f"      {name} took {time.monotonic() - begun:.1f} s")


async def too_large(checks: Checks, gateway: Gateway, where: str) -> None:
    """What is refused is the call, and not the connection: the client reads an answer and goes on."""
    async with Client(gateway.url, mode=where.removeprefix("http ")) as client:
        try:
            seen = await client.call_tool("measure", {"text": "x" * TOO_LARGE})
        except MCPError as error:
            seen = error
        checks.that(f"{where}: an argument of 11 MiB is refused with an error", isinstance(seen, MCPError), seen)
        small = await client.call_tool("add", {"a": 1, "b": 2})
        checks.equal(f"{where}: and the client goes on", small.structured_content, {"result": 3})


async def main(checks: Checks, folder: Path) -> None:
    checks.that("the texts are as long as they should be", all(len(t.encode()) > SIZE - 4 for t in TEXTS.values()))
    with python_http("web", "mcp", folder) as web:
        servers = python_server("fast", "fastmcp") + python_server("plain", "mcp") + http_server("web", web.url)
        with Gateway(checks, folder / "http", servers) as gateway:
            for mode in MODES:
                with checks.group(f"http {mode}"):
                    async with Client(gateway.url, mode=mode) as client:
                        await all_of_it(checks, client, f"http {mode}")
                with checks.group(f"http {mode}, an argument that is too large"):
                    await too_large(checks, gateway, f"http {mode}")
        for mode in ("legacy", "2026-07-28"):
            with checks.group(f"stdio {mode}"):
                async with Client(stdio_door(folder / "stdio", servers), mode=mode) as client:
                    await all_of_it(checks, client, f"stdio {mode}")


if __name__ == "__main__":
    run(main, within=180)
